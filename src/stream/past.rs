//! What is known about entries before anything is started, so that what was answered or condemned never runs again, and
//! a suspect never beside others, even after the group was lost and everything is delivered as new.

use super::Group;
use super::entry_id::EntryId;
use crate::redis::packed::Strings;
use crate::redis::{RedisError, Value};

/// What is known about one entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past {
    /// It is settled: acknowledge, and nothing else.
    pub is_settled: bool,
    /// How often a process died with it.
    pub crashes: u64,
    /// How often the start service failed with it.
    pub failures: u64,
}

impl Group {
    /// Asks the ledger and the attempts about these entries, in one call. `ids` are in order, as they were read.
    pub async fn past(&self, ids: &[EntryId]) -> Result<Vec<Past>, RedisError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut strings = Strings::expecting(ids.len() * 20);
        for id in ids {
            strings.push(id.to_string().as_bytes());
        }
        let reply = self.call(&self.scripts.past, ids, [Value::from(strings.into_array()?)]).await?;
        let numbers: Vec<u64> = reply.convert()?;
        if numbers.is_empty() {
            return Ok(vec![Past::default(); ids.len()]);
        }
        if numbers.len() != ids.len() * 3 {
            return Err(RedisError::unexpected("past count"));
        }
        let past = |one: &[u64]| Past { is_settled: one[0] == 1, crashes: one[1], failures: one[2] };
        Ok(numbers.chunks_exact(3).map(past).collect())
    }
}
