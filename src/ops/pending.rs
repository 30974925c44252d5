//! What replicas hold: the group's pending list, each entry with its game.

use bytes::Bytes;
use serde::Serialize;

use super::{SCHEMA_VERSION, View};
use crate::redis::{RedisError, Value};
use crate::stream::entry_id::EntryId;

/// Bytes of a game id that are shown; a valid one is far shorter.
const GAME_MAX: usize = 256;
/// Entries in one step of the server.
const PAGE: usize = 200;

/// One entry that a consumer holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Held {
    /// Its id.
    pub(crate) id: String,
    /// Its game; none where the payload is gone or names none.
    pub(crate) game_id: Option<String>,
    /// Who holds it.
    pub(crate) replica: String,
    /// How long ago its holder last touched it; not longer than it exists.
    pub(crate) idle_ms: u64,
    /// Its holder has given it back: the next free replica takes it.
    pub(crate) is_given_back: bool,
    /// How often it was delivered.
    pub(crate) deliveries: u64,
    /// How long ago it was appended.
    pub(crate) age_ms: u64,
    /// Its payload is still in the stream.
    pub(crate) has_payload: bool,
}

/// The oldest of them, as JSON shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Pending {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// How many there are in all.
    pub(crate) total: u64,
    /// The oldest first.
    pub(crate) pending: Vec<Held>,
}

/// A clock that was set by less than this does not make an entry look given back.
const CLOCK_STEP_MS: u64 = 60_000;

type Row = (String, Bytes, u64, u64, u64, Bytes);

impl View {
    /// The oldest pending entries, at most `limit`.
    pub(crate) async fn pending(&self, limit: usize) -> Result<Pending, RedisError> {
        let look = self.look().await?;
        let mut answer = Pending {
            schema_version: SCHEMA_VERSION,
            at_ms: look.now_ms,
            total: look.pending.count,
            pending: Vec::new(),
        };
        if look.group.is_none() {
            return Ok(answer);
        }
        let mut from = "-".to_owned();
        while answer.pending.len() < limit {
            let page = PAGE.min(limit - answer.pending.len());
            let args: Vec<Value> = vec![
                self.group.as_str().into(),
                from.as_str().into(),
                page.to_string().into(),
                GAME_MAX.to_string().into(),
            ];
            let reply = self.scripts.pending.run(&self.connection, vec![self.keys.jobs.clone()], args).await?;
            let (now_ms, rows): (u64, Vec<Row>) = reply.convert()?;
            let is_last = rows.len() < page;
            if let Some(last) = rows.last() {
                from = format!("({}", last.0);
            }
            answer.pending.extend(rows.into_iter().map(|row| held(row, now_ms)));
            if is_last {
                break;
            }
        }
        Ok(answer)
    }
}

/// How long an entry is idle, and whether it was given back: the fleet writes an idle time then that makes every replica claim it,
/// longer than young entries exist.
pub(super) fn idle_of(idle_ms: u64, appended_ms: u64, now_ms: u64) -> (u64, bool) {
    // The clock may have gone back since it was appended.
    let age_ms = now_ms.checked_sub(appended_ms);
    let is_given_back = age_ms.is_some_and(|age_ms| idle_ms > age_ms.saturating_add(CLOCK_STEP_MS));
    (age_ms.map_or(idle_ms, |age_ms| idle_ms.min(age_ms)), is_given_back)
}

fn held((id, owner, idle_ms, deliveries, has_payload, game): Row, now_ms: u64) -> Held {
    let game = String::from_utf8_lossy(&game).trim().to_owned();
    let appended = id.parse::<EntryId>().map_or(now_ms, |id| id.ms);
    let (idle_ms, is_given_back) = idle_of(idle_ms, appended, now_ms);
    Held {
        game_id: Some(game).filter(|game| !game.is_empty()),
        replica: String::from_utf8_lossy(&owner).into_owned(),
        idle_ms,
        is_given_back,
        deliveries,
        age_ms: now_ms.saturating_sub(appended),
        has_payload: has_payload == 1,
        id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_idle_no_longer_than_it_exists() {
        let now = 1_000_000;
        assert_eq!(idle_of(3_600_000, now - 9_000, now), (9_000, true));
        assert_eq!(idle_of(5_000, now - 9_000, now), (5_000, false));
        // The clock was set by a second, or the id is ahead of it.
        assert_eq!(idle_of(9_500, now - 9_000, now), (9_000, false));
        assert_eq!(idle_of(5_000, now + 9_000, now), (5_000, false));
    }
}
