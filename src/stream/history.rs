//! What is known about entries before anything is started, so that what was answered or condemned never runs again, and
//! a suspect never beside others, nor what an operator has cancelled, even after the group was lost and everything is delivered as new.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::entry_id::EntryId;
use super::group::{Group, packed};
use super::mark::{Cancel, cancelled_of};
use crate::redis::RedisError;

/// What is known about one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// It is settled: acknowledge, and nothing else.
    pub is_settled: bool,
    /// How often a process died with it.
    pub(crate) crashes: u64,
    /// How often the start service failed with it.
    pub failures: u64,
    /// An operator wants it cancelled.
    pub(crate) cancel: Option<Arc<Cancel>>,
}

impl Group {
    /// Asks the ledger and the attempts about these entries, in one call. `ids` are in order, as they were read.
    pub async fn history(&self, ids: &[EntryId]) -> Result<Vec<History>, RedisError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let reply = self.call(&self.scripts.history, ids, [packed(ids)?]).await?;
        if reply.is_null() {
            return Ok(vec![History::default(); ids.len()]);
        }
        let (numbers, cancelled): (Vec<u64>, Vec<Bytes>) = reply.convert()?;
        if numbers.len() != ids.len() * 3 {
            return Err(RedisError::unexpected("history count"));
        }
        let mut cancelled: HashMap<EntryId, Cancel> = cancelled_of(&cancelled)?.into_iter().collect();
        let history = |(one, id): (&[u64], &EntryId)| History {
            is_settled: one[0] == 1,
            crashes: one[1],
            failures: one[2],
            cancel: cancelled.remove(id).map(Arc::new),
        };
        Ok(numbers.chunks_exact(3).zip(ids).map(history).collect())
    }
}
