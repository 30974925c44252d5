//! The connection: made when it is first needed and again after it broke, every call bounded in time.

use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bollard::Docker;

use super::abilities::{Abilities, Described};
use super::address::Address;
use super::classify::{Call, Failure, classify};
use crate::engine::EngineError;
use crate::tls::{Budget, Tls, docker_client, variant};

/// How long each kind of call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Ping, inspect, logs.
    pub look: Duration,
    /// Create.
    pub create: Duration,
    /// Start and unpause.
    pub start: Duration,
    /// Remove, with the wait for its end.
    pub remove: Duration,
    /// A whole pull.
    pub pull: Duration,
    /// A pull without any sign of progress.
    pub pull_silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(10),
            create: Duration::from_secs(30),
            start: Duration::from_secs(60),
            remove: Duration::from_secs(30),
            pull: Duration::from_secs(600),
            pull_silence: Duration::from_secs(120),
        }
    }
}

/// The client library's own limit ends with the response headers and knows only whole seconds. It is never the one
/// that fires: [`Limits`] cover the whole answer.
const LIBRARY_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Hands out a connected client.
///
/// A client has agreed with the engine on an API version; so it is made late, and anew after a lost connection, and an
/// engine that comes up later is found.
#[derive(Debug)]
pub(super) struct Client {
    address: Address,
    /// Only of an engine behind TCP.
    tls: Option<Tls>,
    ready: Mutex<Option<Connected>>,
}

/// A client that has agreed with the engine on an API version.
#[derive(Debug, Clone)]
struct Connected {
    docker: Docker,
    /// Asked when it is first needed.
    abilities: Arc<OnceLock<Abilities>>,
}

impl Client {
    /// No connection is made yet.
    pub(super) fn new(address: Address, tls: Option<Tls>) -> Self {
        Self { address, tls, ready: Mutex::new(None) }
    }

    /// Whether the engine is on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.address.is_local()
    }

    /// Runs one call about one thing within its limit. A call that failed or ran out of time may have taken effect all
    /// the same.
    pub(super) async fn call<T, E, F>(
        &self,
        what: &str,
        limit: Duration,
        run: impl FnOnce(Docker) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, E>>,
        Failure: From<E>,
    {
        self.call_within(&Budget::answer(), what, limit, run).await
    }

    /// The same, with another budget for each of its answers.
    pub(super) async fn call_within<T, E, F>(
        &self,
        budget: &Budget,
        what: &str,
        limit: Duration,
        run: impl FnOnce(Docker) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, E>>,
        Failure: From<E>,
    {
        let carried = budget.clone();
        let within = async {
            let docker = self.connected().await?.docker.with_request_modifier(move |mut request| {
                request.extensions_mut().insert(carried.clone());
                request
            });
            run(docker).await.map_err(Failure::from)
        };
        let bounded = tokio::time::timeout(limit, within);
        let mut answer = bounded.await.unwrap_or_else(|_| Err(timed_out(what, limit)));
        if let (Err(failure), Some(text)) = (&mut answer, budget.exceeded()) {
            *failure = Failure::TooLong(text);
        }
        if let Err(Failure::Unreachable(text)) = &mut answer
            && let Some(explained) = self.tls.as_ref().and_then(|tls| tls.explain(text))
        {
            *text = explained;
        }
        if let Err(failure @ Failure::Unreachable(_)) = &answer {
            tracing::debug!(engine = %self.address, what, error = ?failure, "engine connection lost");
            self.forget();
        }
        answer
    }

    /// What the engine can do, as it said when it was first asked over this connection.
    pub(super) async fn abilities(&self, limit: Duration) -> Result<Abilities, EngineError> {
        let connecting = tokio::time::timeout(limit, self.connected()).await;
        let connected = connecting.unwrap_or_else(|_| Err(timed_out("info", limit)));
        let connected = connected.map_err(|failure| classify(Call::Other, &failure))?;
        if let Some(known) = connected.abilities.get() {
            return Ok(*known);
        }
        let answer = self.call("info", limit, |docker| async move { docker.info().await }).await;
        Ok(match Described::of(answer)? {
            Described::ForGood(abilities) => *connected.abilities.get_or_init(|| abilities),
            Described::NotNow => Abilities::default(),
        })
    }

    async fn connected(&self) -> Result<Connected, Failure> {
        if let Some(connected) = self.ready().clone() {
            return Ok(connected);
        }
        let seconds = LIBRARY_TIMEOUT.as_secs();
        let made = docker_client(&self.address.to_string(), self.tls.as_ref(), seconds);
        // An engine older than the library refuses every call made with the library's own version.
        let docker = made?.negotiate_version().await.map_err(|error| match Failure::from(error) {
            // Its status is about this question, and not about the call that follows.
            Failure::Status { status, text } => Failure::Unreachable(format!("no API version, but {status}: {text}")),
            failure => failure,
        })?;
        let connected = Connected { docker, abilities: Arc::default() };
        *self.ready() = Some(connected.clone());
        Ok(connected)
    }

    /// The next call connects anew. The engine may come back as another version.
    fn forget(&self) {
        *self.ready() = None;
    }

    fn ready(&self) -> std::sync::MutexGuard<'_, Option<Connected>> {
        // What is in there is replaced whole, so a panic elsewhere cannot have left it half changed.
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The failure of a call that had no answer within its limit.
pub(super) fn timed_out(what: &str, limit: Duration) -> Failure {
    Failure::TimedOut(format!("no answer to {what} within {limit:?}"))
}

impl From<bollard::errors::Error> for Failure {
    fn from(error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self::Status { status: status_code, text: message }
            }
            Error::DockerStreamError { error } => Self::Stream(error),
            Error::RequestTimeoutError => Self::TimedOut("no answer".to_owned()),
            Error::SocketNotFoundError(path) => Self::Unreachable(format!("no socket at {path}")),
            Error::HyperLegacyError { .. } | Error::HyperResponseError { .. } | Error::IOError { .. } => {
                Self::Unreachable(with_causes(&error))
            }
            _ => Self::Garbled(with_causes(&error)),
        }
    }
}

/// The error and what caused it: the outermost text of a connection error names neither.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    if let Some(variant) = variant(error) {
        text.push_str(": ");
        text.push_str(&variant);
    }
    text
}
