//! Giving back what we will not start, and leaving the group.

use super::entry_id::EntryId;
use super::group::{Member, packed};
use super::presence::About;
use crate::redis::{RedisError, Value};

impl Member {
    /// Makes entries of ours claimable at once, without counting a delivery; answers how many were given back.
    pub async fn hand_back(&self, ids: &[EntryId]) -> Result<u64, RedisError> {
        if ids.is_empty() {
            return Ok(0);
        }
        self.call(&self.group.scripts.hand_back, &[], [packed(ids)?]).await?.convert()
    }

    /// Marks this replica as gone, gives back whatever its consumer still has, and deletes the consumer where that is
    /// nothing; answers how many entries it had.
    pub async fn leave(&self, about: &About) -> Result<u64, RedisError> {
        self.call(&self.group.scripts.leave, &[], [Value::from(about.to_json())]).await?.convert()
    }
}
