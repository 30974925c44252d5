//! Keeping what we hold: renewal, and with it our presence and the operator's word.

use std::time::Duration;

use tokio::time::Instant;

use super::command::Command;
use super::held::Holdings;
use super::timer::Timer;
use super::turn::Turn;

/// A replica that stops waits this long for a renewal that looks for entries of an interrupted read: Redis may be away, and
/// others take them over.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Messages of others make a replica renew this often at most: each tells that something was handed over, and one renewal finds
/// all of it. A client with the right to publish could send any number.
pub(super) const TOLD_INTERVAL: Duration = Duration::from_millis(100);

/// A read that was made to return, as long as no renewal has looked for what Redis may have given it.
#[derive(Debug, Clone, Copy)]
struct Unseen {
    since: Instant,
    is_looked_for: bool,
}

/// The renewals.
#[derive(Debug)]
pub(crate) struct Keeper {
    interval: Duration,
    max_run: Duration,
    renewal: Timer,
    /// Some refusals (READONLY) make the client connect anew, and every reconnection asks for a renewal at once: one that was
    /// refused is not repeated before this.
    not_before: Instant,
    renewed_at: Instant,
    began_at: Option<Instant>,
    unseen: Option<Unseen>,
}

impl Keeper {
    /// Renews once an interval; an entry that has been here for `max_run` is not renewed any more.
    pub(crate) fn new(interval: Duration, max_run: Duration, now: Instant) -> Self {
        let renewal = Timer::at(now);
        Self { interval, max_run, renewal, not_before: now, renewed_at: now, began_at: None, unseen: None }
    }

    /// When the next renewal goes.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.renewal.wake(true)
    }

    /// The next renewal.
    pub(crate) fn next(&mut self, turn: &Turn, holdings: &Holdings) -> Option<Command> {
        if !self.renewal.begin(turn.now, true) {
            return None;
        }
        self.renewal.set(turn.now + self.interval);
        self.began_at = Some(turn.now);
        if let Some(unseen) = &mut self.unseen {
            unseen.is_looked_for = true;
        }
        Some(Command::Renew(holdings.to_renew(turn.now, self.max_run)))
    }

    /// The renewal went through.
    pub(crate) fn renewed(&mut self, turn: &Turn) {
        self.renewal.ended();
        self.renewed_at = turn.now;
        self.unseen = self.unseen.filter(|unseen| !unseen.is_looked_for);
    }

    /// The renewal failed; the next goes at this moment, or an interval from now. One that found no server may go at once
    /// when there is one: others judge this replica by it.
    pub(crate) fn failed(&mut self, turn: &Turn, retry_at: Instant, was_refused: bool) {
        self.renewal.ended();
        let next = retry_at.min(turn.now + self.interval);
        if was_refused {
            self.not_before = next;
        }
        self.renewal.set(next);
    }

    /// Something may have changed that only a renewal tells: it goes now.
    pub(crate) fn hurry(&mut self, turn: &Turn) {
        self.renewal.set(turn.now.max(self.not_before));
    }

    /// Others say that they have handed something over. One renewal that begins after this tells of all of it.
    pub(crate) fn was_told(&mut self, turn: &Turn) {
        let earliest = self.began_at.map_or(turn.now, |began| began + TOLD_INTERVAL);
        self.renewal.hurry(turn.now.max(self.not_before).max(earliest));
    }

    /// A read was made to return. Redis may have given it entries that nothing here has: the next renewal looks for them.
    pub(crate) fn look_for_unseen(&mut self, turn: &Turn) {
        self.hurry(turn);
        self.unseen = Some(Unseen { since: turn.now, is_looked_for: false });
    }

    /// Until when a renewal may still find entries that Redis gave to an interrupted read.
    pub(crate) fn looks_until(&self) -> Option<Instant> {
        self.unseen.map(|unseen| unseen.since + LOOK_MAX)
    }

    /// When the last renewal went through.
    pub(crate) fn renewed_at(&self) -> Instant {
        self.renewed_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_millis(500);

    proptest! {
        /// One renewal is under way at a time, the next goes within an interval, none goes before one that failed may be
        /// repeated, and what an interrupted read left is looked for by a renewal that began after it.
        #[test]
        fn renewals_go_in_time(steps in proptest::collection::vec((0..6_u8, 0..300_u64), 1..150)) {
            let start = Instant::now();
            let (mut keeper, holdings, mut now) = (Keeper::new(INTERVAL, INTERVAL, start), Holdings::default(), start);
            let (mut under_way, mut refused_until, mut is_unseen, mut will_see) = (false, start, false, false);
            for (step, ms) in steps {
                now += Duration::from_millis(ms);
                let turn = Turn { now, random: 0.0 };
                match step {
                    0 if under_way => {
                        keeper.renewed(&turn);
                        under_way = false;
                        is_unseen &= !will_see;
                    }
                    1 if under_way => {
                        let was_refused = ms.is_multiple_of(2);
                        keeper.failed(&turn, now + Duration::from_millis(ms), was_refused);
                        under_way = false;
                        refused_until = if was_refused { now + Duration::from_millis(ms) } else { refused_until };
                    }
                    2 => keeper.hurry(&turn),
                    4 => {
                        keeper.was_told(&turn);
                        let soon = now.max(refused_until) + TOLD_INTERVAL;
                        prop_assert!(keeper.wake().is_none_or(|due| due <= soon), "what was handed over waits");
                    }
                    3 => { keeper.look_for_unseen(&turn); is_unseen = true; will_see = false; }
                    _ => {}
                }
                let wake = keeper.wake();
                prop_assert_eq!(wake.is_none(), under_way);
                prop_assert!(wake.is_none_or(|due| due <= now + INTERVAL));
                let is_due = wake.is_some_and(|due| due <= now);
                prop_assert_eq!(keeper.next(&turn, &holdings).is_some(), is_due);
                prop_assert!(!is_due || now >= refused_until);
                under_way |= is_due;
                will_see |= is_due && is_unseen;
                prop_assert_eq!(keeper.looks_until().is_some(), is_unseen);
            }
        }
    }
}
