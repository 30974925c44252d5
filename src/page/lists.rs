//! Lists as they are renewed for viewers: those who have the same list before them share it, and one list a second is
//! looked at, however many are open.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::query::Query;
use crate::redis::RedisError;
use crate::stream::entry_id::EntryId;

/// Between two looks at lists.
const EVERY: Duration = Duration::from_secs(1);
/// A list is new enough for so long; for longer where so many are open that each has its turn only later.
const FRESH: Duration = Duration::from_secs(3);
/// A viewer asks every second; a list for which none has asked for so long is not waited for.
const OPEN_FOR: Duration = Duration::from_secs(3);
/// A list for which no viewer has asked for so long is forgotten.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Lists that are kept: as many as there can be viewers.
const KEPT_MAX: usize = 16;
/// Rows of a list that one viewer has.
pub(crate) const ROWS_MAX: usize = 50;

/// Lists of one kind, each by what was asked for.
#[derive(Debug)]
pub(crate) struct Lists<K, T> {
    kept: Mutex<Kept<K, T>>,
}

#[derive(Debug)]
struct Kept<K, T> {
    /// When a list was looked at last.
    looked: Option<Instant>,
    /// The one that was opened first comes first.
    lists: Vec<List<K, T>>,
}

#[derive(Debug)]
struct List<K, T> {
    of: K,
    /// When a viewer asked for it last.
    asked: Instant,
    /// When it was looked at last; none where it was not yet.
    looked: Option<Instant>,
    found: Option<Arc<T>>,
}

impl<K: PartialEq, T> Lists<K, T> {
    /// None is open.
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::new(Kept { looked: None, lists: Vec::new() }) }
    }

    /// The list, as new as its turn lets it be; none where it was not looked at yet, or cannot be read. `now` is now.
    pub(crate) async fn get(
        &self,
        (of, now): (K, Instant),
        look: impl Future<Output = Result<T, RedisError>> + Send,
    ) -> Option<Arc<T>> {
        let mut kept = self.kept.lock().await;
        let at = kept.opened(of, now);
        if kept.is_turn_of(at, now) {
            kept.looked = Some(now);
            let found = look.await.ok().map(Arc::new);
            (kept.lists[at].looked, kept.lists[at].found) = (Some(now), found);
        }
        kept.lists[at].found.clone()
    }
}

impl<K: PartialEq, T> Kept<K, T> {
    /// The place of a list, which is opened where it is not.
    fn opened(&mut self, of: K, now: Instant) -> usize {
        self.lists.retain(|list| now.duration_since(list.asked) < KEPT_FOR);
        if let Some(at) = self.lists.iter().position(|list| list.of == of) {
            self.lists[at].asked = now;
            return at;
        }
        if self.lists.len() >= KEPT_MAX {
            self.lists.remove(0);
        }
        self.lists.push(List { of, asked: now, looked: None, found: None });
        self.lists.len() - 1
    }

    /// Is it to be looked at now? Those that were looked at longer ago come before it.
    fn is_turn_of(&self, at: usize, now: Instant) -> bool {
        let since = |looked: Option<Instant>| looked.map(|looked| now.duration_since(looked));
        let own = self.lists[at].looked;
        let is_old = since(own).is_none_or(|age| age >= FRESH);
        let is_rested = since(self.looked).is_none_or(|age| age >= EVERY);
        let is_before = |(other, list): (usize, &List<K, T>)| {
            other != at && now.duration_since(list.asked) < OPEN_FOR && (list.looked, other) < (own, at)
        };
        is_old && is_rested && !self.lists.iter().enumerate().any(is_before)
    }
}

/// The part of a list that a viewer has before them.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Its rows.
    pub(crate) ids: Vec<EntryId>,
    /// When the list was looked at, by the server's clock, Unix milliseconds: what came later is newer.
    pub(crate) from_ms: u64,
    /// The rows that were answered meanwhile, as far as that is known.
    pub(crate) answered: BTreeSet<EntryId>,
}

impl Watched {
    /// As [`Watched::written`] has it.
    pub(crate) fn read(query: &Query) -> Self {
        let ids = query.all("id").filter_map(|id| id.parse().ok()).take(ROWS_MAX).collect();
        let from_ms = query.get("from").and_then(|ms| ms.parse().ok()).unwrap_or(u64::MAX);
        Self { ids, from_ms, answered: BTreeSet::new() }
    }

    /// The end of a query: `&from=…&id=…`.
    pub(crate) fn written(&self) -> String {
        let mut text = format!("&from={}", self.from_ms);
        for id in self.ids.iter().take(ROWS_MAX) {
            // Writing to a String cannot fail.
            _ = write!(text, "&id={id}");
        }
        text
    }
}

/// Which dead letters viewers have before them: from this one on, by this part of a name and this reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watch {
    /// The oldest one.
    pub(crate) from: EntryId,
    /// Part of a name or of an id; empty for all.
    pub(crate) q: String,
    /// The reason; empty for all.
    pub(crate) reason: String,
}

/// What is there now of the dead letters that viewers have before them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// Everything that is kept from there on, as far as it was looked at.
    pub(crate) kept: BTreeSet<EntryId>,
    /// Those of them that are asked for.
    pub(crate) wanted: BTreeSet<EntryId>,
    /// How far back it was looked.
    pub(crate) reached: EntryId,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn each_list_has_its_turn_and_one_a_second_is_looked_at() {
        let (lists, looks) = (Lists::<usize, u64>::new(), AtomicU64::new(0));
        let (mut now, mut seen) = (Instant::now(), [0; 8]);
        for _ in 0..30 {
            for (asked, seen) in seen.iter_mut().enumerate() {
                let look = async { Ok(looks.fetch_add(1, Ordering::Relaxed)) };
                *seen = lists.get((asked, now), look).await.map_or(0, |list| *list);
            }
            now += EVERY;
        }
        assert_eq!(looks.load(Ordering::Relaxed), 30);
        assert!(seen.iter().all(|&seen| seen >= 20), "none is much older than the others' turns: {seen:?}");
        // Those who have left are not waited for.
        now += OPEN_FOR;
        let look = async { Ok(looks.fetch_add(1, Ordering::Relaxed)) };
        assert_eq!(lists.get((7, now), look).await.as_deref(), Some(&30));
        now += KEPT_FOR;
        let broken = lists.get((1, now), async { Err(RedisError::unreachable("away")) }).await;
        assert_eq!(broken, None, "what is too old is not shown as new");
    }

    #[test]
    fn what_a_viewer_has_is_written_and_read_again() {
        let ids = vec![EntryId { ms: 7, seq: 1 }, EntryId { ms: 5, seq: 0 }];
        let watched = Watched { ids: ids.clone(), from_ms: 9, answered: BTreeSet::new() };
        assert_eq!(watched.written(), "&from=9&id=7-1&id=5-0");
        let read = Watched::read(&Query::read(&format!("screen=jobs{}&id=x", watched.written())));
        assert_eq!((read.ids, read.from_ms), (ids, 9));
        assert_eq!(Watched::read(&Query::default()).from_ms, u64::MAX, "nothing is newer");
    }
}
