//! Tidying, one run in the fleet per interval: dead consumers, entries that fell out of the group, old ledger buckets,
//! and what the settings allow to be trimmed.

use std::time::Duration;

use super::group::{Member, count, millis};
use crate::redis::RedisError;

/// Entries the orphan walk looks at in one run: a few milliseconds of the server's time.
const WALK_MAX: usize = 1_000;

/// What one run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Consumers removed: empty, and not heard of for consumer-idle.
    pub consumers: u64,
    /// Entries that were neither pending nor settled, put back.
    pub orphans: Vec<String>,
    /// Ledger buckets dropped.
    pub buckets: u64,
    /// The orphan walk has not reached the end yet.
    pub(crate) has_more: bool,
}

impl Member {
    /// One run, if it is due; nothing where another replica has just run.
    pub async fn tidy(
        &self,
        interval: Duration,
        claim_idle: Duration,
        consumer_idle: Duration,
    ) -> Result<Option<Tidied>, RedisError> {
        let args = [
            millis(interval),
            millis(claim_idle),
            millis(consumer_idle),
            millis(self.group.settings.ledger_ttl),
            millis(super::settle::index_within(self.group.settings.ledger_ttl)),
            i64::from(self.group.settings.trim_jobs).into(),
            millis(self.group.settings.results_retention.unwrap_or_default()),
            count(WALK_MAX),
        ];
        let reply = self.call(&self.group.scripts.janitor, &[], args).await?;
        if reply.is_null() {
            return Ok(None);
        }
        let (consumers, orphans, buckets, more): (u64, Vec<String>, u64, u64) = reply.convert()?;
        Ok(Some(Tidied { consumers, orphans, buckets, has_more: more == 1 }))
    }
}
