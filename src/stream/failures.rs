//! Counting service failures of an entry, outside the pending list.

use std::time::Duration;

use super::entry_id::EntryId;
use super::group::{Member, millis};
use crate::redis::RedisError;

/// What an entry has behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// How often a process died with it.
    pub(crate) crashes: u64,
    /// How often the start service failed with it.
    pub failures: u64,
    /// How long processes have had it in hand since its first failure, by their own clocks.
    pub(crate) failing_for: Duration,
}

impl Member {
    /// Counts one service failure of an entry. `passed` is the time since this process got it or recorded its last failure.
    /// Answers nothing where the entry is not ours.
    pub async fn record_failure(&self, id: EntryId, passed: Duration) -> Result<Option<Attempts>, RedisError> {
        let reply = self.call(&self.group.scripts.record_failure, &[], [id.to_string().into(), millis(passed)]).await?;
        if reply.is_null() {
            return Ok(None);
        }
        let (crashes, failures, failing_ms): (u64, u64, u64) = reply.convert()?;
        Ok(Some(Attempts { crashes, failures, failing_for: Duration::from_millis(failing_ms) }))
    }
}
