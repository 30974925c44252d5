//! Is it the host that fails, and not its jobs? An engine may answer a ping and start nothing: its disk is full, or it hangs.
//!
//! Failures that are not the jobs' own are compared across lanes. As long as they may be of one bad job, or of jobs of one
//! variety, they count against the jobs' budgets, so that a job that can start nowhere is answered. When they can only be the
//! host's, the host is sick: what was counted since its last success is withdrawn, nothing is in hand any more, and one
//! entry at a time, the canary, finds out whether the host is well again. A canary costs no budget. So a job of a bad image
//! that waits on a sick host waits until the host is well, or another host takes it, just as with an engine that is down.
//!
//! Only a job whose work was done makes a host well: an answer that was stored, or a game that ran already, is found on a
//! full disk too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::command::Command;
use super::timer::Timer;
use super::turn::Turn;
use crate::stream::entry_id::EntryId;
use crate::worker::handler::Blame;

/// So many lanes have to fail: two may be the two halves of one mistake.
const LANES: usize = 3;
/// So many varieties, where the failures may be the jobs' own.
const VARIETIES: usize = 2;
/// Entries whose counts are remembered. Beyond this the oldest keep theirs.
const COUNTED_MAX: usize = 1_000;
/// Entries whose counts are withdrawn in one call.
const BATCH: usize = 100;
/// Between two canaries at least.
pub(crate) const CANARY_PAUSE: Duration = Duration::from_secs(1);

/// A failure that may be the host's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostFailure<'a> {
    /// The entry whose attempt failed.
    pub(crate) id: EntryId,
    /// Its lane.
    pub(crate) lane: &'a str,
    /// Its variety.
    pub(crate) variety: &'a str,
    /// How surely the host is to blame. Of failures that are the job's own nothing is told here.
    pub(crate) blame: Blame,
    /// It was counted against the entry's budget, and the entry has not been answered for it.
    pub(crate) is_counted: bool,
}

/// What has failed since the last success.
#[derive(Debug)]
pub(crate) struct Health {
    /// The first lanes that failed, no more than matter.
    lanes: BTreeSet<Box<str>>,
    /// Of these failures those that are the host's for sure: the first lanes.
    surely: BTreeSet<Box<str>>,
    /// Of those that may be the jobs' own: the first varieties.
    varieties: BTreeSet<Box<str>>,
    /// How often a failure was counted, by entry.
    counted: BTreeMap<EntryId, u64>,
    is_sick: bool,
    /// What is to be withdrawn of these counts, by entry.
    owed: BTreeMap<EntryId, u64>,
    /// Withdrawing it.
    withdrawal: Timer,
}

impl Health {
    /// A host of which nothing is known is well.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            lanes: BTreeSet::new(),
            surely: BTreeSet::new(),
            varieties: BTreeSet::new(),
            counted: BTreeMap::new(),
            is_sick: false,
            owed: BTreeMap::new(),
            withdrawal: Timer::at(now),
        }
    }

    /// An attempt has failed for a reason that may be the host's. Answers whether the host is found sick by it.
    pub(crate) fn failed(&mut self, failure: HostFailure<'_>) -> bool {
        let HostFailure { id, lane, variety, blame, is_counted } = failure;
        if is_counted {
            // An attempt that began while the host seemed well.
            add(if self.is_sick { &mut self.owed } else { &mut self.counted }, id, 1);
        }
        remember(&mut self.lanes, lane, LANES);
        match blame {
            Blame::Engine => remember(&mut self.surely, lane, LANES),
            Blame::Job | Blame::Unclear => remember(&mut self.varieties, variety, VARIETIES),
        }
        let is_of_host = self.surely.len() == LANES || self.varieties.len() == VARIETIES;
        if self.is_sick || self.lanes.len() < LANES || !is_of_host {
            return false;
        }
        self.is_sick = true;
        for (id, times) in std::mem::take(&mut self.counted) {
            add(&mut self.owed, id, times);
        }
        true
    }

    /// An attempt has done a job's work here. Answers whether the host was sick until now.
    pub(crate) fn succeeded(&mut self) -> bool {
        self.lanes.clear();
        self.surely.clear();
        self.varieties.clear();
        self.counted.clear();
        std::mem::take(&mut self.is_sick)
    }

    /// An entry is answered: what was counted of it is forgotten when it is settled.
    pub(crate) fn answered(&mut self, id: EntryId) {
        self.counted.remove(&id);
        self.owed.remove(&id);
    }

    /// When counts may be withdrawn.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.withdrawal.wake(!self.owed.is_empty())
    }

    /// The next counts that are withdrawn.
    pub(crate) fn next(&mut self, turn: &Turn) -> Option<Command> {
        if !self.withdrawal.begin(turn.now, !self.owed.is_empty()) {
            return None;
        }
        let mut batch = Vec::with_capacity(self.owed.len().min(BATCH));
        while batch.len() < BATCH
            && let Some(entry) = self.owed.pop_first()
        {
            batch.push(entry);
        }
        Some(Command::WithdrawFailures(batch))
    }

    /// Counts were withdrawn, or were not.
    pub(crate) fn withdrawn(&mut self, batch: Vec<(EntryId, u64)>, retry: Option<Instant>) {
        self.withdrawal.ended();
        let Some(retry_at) = retry else { return };
        self.withdrawal.set(retry_at);
        for (id, times) in batch {
            add(&mut self.owed, id, times);
        }
    }

    /// Redis answers again.
    pub(crate) fn hurry(&mut self, at: Instant) {
        self.withdrawal.hurry(at);
    }

    /// Is anything left to be withdrawn?
    pub(crate) fn owes(&self) -> bool {
        !self.owed.is_empty() || self.withdrawal.is_under_way()
    }
}

fn remember(seen: &mut BTreeSet<Box<str>>, one: &str, max: usize) {
    if seen.len() < max && !seen.contains(one) {
        seen.insert(one.into());
    }
}

fn add(counts: &mut BTreeMap<EntryId, u64>, id: EntryId, times: u64) {
    *counts.entry(id).or_default() += times;
    if counts.len() > COUNTED_MAX {
        counts.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn failure<'a>(lane: &'a str, variety: &'a str, blame: Blame) -> HostFailure<'a> {
        HostFailure { id: id(1), lane, variety, blame, is_counted: false }
    }

    /// Lane, variety and blame of a failure.
    type Row = (&'static str, &'static str, Blame);

    #[test]
    fn a_host_is_sick_when_several_lanes_fail_and_no_one_job_or_variety_can_be_the_reason() {
        use Blame::{Engine, Unclear};
        let rows: [(&[Row], bool); 8] = [
            (&[("a", "x", Engine), ("b", "x", Engine), ("c", "x", Engine)], true),
            (&[("a", "x", Engine), ("b", "x", Engine), ("a", "x", Engine), ("b", "x", Engine)], false),
            (&[("a", "x", Unclear), ("b", "x", Unclear), ("c", "x", Unclear), ("d", "x", Unclear)], false),
            (&[("a", "x", Unclear), ("b", "x", Unclear), ("c", "y", Unclear)], true),
            (&[("a", "x", Unclear), ("b", "y", Unclear), ("a", "z", Unclear)], false),
            (&[("a", "x", Engine), ("b", "y", Engine), ("c", "x", Unclear)], false),
            (&[("a", "x", Engine), ("b", "x", Unclear), ("c", "y", Unclear)], true),
            (&[("a", "x", Unclear), ("b", "x", Engine), ("c", "x", Engine), ("a", "x", Engine)], true),
        ];
        for (failures, is_sick) in rows {
            let mut health = Health::new(Instant::now());
            let last =
                failures.iter().map(|&(lane, variety, blame)| health.failed(failure(lane, variety, blame))).last();
            assert_eq!((last, health.is_sick), (Some(is_sick), is_sick), "{failures:?}");
        }
    }

    #[test]
    fn what_is_answered_is_not_withdrawn_and_what_fails_late_is() {
        let mut health = Health::new(Instant::now());
        for (number, lane) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
            let failure = HostFailure { id: id(number), is_counted: true, ..failure(lane, "x", Blame::Engine) };
            assert_eq!(health.failed(failure), number == 3);
            if number == 1 {
                health.answered(id(1));
            }
        }
        let turn = Turn { now: Instant::now(), random: 0.0 };
        let Some(Command::WithdrawFailures(batch)) = health.next(&turn) else { panic!("nothing is withdrawn") };
        assert_eq!(batch, [(id(2), 1), (id(3), 1), (id(4), 1)]);
        health.withdrawn(batch, None);
        assert!(!health.owes());
    }

    #[test]
    fn no_more_than_so_many_entries_are_remembered() {
        let mut health = Health::new(Instant::now());
        for number in 0..2_000 {
            let lane = format!("{}", number % 2);
            health.failed(HostFailure { id: id(number), is_counted: true, ..failure(&lane, "x", Blame::Engine) });
        }
        assert_eq!(health.counted.len(), COUNTED_MAX);
        assert_eq!(health.counted.keys().next(), Some(&id(1_000)), "the latest are remembered");
        assert!(health.failed(failure("2", "x", Blame::Engine)));
        assert_eq!((health.counted.len(), health.owed.len()), (0, COUNTED_MAX));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Fails { lane: u8, variety: u8, is_sure: bool, is_counted: bool },
        Succeeds,
        Answered(u8),
        Ends { fails: bool },
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..5_u8, 0..3_u8, any::<bool>(), any::<bool>())
                .prop_map(|(lane, variety, is_sure, is_counted)| Step::Fails { lane, variety, is_sure, is_counted }),
            1 => Just(Step::Succeeds),
            1 => (0..5_u8).prop_map(Step::Answered),
            3 => any::<bool>().prop_map(|fails| Step::Ends { fails }),
        ]
    }

    proptest! {
        /// Against a list of all that has happened since the last success. A lane is one entry here.
        #[test]
        fn a_host_is_sick_for_a_reason_and_withdraws_what_was_counted(steps in proptest::collection::vec(any_step(), 1..120)) {
            let mut now = Instant::now();
            let mut health = Health::new(now);
            // By entry: counted since the last success, and to be withdrawn.
            let (mut since, mut counted) = (Vec::<(u8, u8, bool)>::new(), BTreeMap::<u64, u64>::new());
            let (mut owed, mut under_way) = (BTreeMap::<u64, u64>::new(), None::<Vec<(EntryId, u64)>>);
            let mut is_sick = false;
            for step in steps {
                now += Duration::from_millis(10);
                match step {
                    Step::Fails { lane, variety, is_sure, is_counted } => {
                        since.push((lane, variety, is_sure));
                        if is_counted {
                            *if is_sick { &mut owed } else { &mut counted }.entry(lane.into()).or_default() += 1;
                        }
                        let distinct = |all: &mut dyn Iterator<Item = u8>| all.collect::<BTreeSet<u8>>().len();
                        let lanes = distinct(&mut since.iter().map(|one| one.0));
                        let sure = distinct(&mut since.iter().filter(|one| one.2).map(|one| one.0));
                        let varieties = distinct(&mut since.iter().filter(|one| !one.2).map(|one| one.1));
                        let falls_sick = !is_sick && lanes >= 3 && (sure >= 3 || varieties >= 2);
                        let (lane_name, variety) = (format!("g{lane}"), format!("i{variety}"));
                        let blame = if is_sure { Blame::Engine } else { Blame::Unclear };
                        let failure = HostFailure { id: id(lane.into()), lane: &lane_name, variety: &variety, blame, is_counted };
                        prop_assert_eq!(health.failed(failure), falls_sick);
                        if falls_sick {
                            is_sick = true;
                            for (lane, times) in std::mem::take(&mut counted) {
                                *owed.entry(lane).or_default() += times;
                            }
                        }
                    }
                    Step::Succeeds => {
                        prop_assert_eq!(health.succeeded(), is_sick);
                        is_sick = false;
                        since.clear();
                        counted.clear();
                    }
                    Step::Answered(lane) => {
                        health.answered(id(lane.into()));
                        counted.remove(&lane.into());
                        owed.remove(&lane.into());
                    }
                    Step::Ends { fails } => if let Some(batch) = under_way.take() {
                        if fails {
                            for (id, times) in &batch {
                                *owed.entry(id.ms).or_default() += times;
                            }
                        }
                        health.withdrawn(batch, fails.then_some(now));
                    },
                }
                let is_due = health.wake().is_some_and(|due| due <= now);
                let next = health.next(&Turn { now, random: 0.0 });
                prop_assert_eq!(is_due, next.is_some());
                if let Some(Command::WithdrawFailures(batch)) = next {
                    prop_assert!(under_way.is_none(), "one call at a time");
                    let expected: Vec<(EntryId, u64)> = std::mem::take(&mut owed).into_iter().map(|(ms, times)| (id(ms), times)).collect();
                    prop_assert_eq!(&batch, &expected);
                    under_way = Some(batch);
                }
                prop_assert_eq!(health.owes(), under_way.is_some() || !owed.is_empty());
            }
        }

        #[test]
        fn one_variety_alone_never_makes_a_host_sick(lanes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut health = Health::new(Instant::now());
            for lane in lanes {
                prop_assert!(!health.failed(failure(&lane.to_string(), "bad", Blame::Unclear)));
            }
        }
    }
}
