//! How a connection begins: directly, or with those that ask the sentinels.

use std::time::Duration;

use super::config::Config;
use super::connection::{Connection, Role};
use super::error::RedisError;
use super::sentinel::follow;

impl Connection {
    /// Opens a connection; waits for as long as the server does not answer, and tells `on_error` each time it tried.
    /// An error is one that trying again cannot mend. Dropping the future is safe.
    pub async fn open(
        settings: &Config,
        role: Role,
        name: &str,
        on_error: impl FnMut(&RedisError),
    ) -> Result<Self, RedisError> {
        Self::start(settings, role, name)?.opened(on_error).await
    }

    /// Begins to connect, and goes on for ever.
    pub(super) fn start(settings: &Config, role: Role, name: &str) -> Result<Self, RedisError> {
        Self::start_with(settings, role, name, follow(settings)?)
    }

    /// Another connection like this one, within `limit`: tells whether it is only this one that fails.
    pub(crate) async fn fresh(&self, limit: Duration) -> Result<Self, RedisError> {
        let (settings, role, name) = self.terms();
        let opened = Self::open(settings, role, name, |_| {});
        tokio::time::timeout(limit, opened)
            .await
            .unwrap_or_else(|_| Err(RedisError::unreachable("no connection within the time limit")))
    }
}
