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
    /// How long ago its holder last touched it.
    pub(crate) idle_ms: u64,
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

fn held((id, owner, idle_ms, deliveries, has_payload, game): Row, now_ms: u64) -> Held {
    let game = String::from_utf8_lossy(&game).trim().to_owned();
    let appended = id.parse::<EntryId>().map_or(now_ms, |id| id.ms);
    Held {
        game_id: Some(game).filter(|game| !game.is_empty()),
        replica: String::from_utf8_lossy(&owner).into_owned(),
        idle_ms,
        deliveries,
        age_ms: now_ms.saturating_sub(appended),
        has_payload: has_payload == 1,
        id,
    }
}
