//! Handing entries over to replicas of other hosts. A host is what a handler calls its place of work; the stream only compares
//! the names of hosts in presence records.

use std::sync::Arc;
use std::time::Duration;

use super::entry_id::EntryId;
use super::group::{Member, count, millis};
use crate::redis::packed::Strings;
use crate::redis::{RedisError, Value};

/// Entries that one call hands over at most: Redis serves no one else meanwhile.
pub(crate) const HAND_OVER_MAX: usize = 64;

/// Instead of a host: any but that of the one who hands over.
pub(crate) const ANOTHER_HOST: &str = "*";

/// An entry that is to be handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which.
    pub id: EntryId,
    /// The host whose replicas are to have it; `*`: any other.
    pub host: Arc<str>,
    /// The dead replica that it was taken from, for its new owner to know.
    pub dead_owner: Option<Arc<str>>,
}

/// How much replicas may have, as the giver sees it.
#[derive(Debug, Clone, Copy)]
pub struct HandOverTerms {
    /// How long a presence lasts that does not say so itself.
    pub claim_idle: Duration,
    /// Entries that a replica may have beyond twice its slots.
    pub extra: usize,
}

/// What became of an entry that was to be handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandedOver {
    /// This consumer has it.
    To(String),
    /// No replica of that host takes work.
    Nowhere,
    /// Those that do have as much as they may.
    Full,
    /// It was handed over too often of late.
    TooOften,
    /// It is still ours; its payload is gone from the stream.
    Trimmed,
    /// It is not ours any more.
    Lost,
}

impl Member {
    /// Hands entries of ours over to replicas of their hosts, and tells these; answers what became of each, in order. At most
    /// 64 entries go in one call. Safe to call again: what has been handed over is not ours then.
    pub async fn hand_over(&self, orders: &[Order], terms: HandOverTerms) -> Result<Vec<HandedOver>, RedisError> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let mut entries = Strings::expecting(orders.len() * 128);
        for Order { id, host, dead_owner } in orders {
            entries.push(id.to_string().as_bytes());
            // As it is in a presence record.
            let host = serde_json::to_string(&**host).map_err(|_| RedisError::unexpected("a host"))?;
            entries.push(host.trim_matches('"').as_bytes());
            entries.push(dead_owner.as_deref().unwrap_or("").as_bytes());
        }
        let args = [millis(terms.claim_idle), count(terms.extra), Value::from(entries.into_array()?)];
        let ids: Vec<EntryId> = orders.iter().map(|order| order.id).collect();
        let words: Vec<String> = self.call(&self.group.scripts.hand_over, &ids, args).await?.convert()?;
        if words.len() != 2 * orders.len() {
            return Err(RedisError::unexpected("hand-over count"));
        }
        words.chunks_exact(2).map(handed_over_of).collect()
    }
}

fn handed_over_of(words: &[String]) -> Result<HandedOver, RedisError> {
    Ok(match words[0].as_str() {
        "handed" => HandedOver::To(words[1].clone()),
        "nowhere" => HandedOver::Nowhere,
        "full" => HandedOver::Full,
        "often" => HandedOver::TooOften,
        "trimmed" => HandedOver::Trimmed,
        "lost" => HandedOver::Lost,
        other => return Err(RedisError::unexpected(other)),
    })
}
