//! One client of the library, with the task that drives it. A connection has one at a time and never starts one again:
//! a second `init` of a client that still has a task can leave it without a way to its connection for ever.

use std::sync::Weak;
use std::time::Duration;

use fred::prelude::*;
use fred::types::ConnectHandle;
use fred::types::config::{Config as ClientConfig, Server, ServerConfig, TcpConfig, TlsConnector};
use socket2::TcpKeepalive;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::RedisError;
use super::config::{Address, Config, without_brackets};
use crate::secret::Secret;

/// How long connecting and its handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Commands waiting in the client while the server does not answer; beyond this they fail at once.
const WAITING_COMMANDS_MAX: usize = 1_024;
/// The wait before connecting grows by a step: the first try is nearly immediate, because a new client often follows one that
/// was dropped on purpose, and there are several within the 300 ms after which a replica without connections is declared dead.
const RECONNECT_STEP_MS: u32 = 15;
const RECONNECT_MAX_MS: u32 = 1_000;
/// Replicas that lost a server at the same moment do not come back at the same moment.
const RECONNECT_JITTER_MS: u32 = 10;

/// A client that connects, and reconnects, until this is dropped; then its socket is closed and its calls fail.
#[derive(Debug)]
pub(super) struct Live {
    client: Client,
    task: ConnectHandle,
    watcher: JoinHandle<()>,
    born: Instant,
}

/// The connection that a client belongs to: it is told what becomes of each try to connect.
pub(super) trait Owner: Send + Sync + 'static {
    /// A try failed; the client goes on trying, unless its owner replaces it.
    fn try_failed(&self, error: Error) -> impl Future<Output = ()> + Send;

    /// The client has a connection.
    fn established(&self, client: &Client);

    /// The client has lost its connection; it tries to get another.
    fn lost(&self, client: &Client);
}

impl Live {
    /// Begins to connect.
    pub(super) fn start(client: Client, owner: Weak<impl Owner>) -> Self {
        // Before the first try: a failed handshake (wrong password, say) appears nowhere else.
        let (errors, connects) = (client.error_rx(), client.reconnect_rx());
        let task = client.connect();
        let watcher = tokio::spawn(watch(errors, connects, client.clone(), owner));
        Self { client, task, watcher, born: Instant::now() }
    }

    /// The client. Calls on it fail once this is dropped.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// How long ago it was made.
    pub(super) fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// The client believes that it has a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    /// Its task has ended: no call will ever be answered.
    pub(super) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // The library would keep task and connection for ever.
        self.task.abort();
        self.watcher.abort();
    }
}

/// Tells the owner what becomes of this client's tries to connect.
async fn watch(
    mut errors: Receiver<(Error, Option<Server>)>,
    mut connects: Receiver<Server>,
    client: Client,
    owner: Weak<impl Owner>,
) {
    loop {
        tokio::select! {
            biased;
            error = errors.recv() => match error {
                Ok(error) => {
                    let Some(owner) = owner.upgrade() else { return };
                    tell(&*owner, &client, error).await;
                }
                Err(RecvError::Lagged(_)) => {
                    let Some(owner) = owner.upgrade() else { return };
                    owner.lost(&client);
                }
                Err(RecvError::Closed) => return,
            },
            connected = connects.recv() => match connected {
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    let Some(owner) = owner.upgrade() else { return };
                    // What came before this connection is told before it: a loss that is told late would be taken for
                    // the loss of this one, and nothing would correct that.
                    loop {
                        match errors.try_recv() {
                            Ok(error) => tell(&*owner, &client, error).await,
                            Err(TryRecvError::Lagged(_)) => owner.lost(&client),
                            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                        }
                    }
                    owner.established(&client);
                }
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// Without a server: a try failed. With one: a connection was lost, and a try follows.
async fn tell(owner: &impl Owner, client: &Client, (error, server): (Error, Option<Server>)) {
    match server {
        None => owner.try_failed(error).await,
        Some(_) => owner.lost(client),
    }
}

/// A client that logs in with this password, which may be newer than the one in `settings`, and whose calls may take this
/// long.
pub(super) fn build(settings: &Config, timeout: Duration, password: Option<&Secret>) -> Result<Client, RedisError> {
    let mut config = client_config(settings, password)?;
    if let Some(tls) = &settings.tls {
        config.tls = Some(TlsConnector::from((*tls.config()).clone()).into());
        if let ServerConfig::Centralized { server } = &mut config.server {
            // An IPv6 address has no brackets in a certificate, as it has in a URL.
            server.tls_server_name = Some(without_brackets(&server.host).into());
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
        // A server that no longer knows who we are is told again.
        connection.reconnect_on_auth_error = true;
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
    builder.with_performance_config(|performance| performance.default_command_timeout = timeout);
    // 0 attempts: for ever.
    let mut policy = ReconnectPolicy::new_linear(0, RECONNECT_MAX_MS, RECONNECT_STEP_MS);
    policy.set_jitter(RECONNECT_JITTER_MS);
    builder.set_policy(policy);
    builder.build().map_err(|error| RedisError::from(&error))
}

/// The client's own configuration. It never sees a URL: it would read the system's authorities anew for each that says
/// TLS.
fn client_config(config: &Config, password: Option<&Secret>) -> Result<ClientConfig, RedisError> {
    let server = match &config.address {
        Address::Tcp { host, port } => ServerConfig::new_centralized(host.as_str(), *port),
        Address::Unix(path) => ServerConfig::new_unix_socket(path.as_path()),
        Address::Sentinel { .. } => return Err(RedisError::unreachable("the sentinels have not named a master yet")),
    };
    Ok(ClientConfig {
        server,
        username: config.user.clone(),
        password: password.map(|password| password.expose().to_owned()),
        database: config.database,
        ..ClientConfig::default()
    })
}
