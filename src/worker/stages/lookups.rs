//! What is known of an entry before it is accepted: whether it is settled, how often it crashed a process or failed.
//!
//! Asked about every entry that may have been delivered before. The question is asked again until it is answered.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::command::Command;
use super::held::Held;
use super::turn::Turn;

/// The entries that are asked about.
#[derive(Debug)]
pub(crate) struct Lookups {
    waiting: VecDeque<Vec<Held>>,
    calls: usize,
    due: Instant,
}

impl Lookups {
    /// Nothing is asked yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { waiting: VecDeque::new(), calls: 0, due: now }
    }

    /// These entries came together, and are asked about together.
    pub(crate) fn push(&mut self, mut entries: Vec<Held>) {
        if !entries.is_empty() {
            entries.sort_by_key(Held::id);
            self.waiting.push_back(entries);
        }
    }

    /// When the next question may go.
    pub(crate) fn wake(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.due)
    }

    /// The next question.
    pub(crate) fn next(&mut self, turn: &Turn) -> Option<Command> {
        if self.wake().is_none_or(|due| due > turn.now) {
            return None;
        }
        let entries = self.waiting.pop_front()?;
        self.calls += 1;
        Some(Command::LookUp(entries))
    }

    /// A question was answered.
    pub(crate) fn answered(&mut self) {
        self.calls -= 1;
    }

    /// A question was not answered, and is asked again.
    pub(crate) fn failed(&mut self, entries: Vec<Held>, retry_at: Instant) {
        self.calls -= 1;
        self.due = retry_at;
        self.waiting.push_back(entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::entry_id::EntryId;
    use crate::stream::{Delivery, Origin};
    use crate::worker::stages::held::Holdings;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// Every entry is asked about until it is answered, in batches as they came, and waking and beginning agree.
        #[test]
        fn every_question_is_answered_once(steps in proptest::collection::vec((0..3_u8, 0..40_u64), 1..150)) {
            let start = Instant::now();
            let (mut lookups, mut holdings, mut now) = (Lookups::new(start), Holdings::default(), start);
            let (mut asked, mut under_way, mut answered) = (0_u64, Vec::<Vec<Held>>::new(), Vec::new());
            for (step, number) in steps {
                now += Duration::from_millis(number);
                match step {
                    0 => {
                        let entries = (0..number % 4).map(|_| {
                            let (id, origin) = (EntryId { ms: asked, seq: 0 }, Origin::Claimed);
                            asked += 1;
                            let delivery = Delivery { id, origin, dead_owner: None, deliveries: 2, crashes: 0, failures: 0, fields: None };
                            holdings.take(delivery, now).expect("new")
                        });
                        lookups.push(entries.collect());
                    }
                    1 if !under_way.is_empty() => {
                        let entries = under_way.remove(0);
                        if number.is_multiple_of(3) {
                            lookups.failed(entries, now + Duration::from_millis(number));
                        } else {
                            lookups.answered();
                            answered.extend(entries);
                        }
                    }
                    _ => {}
                }
                loop {
                    let is_due = lookups.wake().is_some_and(|due| due <= now);
                    let next = lookups.next(&Turn { now, random: 0.0 });
                    prop_assert_eq!(is_due, next.is_some());
                    let Some(Command::LookUp(entries)) = next else { break };
                    prop_assert!(!entries.is_empty());
                    under_way.push(entries);
                }
                prop_assert_eq!(lookups.calls, under_way.len());
            }
            let all = answered.iter().chain(under_way.iter().flatten()).chain(lookups.waiting.iter().flatten());
            let mut ids: Vec<u64> = all.map(|held| held.id().ms).collect();
            ids.sort_unstable();
            prop_assert_eq!(ids, (0..asked).collect::<Vec<_>>());
        }
    }
}
