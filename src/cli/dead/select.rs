//! Which dead letters a command is about: ids, or filters.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::text::escaped;
use crate::redis::RedisError;
use crate::stream::dead_letters::{ALL_IDS, DeadLetters, Letter, Order, after, before};
use crate::stream::entry_id::EntryId;

/// The selection of one command.
#[derive(Debug)]
pub(super) struct Selection {
    /// None given: the filters select.
    pub(crate) ids: Vec<EntryId>,
    /// What else a dead letter must be like.
    pub(crate) filters: Filters,
    /// Maximum number.
    pub(crate) limit: Option<u64>,
}

/// What a dead letter must be like.
#[derive(Debug, Default)]
pub(super) struct Filters {
    pub(crate) reasons: Vec<String>,
    pub(crate) older_than: Option<Duration>,
    pub(crate) newer_than: Option<Duration>,
    pub(crate) game: Option<String>,
}

/// An id as people give it: digits, a dash, digits.
pub(super) fn id(text: &str) -> Result<EntryId, String> {
    let is_whole = text.contains('-');
    let id = text.parse().ok().filter(|_| is_whole);
    id.ok_or_else(|| "an id looks like 1795502500004-0".to_owned())
}

impl Selection {
    /// These alone.
    pub(crate) fn of_ids(ids: Vec<EntryId>) -> Self {
        Self { ids, filters: Filters::default(), limit: None }
    }

    /// What the filters let through.
    pub(crate) fn of_filters(filters: Filters, limit: Option<u64>) -> Self {
        Self { ids: Vec::new(), filters, limit }
    }

    /// Ids or filters, or why both together are none.
    pub(crate) fn of(ids: Vec<EntryId>, filters: Filters, limit: Option<u64>) -> Result<Self, String> {
        let selection = Self { ids, filters, limit };
        if !selection.ids.is_empty() && (!selection.filters.is_open() || limit.is_some()) {
            return Err("ids and filters exclude each other\n  give one of the two".to_owned());
        }
        Ok(selection)
    }
}

impl Filters {
    /// Does everything pass?
    pub(crate) fn is_open(&self) -> bool {
        self.reasons.is_empty() && self.game.is_none() && self.admits_every_age()
    }

    fn admits_every_age(&self) -> bool {
        self.older_than.is_none() && self.newer_than.is_none()
    }

    /// The ids that the ages allow.
    fn ids(&self, now_ms: u64) -> RangeInclusive<EntryId> {
        let ago = |age: Duration| now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let first = self.newer_than.map_or(*ALL_IDS.start(), |age| EntryId { ms: ago(age), seq: 0 });
        let last = self.older_than.map_or(*ALL_IDS.end(), |age| EntryId { ms: ago(age), seq: u64::MAX });
        first..=last
    }

    fn lets_through(&self, letter: &Letter) -> bool {
        let has_reason =
            self.reasons.is_empty() || self.reasons.iter().any(|one| one.as_bytes() == letter.head("reason"));
        has_reason && self.game.as_deref().is_none_or(|game| game_of(letter).trim_ascii() == game.as_bytes())
    }
}

/// The game of a dead letter, as it was sent; empty where it names none.
pub(super) fn game_of(letter: &Letter) -> &[u8] {
    letter.original("game_id").map_or(b"", |game| game)
}

/// Reads what the filters let through, page by page, up to the newest there was at the beginning.
pub(super) struct Walk<'a> {
    dead: &'a DeadLetters,
    filters: &'a Filters,
    order: Order,
    rest: Option<RangeInclusive<EntryId>>,
}

impl<'a> Walk<'a> {
    /// A walk that begins now. What comes later (a requeued job that dies again, say) is not part of it.
    pub(crate) async fn begin(dead: &'a DeadLetters, filters: &'a Filters, order: Order) -> Result<Self, RedisError> {
        let newest = dead.page(&ALL_IDS, Order::NewestFirst).await?.first().map(|letter| letter.id);
        let ids = if filters.admits_every_age() { ALL_IDS } else { filters.ids(dead.now_ms().await?) };
        let rest = newest.map(|newest| *ids.start()..=newest.min(*ids.end()));
        Ok(Self { dead, filters, order, rest })
    }

    /// The next dead letters; may be none although more pages follow. None at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Letter>>, RedisError> {
        let Some(ids) = self.rest.take() else {
            return Ok(None);
        };
        let page = self.dead.page(&ids, self.order).await?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        self.rest = match self.order {
            Order::OldestFirst => after(last.id).map(|first| first..=*ids.end()),
            Order::NewestFirst => before(last.id).map(|end| *ids.start()..=end),
        };
        Ok(Some(page.into_iter().filter(|letter| self.filters.lets_through(letter)).collect()))
    }
}

/// What ids led to.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Each once, in the order of the ids.
    pub(crate) letters: Vec<Letter>,
    /// How ids were understood that are not a dead letter's own.
    pub(crate) notes: Vec<String>,
    /// What is wrong with the other ids.
    pub(crate) problems: Vec<String>,
}

/// Looks ids up: as a dead letter's own, else as the entry it was made of.
pub(super) async fn look_up(dead: &DeadLetters, ids: &[EntryId]) -> Result<Found, RedisError> {
    let mut found = Found::default();
    let mut by_id: BTreeMap<EntryId, Letter> = BTreeMap::new();
    let mut missing: BTreeSet<EntryId> = BTreeSet::new();
    for &id in ids {
        match dead.get(id).await? {
            Some(letter) => drop(by_id.insert(id, letter)),
            None => drop(missing.insert(id)),
        }
    }
    let by_source = if missing.is_empty() { BTreeMap::new() } else { made_of(dead, &missing).await? };
    let absent: Vec<EntryId> = missing.into_iter().filter(|id| !by_source.contains_key(id)).collect();
    let links = if absent.is_empty() { Vec::new() } else { dead.links_of(&absent).await? };
    let (mut asked, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for id in ids.iter().filter(|&&id| asked.insert(id)) {
        let letter = match (by_id.get(id), by_source.get(id).map(Vec::as_slice)) {
            (Some(letter), _) => letter,
            (None, Some([letter])) => {
                found.notes.push(format!("{id} is the source of dead letter {}", letter.id));
                letter
            }
            (None, Some(several)) => {
                let own: Vec<String> = several.iter().map(|letter| letter.id.to_string()).collect();
                found
                    .problems
                    .push(format!("{id} is the source of several dead letters, name one: {}", own.join(", ")));
                continue;
            }
            (None, None) => {
                let name = id.to_string();
                let link = links.iter().find(|link| link.dead_id == name || link.source_ref == name);
                found.problems.push(link.map_or_else(
                    || format!("{id}: no dead letter has this id, and none was made of an entry with this id"),
                    |link| {
                        format!("{id}: no dead letter any more; it was requeued as {}", escaped(link.job_id.as_bytes()))
                    },
                ));
                continue;
            }
        };
        if taken.insert(letter.id) {
            found.letters.push(letter.clone());
        }
    }
    Ok(found)
}

/// The dead letters made of these entries. Reads the whole stream, in pages: there is no index by source.
async fn made_of(
    dead: &DeadLetters,
    sources: &BTreeSet<EntryId>,
) -> Result<BTreeMap<EntryId, Vec<Letter>>, RedisError> {
    let open = Filters::default();
    let mut walk = Walk::begin(dead, &open, Order::OldestFirst).await?;
    let mut found: BTreeMap<EntryId, Vec<Letter>> = BTreeMap::new();
    while let Some(page) = walk.next().await? {
        for letter in page {
            let source = std::str::from_utf8(letter.head("source_ref")).ok().and_then(|text| text.parse().ok());
            if let Some(source) = source.filter(|source| sources.contains(source)) {
                found.entry(source).or_default().push(letter);
            }
        }
    }
    Ok(found)
}
