//! Entries that leave for other replicas: given back for any of them to take at once, or handed over to one of another host.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::command::Command;
use super::held::Held;
use super::job::Away;
use super::turn::Turn;
use crate::stream::hand_over::HAND_OVER_MAX;

/// Between two hand-overs: while one is under way nothing is claimed, and there may always be more to hand over.
const HAND_OVER_PAUSE: Duration = Duration::from_millis(5);

/// The entries on their way to others.
#[derive(Debug)]
pub(crate) struct Returns {
    ready: Vec<Held>,
    calls: usize,
    due: Instant,
    /// They count as waiting until another replica has them: they are renewed, and take slots, which bounds how many there are.
    away: VecDeque<Away>,
    is_handing_over: bool,
    away_due: Instant,
}

impl Returns {
    /// Nothing leaves yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { ready: Vec::new(), calls: 0, due: now, away: VecDeque::new(), is_handing_over: false, away_due: now }
    }

    /// This entry goes back.
    pub(crate) fn push(&mut self, held: Held) {
        self.ready.push(held);
    }

    /// This job goes to another host.
    pub(crate) fn push_away(&mut self, away: Away) {
        self.away.push_back(away);
    }

    /// How many calls are under way that give entries away. A sweep behind one may take what is still in our hands here.
    pub(crate) fn calls(&self) -> usize {
        self.calls + usize::from(self.is_handing_over)
    }

    fn wake_back(&self) -> Option<Instant> {
        (!self.ready.is_empty()).then_some(self.due)
    }

    fn wake_away(&self) -> Option<Instant> {
        (!self.away.is_empty() && !self.is_handing_over).then_some(self.away_due)
    }

    /// When the next call may go.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.wake_back().into_iter().chain(self.wake_away()).min()
    }

    /// The next hand-back: all that is to go. Or the next hand-over, of which one is under way at a time.
    pub(crate) fn next(&mut self, turn: &Turn) -> Option<Command> {
        if self.wake_back().is_some_and(|due| due <= turn.now) {
            self.calls += 1;
            return Some(Command::HandBack(std::mem::take(&mut self.ready)));
        }
        if self.wake_away().is_none_or(|due| due > turn.now) {
            return None;
        }
        self.is_handing_over = true;
        let count = self.away.len().min(HAND_OVER_MAX);
        Some(Command::HandOver(self.away.drain(..count).collect()))
    }

    /// A hand-back has come back; answers what left our hands.
    pub(crate) fn returned(&mut self, entries: Vec<Held>, retry: Option<Instant>) -> Vec<Held> {
        self.calls -= 1;
        let Some(retry_at) = retry else { return entries };
        self.due = retry_at;
        self.ready.extend(entries);
        Vec::new()
    }

    /// A hand-over has come back; answers the jobs where it was answered. Else they go again at that moment.
    pub(crate) fn handed_over(&mut self, turn: &Turn, jobs: Vec<Away>, retry: Option<Instant>) -> Vec<Away> {
        self.is_handing_over = false;
        let Some(retry_at) = retry else {
            self.away_due = turn.now + HAND_OVER_PAUSE;
            return jobs;
        };
        self.away_due = retry_at;
        for away in jobs.into_iter().rev() {
            self.away.push_front(away);
        }
        Vec::new()
    }

    /// Redis answers again.
    pub(crate) fn hurry(&mut self, at: Instant) {
        self.due = self.due.min(at);
        self.away_due = self.away_due.min(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::entry_id::EntryId;
    use crate::stream::{Delivery, Origin};
    use crate::worker::handler::tests::AskedFor;
    use crate::worker::stages::held::Holdings;
    use crate::worker::stages::job::Job;
    use proptest::prelude::*;

    proptest! {
        /// Whatever goes back or away leaves once and in its order, however often a call fails; waking and beginning agree.
        #[test]
        fn what_goes_leaves_once(steps in proptest::collection::vec((0..5_u8, 0..40_u64), 1..150)) {
            let start = Instant::now();
            let (mut returns, mut holdings, mut now) = (Returns::new(start), Holdings::default(), start);
            let (mut given, mut under_way, mut left) = (0, Vec::<Vec<Held>>::new(), Vec::new());
            let (mut handing, mut away) = (None::<Vec<Away>>, Vec::<u64>::new());
            let mut held = |ms: u64, now| {
                let (id, origin) = (EntryId { ms, seq: 0 }, Origin::New);
                let delivery = Delivery { id, origin, dead_owner: None, deliveries: 1, crashes: 0, failures: 0, fields: None };
                holdings.take(delivery, now).expect("new")
            };
            for (step, number) in steps {
                now += Duration::from_millis(number);
                let retry = (number.is_multiple_of(3)).then_some(now + Duration::from_millis(number));
                match step {
                    0 => { returns.push(held(given, now)); given += 1; }
                    1 => for _ in 0..number * 4 {
                        let (held, request) = (held(given, now), AskedFor::in_lane("g"));
                        let job = Job { held, request, uncounted: 0, is_lost: false, is_too_large: false, last: None };
                        returns.push_away(Away::placed(job, "h".into()));
                        given += 1;
                    },
                    2 if !under_way.is_empty() => left.extend(returns.returned(under_way.remove(0), retry)),
                    3 => if let Some(jobs) = handing.take() {
                        away.extend(returns.handed_over(&Turn { now, random: 0.0 }, jobs, retry).iter().map(|away| away.job.held.id().ms));
                    },
                    _ => returns.hurry(now),
                }
                let is_due = returns.wake().is_some_and(|due| due <= now);
                let mut has_begun = false;
                while let Some(command) = returns.next(&Turn { now, random: 0.0 }) {
                    has_begun = true;
                    match command {
                        Command::HandBack(entries) => { prop_assert!(!entries.is_empty()); under_way.push(entries); }
                        Command::HandOver(jobs) => {
                            prop_assert!(handing.is_none() && (1..=HAND_OVER_MAX).contains(&jobs.len()));
                            handing = Some(jobs);
                        }
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
                prop_assert_eq!(is_due, has_begun);
                prop_assert_eq!(returns.calls(), under_way.len() + usize::from(handing.is_some()));
            }
            prop_assert!(away.is_sorted());
            let all = left.iter().chain(under_way.iter().flatten()).chain(&returns.ready);
            let mut ids: Vec<u64> = all.map(|held| held.id().ms).collect();
            ids.extend(away);
            ids.extend(handing.iter().flatten().chain(&returns.away).map(|away| away.job.held.id().ms));
            ids.sort_unstable();
            prop_assert_eq!(ids, (0..given).collect::<Vec<_>>());
        }
    }
}
