//! The blocking read under way: since when, whether it must return, and whether it is overdue.

use std::time::Duration;

use tokio::time::Instant;

use super::timer::Timer;

/// Whether the read that waits is to return now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interrupt {
    No,
    Wanted,
    Sent,
}

/// The blocking reads, of which one is under way at a time.
#[derive(Debug)]
pub(crate) struct Reading {
    /// When the next may begin, and whether one is under way.
    pub(super) timer: Timer,
    /// One that has not returned after so long never will.
    limit: Duration,
    interrupt: Interrupt,
    /// The watchdog has dropped its connection.
    is_overdue: bool,
    /// It asks for one entry, because the host is sick.
    is_trial: bool,
}

impl Reading {
    /// None is under way.
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        Self { timer: Timer::at(now), limit, interrupt: Interrupt::No, is_overdue: false, is_trial: false }
    }

    /// One begins; `is_trial` says that the host is sick.
    pub(super) fn begin(&mut self, now: Instant, is_trial: bool) {
        self.timer.begin(now, true);
        self.interrupt = Interrupt::No;
        self.is_overdue = false;
        self.is_trial = is_trial;
    }

    /// Does one wait that asks for more than a sick host may take?
    pub(super) fn is_too_much(&self, host_is_sick: bool) -> bool {
        host_is_sick && !self.is_trial
    }

    /// The read that waits is to return, if one does.
    pub(super) fn ask_to_return(&mut self) {
        if self.is_under_way() && self.interrupt == Interrupt::No {
            self.interrupt = Interrupt::Wanted;
        }
    }

    /// When the read that waits has to be made to return, and since when that is wanted; `is_wanted` says that something else
    /// wants it.
    pub(super) fn interrupt_wake(&self, is_wanted: bool) -> Option<Instant> {
        let is_wanted = self.interrupt == Interrupt::Wanted || (self.interrupt == Interrupt::No && is_wanted);
        self.timer.since().filter(|_| is_wanted)
    }

    /// It is made to return.
    pub(super) fn interrupted(&mut self) {
        self.interrupt = Interrupt::Sent;
    }

    /// When the read that waits is overdue.
    pub(super) fn overdue_wake(&self) -> Option<Instant> {
        self.timer.since().filter(|_| !self.is_overdue).map(|since| since + self.limit)
    }

    /// It is overdue: its connection is dropped.
    pub(super) fn dropped(&mut self) {
        self.is_overdue = true;
    }

    /// Does a read wait?
    pub(super) fn is_under_way(&self) -> bool {
        self.timer.is_under_way()
    }

    /// Does the read that waits not return?
    pub(super) fn is_overdue(&self) -> bool {
        self.is_under_way() && self.is_overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_made_to_return_once_and_dropped_once() {
        let (now, limit) = (Instant::now(), Duration::from_secs(3));
        let mut reading = Reading::new(limit, now);
        reading.ask_to_return();
        assert_eq!((reading.interrupt_wake(true), reading.overdue_wake()), (None, None), "there is none");
        reading.begin(now, false);
        assert_eq!((reading.interrupt_wake(false), reading.interrupt_wake(true)), (None, Some(now)));
        reading.ask_to_return();
        assert_eq!(reading.interrupt_wake(false), Some(now));
        reading.interrupted();
        reading.ask_to_return();
        assert_eq!(reading.interrupt_wake(true), None);
        assert_eq!(reading.overdue_wake(), Some(now + limit));
        reading.dropped();
        assert!(reading.is_overdue() && reading.overdue_wake().is_none());
        reading.timer.ended();
        reading.begin(now, false);
        assert!(!reading.is_overdue() && reading.interrupt_wake(true).is_some());
    }

    #[test]
    fn only_a_read_that_began_on_a_sick_host_may_go_on_there() {
        let now = Instant::now();
        let mut reading = Reading::new(Duration::from_secs(3), now);
        for (is_trial, host_is_sick, is_too_much) in
            [(false, false, false), (false, true, true), (true, true, false), (true, false, false)]
        {
            reading.begin(now, is_trial);
            assert_eq!(reading.is_too_much(host_is_sick), is_too_much, "{is_trial} {host_is_sick}");
            reading.timer.ended();
        }
    }
}
