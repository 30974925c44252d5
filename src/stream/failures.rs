//! Counting service failures of an entry, outside the pending list, and withdrawing what was the host's fault.

use std::time::Duration;

use super::entry_id::EntryId;
use super::group::{Member, millis};
use crate::redis::packed::Strings;
use crate::redis::{RedisError, Value};

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

    /// Withdraws so many counted failures of each of these entries, as far as they are pending and have so many. Answers how
    /// many were withdrawn in all.
    pub async fn withdraw_failures(&self, counts: &[(EntryId, u64)]) -> Result<u64, RedisError> {
        if counts.is_empty() {
            return Ok(0);
        }
        let mut strings = Strings::expecting(counts.len() * 24);
        for (id, times) in counts {
            strings.push(id.to_string().as_bytes());
            strings.push(times.to_string().as_bytes());
        }
        self.call(&self.group.scripts.withdraw_failures, &[], [Value::from(strings.into_array()?)]).await?.convert()
    }
}
