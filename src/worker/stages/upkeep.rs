//! What a replica does besides its entries: it waits for an engine or a store that is away, makes a lost group usable
//! again, and lets the janitor and the reconciler run.

use std::time::Duration;

use tokio::time::Instant;

use super::command::Command;
use super::gate::{Gate, Host};
use super::timer::Timer;
use super::turn::Turn;

/// While the janitor's walk has more before it.
const TIDY_AGAIN: Duration = Duration::from_millis(300);

/// How often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intervals {
    /// The janitor.
    pub(crate) tidy: Duration,
    /// The reconciler; none: never.
    pub(crate) reconcile: Option<Duration>,
}

/// The six operations.
#[derive(Debug)]
pub(crate) struct Upkeep {
    intervals: Intervals,
    /// Of the engine.
    pub(crate) engine_probe: Timer,
    /// Of the handler's store, by a call of its own: what is in hand may back off for much longer than the store is away.
    pub(crate) store_probe: Timer,
    /// Of the room on a full host: nothing else would tell a replica without jobs that a place is free.
    pub(crate) room_probe: Timer,
    /// Making the group usable.
    pub(crate) adoption: Timer,
    tidy: Timer,
    reconcile: Timer,
}

impl Upkeep {
    /// Everything but the reconciler is due at once.
    pub(crate) fn new(intervals: Intervals, now: Instant) -> Self {
        let due = Timer::at(now);
        // Whatever is under way when a fleet comes up has time to end.
        let reconcile = Timer::at(now + intervals.reconcile.unwrap_or_default());
        Self { intervals, engine_probe: due, store_probe: due, room_probe: due, adoption: due, tidy: due, reconcile }
    }

    /// Every operation, and whether it may begin.
    fn all(&self, gate: &Gate) -> [(&Timer, bool); 6] {
        // On a sick or full host too: games end there, and their room is what others wait for.
        let reconciles = gate.tries_entries() && self.intervals.reconcile.is_some();
        [
            (&self.adoption, !gate.has_group()),
            (&self.engine_probe, !gate.engine_is_up()),
            (&self.store_probe, !gate.store_is_up()),
            (&self.room_probe, gate.host() == Host::Full && gate.starts()),
            (&self.tidy, gate.is_running() && gate.has_group()),
            (&self.reconcile, reconciles),
        ]
    }

    /// When the next of them begins.
    pub(crate) fn wake(&self, gate: &Gate) -> Option<Instant> {
        self.all(gate).into_iter().filter_map(|(timer, may_begin)| timer.wake(may_begin)).min()
    }

    /// The next of them.
    pub(crate) fn next(&mut self, turn: &Turn, gate: &Gate) -> Option<Command> {
        let may_begin = self.all(gate).map(|(_, may_begin)| may_begin);
        let [adopts, probes_engine, probes_store, probes_room, tidies, reconciles] = may_begin;
        if self.adoption.begin(turn.now, adopts) {
            return Some(Command::Adopt);
        }
        if self.engine_probe.begin(turn.now, probes_engine) {
            return Some(Command::ProbeEngine);
        }
        if self.store_probe.begin(turn.now, probes_store) {
            return Some(Command::ProbeStore);
        }
        if self.room_probe.begin(turn.now, probes_room) {
            return Some(Command::ProbeRoom);
        }
        if self.tidy.begin(turn.now, tidies) {
            self.tidy.set(turn.around(self.intervals.tidy));
            return Some(Command::Tidy);
        }
        if self.reconcile.begin(turn.now, reconciles) {
            self.reconcile.set(turn.around(self.intervals.reconcile.unwrap_or_default()));
            return Some(Command::Reconcile);
        }
        None
    }

    /// The janitor has run.
    pub(crate) fn tidied(&mut self, turn: &Turn, has_more: bool) {
        self.tidy.ended();
        if has_more {
            self.tidy.hurry(turn.now + TIDY_AGAIN);
        }
    }

    /// The janitor could not run.
    pub(crate) fn tidy_failed(&mut self, retry_at: Instant) {
        self.tidy.ended();
        self.tidy.defer(retry_at);
    }

    /// The reconciler has run.
    pub(crate) fn reconciled(&mut self) {
        self.reconcile.ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::stages::gate::tests::any_gate;
    use proptest::prelude::*;

    proptest! {
        /// Each operation is under way once at a time, begins only while the gate allows it, and exactly when the stage wakes.
        #[test]
        fn waking_and_beginning_agree(
            steps in proptest::collection::vec((0..8_u8, 0..800_u64), 1..150),
            gates in proptest::collection::vec(any_gate(), 6),
        ) {
            let start = Instant::now();
            let second = Duration::from_secs(1);
            let mut upkeep = Upkeep::new(Intervals { tidy: second, reconcile: Some(second) }, start);
            let (mut now, mut gate, mut under_way) = (start, gates[0], Vec::<String>::new());
            for (step, ms) in steps {
                now += Duration::from_millis(ms);
                let (turn, later) = (Turn { now, random: 0.5 }, now + Duration::from_millis(ms));
                let mut ends = |name: &str| under_way.iter().position(|one| one == name).map(|at| under_way.remove(at)).is_some();
                match step {
                    0 if ends("Adopt") => { upkeep.adoption.ended(); upkeep.adoption.set(later); }
                    1 if ends("ProbeEngine") => { upkeep.engine_probe.ended(); upkeep.engine_probe.set(later); }
                    2 if ends("ProbeStore") => { upkeep.store_probe.ended(); upkeep.store_probe.set(later); }
                    6 if ends("ProbeRoom") => { upkeep.room_probe.ended(); upkeep.room_probe.set(later); }
                    3 if ends("Tidy") => upkeep.tidied(&turn, ms.is_multiple_of(2)),
                    4 if ends("Tidy") => upkeep.tidy_failed(later),
                    5 if ends("Reconcile") => upkeep.reconciled(),
                    6 => gate = gates[usize::try_from(ms).expect("few") % gates.len()],
                    _ => {}
                }
                loop {
                    let is_due = upkeep.wake(&gate).is_some_and(|due| due <= now);
                    let next = upkeep.next(&turn, &gate);
                    prop_assert_eq!(is_due, next.is_some());
                    let Some(command) = next else { break };
                    let is_allowed = match command {
                        Command::Adopt => !gate.has_group(),
                        Command::ProbeEngine => !gate.engine_is_up(),
                        Command::ProbeStore => !gate.store_is_up(),
                        Command::ProbeRoom => gate.host() == Host::Full && gate.starts(),
                        Command::Tidy => gate.is_running() && gate.has_group(),
                        _ => gate.tries_entries(),
                    };
                    prop_assert!(is_allowed);
                    let name = format!("{command:?}");
                    prop_assert!(!under_way.contains(&name));
                    under_way.push(name);
                }
            }
        }
    }
}
