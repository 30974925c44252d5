//! How entries come in: the blocking read, the claim sweep, and which of them goes when.

use std::time::Duration;

use tokio::time::Instant;

use super::appetite::Appetite;
use super::cadence::Cadence;
use super::command::Command;
use super::gate::Gate;
use super::held::EntryKey;
use super::load::{Limits, Load};
use super::reading::Reading;
use super::strays::Strays;
use super::timer::Timer;
use super::turn::Turn;
use crate::stream::Delivery;
use crate::stream::claim::{Aim, Sweep};
use crate::stream::entry_id::EntryId;
use crate::stream::lua::SUSPECT_CRASHES;
use crate::stream::renew::Stray;

/// Entries that have ended and are not settled yet, in reads: one under way, one ready, one that is worked on. Beyond this
/// nothing is read.
const ENDING_READS: usize = 3;
/// A sweep takes no more than this: Redis serves no one else meanwhile, and the next one follows at once.
const CLAIM_MAX: usize = 256;

/// Between two sweeps at least, but for those that follow a claim: the script counts whole milliseconds.
const SWEEP_PAUSE: Duration = Duration::from_millis(1);
/// Replicas do not all sweep at the moment at which a sweep is due.
const SPREAD_MAX: Duration = Duration::from_millis(20);

/// Reads and sweeps.
#[derive(Debug)]
pub(crate) struct Intake {
    limits: Limits,
    read: Reading,
    /// A call was lost while no read waited.
    reader_is_suspect: bool,
    sweep: Timer,
    /// Sweeps that take nothing, because there is no room. The others stay due meanwhile: the first free slot is for what
    /// has waited longest.
    watch: Timer,
    /// What the next sweep is after, and since when, where one has said that another should follow at once.
    follow_up: Option<(Aim, Instant)>,
    /// The suspect that this replica runs alone.
    alone: Option<EntryKey>,
    /// The largest id that may have been delivered to anyone; never lowered, not even when the group goes back.
    delivered: EntryId,
    /// The same when the last read was sent: what that brings lies above, unless the group went back.
    read_above: EntryId,
    cadence: Cadence,
    appetite: Appetite,
    strays: Strays,
}

impl Intake {
    /// Nothing is read yet; nothing above `delivered` was ever delivered.
    pub(crate) fn new(limits: Limits, delivered: EntryId, now: Instant) -> Self {
        Self {
            limits,
            read: Reading::new(limits.read_limit(), now),
            reader_is_suspect: false,
            sweep: Timer::at(now),
            watch: Timer::at(now),
            follow_up: None,
            alone: None,
            delivered,
            read_above: delivered,
            cadence: Cadence::default(),
            appetite: Appetite::default(),
            strays: Strays::default(),
        }
    }

    /// Slots that no held entry takes; a read under way may still fill them. None while too many entries back off, while too
    /// many bytes are held, or while a suspect runs. On a sick or full host one where nothing is
    /// held.
    fn free(&self, gate: &Gate, load: &Load) -> usize {
        if gate.tries_one() {
            // What waits for an image may wait for long, and tells nothing of the host.
            return usize::from(load.at_hand == 0);
        }
        let is_full = self.alone.is_some()
            || load.backing_off >= self.limits.max_backing_off
            || load.bytes >= self.limits.max_held_bytes;
        if is_full { 0 } else { self.limits.slots.saturating_sub(load.taken_slots) }
    }

    /// What a sweep would be after now; nothing where there can be none.
    fn aim(&self, gate: &Gate, load: &Load) -> Option<Aim> {
        // A sweep behind a hand-back may take what is still in our hands here.
        if !gate.tries_entries() || load.hand_backs > 0 {
            return None;
        }
        if self.free(gate, load) == 0 {
            return self.limits.watches.then_some(Aim::Watch);
        }
        match (self.follow_up, self.read.is_under_way()) {
            // A suspect runs alone: it waits until everything else is finished and given back.
            (Some((aim, _)), _) if aim.is_suspect() && load.held > 0 => None,
            // The read has been asked to make room, and has not returned yet.
            (Some(_), true) => None,
            (Some((aim, _)), false) => Some(aim),
            // The read under way may fill every slot that is free now: look first, take once it is back.
            (None, true) => Some(Aim::Look),
            (None, false) => Some(Aim::Take),
        }
    }

    fn sweep_wake(&self, gate: &Gate, load: &Load) -> Option<Instant> {
        let aim = self.aim(gate, load).filter(|_| !self.is_sweeping())?;
        if aim == Aim::Watch {
            return self.watch.wake(true);
        }
        let due = self.sweep.wake(true)?;
        // On a sick or full host nothing follows at once.
        Some(self.follow_up.map_or(due, |(_, since)| if gate.tries_one() { due.max(since) } else { since }))
    }

    fn read_wake(&self, gate: &Gate, load: &Load) -> Option<Instant> {
        let may_read = gate.tries_entries()
            && self.free(gate, load) > 0
            && !self.is_sweeping()
            && self.follow_up.is_none()
            // Entries come far apart: everything that is done before the outcome is published would delay it.
            && !self.cadence.waits_for_settles(load.settles, load.held)
            && load.ending < ENDING_READS * self.limits.read_max();
        self.read.timer.wake(may_read)
    }

    /// When the read that waits has to be made to return, and since when that is wanted.
    fn interrupt_wake(&self, gate: &Gate) -> Option<Instant> {
        let is_too_much = self.read.is_too_much(gate.tries_one());
        self.read.interrupt_wake(is_too_much || gate.ends_reads() || self.follow_up.is_some())
    }

    /// When something of it begins.
    pub(crate) fn wake(&self, gate: &Gate, load: &Load) -> Option<Instant> {
        let read = self.read_wake(gate, load).filter(|_| !self.cadence.is_deferring());
        let waits = [self.sweep_wake(gate, load), read, self.interrupt_wake(gate), self.read.overdue_wake()];
        waits.into_iter().flatten().min()
    }

    /// Does a read wait for the next turn, so that what can be settled at once goes first?
    pub(crate) fn is_deferring(&self) -> bool {
        self.cadence.is_deferring()
    }

    /// The next read or sweep, or what is done about the read that waits.
    pub(crate) fn next(&mut self, turn: &Turn, gate: &Gate, load: &Load) -> Option<Command> {
        if self.interrupt_wake(gate).is_some_and(|since| since <= turn.now) {
            self.read.interrupted();
            return Some(Command::InterruptRead);
        }
        if self.read.overdue_wake().is_some_and(|due| due <= turn.now) {
            self.read.dropped();
            return Some(Command::DropReader);
        }
        // Claims before reads: free slots go to the entries that have waited longest.
        if self.sweep_wake(gate, load).is_some_and(|due| due <= turn.now) {
            return self.begin_sweep(turn, gate, load);
        }
        if self.read_wake(gate, load).is_none_or(|due| due > turn.now) {
            self.cadence.read_is_off();
            return None;
        }
        self.cadence.lets_read(load.running).then(|| self.begin_read(turn, gate, load))
    }

    fn begin_sweep(&mut self, turn: &Turn, gate: &Gate, load: &Load) -> Option<Command> {
        let (aim, want) = (self.aim(gate, load)?, self.free(gate, load).min(CLAIM_MAX));
        let timer = if aim == Aim::Watch { &mut self.watch } else { &mut self.sweep };
        timer.set(turn.now);
        timer.begin(turn.now, true);
        timer.set(turn.around(self.limits.sweep_interval));
        if aim != Aim::Watch {
            self.follow_up = None;
        }
        self.strays.sweep_begins();
        Some(Command::Sweep { aim, want, holds_nothing: load.held == 0 })
    }

    fn begin_read(&mut self, turn: &Turn, gate: &Gate, load: &Load) -> Command {
        let bytes = self.limits.max_held_bytes.saturating_sub(load.bytes);
        let count = self.appetite.count(self.free(gate, load).min(self.limits.read_max()), bytes);
        self.read.begin(turn.now, gate.tries_one());
        self.strays.read_begins();
        self.cadence.read_begins(count);
        self.read_above = self.delivered;
        // Its own time-out would come on top of that of the call that was lost.
        let over_new_connection = std::mem::take(&mut self.reader_is_suspect);
        Command::Read { count, over_new_connection }
    }

    /// The read has brought these entries, or none.
    pub(crate) fn read_returned(&mut self, turn: &Turn, deliveries: &[Delivery]) {
        let waited = self.read.timer.ended().map_or(Duration::ZERO, |since| turn.now - since);
        self.appetite.served(self.cadence.requested(), deliveries.iter().map(Delivery::bytes));
        self.cadence.read_returned(deliveries.len(), waited);
        self.saw_delivered(deliveries.last().map(|delivery| delivery.id));
    }

    /// The read was made to return.
    pub(crate) fn read_interrupted(&mut self) {
        self.read.timer.ended();
    }

    /// The read has failed. What its reply held is found by the next renewal.
    pub(crate) fn read_failed(&mut self, retry_at: Instant) {
        self.read.timer.ended();
        self.appetite.starved();
        self.read.timer.set(retry_at);
    }

    /// A sweep is answered: the fleet's next one is due so soon.
    pub(crate) fn next_sweep_in(&mut self, turn: &Turn, next_in: Duration) {
        let later = next_in.min(SPREAD_MAX).mul_f64(turn.random.clamp(0.0, 1.0));
        let due = turn.now + next_in.min(self.limits.sweep_interval) + SWEEP_PAUSE + later;
        self.watch.set(due);
        if !self.watch.is_under_way() {
            self.sweep.set(due);
        }
    }

    /// The sweep had nothing to do here.
    pub(crate) fn sweep_ended(&mut self) {
        self.sweep.ended();
        self.watch.ended();
    }

    /// The sweep should be followed by another one as soon as there is room, and the read under way has returned.
    pub(crate) fn follow_up(&mut self, turn: &Turn, aim: Aim) {
        let was_watching = self.watch.is_under_way();
        self.sweep_ended();
        if !was_watching || self.follow_up.is_none() {
            self.follow_up = Some((aim, turn.now));
        }
    }

    /// The sweep has claimed these; answers the suspect that runs alone, if it is one.
    pub(crate) fn swept<'a>(&mut self, turn: &Turn, sweep: &'a Sweep) -> Option<&'a Delivery> {
        self.sweep_ended();
        if !sweep.claimed.is_empty() {
            // There may be more where these came from.
            self.sweep.set(turn.now);
        }
        let [only] = sweep.claimed.as_slice() else { return None };
        if only.crashes < SUSPECT_CRASHES {
            return None;
        }
        self.alone = Some(EntryKey::of(only.id));
        Some(only)
    }

    /// The sweep has failed.
    pub(crate) fn sweep_failed(&mut self, retry_at: Instant) {
        self.sweep_ended();
        self.sweep.defer(retry_at);
        self.watch.defer(retry_at);
    }

    /// An operator has resumed the fleet, or the engine answers again: others may have left something meanwhile.
    pub(crate) fn sweep_now(&mut self, turn: &Turn) {
        self.sweep.set(turn.now);
    }

    /// The host is well again: what waited for that begins.
    pub(crate) fn host_is_well(&mut self, turn: &Turn) {
        self.read.timer.hurry(turn.now);
        self.sweep_now(turn);
    }

    /// Reads and sweeps wait until then.
    pub(crate) fn defer(&mut self, until: Instant) {
        self.defer_read(until);
        self.defer_sweep(until);
    }

    /// Reads wait until then.
    pub(crate) fn defer_read(&mut self, until: Instant) {
        self.read.timer.defer(until);
    }

    /// Sweeps wait until then.
    pub(crate) fn defer_sweep(&mut self, until: Instant) {
        self.sweep.defer(until);
        self.watch.defer(until);
    }

    /// Redis answers again. A read that has waited since before is made to return: its connection may have been lost on the
    /// way without a word.
    pub(crate) fn redis_answers_again(&mut self, at: Instant) {
        self.read.timer.hurry(at);
        self.read.ask_to_return();
    }

    /// A call other than the read went unanswered.
    pub(crate) fn call_was_lost(&mut self) {
        self.reader_is_suspect |= !self.read.is_under_way();
    }

    /// An entry with this id, and every one before it, may have been delivered.
    pub(crate) fn saw_delivered(&mut self, id: Option<EntryId>) {
        self.delivered = self.delivered.max(id.unwrap_or(self.delivered));
    }

    /// May an entry that a read has just brought have been delivered before? What is known of it is looked up then.
    pub(crate) fn may_be_known(&self, id: EntryId) -> bool {
        id <= self.read_above
    }

    /// Of entries that are pending for us and that we do not hold, those whose reply cannot be under way any more.
    pub(crate) fn lost_deliveries(&mut self, strays: Vec<Stray>) -> Vec<Stray> {
        self.strays.lost(strays, self.read.is_under_way(), self.is_sweeping())
    }

    /// Is this the suspect that runs alone?
    pub(crate) fn runs_alone(&self, key: EntryKey) -> bool {
        self.alone == Some(key)
    }

    /// An entry backs off. Others need not wait for a suspect meanwhile: when its back-off is over it is given back, and
    /// claimed alone again.
    pub(crate) fn backs_off(&mut self, key: EntryKey) {
        if self.runs_alone(key) {
            self.alone = None;
        }
        if self.follow_up.is_some_and(|(aim, _)| aim.is_suspect()) {
            // This replica will not be empty soon: another takes the suspect.
            self.follow_up = None;
        }
    }

    /// An entry has left this process.
    pub(crate) fn left(&mut self, turn: &Turn, key: EntryKey) {
        if self.runs_alone(key) {
            self.alone = None;
            // Still empty: the next suspect may follow at once.
            self.follow_up = Some((Aim::Another, turn.now));
        }
    }

    /// Does a read wait?
    pub(crate) fn is_reading(&self) -> bool {
        self.read.is_under_way()
    }

    /// Is a sweep under way?
    pub(crate) fn is_sweeping(&self) -> bool {
        self.sweep.is_under_way() || self.watch.is_under_way()
    }

    /// Does the read that waits not return?
    pub(crate) fn read_is_overdue(&self) -> bool {
        self.read.is_overdue()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Origin;
    use crate::worker::stages::cadence::FEW;
    use crate::worker::stages::gate::tests::any_gate;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        slots: 300,
        max_backing_off: 50,
        max_held_bytes: 1_000,
        block: Duration::from_millis(200),
        sweep_interval: Duration::from_millis(100),
        watches: true,
    };

    fn any_load() -> impl Strategy<Value = Load> {
        let rarely = |range: std::ops::Range<usize>| prop_oneof![4 => Just(0), 1 => range];
        (0..310_usize, 0..310_usize, rarely(0..60), rarely(0..600), rarely(0..1_100), rarely(0..5), rarely(0..3))
            .prop_map(|(taken_slots, running, backing_off, ending, bytes, settles, hand_backs)| Load {
                held: taken_slots + backing_off + ending,
                at_hand: taken_slots + backing_off + ending,
                taken_slots,
                running: running.min(taken_slots),
                backing_off,
                ending,
                bytes,
                settles,
                hand_backs,
            })
    }

    fn delivery(id: EntryId, origin: Origin, crashes: u64) -> Delivery {
        Delivery { id, origin, dead_owner: None, deliveries: 1, crashes, failures: 0, fields: None }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// One read and one sweep at a time; both only while entries are taken and there is room for them; never a claim
        /// beside a read that may fill the same slots; a suspect only where nothing is held; a read that has to return is told
        /// so once; and something begins exactly when the stage wakes, or a turn later.
        #[test]
        fn what_comes_in_fits(
            steps in proptest::collection::vec((0..13_u8, 0..250_u64), 1..200),
            gates in proptest::collection::vec(any_gate(), 4),
            loads in proptest::collection::vec(any_load(), 12),
        ) {
            let start = Instant::now();
            let mut intake = Intake::new(LIMITS, EntryId { ms: 0, seq: 0 }, start);
            let mut now = start;
            let (mut gate, mut load, mut last) = (gates[0], Load::default(), 0);
            let (mut reading, mut sweeping) = (None::<usize>, None::<(Aim, usize)>);
            let mut interruptions = 0;
            for (step, ms) in steps {
                now += Duration::from_millis(ms);
                let (turn, later) = (Turn { now, random: 0.5 }, now + Duration::from_millis(ms));
                let pick = usize::try_from(ms).expect("few");
                match step {
                    0 | 1 if reading.is_some() => {
                        let count = reading.take().unwrap_or_default().min(pick);
                        let ids = (0..count).map(|_| { last += 1; EntryId { ms: last, seq: 0 } });
                        let deliveries: Vec<_> = ids.map(|id| delivery(id, Origin::New, 0)).collect();
                        intake.read_returned(&turn, &deliveries);
                        prop_assert!(deliveries.iter().all(|delivery| !intake.may_be_known(delivery.id) && delivery.id <= intake.delivered));
                    }
                    2 if reading.take().is_some() => intake.read_failed(later),
                    3 if interruptions > 0 && reading.take().is_some() => intake.read_interrupted(),
                    4 | 5 => if let Some((aim, want)) = sweeping.take() {
                        match (aim, pick % 5) {
                            (_, 0) => intake.sweep_failed(later),
                            (_, 1) => intake.sweep_ended(),
                            (Aim::Look | Aim::Watch, 2) => intake.follow_up(&turn, Aim::Take),
                            (Aim::Look | Aim::Take, 3) => intake.follow_up(&turn, Aim::Alone),
                            (Aim::Take, _) => {
                                let claimed = (0..want.min(pick)).map(|_| { last += 1; delivery(EntryId { ms: last, seq: 0 }, Origin::Claimed, 0) });
                                let sweep = Sweep { claimed: claimed.collect(), ..Sweep::default() };
                                prop_assert!(intake.swept(&turn, &sweep).is_none());
                            }
                            (Aim::Alone | Aim::Another, _) => {
                                last += 1;
                                let suspect = delivery(EntryId { ms: last, seq: 0 }, Origin::Claimed, SUSPECT_CRASHES);
                                let sweep = Sweep { claimed: vec![suspect], ..Sweep::default() };
                                prop_assert!(intake.swept(&turn, &sweep).is_some());
                            }
                            (Aim::Look | Aim::Watch, _) => { intake.next_sweep_in(&turn, Duration::from_millis(ms)); intake.sweep_ended(); }
                        }
                    },
                    6 => gate = gates[pick % gates.len()],
                    7 | 8 => load = loads[pick % loads.len()],
                    9 => load = Load::default(),
                    10 => if let Some(key) = intake.alone {
                        if pick.is_multiple_of(2) { intake.left(&turn, key) } else { intake.backs_off(key) }
                    },
                    11 => { intake.redis_answers_again(now); intake.call_was_lost(); }
                    _ => intake.defer(later),
                }
                let mut was_deferring = false;
                loop {
                    let free = intake.free(&gate, &load);
                    let is_due = intake.wake(&gate, &load).is_some_and(|due| due <= now);
                    let next = intake.next(&turn, &gate, &load);
                    prop_assert!(!is_due || next.is_some() || intake.is_deferring(), "a wake that begins nothing");
                    prop_assert!(is_due || next.is_none() || was_deferring, "{next:?} that no wake announced");
                    match next {
                        Some(Command::Read { count, .. }) => {
                            prop_assert!(reading.is_none() && sweeping.is_none() && gate.tries_entries());
                            prop_assert!(gate.takes_entries() || (count == 1 && load.at_hand == 0), "more than a sick host may take");
                            prop_assert!((1..=free.min(LIMITS.read_max())).contains(&count));
                            prop_assert!(was_deferring || !(1..=FEW).contains(&load.running));
                            reading = Some(count);
                            interruptions = 0;
                        }
                        Some(Command::Sweep { aim, want, holds_nothing }) => {
                            prop_assert!(sweeping.is_none() && gate.tries_entries() && load.hand_backs == 0);
                            prop_assert!(gate.takes_entries() || want == usize::from(load.at_hand == 0));
                            prop_assert!(want == free.min(CLAIM_MAX) && (aim == Aim::Watch) == (want == 0));
                            prop_assert!(want == 0 || (aim == Aim::Look) == reading.is_some());
                            prop_assert!(holds_nothing == (load.held == 0) && (!aim.is_suspect() || holds_nothing));
                            sweeping = Some((aim, want));
                        }
                        Some(Command::InterruptRead) => {
                            prop_assert!(reading.is_some() && interruptions == 0);
                            interruptions += 1;
                        }
                        Some(Command::DropReader) => prop_assert!(reading.is_some()),
                        Some(other) => prop_assert!(false, "{other:?}"),
                        // What was deferred goes in the next turn, which follows at once.
                        None if intake.is_deferring() && !was_deferring => was_deferring = true,
                        None => break,
                    }
                }
                prop_assert!(intake.wake(&gate, &load).is_none_or(|due| due > now) );
                prop_assert!(!gate.ends_reads() || reading.is_none() || interruptions == 1);
                prop_assert_eq!((intake.is_reading(), intake.is_sweeping()), (reading.is_some(), sweeping.is_some()));
            }
        }
    }
}
