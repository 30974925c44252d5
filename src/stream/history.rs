//! What is known about entries before anything is started, so that what was answered or condemned never runs again, and
//! a suspect never beside others, even after the group was lost and everything is delivered as new.

use super::entry_id::EntryId;
use super::group::{Group, packed};
use crate::redis::RedisError;

/// What is known about one entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// It is settled: acknowledge, and nothing else.
    pub is_settled: bool,
    /// How often a process died with it.
    pub(crate) crashes: u64,
    /// How often the start service failed with it.
    pub failures: u64,
}

impl Group {
    /// Asks the ledger and the attempts about these entries, in one call. `ids` are in order, as they were read.
    pub async fn history(&self, ids: &[EntryId]) -> Result<Vec<History>, RedisError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let reply = self.call(&self.scripts.history, ids, [packed(ids)?]).await?;
        let numbers: Vec<u64> = reply.convert()?;
        if numbers.is_empty() {
            return Ok(vec![History::default(); ids.len()]);
        }
        if numbers.len() != ids.len() * 3 {
            return Err(RedisError::unexpected("history count"));
        }
        let history = |one: &[u64]| History { is_settled: one[0] == 1, crashes: one[1], failures: one[2] };
        Ok(numbers.chunks_exact(3).map(history).collect())
    }
}
