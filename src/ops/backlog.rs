//! How many entries wait: our own count, because the server's lag is unknown or wrong in ordinary situations.
//!
//! `XINFO GROUPS` of 7.0 answers no lag after an undelivered entry was deleted and for a group that began in the middle,
//! and a wrong one after undelivered entries were trimmed; its `entries-read` stays wrong for ever once the group has
//! passed what was removed. So the counters are believed only where nothing was ever removed, which they prove
//! themselves (`entries-added` is the length). Everything else is decided by where first and last entry lie, or counted.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::View;
use super::look::{GroupFacts, Look, StreamFacts};
use crate::redis::commands::Order;
use crate::redis::{RedisError, Value};
use crate::stream::entry_id::EntryId;

/// Entries that are counted one by one on either side at most, unless told otherwise.
pub const COUNTED_MAX: u64 = 100_000;
/// Entries in one step: Redis serves no other client meanwhile, and a payload may be large.
const PAGE: u64 = 500;
/// How long counting may take.
const WITHIN: Duration = Duration::from_secs(2);

/// How many entries have not been delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// This many.
    pub count: u64,
    /// Or at least this many: false where counting stopped at its bound.
    pub exact: bool,
}

impl Waiting {
    const fn exactly(count: u64) -> Self {
        Self { count, exact: true }
    }

    /// `12`, or `>= 100000`.
    pub fn text(self) -> String {
        if self.exact { self.count.to_string() } else { format!(">= {}", self.count) }
    }
}

/// What can be said without counting.
fn known(stream: &StreamFacts, group: Option<&GroupFacts>, after: EntryId) -> Option<u64> {
    let edge = |id: Option<&String>| id.and_then(|id| id.parse::<EntryId>().ok());
    let (Some(first), Some(last)) = (edge(stream.first.as_ref()), edge(stream.last.as_ref())) else { return Some(0) };
    if last <= after {
        return Some(0);
    }
    if first > after {
        return Some(stream.length);
    }
    let (added, read) = (stream.entries_added?, group?.entries_read?);
    // Nothing was ever deleted or trimmed: then every read has raised the counter by one, and the difference is exact.
    if added != stream.length {
        return None;
    }
    added.checked_sub(read).filter(|waiting| *waiting > 0 && *waiting < stream.length)
}

impl View {
    /// How many entries wait, as of this look; counts at most `counted_max` of them one by one.
    pub async fn waiting(&self, look: &Look, counted_max: u64) -> Result<Waiting, RedisError> {
        let Some(stream) = &look.stream else { return Ok(Waiting::exactly(0)) };
        let after: EntryId = look.after.as_deref().and_then(|id| id.parse().ok()).unwrap_or(EntryId::ZERO);
        if let Some(count) = known(stream, look.group.as_ref(), after) {
            return Ok(Waiting::exactly(count));
        }
        self.count(stream, after, counted_max).await
    }

    /// How many entries wait, about, as far as that can be said without counting.
    pub(super) fn waiting_about(look: &Look) -> Option<u64> {
        let after: EntryId = look.after.as_deref().and_then(|id| id.parse().ok()).unwrap_or(EntryId::ZERO);
        let lag = look.group.as_ref().and_then(|group| group.lag);
        known(look.stream.as_ref()?, look.group.as_ref(), after).or(lag)
    }

    /// Counts from both ends of the stream in turns, and is done when either side is: what waits is what was counted
    /// behind `after`, or the length without what was counted up to it.
    async fn count(&self, stream: &StreamFacts, after: EntryId, counted_max: u64) -> Result<Waiting, RedisError> {
        let end = Instant::now() + WITHIN;
        let mut behind = Side::new(format!("({after}"), stream.last_generated.clone());
        let mut up_to = Side::new("-".to_owned(), after.to_string());
        loop {
            if self.step(&mut behind).await? {
                return Ok(Waiting::exactly(behind.count));
            }
            if !up_to.is_done && self.step(&mut up_to).await? && self.first_entry().await? == stream.first {
                // Nothing was trimmed meanwhile, so the length of then and this count belong together.
                return Ok(Waiting::exactly(stream.length.saturating_sub(up_to.count)));
            }
            if behind.count >= counted_max || Instant::now() >= end {
                return Ok(Waiting { count: behind.count, exact: false });
            }
        }
    }

    /// Counts one page; answers whether the side is done.
    async fn step(&self, side: &mut Side) -> Result<bool, RedisError> {
        let args: Vec<Value> = vec![side.from.as_str().into(), side.to.as_str().into(), PAGE.to_string().into()];
        let reply = self.scripts.count.run(&self.connection, vec![self.keys.jobs.clone()], args).await?;
        let (count, last): (u64, String) = reply.convert()?;
        side.count += count;
        side.is_done = count < PAGE;
        side.from = format!("({last}");
        Ok(side.is_done)
    }

    async fn first_entry(&self) -> Result<Option<String>, RedisError> {
        let entries = self.connection.range(&self.keys.jobs, ("-", "+"), 1, Order::OldestFirst).await?;
        Ok(entries.into_iter().next().map(|entry| entry.id))
    }
}

/// One side of the last-delivered entry.
struct Side {
    from: String,
    to: String,
    count: u64,
    is_done: bool,
}

impl Side {
    fn new(from: String, to: String) -> Self {
        Self { from, to, count: 0, is_done: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(length: u64, added: Option<u64>, first: &str, last: &str) -> StreamFacts {
        StreamFacts {
            length,
            entries_added: added,
            last_generated: last.to_owned(),
            first: Some(first.to_owned()),
            last: Some(last.to_owned()),
        }
    }

    fn of(stream: &StreamFacts, read: Option<u64>, after: u64) -> Option<u64> {
        let group = GroupFacts { entries_read: read, ..GroupFacts::default() };
        known(stream, Some(&group), EntryId { ms: after, seq: 0 })
    }

    #[test]
    fn edges_decide_on_every_version() {
        assert_eq!(of(&StreamFacts::default(), None, 0), Some(0));
        assert_eq!(of(&stream(5, None, "1-0", "9-0"), None, 9), Some(0));
        assert_eq!(of(&stream(5, None, "3-0", "9-0"), None, 2), Some(5));
    }

    #[test]
    fn counters_are_believed_only_where_nothing_was_removed() {
        assert_eq!(of(&stream(10, Some(10), "1-0", "10-0"), Some(4), 4), Some(6));
        assert_eq!(of(&stream(9, Some(10), "1-0", "10-0"), Some(4), 4), None, "something was deleted");
        assert_eq!(of(&stream(10, Some(10), "1-0", "10-0"), None, 4), None, "the group began in the middle");
        assert_eq!(of(&stream(10, None, "1-0", "10-0"), None, 4), None, "6.2 has no counters");
        assert_eq!(of(&stream(10, Some(10), "1-0", "10-0"), Some(0), 4), None, "first was delivered, so 0 is a lie");
        assert_eq!(of(&stream(10, Some(10), "1-0", "10-0"), Some(11), 4), None, "more read than appended is a lie");
    }
}
