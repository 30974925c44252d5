//! Connections: one that blocks in XREADGROUP, one that is subscribed, and one for everything else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::prelude::Client;
use fred::types::CustomCommand;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::config::{Config, read_password};
use super::error::is_of_dead_client;
use super::live::{Live, Owner, build};
use super::refusal::Refusals;
use super::{Kind, RedisError, Value};
use crate::secret::Secret;

/// What a connection is for; its time limits follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Blocks in XREADGROUP for at most this long, and does nothing else: whatever stood behind a blocked read on
    /// the same connection would wait with it.
    Reader(Duration),
    /// Every other command.
    Commands,
    /// Keeps a subscription and does nothing else: RESP2 allows a subscribed client no other command.
    Subscriber,
    /// Replies of any size, which may take this long.
    Bulk(Duration),
}

/// How long a command may take before its answer counts as lost.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// How much longer than BLOCK a blocking read may take. 7.2 and later can restart the BLOCK timer once.
const BLOCK_GRACE: Duration = Duration::from_millis(1_500);
/// A client that fails is given this long before another takes its place: a server that fails all of them is not
/// hammered.
const REPLACE_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// A client whose calls have all failed for this long is replaced whatever it says of itself.
const SILENT_MAX: Duration = Duration::from_secs(5);
/// Errors that a slow listener has not taken yet; it gets the newest.
const ERRORS_KEPT: usize = 16;

impl Role {
    /// After this long an answer counts as lost.
    pub(super) fn timeout(self) -> Duration {
        match self {
            Self::Reader(block) => block + BLOCK_GRACE,
            Self::Commands | Self::Subscriber => COMMAND_TIMEOUT,
            Self::Bulk(patience) => patience,
        }
    }
}

/// One connection to Redis. It reconnects by itself for ever; commands fail meanwhile.
#[derive(Debug)]
pub struct Connection(Arc<Shared>);

/// What outlives the clients of a connection, of which there is one at a time.
#[derive(Debug)]
pub(super) struct Shared {
    settings: Config,
    role: Role,
    name: String,
    /// Handed to each client's watcher.
    this: Weak<Self>,
    live: Mutex<Live>,
    answered_at: Mutex<Instant>,
    /// The password that the next client uses.
    password: Mutex<Option<Secret>>,
    refusals: Mutex<Refusals>,
    /// How often a connection has been established, by whichever client.
    established: watch::Sender<u64>,
    /// The number, in that count, of the last connection that is known to be gone.
    lost: watch::Sender<u64>,
    errors: broadcast::Sender<RedisError>,
}

impl Connection {
    /// Opens a connection; waits for as long as the server does not answer, and tells `on_error` each time it tried.
    /// An error is one that trying again cannot mend. Dropping the future is safe.
    pub async fn open(
        settings: &Config,
        role: Role,
        name: &str,
        mut on_error: impl FnMut(&RedisError),
    ) -> Result<Self, RedisError> {
        let connection = Self::start(settings, role, name)?;
        let (mut failed, mut connected) = (connection.0.errors.subscribe(), connection.reconnections());
        loop {
            tokio::select! {
                Ok(error) = failed.recv() => {
                    if error.is_permanent() {
                        return Err(error);
                    }
                    on_error(&error);
                }
                Ok(_) = connected.wait_for(|&times| times > 0) => return Ok(connection),
            }
        }
    }

    /// Begins to connect, and goes on for ever.
    pub(super) fn start(settings: &Config, role: Role, name: &str) -> Result<Self, RedisError> {
        let client = build(settings, role.timeout(), settings.password.as_ref())?;
        Ok(Self(Arc::new_cyclic(|this: &Weak<Shared>| Shared {
            settings: settings.clone(),
            role,
            name: client_name(name),
            this: Weak::clone(this),
            live: Mutex::new(Live::start(client, Weak::clone(this))),
            answered_at: Mutex::new(Instant::now()),
            password: Mutex::new(settings.password.clone()),
            refusals: Mutex::new(Refusals::default()),
            established: watch::Sender::new(0),
            lost: watch::Sender::new(0),
            errors: broadcast::Sender::new(ERRORS_KEPT),
        })))
    }

    /// Another connection like this one, within `limit`: tells whether it is only this one that fails.
    pub(crate) async fn fresh(&self, limit: Duration) -> Result<Self, RedisError> {
        let Shared { settings, role, name, .. } = &*self.0;
        let opened = Self::open(settings, *role, name, |_| {});
        tokio::time::timeout(limit, opened)
            .await
            .unwrap_or_else(|_| Err(RedisError::unreachable("no connection within the time limit")))
    }

    /// The client as of now.
    pub(super) fn client(&self) -> Client {
        self.0.lock_live().client().clone()
    }

    /// Counts the connections that have been established; changes with each one after this call.
    pub(crate) fn reconnections(&self) -> watch::Receiver<u64> {
        self.0.established.subscribe()
    }

    /// Waits for a connection; answers its number.
    pub(super) async fn up(&self) -> u64 {
        let mut established = self.0.established.subscribe();
        loop {
            let number = *established.borrow_and_update();
            if number > *self.0.lost.borrow() {
                return number;
            }
            established.changed().await.expect("the sender is part of this connection");
        }
    }

    /// Waits until the connection of this number is gone.
    pub(super) async fn gone(&self, number: u64) {
        let (mut established, mut lost) = (self.0.established.subscribe(), self.0.lost.subscribe());
        tokio::select! {
            _ = established.wait_for(|&newest| newest != number) => {}
            _ = lost.wait_for(|&gone| gone >= number) => {}
        }
    }

    /// Replaces a client whose task has ended. Where calls are made they notice it; a subscriber makes none.
    pub(super) fn replace_ended(&self) {
        self.0.replace(Live::is_finished);
    }

    /// Gives the connection its name in CLIENT LIST: a courtesy to operators. A server that refuses it changes nothing.
    /// The name belongs to the connection of the server, so each new one is given it.
    pub(super) fn set_name(&self, client: &Client) -> impl Future<Output = ()> + Send + use<> {
        self.0.set_name(client)
    }

    /// Turns a client error into ours, and replaces the client where the error means that it will not answer again.
    pub(super) fn failed(&self, failure: &Error) -> RedisError {
        let mut error = RedisError::from(failure);
        if error.kind == Kind::Unreachable {
            self.0.look_at_client(*failure.kind() == ErrorKind::Timeout, is_of_dead_client(failure));
            if let Some(refusal) = self.0.lock_refusals().words() {
                error.text = format!("no connection to {}: {refusal}", self.0.settings.display_url);
            }
        }
        error
    }

    /// Drops the client with its socket, its buffers and whatever waits on it, which fails now; the next call uses a new
    /// one. What Redis has sent and was not read is gone.
    pub(crate) fn replace(&self) {
        self.0.replace(|_| true);
    }

    /// What came of a call: the server has answered, or the client is looked at.
    pub(super) fn heard<T>(&self, reply: Result<T, Error>) -> Result<T, RedisError> {
        if reply.is_ok() {
            *self.0.answered_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        reply.map_err(|error| self.failed(&error))
    }

    /// Runs one command given as words, the command's name first. Where a typed call exists, that is the one to use.
    pub async fn raw(&self, words: &[&str]) -> Result<Value, RedisError> {
        let Some((name, arguments)) = words.split_first() else {
            return Err(RedisError::unexpected("an empty command"));
        };
        let command = CustomCommand::new((*name).to_owned(), None::<u16>, false);
        let arguments: Vec<fred::types::Value> = arguments.iter().map(|&word| word.into()).collect();
        self.heard(self.client().custom(command, arguments).await).map(Value)
    }
}

impl Shared {
    /// A call went unanswered (`is_lost`), or the client says that it is dead, or cannot reach the server.
    fn look_at_client(&self, is_lost: bool, is_dead: bool) {
        let answered_at = *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(|live| {
            let age = live.age();
            // A younger client is not the one that this call was made on. One that is still connecting goes on: its
            // tries are bounded, and a new one would only begin again.
            let has_gone_silent = is_lost && live.is_connected() && age >= self.role.timeout();
            let is_useless = is_dead || live.is_finished();
            let is_silent_for_long = age >= SILENT_MAX && answered_at.elapsed() >= SILENT_MAX;
            age >= REPLACE_INTERVAL_MIN && (has_gone_silent || is_useless || is_silent_for_long)
        });
    }

    /// Puts a new client in the place of the present one if that one is to go.
    fn replace(&self, is_to_go: impl FnOnce(&Live) -> bool) {
        let password = self.lock_password().clone();
        let old = {
            let mut live = self.lock_live();
            if !is_to_go(&live) {
                return;
            }
            match build(&self.settings, self.role.timeout(), password.as_ref()) {
                Ok(client) => {
                    // Before the new one begins: its connection must not be taken for lost.
                    self.note_loss();
                    std::mem::replace(&mut *live, Live::start(client, Weak::clone(&self.this)))
                }
                Err(error) => {
                    // The same settings made the first one.
                    tracing::error!(err = %error, "no new client for Redis");
                    return;
                }
            }
        };
        drop(old);
    }

    /// The newest connection is gone.
    fn note_loss(&self) {
        let newest = *self.established.borrow();
        self.lost.send_if_modified(|lost| std::mem::replace(lost, newest) != newest);
    }

    fn set_name(&self, client: &Client) -> impl Future<Output = ()> + Send + use<> {
        let (client, name) = (client.clone(), self.name.clone());
        async move {
            let command = CustomCommand::new_static("CLIENT", None::<u16>, false);
            drop(client.custom::<String, _>(command, vec!["SETNAME", &name]).await);
        }
    }

    /// Whether the file holds another password than the one that was refused.
    async fn read_password_again(&self) -> Result<bool, String> {
        let Some(path) = self.settings.password_file.clone() else { return Ok(false) };
        let reading = tokio::task::spawn_blocking(move || {
            read_password(&path).map_err(|why| format!("redis-password-file {path} {why}"))
        });
        let read = reading.await.map_err(|error| error.to_string())??;
        let mut password = self.lock_password();
        let is_new = password.as_ref().is_none_or(|known| known.expose() != read);
        if is_new {
            *password = Some(Secret::new(read));
        }
        Ok(is_new)
    }

    fn lock_live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_password(&self) -> MutexGuard<'_, Option<Secret>> {
        self.password.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner for Shared {
    async fn try_failed(&self, error: Error) {
        let mut error = RedisError::of_handshake(&error, self.settings.tls.as_ref());
        let mut has_new_password = false;
        if error.kind == Kind::Denied {
            match self.read_password_again().await {
                Ok(is_new) => has_new_password = is_new,
                Err(why) => error.text = format!("{}; {why}", error.text),
            }
        }
        let is_news = self.lock_refusals().note(&error, Instant::now());
        // The caller that opens the connection reports it itself, and of two connections one is enough.
        if is_news && self.role == Role::Commands && *self.established.borrow() > 0 {
            let redis = &self.settings.display_url;
            tracing::warn!(redis, err = error.text, "redis handshake failed");
        }
        // Without a listener the error is dropped: the connection is open, and calls say why they fail.
        drop(self.errors.send(error));
        if has_new_password {
            // Ends the task that this runs in, if it is not the client's last try: nothing may follow.
            self.replace(|_| true);
        }
    }

    fn established(&self, client: &Client) {
        self.lock_refusals().is_over();
        self.established.send_modify(|times| *times += 1);
        // A subscribed client can no longer send it, so the subscription does so first.
        if self.role != Role::Subscriber {
            drop(tokio::spawn(self.set_name(client)));
        }
    }

    fn lost(&self, client: &Client) {
        let live = self.lock_live();
        // A client that has been replaced says nothing about the present one.
        if live.client().id() == client.id() {
            self.note_loss();
        }
    }
}

/// Redis refuses names with white space or control characters.
fn client_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect()
}
