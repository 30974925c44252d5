//! Endings on their way into Redis: what is settled together, and how much at once.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::batch::{Batch, Finished};
use super::command::Command;
use super::turn::Turn;
use crate::stream::settle::{BATCH_MAX, Settled};

/// Batches under way at once: single entries that come one after the other do not wait for each other.
const CALLS_MAX: usize = 4;
/// Bytes of dead letters in one batch, beyond which nothing is added to it.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// When the ledger's index was last told of a bucket.
#[derive(Debug, Clone, Copy)]
struct IndexMark {
    hour: u64,
    at: Instant,
}

/// How much is settled at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Entries under way. One batch goes whatever it is.
    pub(crate) entries: usize,
    /// The ledger's index is told of a bucket again after so long.
    pub(crate) index_within: Duration,
}

/// The endings.
#[derive(Debug)]
pub(crate) struct Settler {
    limits: Limits,
    ready: VecDeque<Finished>,
    calls: usize,
    entries: usize,
    due: Instant,
    index_mark: Option<IndexMark>,
}

impl Settler {
    /// Nothing has ended yet.
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, ready: VecDeque::new(), calls: 0, entries: 0, due: now, index_mark: None }
    }

    /// An entry has ended.
    pub(crate) fn end(&mut self, finished: Finished) {
        self.ready.push_back(finished);
    }

    /// How many batches are under way.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    /// Redis answers all that it finds queued when it is done with the last of it. If everything that is ready were sent at
    /// once, Redis would wait while the answers are worked on. So no more entries are under way than a read brings, and the
    /// rest is ready to go when those return.
    fn has_room(&self) -> bool {
        let next = self.ready.len().min(BATCH_MAX);
        next > 0 && (self.calls == 0 || (self.calls < CALLS_MAX && self.entries + next <= self.limits.entries))
    }

    /// When the next batch may go.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.has_room().then_some(self.due)
    }

    /// The next batch: all that is ready, never a wait; up to [`BATCH_MAX`] entries of one ledger hour, which nearly always is
    /// all.
    pub(crate) fn next(&mut self, turn: &Turn) -> Option<Command> {
        if self.wake().is_none_or(|due| due > turn.now) {
            return None;
        }
        let hour = self.ready.front()?.held.id().ledger_hour();
        let mut entries = Vec::with_capacity(self.ready.len().min(BATCH_MAX));
        let mut kept_bytes = 0;
        for _ in 0..self.ready.len() {
            let Some(finished) = self.ready.pop_front() else { break };
            let has_room = entries.len() < BATCH_MAX && kept_bytes < KEPT_BYTES_MAX;
            if has_room && finished.held.id().ledger_hour() == hour {
                kept_bytes += finished.ending.kept_bytes();
                entries.push(finished);
            } else {
                self.ready.push_back(finished);
            }
        }
        self.calls += 1;
        self.entries += entries.len();
        let is_marked = |mark: IndexMark| mark.hour == hour && turn.now - mark.at < self.limits.index_within;
        let marks_index = !self.index_mark.is_some_and(is_marked);
        Some(Command::Settle(Batch { entries, marks_index, hour, sent_at: turn.now }))
    }

    /// A batch has come back with what became of each entry. Answers those that leave this process; `refused` is told of the
    /// one that Redis refused, and answers when it may be sent again.
    pub(crate) fn returned(
        &mut self,
        batch: Batch,
        settled: Vec<Settled>,
        mut refused: impl FnMut(&Finished, &str) -> Instant,
    ) -> Vec<(Finished, Settled)> {
        self.call_ended(&batch);
        if batch.marks_index && settled.contains(&Settled::Done) {
            self.index_mark = Some(IndexMark { hour: batch.hour, at: batch.sent_at });
        }
        let mut left = Vec::with_capacity(batch.entries.len());
        for (finished, settled) in batch.entries.into_iter().zip(settled) {
            match settled {
                Settled::Refused(error) => {
                    self.due = refused(&finished, &error);
                    self.ready.push_back(finished);
                }
                Settled::Skipped => self.ready.push_back(finished),
                done => left.push((finished, done)),
            }
        }
        left
    }

    /// A batch has come back without an answer. It is sent again, which is safe: the fence and the ledger know what was
    /// settled.
    pub(crate) fn failed(&mut self, batch: Batch, retry_at: Instant) {
        self.call_ended(&batch);
        self.due = retry_at;
        // In front, because these have waited longest.
        batch.entries.into_iter().rev().for_each(|finished| self.ready.push_front(finished));
    }

    fn call_ended(&mut self, batch: &Batch) {
        self.calls -= 1;
        self.entries -= batch.entries.len();
    }

    /// Redis may have lost what it was told of the ledger's index.
    pub(crate) fn forget_index_mark(&mut self) {
        self.index_mark = None;
    }

    /// Redis answers again, or the group is usable again.
    pub(crate) fn hurry(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::entry_id::EntryId;
    use crate::stream::settle::Ending;
    use crate::stream::{Delivery, Origin};
    use crate::worker::stages::held::Holdings;
    use proptest::prelude::*;

    fn finished(holdings: &mut Holdings, ms: u64, now: Instant) -> Finished {
        let (id, origin) = (EntryId { ms, seq: 0 }, Origin::New);
        let delivery = Delivery { id, origin, dead_owner: None, deliveries: 1, crashes: 0, failures: 0, fields: None };
        Finished { held: holdings.take(delivery, now).expect("new"), ending: Ending::Known, summary: None }
    }

    const LIMITS: Limits = Limits { entries: 2 * BATCH_MAX, index_within: Duration::from_millis(500) };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Nothing is lost or left twice, every bound holds, and a batch goes exactly when the settler wakes.
        #[test]
        fn every_ending_leaves_once(steps in proptest::collection::vec((0..5_u8, 0..60_u64, any::<u16>()), 1..150)) {
            let start = Instant::now();
            let (mut settler, mut holdings) = (Settler::new(LIMITS, start), Holdings::default());
            let (mut now, mut ended, mut left, mut under_way) = (start, 0_u64, Vec::new(), Vec::<Batch>::new());
            for (step, number, random) in steps {
                now += Duration::from_millis(number);
                match step {
                    // Two entries a minute: a batch meets several ledger hours.
                    0 | 1 => for _ in 0..number { settler.end(finished(&mut holdings, ended * 30_000, now)); ended += 1; },
                    2 if !under_way.is_empty() => {
                        let batch = under_way.swap_remove(usize::from(random) % under_way.len());
                        if random.is_multiple_of(5) {
                            settler.failed(batch, now + Duration::from_millis(number));
                        } else {
                            let refused_at = usize::from(random) % (2 * batch.entries.len());
                            let settled = (0..batch.entries.len()).map(|at| match at.cmp(&refused_at) {
                                std::cmp::Ordering::Less => Settled::Done,
                                std::cmp::Ordering::Equal => Settled::Refused("no".to_owned()),
                                std::cmp::Ordering::Greater => Settled::Skipped,
                            });
                            let marks = batch.marks_index && refused_at > 0;
                            let settled = settled.collect();
                            left.extend(settler.returned(batch, settled, |_, _| now + Duration::from_millis(number)));
                            prop_assert!(!marks || settler.index_mark.is_some());
                        }
                    }
                    3 => settler.forget_index_mark(),
                    _ => settler.hurry(now),
                }
                loop {
                    let is_due = settler.wake().is_some_and(|due| due <= now);
                    let next = settler.next(&Turn { now, random: 0.5 });
                    prop_assert_eq!(is_due, next.is_some(), "a wake and a beginning disagree");
                    let Some(Command::Settle(batch)) = next else { break };
                    prop_assert!((1..=BATCH_MAX).contains(&batch.entries.len()));
                    prop_assert!(batch.entries.iter().all(|finished| finished.held.id().ledger_hour() == batch.hour));
                    prop_assert!(batch.marks_index || settler.index_mark.is_some_and(|mark| mark.hour == batch.hour && now - mark.at < LIMITS.index_within));
                    under_way.push(batch);
                }
                let sent: usize = under_way.iter().map(|batch| batch.entries.len()).sum();
                prop_assert_eq!((settler.calls(), settler.entries), (under_way.len(), sent));
                prop_assert!(under_way.len() <= CALLS_MAX && (sent <= LIMITS.entries || under_way.len() == 1));
                prop_assert_eq!(settler.ready.len() + sent + left.len(), usize::try_from(ended).expect("few"));
            }
            let mut ids: Vec<u64> = left.iter().map(|(finished, _)| finished.held.id().ms).collect();
            ids.extend(settler.ready.iter().map(|finished| finished.held.id().ms));
            ids.extend(under_way.iter().flat_map(|batch| &batch.entries).map(|finished| finished.held.id().ms));
            ids.sort_unstable();
            prop_assert_eq!(ids, (0..ended).map(|number| number * 30_000).collect::<Vec<_>>());
        }
    }
}
