//! One operation that repeats and is under way once at a time: when it may begin next, and whether it is under way.

use tokio::time::Instant;

/// A repeated operation, of which one is under way at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timer {
    due: Instant,
    since: Option<Instant>,
}

impl Timer {
    /// It may begin at this moment.
    pub(crate) fn at(due: Instant) -> Self {
        Self { due, since: None }
    }

    /// When the loop must wake for it; never while it is under way, or may not begin.
    pub(crate) fn wake(&self, may_begin: bool) -> Option<Instant> {
        (may_begin && self.since.is_none()).then_some(self.due)
    }

    /// Begins it, where it is due and may begin.
    pub(crate) fn begin(&mut self, now: Instant, may_begin: bool) -> bool {
        let begins = self.wake(may_begin).is_some_and(|due| due <= now);
        if begins {
            self.since = Some(now);
        }
        begins
    }

    /// It has ended; answers when it had begun.
    pub(crate) fn ended(&mut self) -> Option<Instant> {
        self.since.take()
    }

    /// Since when it is under way.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Is it under way?
    pub(crate) fn is_under_way(&self) -> bool {
        self.since.is_some()
    }

    /// The next one may begin at this moment.
    pub(crate) fn set(&mut self, at: Instant) {
        self.due = at;
    }

    /// The next one may begin at this moment already.
    pub(crate) fn hurry(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }

    /// The next one may not begin before this moment.
    pub(crate) fn defer(&mut self, at: Instant) {
        self.due = self.due.max(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// It begins exactly when it wakes, at most one is under way, and what is set meanwhile counts for the next.
        #[test]
        fn waking_and_beginning_agree(steps in proptest::collection::vec((0..6_u8, 0..50_u64, any::<bool>()), 1..100)) {
            let start = Instant::now();
            let (mut timer, mut now, mut under_way) = (Timer::at(start), start, false);
            for (step, ms, may_begin) in steps {
                now += Duration::from_millis(ms);
                match step {
                    0 => timer.set(now + Duration::from_millis(ms)),
                    1 => timer.hurry(now),
                    2 => timer.defer(now + Duration::from_millis(ms)),
                    3 => { prop_assert_eq!(timer.ended().is_some(), under_way); under_way = false; }
                    _ => {
                        let wakes = timer.wake(may_begin).is_some_and(|due| due <= now);
                        prop_assert!(!(wakes && (under_way || !may_begin)));
                        prop_assert_eq!(timer.begin(now, may_begin), wakes);
                        under_way |= wakes;
                    }
                }
                prop_assert_eq!(timer.is_under_way(), under_way);
                prop_assert!(!under_way || timer.wake(true).is_none());
            }
        }
    }
}
