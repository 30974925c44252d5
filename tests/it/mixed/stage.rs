//! What all parts of a run share: its clock, what has been done so far, and the sender's books.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant, SystemTime};

use startjobs::stream::entry_id::EntryId;

/// What an entry has to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// Its container starts.
    Starts,
    /// The same, with fields beside the job's that make it large.
    StartsLarge,
    /// It is no job.
    Malformed,
    /// The registry does not have its image.
    Missing,
    /// Its container ends at once.
    Exits,
    /// It never starts, for a reason that might pass.
    Retries,
    /// It kills each process that starts it.
    Kills,
}

/// A run that goes on.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) seed: u64,
    began: Instant,
    lasts: Duration,
    /// What was done, by kind.
    pub(super) counts: RefCell<BTreeMap<String, usize>>,
    /// Everything that was sent and is in the stream, oldest first.
    pub(super) books: RefCell<Vec<(EntryId, Fate)>>,
    /// Until then a replica that starts may refuse to run: a key or a right is not as it has to be.
    refusable_until: Cell<Option<Instant>>,
}

/// So long after a repair a replica may still end for what it has seen before.
const REFUSES_WITHIN: Duration = Duration::from_secs(5);

impl Stage {
    pub(super) fn new(seed: u64, lasts: Duration) -> Self {
        let (counts, books) = (RefCell::default(), RefCell::default());
        Self { seed, began: Instant::now(), lasts, counts, books, refusable_until: Cell::new(None) }
    }

    /// Prints what happens, with its time: of this run, and of the clock that the replicas' logs go by.
    pub(super) fn say(&self, what: impl Display) {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        println!("mixed: {now} seed {} {:7.3} s: {what}", self.seed, self.began.elapsed().as_secs_f64());
    }

    /// Prints and counts a fault.
    pub(super) fn fault(&self, kind: &str, more: impl Display) {
        *self.counts.borrow_mut().entry(kind.to_owned()).or_default() += 1;
        self.say(format_args!("{kind} {more}"));
    }

    /// The time for faults is over.
    pub(super) fn is_over(&self) -> bool {
        self.began.elapsed() >= self.lasts
    }

    /// Jobs that kill their process are sent in the first two thirds: each takes several processes with it, one after
    /// the other.
    pub(super) fn may_kill(&self) -> bool {
        self.began.elapsed() < self.lasts * 2 / 3
    }

    /// Sleeps, at most until the time for faults is over.
    pub(super) async fn sleep(&self, lasts: Duration) {
        let left = self.lasts.saturating_sub(self.began.elapsed());
        tokio::time::sleep(lasts.min(left)).await;
    }

    /// A key or a right is not as it has to be, for so long.
    pub(super) fn may_refuse_for(&self, lasts: Duration) {
        self.refusable_until.set(Some(Instant::now() + lasts + REFUSES_WITHIN));
    }

    /// May a replica have refused to run just now?
    pub(super) fn may_refuse(&self) -> bool {
        self.refusable_until.get().is_some_and(|until| Instant::now() < until)
    }
}

/// A time drawn from this range, in milliseconds.
pub(super) fn ms(random: &mut fastrand::Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.u64(range))
}
