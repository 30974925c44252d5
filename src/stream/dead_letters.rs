//! The dead-letter stream from the operator's side: reading it in pages, putting dead letters back as jobs, removing
//! them. Everything is bounded; nothing here is part of a replica.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;

use super::config::Config;
use super::entry_id::EntryId;
use super::excerpt::{Excerpts, SHOWN_MAX, Wanted};
use super::fleet_event::FleetEvent;
use super::group::{count, id_of, packed};
use super::lua;
use super::note::Notes;
use crate::contract::Fields;
use crate::contract::dead_letter::{HEAD_FIELDS, OUTCOME_ID, says_cut};
use crate::redis::commands::Entry;
use crate::redis::{Connection, RedisError, Script};

pub use crate::redis::commands::Order;

/// Dead letters in one page. A payload may be large, so a page is small.
pub(crate) const PAGE: usize = 250;
/// Dead letters in a look at the newest.
pub(crate) const LATEST_MAX: u64 = 50;
/// Dead letters put back in one call: Redis serves no other client meanwhile.
pub(crate) const REQUEUE_BATCH_MAX: usize = 32;
/// Dead letters removed in one call.
pub(crate) const REMOVE_BATCH_MAX: usize = 256;
/// How many links from a dead letter to its new job are kept, at least.
pub(crate) const LINKS_MAX: usize = 10_000;
/// Characters of the name of who put a dead letter back.
const BY_MAX: usize = 200;
/// Every id there can be.
pub const ALL_IDS: RangeInclusive<EntryId> = EntryId::ZERO..=EntryId { ms: u64::MAX, seq: u64::MAX };

/// One entry of the dead-letter stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its own id.
    pub id: EntryId,
    /// What the fleet wrote about it; none where the entry is not of the fleet's making.
    pub(crate) head: Option<Head>,
    /// The original pairs, in order; all pairs where there is no head.
    pub(crate) original: Fields,
}

/// What the fleet wrote about an entry: the values as they are in the stream, also where another program wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head([Bytes; HEAD_LEN]);

const HEAD_LEN: usize = HEAD_FIELDS.len() + 1;

impl Head {
    /// Names and values, in wire order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&'static str, &Bytes)> {
        HEAD_FIELDS.into_iter().chain([OUTCOME_ID]).zip(&self.0)
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> &[u8] {
        self.pairs().find(|(field, _)| *field == name).map_or(b"", |(_, value)| value)
    }
}

impl Letter {
    fn of(id: EntryId, mut pairs: Fields) -> Self {
        let names = HEAD_FIELDS.iter().copied().chain([OUTCOME_ID]);
        let is_ours = pairs.len() >= HEAD_LEN && pairs.iter().zip(names).all(|(pair, name)| pair.0 == name.as_bytes());
        if !is_ours {
            return Self { id, head: None, original: pairs };
        }
        let original = pairs.split_off(HEAD_LEN);
        let head: [Bytes; HEAD_LEN] = std::array::from_fn(|at| pairs[at].1.clone());
        Self { id, head: Some(Head(head)), original }
    }

    /// One of the fleet's own fields; empty where the entry is not of its making.
    pub(crate) fn head(&self, name: &str) -> &[u8] {
        self.head.as_ref().map_or(b"", |head| head.get(name))
    }

    /// The last value of an original field, as a reader of the jobs stream takes it.
    pub(crate) fn original(&self, name: &str) -> Option<&Bytes> {
        let found = self.original.iter().rev().find(|(field, _)| field == name.as_bytes());
        found.map(|(_, value)| value)
    }

    /// Is this all that was sent? Otherwise it cannot be put back.
    pub(crate) fn is_cut(&self) -> bool {
        says_cut(self.head("detail"), self.original.len())
    }
}

/// From a dead letter to the job it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// The dead letter's id.
    pub(crate) dead_id: String,
    /// The entry it was made of.
    pub(crate) source_ref: String,
    /// The new entry.
    pub(crate) job_id: String,
    /// When, by the server's clock, in Unix milliseconds.
    pub(crate) at_ms: u64,
}

/// What became of a dead letter that was to be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requeued {
    /// It is a job again, under this id.
    As(String),
    /// There is no such dead letter, or not any more.
    Gone,
    /// The entry is not of the fleet's making.
    Foreign,
    /// It has no payload.
    Empty,
    /// Its payload is not whole.
    Cut,
    /// Redis did not take the job, in these words; nothing was written.
    Refused(String),
    /// Not reached because Redis refused one before it.
    Skipped,
}

/// The dead-letter stream.
#[derive(Debug)]
pub struct DeadLetters {
    connection: Arc<Connection>,
    jobs: String,
    dead: String,
    links: String,
    requeue: Script,
    remove: Script,
    notes: Notes,
    excerpts: Excerpts,
}

impl DeadLetters {
    /// The dead letters of these settings. Touches nothing.
    pub fn new(connection: impl Into<Arc<Connection>>, streams: &Config) -> Self {
        Self {
            connection: connection.into(),
            jobs: streams.jobs.clone(),
            dead: streams.dead.clone(),
            links: format!("{}:requeued", streams.dead),
            requeue: lua::requeue(),
            remove: lua::remove_dead(),
            notes: Notes::new(streams),
            excerpts: Excerpts::new(),
        }
    }

    /// Writes down what an operator has done.
    pub(crate) async fn note(&self, event: &FleetEvent) -> Result<(), RedisError> {
        self.notes.write(&self.connection, event).await
    }

    /// The newest [`LATEST_MAX`] of them, newest first.
    pub(crate) async fn latest(connection: &Connection, streams: &Config) -> Result<Vec<Letter>, RedisError> {
        let page = connection.range(&streams.dead, ("-", "+"), LATEST_MAX, Order::NewestFirst).await?;
        page.into_iter().map(|entry| Ok(Letter::of(id_of(&entry.id)?, entry.fields))).collect()
    }

    /// How many there are.
    pub(crate) async fn count(&self) -> Result<u64, RedisError> {
        self.connection.stream_length(&self.dead).await
    }

    /// The server's clock, in Unix milliseconds; ids are measured against it.
    pub(crate) async fn now_ms(&self) -> Result<u64, RedisError> {
        self.connection.time_ms().await
    }

    /// The dead letter of this id.
    pub(crate) async fn get(&self, id: EntryId) -> Result<Option<Letter>, RedisError> {
        Ok(self.page(&(id..=id), Order::OldestFirst).await?.pop())
    }

    /// At most [`PAGE`] dead letters of these ids, the first ones in this order.
    pub async fn page(&self, ids: &RangeInclusive<EntryId>, order: Order) -> Result<Vec<Letter>, RedisError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let page = self.entries(&self.dead, ids, order).await?;
        let letter = |entry: Entry| Ok(Letter::of(id_of(&entry.id)?, entry.fields));
        page.into_iter().map(letter).collect()
    }

    /// The same with long values cut, for those who show many: a payload may have megabytes. It cannot be put back from this.
    pub(crate) async fn brief(&self, ids: &RangeInclusive<EntryId>, order: Order) -> Result<Vec<Letter>, RedisError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (first, last) = (ids.start().to_string(), ids.end().to_string());
        let (stream, range) = (self.dead.as_str(), (first.as_str(), last.as_str()));
        let wanted = Wanted { stream, range, order, count: PAGE as u64, value_max: SHOWN_MAX, with: None };
        let page = self.excerpts.all(&self.connection, wanted).await?;
        let letters = page.into_iter().map(|excerpt| {
            let excerpt = excerpt.shown();
            Ok(Letter::of(id_of(&excerpt.id)?, excerpt.fields))
        });
        letters.collect()
    }

    async fn entries(
        &self,
        stream: &str,
        ids: &RangeInclusive<EntryId>,
        order: Order,
    ) -> Result<Vec<Entry>, RedisError> {
        let (first, last) = (ids.start().to_string(), ids.end().to_string());
        self.connection.range(stream, (&first, &last), PAGE as u64, order).await
    }

    /// Puts at most [`REQUEUE_BATCH_MAX`] dead letters back as jobs; answers in order. After an error nothing is known,
    /// and calling again is safe: what has been put back is gone.
    /// The log of links remembers that `by` asked for it: `user@host`, cut to [`BY_MAX`] characters.
    pub async fn requeue(&self, ids: &[EntryId], by: &str) -> Result<Vec<Requeued>, RedisError> {
        debug_assert!(ids.len() <= REQUEUE_BATCH_MAX, "a batch is bounded");
        let keys = vec![self.jobs.clone(), self.dead.clone(), self.links.clone()];
        let by: String = by.chars().take(BY_MAX).collect();
        let args = vec![count(LINKS_MAX), packed(ids)?, by.into()];
        let reply = self.requeue.run(&self.connection, keys, args).await?;
        let answers: Vec<(String, String)> = reply.convert()?;
        if answers.len() != ids.len() {
            return Err(RedisError::unexpected("requeue count"));
        }
        answers.into_iter().map(requeued_of).collect()
    }

    /// Removes at most [`REMOVE_BATCH_MAX`] dead letters; answers in order which were there.
    pub async fn remove(&self, ids: &[EntryId]) -> Result<Vec<bool>, RedisError> {
        debug_assert!(ids.len() <= REMOVE_BATCH_MAX, "a batch is bounded");
        let args = vec![packed(ids)?];
        let reply = self.remove.run(&self.connection, vec![self.dead.clone()], args).await?;
        let removed: Vec<u64> = reply.convert()?;
        if removed.len() != ids.len() {
            return Err(RedisError::unexpected("remove count"));
        }
        Ok(removed.into_iter().map(|count| count == 1).collect())
    }

    /// The links whose dead letter or source is one of `ids`, newest first.
    pub(crate) async fn links_of(&self, ids: &[EntryId]) -> Result<Vec<Link>, RedisError> {
        let wanted: Vec<String> = ids.iter().map(EntryId::to_string).collect();
        let mut found = Vec::new();
        let mut rest = ALL_IDS;
        while !rest.is_empty() {
            let page = self.entries(&self.links, &rest, Order::NewestFirst).await?;
            let Some(oldest) = page.last() else { break };
            rest = match before(id_of(&oldest.id)?) {
                Some(end) => *rest.start()..=end,
                None => break,
            };
            for entry in page {
                let link = link_of(id_of(&entry.id)?, &entry.fields);
                if wanted.contains(&link.dead_id) || wanted.contains(&link.source_ref) {
                    found.push(link);
                }
            }
        }
        Ok(found)
    }
}

fn requeued_of((status, text): (String, String)) -> Result<Requeued, RedisError> {
    Ok(match status.as_str() {
        "requeued" => Requeued::As(text),
        "gone" => Requeued::Gone,
        "foreign" => Requeued::Foreign,
        "empty" => Requeued::Empty,
        "cut" => Requeued::Cut,
        "refused" => Requeued::Refused(RedisError::of_server(&text).text),
        "skipped" => Requeued::Skipped,
        _ => return Err(RedisError::unexpected(&format!("requeue status {status:?}"))),
    })
}

fn link_of(id: EntryId, pairs: &Fields) -> Link {
    let text = |name: &str| {
        let found = pairs.iter().find(|(field, _)| field == name.as_bytes());
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    };
    Link { dead_id: text("dead_id"), source_ref: text("source_ref"), job_id: text("job_id"), at_ms: id.ms }
}

/// The largest id below this one.
pub(crate) fn before(id: EntryId) -> Option<EntryId> {
    let EntryId { ms, seq } = id;
    match seq.checked_sub(1) {
        Some(seq) => Some(EntryId { ms, seq }),
        None => ms.checked_sub(1).map(|ms| EntryId { ms, seq: u64::MAX }),
    }
}

/// The smallest id above this one.
pub(crate) fn after(id: EntryId) -> Option<EntryId> {
    let EntryId { ms, seq } = id;
    match seq.checked_add(1) {
        Some(seq) => Some(EntryId { ms, seq }),
        None => ms.checked_add(1).map(|ms| EntryId { ms, seq: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (Bytes, Bytes) {
        (Bytes::copy_from_slice(name.as_bytes()), Bytes::copy_from_slice(value.as_bytes()))
    }

    fn head() -> Fields {
        HEAD_FIELDS.into_iter().chain([OUTCOME_ID]).map(|name| pair(name, "1")).collect()
    }

    #[test]
    fn only_entries_with_the_whole_head_are_the_fleets() {
        let original = vec![pair("game_id", "a"), pair("reason", "mine"), pair("game_id", "b")];
        let letter = Letter::of(EntryId::ZERO, [head(), original.clone()].concat());
        assert_eq!(letter.original, original);
        assert_eq!((letter.head("reason"), letter.original("game_id")), (&b"1"[..], Some(&Bytes::from("b"))));
        let mut foreign = head();
        foreign.swap(0, 1);
        assert_eq!(Letter::of(EntryId::ZERO, foreign.clone()).head, None);
        assert_eq!(Letter::of(EntryId::ZERO, foreign.clone()).original, foreign);
        assert_eq!(Letter::of(EntryId::ZERO, head()[..8].to_vec()).head, None);
    }

    #[test]
    fn neighbours_of_an_id() {
        let id = |ms, seq| EntryId { ms, seq };
        assert_eq!((before(id(5, 1)), after(id(5, 1))), (Some(id(5, 0)), Some(id(5, 2))));
        assert_eq!((before(id(5, 0)), after(id(5, u64::MAX))), (Some(id(4, u64::MAX)), Some(id(6, 0))));
        assert_eq!((before(EntryId::ZERO), after(id(u64::MAX, u64::MAX))), (None, None));
    }
}
