//! Well-formed jobs: waiting for their lane, running, waiting outside their slots, backing off.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::time::Instant;

use super::command::Command;
use super::gate::Gate;
use super::held::{EntryKey, Held};
use super::job::Job;
use super::lanes::{HasLane, Lanes};
use super::turn::Turn;
use crate::slot::{Dismissal, Grant};
use crate::stream::open::{OPEN_MAX, OpenJob, OpenState};
use crate::stream::settle::BATCH_MAX;

/// Starts that begin in one turn of the loop: as many as settle together, so that their batch is on its way while the next
/// begin.
const STARTS_A_TURN: usize = BATCH_MAX;

/// The jobs of this process that have not ended.
#[derive(Debug)]
pub(crate) struct Starts {
    slots: usize,
    waiting: Lanes<Job>,
    running: HashMap<EntryKey, Job>,
    /// Attempts under way that have given up their slots.
    outside: HashMap<EntryKey, (Job, Option<Dismissal>)>,
    /// Those of them that want a slot again, and since when.
    returning: VecDeque<(Instant, EntryKey, Grant)>,
    /// Attempts outside their slots that are to end.
    dismissed: Vec<Dismissal>,
    backing_off: BTreeMap<(Instant, EntryKey), Job>,
    /// How many have begun in this turn.
    begun: usize,
}

/// Jobs whose back-off is over.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    /// They wait for their lane again.
    pub(crate) waiting: Vec<EntryKey>,
    /// Suspects: they are given back, and claimed by a replica that runs them alone.
    pub(crate) suspects: Vec<Held>,
}

/// What became of a job that another consumer has.
#[derive(Debug)]
pub(crate) enum Lost {
    /// It had not begun, and leaves.
    Leaves(Held),
    /// It runs, and leaves when that ends.
    Runs,
    /// It is in none of our hands.
    Unknown,
}

impl Starts {
    /// Nothing waits yet.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots,
            waiting: Lanes::default(),
            running: HashMap::new(),
            outside: HashMap::new(),
            returning: VecDeque::new(),
            dismissed: Vec::new(),
            backing_off: BTreeMap::new(),
            begun: 0,
        }
    }

    /// A job has been accepted.
    pub(crate) fn push(&mut self, job: Job) {
        self.waiting.push(job);
    }

    /// How many run.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// How many attempts are under way outside their slots.
    pub(crate) fn outside(&self) -> usize {
        self.outside.len()
    }

    /// How many wait for their next attempt.
    pub(crate) fn backing_off(&self) -> usize {
        self.backing_off.len()
    }

    /// Are there jobs that do not run, of which operators are told?
    pub(crate) fn has_open(&self) -> bool {
        !self.backing_off.is_empty() || !self.outside.is_empty()
    }

    /// The first of them: those that are tried next.
    pub(crate) fn open(&self, now: Instant) -> Vec<OpenJob> {
        let backing_off =
            self.backing_off.iter().map(|((due, _), job)| job.open(OpenState::BackingOff, now, Some(*due)));
        let outside = self.outside.values().map(|(job, _)| job.open(OpenState::Outside, now, None));
        backing_off.chain(outside).take(OPEN_MAX).collect()
    }

    /// A turn of the loop begins: what has backed off for long enough waits again.
    pub(crate) fn wake_up(&mut self, turn: &Turn, gate: &Gate) -> Woken {
        self.begun = 0;
        let mut woken = Woken::default();
        while self.wake_backed_off(gate).is_some_and(|due| due <= turn.now) {
            let Some((_, job)) = self.backing_off.pop_first() else { break };
            if job.held.is_suspect() {
                woken.suspects.push(job.held);
            } else {
                woken.waiting.push(job.held.key());
                self.waiting.push(job);
            }
        }
        woken
    }

    fn wake_backed_off(&self, gate: &Gate) -> Option<Instant> {
        let (&(due, _), _) = self.backing_off.first_key_value().filter(|_| gate.engine_is_up())?;
        Some(due)
    }

    fn wake_waiting(&self, gate: &Gate) -> Option<Instant> {
        let job = self.waiting.next().filter(|_| gate.starts() && self.running.len() < self.slots)?;
        Some(job.held.since)
    }

    /// Attempts go on whatever the gate says of new ones.
    fn wake_returning(&self) -> Option<Instant> {
        let (since, ..) = self.returning.front().filter(|_| self.running.len() < self.slots)?;
        Some(*since)
    }

    /// When the next job may start, go on, or wait again.
    pub(crate) fn wake(&self, gate: &Gate) -> Option<Instant> {
        let ready = self.wake_returning().into_iter().chain(self.wake_waiting(gate)).min();
        let ready = ready.filter(|_| !self.is_deferring(gate));
        ready.into_iter().chain(self.wake_backed_off(gate)).min()
    }

    /// More could start or go on, and lets what has begun in this turn go first.
    pub(crate) fn is_deferring(&self, gate: &Gate) -> bool {
        self.begun >= STARTS_A_TURN && (self.wake_returning().is_some() || self.wake_waiting(gate).is_some())
    }

    /// The next attempt that goes on, or else the next job that starts.
    pub(crate) fn next(&mut self, gate: &Gate) -> Option<Command> {
        if let Some(dismissal) = self.dismissed.pop() {
            return Some(Command::Dismiss(dismissal));
        }
        if self.begun >= STARTS_A_TURN {
            return None;
        }
        if self.wake_returning().is_some() {
            let (_, key, grant) = self.returning.pop_front()?;
            let (job, _) = self.outside.remove(&key).expect("what returns is outside until it ends");
            self.begun += 1;
            self.running.insert(key, job);
            return Some(Command::Resume(key, grant));
        }
        self.wake_waiting(gate)?;
        let job = self.waiting.take_next()?;
        self.begun += 1;
        let ticket = job.ticket(gate);
        self.running.insert(job.held.key(), job);
        Some(Command::Start(ticket))
    }

    /// An attempt gives up its slot. False where it has ended, or has none.
    pub(crate) fn gave_up_slot(&mut self, key: EntryKey, dismissal: Dismissal) -> bool {
        let Some(job) = self.running.remove(&key) else { return false };
        self.outside.insert(key, (job, Some(dismissal)));
        true
    }

    /// An attempt wants a slot again.
    pub(crate) fn wants_slot(&mut self, key: EntryKey, grant: Grant, turn: &Turn) {
        if self.outside.contains_key(&key) {
            self.returning.push_back((turn.now, key, grant));
        }
    }

    /// An attempt has ended; answers its job.
    pub(crate) fn ended(&mut self, key: EntryKey) -> Job {
        let job = self.running.remove(&key).unwrap_or_else(|| {
            self.returning.retain(|(_, one, _)| *one != key);
            let outside = self.outside.remove(&key);
            outside.expect("an attempt runs, or is outside its slot, from when it begins until it ends").0
        });
        self.waiting.finished(job.lane());
        job
    }

    /// The job waits for its next attempt until this moment.
    pub(crate) fn back_off(&mut self, job: Job, until: Instant) {
        self.backing_off.insert((until, job.held.key()), job);
    }

    /// What backs off waits no longer. False where this job does not back off.
    pub(crate) fn hurry(&mut self, key: EntryKey, turn: &Turn) -> bool {
        let Some(&(due, _)) = self.backing_off.keys().find(|(_, one)| *one == key) else { return false };
        if let Some(job) = self.backing_off.remove(&(due, key)) {
            self.backing_off.insert((due.min(turn.now), key), job);
        }
        true
    }

    /// Ends the attempt at this job, if it waits outside its slot.
    pub(crate) fn dismiss(&mut self, key: EntryKey) {
        self.dismissed.extend(self.outside.get_mut(&key).and_then(|(_, dismissal)| dismissal.take()));
    }

    /// Ends the attempts outside their slots. Each goes back when it has ended.
    pub(crate) fn dismiss_outside(&mut self) {
        self.dismissed.extend(self.outside.values_mut().filter_map(|(_, dismissal)| dismissal.take()));
    }

    /// Every job that does not run, to be given back. What waits outside its slot is dismissed.
    pub(crate) fn give_up(&mut self) -> Vec<Held> {
        self.dismiss_outside();
        let waiting = self.waiting.remove_where(|_| true).into_iter();
        waiting.chain(std::mem::take(&mut self.backing_off).into_values()).map(|job| job.held).collect()
    }

    /// Another consumer has this entry.
    pub(crate) fn lost(&mut self, key: EntryKey) -> Lost {
        let outside = self.outside.get_mut(&key).map(|(job, _)| job);
        if let Some(job) = self.running.get_mut(&key).or(outside) {
            job.is_lost = true;
            return Lost::Runs;
        }
        let waiting = self.waiting.remove_where(|job| job.held.key() == key).pop();
        let job = waiting.or_else(|| {
            let at = self.backing_off.keys().find(|(_, one)| *one == key).copied()?;
            self.backing_off.remove(&at)
        });
        job.map_or(Lost::Unknown, |job| Lost::Leaves(job.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::entry_id::EntryId;
    use crate::stream::{Delivery, Origin};
    use crate::worker::handler::tests::AskedFor;
    use crate::worker::stages::gate::tests::any_gate;
    use crate::worker::stages::held::Holdings;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::time::Duration;

    fn job(holdings: &mut Holdings, ms: u64, crashes: u64, now: Instant) -> Job {
        let (id, origin) = (EntryId { ms, seq: 0 }, Origin::New);
        let delivery = Delivery { id, origin, dead_owner: None, deliveries: 1, crashes, failures: 0, fields: None };
        let held = holdings.take(delivery, now).expect("new");
        let request = AskedFor::in_lane(&format!("g{}", ms % 7));
        Job { held, request, uncounted: 0, is_lost: false, is_too_large: false, last: None }
    }

    const SLOTS: usize = 100;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// No job is lost or runs twice at once, never two of one lane, never more than there are slots; a start begins exactly
        /// when the stage wakes for it, or a turn later.
        #[test]
        fn every_job_is_somewhere_once(
            steps in proptest::collection::vec((0..13_u8, 0..60_u64), 1..150),
            gates in proptest::collection::vec(any_gate(), 8),
        ) {
            let start = Instant::now();
            let (mut starts, mut holdings, mut now) = (Starts::new(SLOTS), Holdings::default(), start);
            let (mut pushed, mut left, mut gate) = (0, HashSet::new(), gates[0]);
            let mut running = Vec::<(EntryKey, String)>::new();
            let (mut outside, mut returning) = (Vec::<(EntryKey, String)>::new(), Vec::<(EntryKey, String)>::new());
            for (step, number) in steps {
                now += Duration::from_millis(number);
                let turn = Turn { now, random: 0.0 };
                match step {
                    0..=2 => for _ in 0..number {
                        starts.push(job(&mut holdings, pushed, number % 4, now));
                        pushed += 1;
                    },
                    3 | 4 if !running.is_empty() => for _ in 0..=number.min(running.len() as u64 - 1) {
                        let (key, lane) = running.swap_remove(usize::try_from(number).expect("few") % running.len());
                        let job = starts.ended(key);
                        prop_assert_eq!((job.held.key(), job.lane()), (key, lane.as_str()));
                        if number.is_multiple_of(3) {
                            starts.back_off(job, now + Duration::from_millis(number * 3));
                        } else {
                            left.insert(key);
                        }
                    },
                    5 => gate = gates[usize::try_from(number).expect("few") % gates.len()],
                    6 if number.is_multiple_of(8) => left.extend(starts.give_up().iter().map(Held::key)),
                    7 => {
                        let key = EntryKey::of(EntryId { ms: number, seq: 0 });
                        match starts.lost(key) {
                            Lost::Leaves(held) => { prop_assert!(held.key() == key && left.insert(key)); }
                            Lost::Runs => {
                                prop_assert!(running.iter().chain(&outside).chain(&returning).any(|(one, _)| *one == key));
                            }
                            Lost::Unknown => prop_assert!(number >= pushed || left.contains(&key)),
                        }
                    }
                    8 if !running.is_empty() => {
                        let one = running.swap_remove(usize::try_from(number).expect("few") % running.len());
                        prop_assert!(starts.gave_up_slot(one.0, Dismissal::unheard()));
                        prop_assert!(!starts.gave_up_slot(one.0, Dismissal::unheard()));
                        outside.push(one);
                    }
                    9 if !outside.is_empty() => {
                        let one = outside.swap_remove(usize::try_from(number).expect("few") % outside.len());
                        starts.wants_slot(one.0, Grant::unheard(), &turn);
                        returning.push(one);
                    }
                    12 => {
                        let key = EntryKey::of(EntryId { ms: number, seq: 0 });
                        prop_assert_eq!(starts.hurry(key, &turn), starts.backing_off.keys().any(|(_, one)| *one == key));
                    }
                    // One that ends without a slot, whether it wants one or not.
                    10 => if let Some((key, _)) = outside.pop().or_else(|| returning.pop()) {
                        left.insert(starts.ended(key).held.key());
                        starts.wants_slot(key, Grant::unheard(), &turn);
                    },
                    _ => {}
                }
                let was_due = starts.wake(&gate).is_some_and(|due| due <= now);
                let was_deferring = starts.is_deferring(&gate);
                let woken = starts.wake_up(&turn, &gate);
                let mut has_begun = !woken.waiting.is_empty() || !woken.suspects.is_empty();
                prop_assert!(woken.suspects.iter().all(Held::is_suspect));
                left.extend(woken.suspects.iter().map(Held::key));
                while let Some(command) = starts.next(&gate) {
                    if let Command::Dismiss(_) = command {
                        prop_assert_eq!(step, 6, "dismissed although nothing was given up");
                        continue;
                    }
                    has_begun = true;
                    match command {
                        Command::Resume(key, _) => {
                            let at = returning.iter().position(|(one, _)| *one == key).expect("it wants a slot");
                            running.push(returning.swap_remove(at));
                        }
                        Command::Start(ticket) => {
                            let mut busy = running.iter().chain(&outside).chain(&returning);
                            prop_assert!(busy.all(|(_, lane)| lane != ticket.request.lane()));
                            prop_assert!(returning.is_empty(), "what goes on comes first");
                            running.push((EntryKey::of(ticket.id), ticket.request.lane().to_owned()));
                        }
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
                prop_assert_eq!(was_due || was_deferring, has_begun);
                prop_assert!(starts.is_deferring(&gate) || starts.wake(&gate).is_none_or(|due| due > now));
                prop_assert!(starts.begun <= STARTS_A_TURN && starts.running() <= SLOTS);
                prop_assert_eq!((starts.running(), starts.outside()), (running.len(), outside.len() + returning.len()));
                let here = starts.waiting.waiting() + starts.running() + starts.outside() + starts.backing_off() + left.len();
                prop_assert_eq!(here, usize::try_from(pushed).expect("few"));
            }
            // With an open gate every job gets its turn.
            let gate = Gate::default();
            left.extend(outside.drain(..).chain(returning.drain(..)).map(|(key, _)| starts.ended(key).held.key()));
            for _ in 0..=pushed {
                now += Duration::from_secs(1);
                left.extend(starts.wake_up(&Turn { now, random: 0.0 }, &gate).suspects.iter().map(Held::key));
                while let Some(Command::Start(ticket)) = starts.next(&gate) {
                    running.push((EntryKey::of(ticket.id), String::new()));
                }
                left.extend(running.drain(..).map(|(key, _)| starts.ended(key).held.key()));
            }
            prop_assert_eq!(left.len(), usize::try_from(pushed).expect("few"));
        }
    }
}
