//! Connections within a time limit: operators wait for an answer, not for a server to come up.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::redis::{Config, Connection, Kind, RedisError, Role};

/// How long a connection may take before `on_slow` is told.
const SLOW: Duration = Duration::from_secs(1);

/// What is told of a try that failed.
pub(crate) type Report = Box<dyn FnMut(&RedisError) + Send>;

/// Connects within `limit`; the error is the last thing that went wrong. Wrong credentials end it at once.
pub async fn connect(
    settings: &Config,
    name: &str,
    limit: Duration,
    on_slow: impl FnOnce(),
) -> Result<Connection, RedisError> {
    let open = |report: Report| Connection::open(settings, Role::Commands, name, report);
    open_within(limit, open, on_slow).await
}

/// Opens whatever reports each failed try and goes on for ever, but within `limit`.
pub(crate) async fn open_within<T, F>(
    limit: Duration,
    open: impl FnOnce(Report) -> F,
    on_slow: impl FnOnce(),
) -> Result<T, RedisError>
where
    F: Future<Output = Result<T, RedisError>>,
{
    let (tell, mut told) = mpsc::unbounded_channel();
    let opening = open(Box::new(move |error| {
        // The receiver is gone once the outcome is decided.
        drop(tell.send(error.clone()));
    }));
    let mut opening = std::pin::pin!(opening);
    let began = Instant::now();
    let mut on_slow = Some(on_slow);
    let mut last = RedisError::unreachable("no answer");
    loop {
        tokio::select! {
            opened = &mut opening => return opened,
            Some(error) = told.recv() => {
                if error.kind == Kind::Denied {
                    return Err(error);
                }
                last = error;
            }
            () = sleep_until(began + limit) => return Err(last),
            () = sleep_until(began + SLOW), if on_slow.is_some() => {
                if let Some(on_slow) = on_slow.take() {
                    on_slow();
                }
            }
        }
    }
}

/// Bounds any conversation with Redis.
pub(crate) async fn within<T>(
    limit: Duration,
    conversation: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    match tokio::time::timeout(limit, conversation).await {
        Ok(answer) => answer,
        Err(_) => Err(RedisError::unreachable(format!("no answer within {}", humantime::format_duration(limit)))),
    }
}
