//! Connections: one that blocks in XREADGROUP, one that is subscribed, and one for everything else.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::prelude::Client;
use fred::types::CustomCommand;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::config::{Config, PasswordFile, read_password};
use super::error::is_of_dead_client;
use super::live::{Live, Owner, build};
use super::place::HostPort;
use super::refusal::Refusals;
use super::sentinel::{Following, Master};
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
    /// Questions to a sentinel. Others are asked too, and their answers do not wait for it.
    Sentinel,
}

/// How long a command may take before its answer counts as lost.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a sentinel may take.
const SENTINEL_TIMEOUT: Duration = Duration::from_millis(400);
/// How much longer than BLOCK a blocking read may take. 7.2 and later can restart the BLOCK timer once.
const BLOCK_GRACE: Duration = Duration::from_millis(1_500);
/// A client that fails is given this long before another takes its place: a server that fails all of them is not
/// hammered.
const REPLACE_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// A client whose calls have all failed for this long is replaced whatever it says of itself.
const SILENT_MAX: Duration = Duration::from_secs(5);
/// What a server says that is no master, or no longer the one that others use.
const NO_MASTER: [&str; 3] = ["READONLY", "NOREPLICAS", "MASTERDOWN"];
/// Errors that a slow listener has not taken yet; it gets the newest.
const ERRORS_KEPT: usize = 16;

impl Role {
    /// After this long an answer counts as lost.
    pub(super) fn timeout(self) -> Duration {
        match self {
            Self::Reader(block) => block + BLOCK_GRACE,
            Self::Commands | Self::Subscriber => COMMAND_TIMEOUT,
            Self::Bulk(patience) => patience,
            Self::Sentinel => SENTINEL_TIMEOUT,
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
    /// None until sentinels have named a server.
    live: Mutex<Option<Live>>,
    /// Those that ask the sentinels, where the settings name sentinels.
    following: Option<Arc<Following>>,
    /// Where the client leads to, if sentinels have named it.
    place: Mutex<Option<HostPort>>,
    /// Hands on what the sentinels say.
    follower: OnceLock<AbortOnDropHandle<()>>,
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
    /// Waits until there is a connection, and tells `on_error` of each try that failed. An error is one that trying again
    /// cannot mend.
    pub(super) async fn opened(self, mut on_error: impl FnMut(&RedisError)) -> Result<Self, RedisError> {
        let (mut failed, mut connected) = (self.0.errors.subscribe(), self.reconnections());
        loop {
            tokio::select! {
                Ok(error) = failed.recv() => {
                    if error.is_permanent() {
                        return Err(error);
                    }
                    on_error(&error);
                }
                Ok(_) = connected.wait_for(|&times| times > 0) => return Ok(self),
            }
        }
    }

    /// Begins to connect, and goes on for ever; to the server that those name who ask sentinels.
    pub(super) fn start_with(
        settings: &Config,
        role: Role,
        name: &str,
        following: Option<Arc<Following>>,
    ) -> Result<Self, RedisError> {
        let client = match following {
            // There is none until a master is known.
            Some(_) => None,
            None => Some(build(settings, role.timeout(), settings.password.as_ref())?),
        };
        let connection = Self(Arc::new_cyclic(|this: &Weak<Shared>| Shared {
            settings: settings.clone(),
            role,
            name: client_name(name),
            this: Weak::clone(this),
            live: Mutex::new(client.map(|client| Live::start(client, Weak::clone(this)))),
            following: following.clone(),
            place: Mutex::new(None),
            follower: OnceLock::new(),
            answered_at: Mutex::new(Instant::now()),
            password: Mutex::new(settings.password.clone()),
            refusals: Mutex::new(Refusals::default()),
            established: watch::Sender::new(0),
            lost: watch::Sender::new(0),
            errors: broadcast::Sender::new(ERRORS_KEPT),
        }));
        if let Some(following) = following {
            let (masters, troubles) = (following.masters(), following.troubles());
            let follower = tokio::spawn(follow(Weak::clone(&connection.0.this), masters, troubles));
            drop(connection.0.follower.set(AbortOnDropHandle::new(follower)));
        }
        Ok(connection)
    }

    /// What it was begun with.
    pub(super) fn terms(&self) -> (&Config, Role, &str) {
        let Shared { settings, role, name, .. } = &*self.0;
        (settings, *role, name)
    }

    /// The client as of now.
    pub(super) fn client(&self) -> Result<Client, RedisError> {
        match &*self.0.lock_live() {
            Some(live) => Ok(live.client().clone()),
            None => {
                Err(self.0.no_connection().unwrap_or_else(|| RedisError::unreachable("no sentinel has answered yet")))
            }
        }
    }

    /// Do sentinels name the server that it leads to?
    pub(crate) fn follows_sentinels(&self) -> bool {
        self.0.following.is_some()
    }

    /// Changes with each other master that the sentinels name. Never, where the settings name a server.
    pub(crate) fn masters(&self) -> watch::Receiver<Option<Master>> {
        // Without a sender it never changes.
        self.0.following.as_ref().map_or_else(|| watch::channel(None).1, |following| following.masters())
    }

    /// Why there is no connection, as far as is known.
    pub(super) fn refusal(&self) -> Option<RedisError> {
        self.0.lock_refusals().last().cloned()
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
        let error = RedisError::from(failure);
        if error.kind == Kind::Unreachable {
            self.0.hurry();
            self.0.look_at_client(*failure.kind() == ErrorKind::Timeout, is_of_dead_client(failure));
            return self.0.no_connection().unwrap_or(error);
        }
        if error.kind == Kind::Refusing && NO_MASTER.iter().any(|word| failure.details().contains(word)) {
            self.0.hurry();
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
        self.heard(self.client()?.custom(command, arguments).await).map(Value)
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
            if live.as_ref().is_some_and(|live| !is_to_go(live)) {
                return;
            }
            let at_place;
            let settings = match (&self.following, &*self.lock_place()) {
                (None, _) => &self.settings,
                (Some(_), Some(place)) => {
                    at_place = self.settings.at(place);
                    &at_place
                }
                // There is no client either until the sentinels name a server.
                (Some(_), None) => return,
            };
            match build(settings, self.role.timeout(), password.as_ref()) {
                Ok(client) => {
                    // Before the new one begins: its connection must not be taken for lost.
                    self.note_loss();
                    live.replace(Live::start(client, Weak::clone(&self.this)))
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

    /// The sentinels name this server: where it is another one, everything goes there from now on, and what waits for an
    /// answer of the old one fails now.
    fn leads_to(&self, master: &Master) {
        let mut place = self.lock_place();
        if place.as_ref() == Some(&master.at) {
            return;
        }
        *place = Some(master.at.clone());
        drop(place);
        self.lock_refusals().is_over();
        self.replace(|_| true);
    }

    /// The sentinels name no server.
    fn leads_nowhere(&self, error: RedisError) {
        // Of a server that was named and is away, its own connection tells more.
        if self.lock_place().is_none() {
            self.refused(error);
        }
    }

    /// Asks the sentinels at once whether there is another master.
    fn hurry(&self) {
        if let Some(following) = &self.following {
            following.hurry();
        }
    }

    /// The error of a call where no connection comes about, with the reason.
    fn no_connection(&self) -> Option<RedisError> {
        let refusals = self.lock_refusals();
        let url = &self.settings.display_url;
        refusals.last().map(|why| RedisError::unreachable(format!("no connection to {url}: {why}")))
    }

    /// No connection has come about, for this reason.
    fn refused(&self, error: RedisError) {
        let is_news = self.lock_refusals().note(&error, Instant::now());
        // The caller that opens the connection reports it itself, and of two connections one is enough.
        if is_news && self.role == Role::Commands && *self.established.borrow() > 0 {
            let redis = &self.settings.display_url;
            tracing::warn!(redis, err = error.text, "redis handshake failed");
        }
        // Without a listener the error is dropped: the connection is open, and calls say why they fail.
        drop(self.errors.send(error));
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
        let Some(PasswordFile { setting, path }) = self.settings.password_file.clone() else { return Ok(false) };
        let reading =
            tokio::task::spawn_blocking(move || read_password(&path).map_err(|why| format!("{setting} {path} {why}")));
        let read = reading.await.map_err(|error| error.to_string())??;
        let mut password = self.lock_password();
        let is_new = password.as_ref().is_none_or(|known| known.expose() != read);
        if is_new {
            *password = Some(Secret::new(read));
        }
        Ok(is_new)
    }

    fn lock_live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_place(&self) -> MutexGuard<'_, Option<HostPort>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.hurry();
        self.refused(error);
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
        if live.as_ref().is_some_and(|live| live.client().id() == client.id()) {
            self.note_loss();
            drop(live);
            self.hurry();
        }
    }
}

/// Hands on what the sentinels say, for as long as the connection is there.
async fn follow(
    connection: Weak<Shared>,
    mut masters: watch::Receiver<Option<Master>>,
    mut troubles: watch::Receiver<Option<RedisError>>,
) {
    masters.mark_changed();
    loop {
        tokio::select! {
            changed = masters.changed() => {
                let Some(connection) = connection.upgrade().filter(|_| changed.is_ok()) else { return };
                let master = masters.borrow_and_update().clone();
                if let Some(master) = master {
                    connection.leads_to(&master);
                }
            }
            Ok(()) = troubles.changed() => {
                let Some(connection) = connection.upgrade() else { return };
                let trouble = troubles.borrow_and_update().clone();
                if let Some(trouble) = trouble {
                    connection.leads_nowhere(trouble);
                }
            }
        }
    }
}

/// Redis refuses names with white space or control characters.
fn client_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect()
}
