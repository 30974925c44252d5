//! Giving back what we will not start, and leaving the group.

use super::Group;
use super::entry_id::EntryId;
use crate::redis::{RedisError, Value};

impl Group {
    /// Makes entries of ours claimable at once, without counting a delivery; answers how many were given back.
    pub async fn hand_back(&self, ids: &[EntryId]) -> Result<u64, RedisError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let args = ids.iter().map(|id| Value::from(id.to_string()));
        self.call(&self.scripts.hand_back, &[], args).await?.convert()
    }

    /// Marks this replica as gone, gives back whatever its consumer still has, and deletes the consumer where that is
    /// nothing; answers how many entries it had.
    pub async fn leave(&self, about: &str) -> Result<u64, RedisError> {
        self.call(&self.scripts.leave, &[], [Value::from(about)]).await?.convert()
    }
}
