//! The fleet in one look: facts that were all true in the same moment.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::Deserialize;

use super::View;
use crate::redis::{RedisError, Value};
use crate::stream::entry_id::EntryId;
use crate::stream::pause::Pause;

/// What there is, as the server tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Look {
    /// The server's clock, Unix milliseconds.
    pub(crate) now_ms: u64,
    /// The type of every key of ours, `none` where it does not exist.
    pub(crate) types: BTreeMap<String, String>,
    /// Outcomes in the results stream.
    pub(crate) results: u64,
    /// Dead letters.
    pub(crate) dead: u64,
    /// Streams that have used the largest possible id.
    pub(crate) exhausted: Vec<String>,
    /// The legacy offset.
    pub(crate) mirror: Option<String>,
    /// What the fleet last wrote to it.
    pub(crate) shadow: Option<String>,
    /// The id up to which every entry is known to be answered.
    pub(crate) verified: Option<String>,
    /// Presence records by consumer name.
    pub(crate) replicas: BTreeMap<String, String>,
    /// What replicas say of jobs that back off, by consumer name.
    pub(crate) open: BTreeMap<String, OpenFacts>,
    /// The fields of the pause.
    pub(crate) paused: Option<HashMap<String, String>>,
    /// The jobs stream.
    pub(crate) stream: Option<StreamFacts>,
    /// The group.
    pub group: Option<GroupFacts>,
    /// Other groups of the jobs stream; a bounded number.
    pub(crate) other_groups: Vec<String>,
    /// Entries after this one have not been delivered.
    pub after: Option<String>,
    /// The first of them.
    pub(crate) oldest_waiting: Option<String>,
    /// The pending list.
    pub(crate) pending: PendingFacts,
}

/// What one replica says of jobs that back off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct OpenFacts {
    /// When it said so, by the server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// How many.
    pub(crate) backing_off: u64,
    /// How long from then until the first is tried again.
    pub(crate) next_in_ms: Option<u64>,
}

/// The jobs stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct StreamFacts {
    /// Entries in it.
    pub(crate) length: u64,
    /// Entries ever appended; none before 7.0.
    pub(crate) entries_added: Option<u64>,
    /// The largest id it ever had.
    pub(crate) last_generated: String,
    /// Its first entry.
    pub(crate) first: Option<String>,
    /// Its last entry.
    pub(crate) last: Option<String>,
}

/// The group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GroupFacts {
    /// Its last-delivered id.
    pub(crate) delivered: String,
    /// Entries ever read, where the server believes to know.
    pub(crate) entries_read: Option<u64>,
    /// The server's own lag, which may be unknown or wrong.
    pub lag: Option<u64>,
}

/// The pending list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct PendingFacts {
    /// How many.
    pub(crate) count: u64,
    /// By consumer.
    pub(crate) by: BTreeMap<String, u64>,
    /// How many no replica has in hand: given back, or not touched for an hour. Of more than a thousand a thousand.
    pub(crate) given_back: u64,
    /// The smallest id.
    pub(crate) oldest: Option<String>,
    /// The largest id that exists in the stream below the oldest pending one.
    pub(crate) below: Option<String>,
}

/// Where the mirror must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watermark {
    /// Exactly here.
    At(EntryId),
    /// From the first, which is the largest id that exists below the second, to anywhere before the second, which is
    /// pending: no entry lies between the two.
    Between(EntryId, EntryId),
    /// Anywhere before this pending entry: nothing exists below it.
    Before(EntryId),
}

impl View {
    /// Looks.
    pub async fn look(&self) -> Result<Look, RedisError> {
        let mut all = self.keys.listed();
        all.push(self.keys.paused.clone());
        let args: Vec<Value> = vec![self.group.as_str().into()];
        let json: Bytes = self.scripts.look.run(&self.connection, all, args).await?.convert()?;
        // Consumer names and presence records may be any bytes.
        serde_json::from_str(&String::from_utf8_lossy(&json))
            .map_err(|error| RedisError::unexpected(&format!("look: {error}")))
    }
}

impl Look {
    /// The pause that holds this group.
    pub(crate) fn pause(&self, group: &str) -> Option<Pause> {
        Pause::of_fields(self.paused.as_ref()?, group)
    }

    /// Where the mirror must stand; none without a group.
    pub(crate) fn watermark(&self) -> Option<Watermark> {
        let delivered: EntryId = self.group.as_ref()?.delivered.parse().ok()?;
        let Some(oldest) = self.pending.oldest.as_deref().and_then(id_of) else {
            return Some(Watermark::At(delivered));
        };
        Some(match self.pending.below.as_deref().and_then(id_of) {
            Some(below) => Watermark::Between(below, oldest),
            None => Watermark::Before(oldest),
        })
    }

    /// Does the mirror stand where it must? None without a group.
    pub(crate) fn is_mirror_exact(&self) -> Option<bool> {
        let watermark = self.watermark()?;
        let Some(mirror) = self.mirror.as_deref().and_then(id_of) else { return Some(false) };
        Some(match watermark {
            Watermark::At(mark) => mirror == mark,
            Watermark::Between(below, oldest) => (below..oldest).contains(&mirror),
            Watermark::Before(oldest) => mirror < oldest,
        })
    }

    /// How far the last id of the jobs stream is ahead of the server's clock.
    pub(crate) fn id_ahead_ms(&self) -> u64 {
        let last = self.stream.as_ref().and_then(|stream| id_of(&stream.last_generated));
        last.map_or(0, |last| last.ms.saturating_sub(self.now_ms))
    }

    /// How long ago an entry was appended, by its id and the server's clock.
    pub(crate) fn age_ms(&self, id: &str) -> Option<u64> {
        Some(self.now_ms.saturating_sub(id_of(id)?.ms))
    }
}

pub(super) fn id_of(text: &str) -> Option<EntryId> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(delivered: &str, oldest: Option<&str>, below: Option<&str>, mirror: &str) -> Look {
        Look {
            group: Some(GroupFacts { delivered: delivered.to_owned(), ..GroupFacts::default() }),
            pending: PendingFacts {
                oldest: oldest.map(str::to_owned),
                below: below.map(str::to_owned),
                ..PendingFacts::default()
            },
            mirror: Some(mirror.to_owned()),
            ..Look::default()
        }
    }

    #[test]
    fn the_mirror_is_exact_at_the_watermark_and_nowhere_else() {
        assert_eq!(look("9-0", None, None, "9-0").is_mirror_exact(), Some(true));
        assert_eq!(look("9-0", None, None, "8-0").is_mirror_exact(), Some(false));
        assert_eq!(look("9-0", Some("7-0"), Some("5-0"), "5-0").is_mirror_exact(), Some(true));
        assert_eq!(look("9-0", Some("7-0"), Some("5-0"), "6-0").is_mirror_exact(), Some(true), "6-0 was deleted");
        assert_eq!(look("9-0", Some("7-0"), Some("5-0"), "4-0").is_mirror_exact(), Some(false));
        assert_eq!(look("9-0", Some("7-0"), Some("5-0"), "7-0").is_mirror_exact(), Some(false));
        assert_eq!(look("9-0", Some("7-0"), None, "0-0").is_mirror_exact(), Some(true));
        assert_eq!(look("9-0", Some("7-0"), None, "7-0").is_mirror_exact(), Some(false));
        assert_eq!(look("9-0", None, None, "x").is_mirror_exact(), Some(false));
        assert_eq!(Look::default().is_mirror_exact(), None);
    }

    #[test]
    fn empty_tables_of_lua_are_maps() {
        let look: Look = serde_json::from_str(r#"{"now_ms":5,"types":{},"replicas":{},"paused":{}}"#).expect("a look");
        assert_eq!(look.pause("g"), Some(Pause::default()));
    }
}
