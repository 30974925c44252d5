//! Entries that are given back, for other replicas to take at once.

use tokio::time::Instant;

use super::command::Command;
use super::held::Held;
use super::turn::Turn;

/// The entries on their way back.
#[derive(Debug)]
pub(crate) struct Returns {
    ready: Vec<Held>,
    calls: usize,
    due: Instant,
}

impl Returns {
    /// Nothing goes back yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { ready: Vec::new(), calls: 0, due: now }
    }

    /// This entry goes back.
    pub(crate) fn push(&mut self, held: Held) {
        self.ready.push(held);
    }

    /// How many hand-backs are under way. A sweep behind one may take what is still in our hands here.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    /// When the next hand-back may go.
    pub(crate) fn wake(&self) -> Option<Instant> {
        (!self.ready.is_empty()).then_some(self.due)
    }

    /// The next hand-back: all that is to go.
    pub(crate) fn next(&mut self, turn: &Turn) -> Option<Command> {
        if self.wake().is_none_or(|due| due > turn.now) {
            return None;
        }
        self.calls += 1;
        Some(Command::HandBack(std::mem::take(&mut self.ready)))
    }

    /// A hand-back has come back; answers what left our hands.
    pub(crate) fn returned(&mut self, entries: Vec<Held>, retry: Option<Instant>) -> Vec<Held> {
        self.calls -= 1;
        let Some(retry_at) = retry else { return entries };
        self.due = retry_at;
        self.ready.extend(entries);
        Vec::new()
    }

    /// Redis answers again.
    pub(crate) fn hurry(&mut self, at: Instant) {
        self.due = self.due.min(at);
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
        /// Whatever goes back leaves once, however often a hand-back fails, and waking and beginning agree.
        #[test]
        fn what_goes_back_leaves_once(steps in proptest::collection::vec((0..3_u8, 0..40_u64), 1..150)) {
            let start = Instant::now();
            let (mut returns, mut holdings, mut now) = (Returns::new(start), Holdings::default(), start);
            let (mut given, mut under_way, mut left) = (0, Vec::<Vec<Held>>::new(), Vec::new());
            for (step, number) in steps {
                now += Duration::from_millis(number);
                match step {
                    0 => {
                        let (id, origin) = (EntryId { ms: given, seq: 0 }, Origin::New);
                        let delivery = Delivery { id, origin, deliveries: 1, crashes: 0, failures: 0, fields: None };
                        returns.push(holdings.take(delivery, now).expect("new"));
                        given += 1;
                    }
                    1 if !under_way.is_empty() => {
                        let retry = (number.is_multiple_of(3)).then_some(now + Duration::from_millis(number));
                        left.extend(returns.returned(under_way.remove(0), retry));
                    }
                    _ => returns.hurry(now),
                }
                let is_due = returns.wake().is_some_and(|due| due <= now);
                let next = returns.next(&Turn { now, random: 0.0 });
                prop_assert_eq!(is_due, next.is_some());
                if let Some(Command::HandBack(entries)) = next {
                    prop_assert!(!entries.is_empty());
                    under_way.push(entries);
                }
                prop_assert_eq!(returns.calls(), under_way.len());
            }
            let all = left.iter().chain(under_way.iter().flatten()).chain(&returns.ready);
            let mut ids: Vec<u64> = all.map(|held| held.id().ms).collect();
            ids.sort_unstable();
            prop_assert_eq!(ids, (0..given).collect::<Vec<_>>());
        }
    }
}
