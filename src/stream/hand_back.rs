//! Giving back what we will not start, and leaving the group.

use super::entry_id::EntryId;
use super::group::{Member, packed};
use super::presence::About;
use crate::redis::{RedisError, Value};

/// What a replica that left had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Entries that were still pending for it.
    pub entries: u64,
    /// Crashes that were counted when it was declared dead, and taken back.
    pub taken_back: u64,
}

impl Member {
    /// Makes entries of ours claimable at once, without counting a delivery; answers how many were given back.
    pub async fn hand_back(&self, ids: &[EntryId]) -> Result<u64, RedisError> {
        self.hand_back_and(ids, true).await
    }

    /// The same; the next sweep goes on from where the last one ended, so that a replica that asks again is given others first.
    pub async fn pass_on(&self, ids: &[EntryId]) -> Result<u64, RedisError> {
        self.hand_back_and(ids, false).await
    }

    async fn hand_back_and(&self, ids: &[EntryId], rewinds: bool) -> Result<u64, RedisError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let args = [packed(ids)?, i64::from(rewinds).into()];
        self.call(&self.group.scripts.hand_back, &[], args).await?.convert()
    }

    /// Marks this replica as gone, gives back whatever its consumer still has, and deletes the consumer where that is
    /// nothing. One that was declared dead leaves too.
    pub async fn leave(&self, about: &About) -> Result<Left, RedisError> {
        let reply = self.call(&self.group.scripts.leave, &[], [Value::from(about.to_json())]).await?;
        let (entries, taken_back) = reply.convert()?;
        Ok(Left { entries, taken_back })
    }
}
