//! Counting service failures of an entry, outside the pending list.

use std::time::Duration;

use super::entry_id::EntryId;
use super::{Group, millis};
use crate::redis::RedisError;

/// What an entry has behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// How often a process died with it.
    pub crashes: u64,
    /// How often the start service failed with it.
    pub failures: u64,
    /// How long ago its first delivery that failed was, by the server's clock.
    pub failing_for: Duration,
}

impl Group {
    /// Counts one service failure of an entry that this process got `held_for` ago; nothing where it is not ours.
    pub async fn record_failure(&self, id: EntryId, held_for: Duration) -> Result<Option<Attempts>, RedisError> {
        let reply = self.call(&self.scripts.fail, &[], [id.to_string().into(), millis(held_for)]).await?;
        if reply.is_null() {
            return Ok(None);
        }
        let (crashes, failures, failing_ms): (u64, u64, u64) = reply.convert()?;
        Ok(Some(Attempts { crashes, failures, failing_for: Duration::from_millis(failing_ms) }))
    }
}
