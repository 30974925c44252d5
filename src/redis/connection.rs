//! Connections. One process has two: one that blocks in XREADGROUP and one for everything else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use fred::prelude::*;
use fred::types::config::{Server, ServerConfig, TcpConfig, TlsConnector};
use fred::types::{ClientUnblockFlag, ConnectHandle, CustomCommand};
use socket2::TcpKeepalive;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::{Kind, RedisError};
use crate::settings::RedisSettings;
use crate::tls::Tls;

/// What a connection is for; its time limits follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Blocks in XREADGROUP for at most this long, and does nothing else: whatever stood behind a blocked read on
    /// the same connection would wait with it.
    Reader(Duration),
    /// Every other command.
    Commands,
    /// Replies of any size, which may take this long.
    Bulk(Duration),
}

/// How long a command may take before its answer counts as lost.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// How much longer than BLOCK a blocking read may take. 7.2 and later can restart the BLOCK timer once.
const BLOCK_GRACE: Duration = Duration::from_millis(1_500);
/// How long connecting and its handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Commands waiting in the client while the server does not answer; beyond this they fail at once.
const WAITING_COMMANDS_MAX: usize = 1_024;
/// The wait before reconnecting doubles between these.
const RECONNECT_MIN_MS: u32 = 50;
const RECONNECT_MAX_MS: u32 = 1_000;

/// One connection to Redis. It reconnects by itself for ever; commands fail meanwhile.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    /// After this long an answer counts as lost.
    timeout: Duration,
    router: Arc<Mutex<Router>>,
    /// A replacement is under way: what is sent now would go out on the connection that is being dropped.
    replacing: watch::Sender<bool>,
}

/// The client's routing task, and what is known of the connection behind it.
#[derive(Debug)]
struct Router {
    task: ConnectHandle,
    /// Since when answers have been missing without a break.
    silent_since: Option<Instant>,
    /// When the last replacement was connected.
    replaced_at: Option<Instant>,
    /// Why no encrypted connection came about, until one has: calls fail for no other reason meanwhile, and say only
    /// that there is no connection.
    tls_refusal: Option<String>,
}

/// What is opened anew.
#[derive(Debug, Clone, Copy)]
enum Anew {
    Connection,
    /// The routing task too, and the connection with it.
    Router,
}

/// When the routing task itself may be stuck (in a write to a peer that takes nothing, say) and is replaced too.
const ROUTER_STUCK_AFTER: Duration = Duration::from_secs(5);

impl Connection {
    /// Opens a connection; waits for as long as the server does not answer, and tells `on_error` each time it tried.
    /// Dropping the future is safe.
    pub async fn open(
        settings: &RedisSettings,
        role: Role,
        name: &str,
        mut on_error: impl FnMut(&RedisError),
    ) -> Result<Self, RedisError> {
        let client = build(settings, role)?;
        let tls = settings.tls.as_ref();
        // A failed handshake (wrong password, say) appears nowhere else.
        let mut errors = client.error_rx();
        let connecting = client.clone();
        let mut init = std::pin::pin!(connecting.init());
        let task = loop {
            tokio::select! {
                task = &mut init => break task?,
                Ok((error, _)) = errors.recv() => on_error(&RedisError::from(error).explained(tls)),
            }
        };
        // A name in CLIENT LIST is a courtesy to operators; a server that refuses it changes nothing.
        drop(client.client_setname::<String>(client_name(name)).await);
        let router = Router { task, silent_since: None, replaced_at: None, tls_refusal: None };
        let router = Arc::new(Mutex::new(router));
        if let Some(tls) = tls {
            drop(tokio::spawn(keep_refusals(errors, client.reconnect_rx(), tls.clone(), Arc::downgrade(&router))));
        }
        let timeout = timeout_of(role);
        let (replacing, _) = watch::channel(false);
        Ok(Self { client, timeout, router, replacing })
    }

    /// The client, for this module's own files and typed commands beside it.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Has the connection been re-established since? Every message is one reconnection.
    pub fn reconnections(&self) -> Receiver<Server> {
        self.client.reconnect_rx()
    }

    /// Turns a client error into ours. A lost answer condemns the connection: the client itself would keep a silent
    /// one for ever.
    pub(crate) fn failed(&self, error: Error) -> RedisError {
        if *error.kind() == ErrorKind::Timeout {
            self.replace();
        }
        let mut error = RedisError::from(error);
        if error.kind == Kind::Unreachable
            && let Some(refusal) = &self.lock_router().tls_refusal
        {
            error.text.clone_from(refusal);
        }
        error
    }

    /// Drops the connection and opens a new one in the background. Whatever waits on it fails now, or is not sent.
    pub fn replace(&self) {
        let now = Instant::now();
        let mut router = self.lock_router();
        let silent_for = now.duration_since(*router.silent_since.get_or_insert(now));
        if silent_for >= ROUTER_STUCK_AFTER {
            // Once per stretch of silence.
            router.silent_since = Some(now);
            router.task.abort();
            drop(router);
            self.open_anew(Anew::Router);
            return;
        }
        // An answer that is missing now may have been asked for before the last replacement.
        let is_old_news = router.replaced_at.is_some_and(|at| now.duration_since(at) < self.timeout);
        drop(router);
        if !is_old_news && !*self.replacing.borrow() {
            self.open_anew(Anew::Connection);
        }
    }

    fn open_anew(&self, anew: Anew) {
        self.replacing.send_replace(true);
        let (client, router, replacing) = (self.client.clone(), Arc::clone(&self.router), self.replacing.clone());
        drop(tokio::spawn(async move {
            // Both return only once connected.
            let task = match anew {
                Anew::Connection => client.force_reconnection().await.err().and(None),
                Anew::Router => client.init().await.ok(),
            };
            {
                let mut router = router.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(task) = task {
                    router.task = task;
                    router.silent_since = None;
                }
                router.replaced_at = Some(Instant::now());
            }
            replacing.send_replace(false);
        }));
    }

    /// Waits for a replacement that is under way, for a moment.
    pub(crate) async fn usable(&self) -> Result<(), RedisError> {
        if !*self.replacing.borrow() {
            return Ok(());
        }
        let mut replacing = self.replacing.subscribe();
        let replaced = replacing.wait_for(|replacing| !replacing);
        match tokio::time::timeout(CONNECT_TIMEOUT, replaced).await {
            Ok(_) => Ok(()),
            Err(_) => Err(RedisError { kind: Kind::Unreachable, text: "the connection is being replaced".to_owned() }),
        }
    }

    /// The server has answered.
    pub(crate) fn answered(&self) {
        self.lock_router().silent_since = None;
    }

    fn lock_router(&self) -> MutexGuard<'_, Router> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one command given as words, the command's name first. For what no typed call exists for.
    pub async fn raw(&self, words: &[&str]) -> Result<Value, RedisError> {
        let Some((name, arguments)) = words.split_first() else {
            return Err(RedisError::unexpected("an empty command"));
        };
        self.usable().await?;
        let command = CustomCommand::new((*name).to_owned(), None::<u16>, false);
        let arguments: Vec<Value> = arguments.iter().map(|&word| word.into()).collect();
        self.client.custom(command, arguments).await.map_err(|error| self.failed(error))
    }

    /// Makes a blocked read return now, with what it has or with nothing.
    pub async fn unblock(&self) {
        // An error says that nothing was blocked.
        drop(self.client.unblock_self(Some(ClientUnblockFlag::Timeout)).await);
    }
}

/// Notes each handshake that fails while the client reconnects, until one succeeds. Ends with the connection.
async fn keep_refusals(
    mut errors: Receiver<(Error, Option<Server>)>,
    mut reconnections: Receiver<Server>,
    tls: Tls,
    router: Weak<Mutex<Router>>,
) {
    loop {
        let refusal = tokio::select! {
            error = errors.recv() => match error {
                Ok((error, _)) => match tls.explain(error.details()) {
                    Some(refusal) => Some(refusal),
                    None => continue,
                },
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
            reconnected = reconnections.recv() => match reconnected {
                Ok(_) | Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => return,
            },
        };
        let Some(router) = router.upgrade() else { return };
        let mut router = router.lock().unwrap_or_else(PoisonError::into_inner);
        // Said once, although it is met with every attempt.
        if let Some(refusal) = refusal.as_ref().filter(|&refusal| router.tls_refusal.as_ref() != Some(refusal)) {
            tracing::warn!(err = refusal, "redis handshake failed");
        }
        router.tls_refusal = refusal;
    }
}

fn build(settings: &RedisSettings, role: Role) -> Result<Client, RedisError> {
    // The client would read the system's authorities anew for each URL that says TLS; it is told of TLS below.
    let url = settings.url.expose();
    let unencrypted = url.replacen("rediss://", "redis://", 1).replacen("valkeys://", "valkey://", 1);
    let mut config = Config::from_url(if settings.tls.is_some() { &unencrypted } else { url })?;
    if let Some(tls) = &settings.tls {
        config.tls = Some(TlsConnector::from((*tls.config()).clone()).into());
        if let ServerConfig::Centralized { server } = &mut config.server {
            // An IPv6 address stands in a certificate without the brackets it has in a URL.
            server.tls_server_name = Some(server.host.trim_matches(['[', ']']).into());
        }
    }
    // Keep trying when the server is down at start.
    config.fail_fast = false;
    let mut builder = Builder::from_config(config);
    builder.with_connection_config(|connection| {
        // Writes are never re-sent behind our back: every retry is ours, after the fence.
        connection.max_command_attempts = 1;
        connection.connection_timeout = CONNECT_TIMEOUT;
        connection.internal_command_timeout = CONNECT_TIMEOUT;
        connection.max_command_buffer_len = WAITING_COMMANDS_MAX;
        connection.tcp = TcpConfig {
            nodelay: Some(true),
            // Together they notice a peer that is gone, whether we are reading or writing.
            user_timeout: Some(Duration::from_secs(3)),
            keepalive: Some(
                TcpKeepalive::new()
                    .with_time(Duration::from_secs(3))
                    .with_interval(Duration::from_secs(1))
                    .with_retries(2),
            ),
            ..TcpConfig::default()
        };
    });
    let timeout = timeout_of(role);
    builder.with_performance_config(|performance| performance.default_command_timeout = timeout);
    // 0 attempts: for ever.
    builder.set_policy(ReconnectPolicy::new_exponential(0, RECONNECT_MIN_MS, RECONNECT_MAX_MS, 2));
    Ok(builder.build()?)
}

fn timeout_of(role: Role) -> Duration {
    match role {
        Role::Reader(block) => block + BLOCK_GRACE,
        Role::Commands => COMMAND_TIMEOUT,
        Role::Bulk(patience) => patience,
    }
}

/// Redis refuses names with white space or control characters.
fn client_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect()
}
