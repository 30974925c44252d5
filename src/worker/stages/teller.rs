//! Telling operators: what happened, what was done, which jobs do not run, once an interval, and now and then without anything,
//! so that the history of the fleet shows that it is there. The answer says what operators want done with those jobs.

use std::time::Duration;

use tokio::time::Instant;

use super::command::Command;
use super::keeper::TOLD_INTERVAL;
use super::timer::Timer;
use super::turn::Turn;
use crate::stream::fleet_event::{FleetEvent, Happened};
use crate::stream::tally::Tally;
use crate::stream::tell::{EVENTS_MAX, Report};

/// After so long a report goes although there is nothing to tell. The script looks at the stream with it.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// What operators are told.
#[derive(Debug)]
pub(crate) struct Teller {
    interval: Duration,
    timer: Timer,
    events: Vec<FleetEvent>,
    /// Events for which there was no room since the last report.
    left_out: u64,
    tally: Tally,
    /// The last report told of jobs that do not run, and must be followed by another one.
    told_of_open: bool,
    /// Someone says that operators want something: it is asked for at once.
    is_asked: bool,
    /// When the last report began.
    began_at: Option<Instant>,
}

impl Teller {
    /// Tells once an interval, if there is something to tell, and seldom otherwise. The first report always goes: what is
    /// sent from then on can be counted.
    pub(crate) fn new(interval: Duration, now: Instant) -> Self {
        let (timer, tally) = (Timer::at(now + interval), Tally::default());
        Self {
            interval,
            timer,
            events: Vec::new(),
            left_out: 0,
            tally,
            told_of_open: false,
            is_asked: false,
            began_at: None,
        }
    }

    /// Something happened. Of what is too much for one report only the number is told: the log has it.
    pub(crate) fn happened(&mut self, event: FleetEvent) {
        // The last place is for that number.
        if self.events.len() + 1 < EVENTS_MAX {
            self.events.push(event);
        } else {
            self.left_out += 1;
        }
    }

    /// What happened since the last report.
    fn take_events(&mut self, now: Instant) -> Vec<FleetEvent> {
        let left_out = std::mem::take(&mut self.left_out);
        let mut events = std::mem::take(&mut self.events);
        if left_out > 0 {
            events.push(FleetEvent::new(Happened::LeftOut, now).times(left_out));
        }
        events
    }

    /// What has been done, to be counted.
    pub(crate) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn has_something(&self, has_open: bool) -> bool {
        let has_happened = !self.events.is_empty() || self.left_out > 0 || !self.tally.is_empty();
        has_open || self.is_asked || self.told_of_open || has_happened
    }

    /// When the next report may go; `has_open` says that some jobs do not run.
    pub(crate) fn wake(&self, has_open: bool) -> Option<Instant> {
        let due = self.timer.wake(true)?;
        let seldom = self.began_at.filter(|_| !self.has_something(has_open)).map(|began_at| began_at + IDLE_INTERVAL);
        Some(seldom.map_or(due, |seldom| seldom.max(due)))
    }

    /// Operators may want something of what is in hand.
    pub(crate) fn hurry(&mut self, turn: &Turn) {
        self.is_asked = true;
        let earliest = self.began_at.map_or(turn.now, |began| began + TOLD_INTERVAL);
        self.timer.hurry(turn.now.max(earliest));
    }

    /// The next report. `in_hand` answers the jobs of which it tells, and the entries whose marks it asks for.
    pub(crate) fn next(&mut self, turn: &Turn, has_open: bool, in_hand: impl FnOnce() -> Report) -> Option<Command> {
        let is_due = self.wake(has_open).is_some_and(|due| due <= turn.now);
        if !self.timer.begin(turn.now, is_due) {
            return None;
        }
        (self.is_asked, self.began_at) = (false, Some(turn.now));
        let (events, tally) = (self.take_events(turn.now), std::mem::take(&mut self.tally));
        let report = Report { events, tally, ..in_hand() };
        self.told_of_open = !report.open.is_empty();
        Some(Command::Tell(report))
    }

    /// A report has ended. One that did not arrive is told again with the next one: its jobs and counts whole, its events as far
    /// as there is room.
    pub(crate) fn returned(&mut self, turn: &Turn, report: Report, has_arrived: bool) {
        self.timer.ended();
        self.timer.set(turn.now + if self.is_asked { TOLD_INTERVAL } else { self.interval });
        if !has_arrived {
            self.tally.add(&report.tally);
            self.told_of_open |= !report.open.is_empty();
            let newer = std::mem::take(&mut self.events);
            for event in report.events.into_iter().chain(newer) {
                match (event.kind, event.count) {
                    (Happened::LeftOut, Some(count)) => self.left_out += count,
                    _ => self.happened(event),
                }
            }
        }
    }

    /// Is a report under way?
    pub(crate) fn is_telling(&self) -> bool {
        self.timer.is_under_way()
    }

    /// What has not been told yet, when the replica ends.
    pub(crate) fn rest(&mut self, now: Instant) -> Report {
        let (events, tally) = (self.take_events(now), std::mem::take(&mut self.tally));
        Report { events, tally, ..Report::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::entry_id::EntryId;
    use crate::stream::open::{OpenJob, OpenState};
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_millis(500);

    fn open_job(ms: u64) -> OpenJob {
        OpenJob {
            id: EntryId { ms, seq: 0 },
            state: OpenState::BackingOff,
            game: String::new(),
            image: String::new(),
            failures: 0,
            code: String::new(),
            text: String::new(),
            next_in: None,
            since: Duration::ZERO,
        }
    }

    /// How many events a report tells of, in words or as a number.
    fn events_of(report: &Report) -> u64 {
        report.events.iter().map(|event| event.count.unwrap_or(1)).sum()
    }

    proptest! {
        /// One report is under way at a time, not more than one an interval; everything counted, and every event or its number, arrives once; what was told of
        /// open jobs is followed by a report without them.
        #[test]
        fn everything_counted_is_told_once(steps in proptest::collection::vec((0..5_u8, 0..300_u64), 1..150)) {
            let start = Instant::now();
            let (mut teller, mut now, mut open) = (Teller::new(INTERVAL, start), start, Vec::new());
            let (mut counted, mut arrived, mut under_way, mut last) = (0, 0, None::<Report>, start);
            let (mut happened, mut told) = (0, 0);
            for (step, number) in steps {
                now += Duration::from_millis(number);
                let turn = Turn { now, random: 0.0 };
                match step {
                    0 => { teller.tally().claimed(usize::try_from(number).expect("small")); counted += number; }
                    1 => open = vec![open_job(number)],
                    4 => for _ in 0..number {
                        teller.happened(FleetEvent::new(Happened::AttemptFailed, now));
                        happened += 1;
                    },
                    2 => open.clear(),
                    3 => if let Some(report) = under_way.take() {
                        let has_arrived = number.is_multiple_of(2);
                        arrived += if has_arrived { report.tally.claimed } else { 0 };
                        told += if has_arrived { events_of(&report) } else { 0 };
                        teller.returned(&turn, report, has_arrived);
                    },
                    _ => {}
                }
                let is_due = teller.wake(!open.is_empty()).is_some_and(|due| due <= now);
                let in_hand = || Report { backing_off: open.len(), open: open.clone(), ..Report::default() };
                let next = teller.next(&turn, !open.is_empty(), in_hand);
                prop_assert_eq!(is_due, next.is_some());
                let Some(Command::Tell(report)) = next else { continue };
                prop_assert!(under_way.is_none() && now >= last + INTERVAL && report.events.len() <= EVENTS_MAX);
                last = now;
                under_way = Some(report);
            }
            let waiting = teller.rest(now);
            let on_its_way = under_way.as_ref().map_or(0, |report| report.tally.claimed);
            told += under_way.as_ref().map_or(0, events_of) + events_of(&waiting);
            prop_assert_eq!(told, happened);
            prop_assert_eq!(arrived + on_its_way + waiting.tally.claimed, counted);
        }
    }
}
