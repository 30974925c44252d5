//! Random histories of a whole replica against a stream that is a plain table: no I/O, no clock.
//!
//! Whatever calls bring, lose, refuse or leave unanswered, and in whatever order they end: no entry is lost, none is settled
//! twice, every bound holds, and the loop never wakes for nothing.

// how calls end
mod answers;
// the limits of the replica
mod limits;
// what operators want
mod marks;
// attempts that give up their slots
mod slots;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::answers::{Dice, conclusion, delivery, fetched, lost, settle_reply};
use self::limits::{SLOTS, config};
use self::marks::Marks;
use self::slots::Outside;
use super::calls::Event;
use super::clock::Clock;
use super::handler::Failure;
use super::handler::tests::Asking;
use super::journal::Journal;
use super::spans::Recorder;
use super::stages::batch::Batch;
use super::stages::command::Command;
use super::stages::held::{EntryKey, Held};
use super::stages::turn::Turn;
use super::stages::{Facts, Stages};
use super::state::State;
use super::troubles::Troubles;
use super::vitals::Vitals;
use crate::faults::Faults;
use crate::metrics::Metrics;
use crate::redis::{Kind, RedisError};
use crate::slot::{Dismissal, Grant, SlotRequest};
use crate::stream::adopt::{Adoption, AdoptionState};
use crate::stream::claim::{Aim, Deaths, Sweep, SweepReply, Swept};
use crate::stream::entry_id::EntryId;
use crate::stream::hand_over::HandedOver;
use crate::stream::history::History;
use crate::stream::lua::SUSPECT_CRASHES;
use crate::stream::read::Read;
use crate::stream::renew::{Hearing, Renewal, Renewed, Stray};
use crate::stream::settle::{Ending, Settled};
use crate::stream::{Delivery, Origin};

/// Where an entry is, as the stream knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Pending for this replica.
    Mine,
    /// Pending for another, or given back.
    Others,
    /// Settled by this replica, or by another.
    Settled,
}

/// One replica, the stream, and the calls under way.
struct World {
    state: State,
    now: Instant,
    entries: BTreeMap<EntryId, Place>,
    /// Entries that another has handed over to this replica, and that no renewal has told of.
    handed: BTreeSet<EntryId>,
    under_way: Vec<Command>,
    /// Attempts under way that have given up their slots.
    outside: Outside,
    marks: Marks,
    is_interrupted: bool,
    /// The dead replica that an entry in hand was taken from.
    dead_owners: BTreeMap<EntryId, Arc<str>>,
    /// How often this replica has settled each entry.
    settled: BTreeMap<EntryId, u32>,
}

fn reply(swept: Swept) -> SweepReply {
    SweepReply { swept, next_in: Duration::from_millis(7), deaths: Deaths::default() }
}

impl World {
    fn new() -> Self {
        let (metrics, config, now) = (Arc::new(Metrics::new()), config(), Instant::now());
        let vitals = Arc::new(Vitals::new(&config));
        let facts = Facts {
            delivered: EntryId { ms: 0, seq: 0 },
            index_within: Duration::from_secs(1),
            reconcile_interval: Some(Duration::from_secs(1)),
        };
        let state = State {
            stages: Stages::new(&config, facts, now),
            handler: Arc::new(Asking),
            consumer: "me".to_owned(),
            journal: Journal {
                metrics: Arc::clone(&metrics),
                stream: "jobs".to_owned(),
                engine: "none",
                spans: Recorder::default(),
                clock: Arc::new(Clock::new(None)),
            },
            hearing: Hearing::Heard,
            refusal_logged: None,
            troubles: Troubles::new("jobs", metrics, Arc::clone(&vitals)),
            vitals,
            faults: Arc::new(Faults::new(crate::faults::Config::default())),
            stop: CancellationToken::new(),
            drain: None,
            announced: None,
        };
        let (entries, dead_owners, settled) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let handed = BTreeSet::new();
        let (under_way, outside, marks) = (Vec::new(), Outside::default(), Marks::default());
        Self { state, now, entries, handed, under_way, outside, marks, is_interrupted: false, dead_owners, settled }
    }

    fn turn(&self) -> Turn {
        Turn { now: self.now, random: 0.5 }
    }

    fn append(&mut self, place: Place) -> EntryId {
        let id = EntryId { ms: 1 + self.entries.len() as u64, seq: 0 };
        self.entries.insert(id, place);
        id
    }

    fn of(&self, place: Place) -> Vec<EntryId> {
        self.entries.iter().filter(|(_, one)| **one == place).map(|(id, _)| *id).collect()
    }

    /// Begins all that the replica wants, and checks that nothing is left over.
    fn begin_all(&mut self) -> Result<(), TestCaseError> {
        let turn = self.turn();
        let holdings = &self.state.stages.holdings;
        self.dead_owners.retain(|id, _| holdings.stage(EntryKey::of(*id)).is_some());
        self.marks.forget(|id| holdings.stage(EntryKey::of(id)).is_some());
        for _ in 0..2 {
            self.state.turns(&turn);
            while let Some(command) = self.state.next(&turn) {
                self.begin(command)?;
            }
            // What was deferred goes in the next turn, which follows at once.
            if !self.state.stages.is_deferring() {
                break;
            }
        }
        let wake = self.state.stages.wake();
        prop_assert!(wake.is_none_or(|due| due > self.now), "it would wake for nothing");
        let stages = &self.state.stages;
        prop_assert!(stages.starts.running() <= SLOTS);
        // What a read or a sweep brings fits into the slots; what backs off or has ended comes on top, as far as it may.
        prop_assert!(stages.holdings.len() <= 40, "{} entries held", stages.holdings.len());
        Ok(())
    }

    fn begin(&mut self, command: Command) -> Result<(), TestCaseError> {
        match command {
            Command::InterruptRead => self.is_interrupted = true,
            Command::DropReader | Command::ReplaceCommands | Command::EndFetches => {}
            Command::Resume(key, grant) => {
                grant.give();
                let Some(ticket) = self.outside.resumed(key) else {
                    return Err(TestCaseError::fail("a slot for an attempt that wants none"));
                };
                self.under_way.push(Command::Start(ticket));
            }
            Command::Start(ticket) => {
                let lane = ticket.request.lane();
                let runs = |one: &Command| matches!(one, Command::Start(other) if other.request.lane() == lane);
                let is_busy = self.under_way.iter().any(runs) || self.outside.has_lane(lane);
                prop_assert!(!is_busy, "two of one lane");
                let runs_alone = self.state.stages.intake.runs_alone(EntryKey::of(ticket.id));
                let tries_one = self.state.stages.gate.tries_one();
                // What is handed over meanwhile is in hand too, until it has gone back; and what waits outside its slot tells
                // nothing of the host.
                let runs = |one: &Command| matches!(one, Command::Start(other) if !self.outside.has_had(other.id));
                let is_alone = !self.under_way.iter().any(runs);
                prop_assert!(
                    ticket.is_canary == tries_one && (!tries_one || is_alone),
                    "a sick or full host tries one at a time"
                );
                prop_assert!(ticket.crashes < SUSPECT_CRASHES || runs_alone, "a suspect beside others");
                self.marks.check(&ticket)?;
                prop_assert_eq!(ticket.dead_owner.as_ref(), self.dead_owners.get(&ticket.id), "at every attempt");
                self.under_way.push(Command::Start(ticket));
            }
            other => {
                if let Command::Read { .. } = other {
                    self.is_interrupted = false;
                }
                self.under_way.push(other);
            }
        }
        Ok(())
    }

    /// One call ends; `goes_well` says that nothing fails.
    fn end(&mut self, at: usize, dice: Dice, goes_well: bool) -> Result<(), TestCaseError> {
        let command = self.under_way.swap_remove(at);
        // A call that fails may have been executed all the same.
        let (fails, is_executed) = (!goes_well && dice.is_multiple_of(5), dice.is_multiple_of(2));
        let event = match command {
            Command::Read { count, .. } => self.end_read(count, dice, fails, is_executed, goes_well),
            Command::Sweep { aim, want, .. } => self.end_sweep(aim, want, dice, fails, is_executed, goes_well),
            Command::LookUp(entries) => {
                let mut known = |held: &Held| History {
                    cancel: self.marks.looked_up(held.id(), fails),
                    is_settled: self.entries[&held.id()] == Place::Settled,
                    crashes: if goes_well { 0 } else { u64::from(dice % 7 / 3) },
                    ..History::default()
                };
                let histories = entries.iter().map(&mut known).collect();
                Event::LookedUp(entries, if fails { Err(lost()) } else { Ok(histories) })
            }
            Command::Fetch(entries) => {
                let entries: Vec<Held> = entries.into_iter().map(|(held, _)| held).collect();
                let fetched = (goes_well || dice % 6 != 5).then(|| fetched(&entries, dice, goes_well));
                Event::Fetched(entries, fetched)
            }
            Command::FetchStuck(held, _) => {
                let fetched =
                    (goes_well || dice % 6 != 5).then(|| fetched(std::slice::from_ref(&held), dice, goes_well));
                Event::FetchedStuck(held, fetched)
            }
            Command::Start(ticket) => Event::Concluded(EntryKey::of(ticket.id), conclusion(&ticket, dice, goes_well)),
            Command::Settle(batch) => self.end_settle(batch, fails, is_executed)?,
            Command::HandBack(entries) => {
                for held in entries.iter().filter(|_| !fails || is_executed) {
                    if self.entries[&held.id()] == Place::Mine {
                        self.entries.insert(held.id(), Place::Others);
                    }
                }
                let reply = if fails { Err(lost()) } else { Ok(entries.len() as u64) };
                Event::HandedBack(entries, reply)
            }
            Command::WithdrawFailures(counts) => {
                Event::FailuresWithdrawn(counts, if fails { Err(lost()) } else { Ok(1) })
            }
            Command::HandOver(jobs) => {
                let answers = jobs.iter().map(|away| {
                    let id = away.job.held.id();
                    if self.entries[&id] != Place::Mine {
                        return HandedOver::Lost;
                    }
                    match (u64::from(dice) + id.ms) % 7 {
                        _ if goes_well => HandedOver::Nowhere,
                        0 => HandedOver::Full,
                        1 => HandedOver::TooOften,
                        2 => HandedOver::Trimmed,
                        3 => HandedOver::Nowhere,
                        _ if fails && !is_executed => HandedOver::Nowhere,
                        _ => {
                            self.entries.insert(id, Place::Others);
                            HandedOver::To("another".to_owned())
                        }
                    }
                });
                let answers = answers.collect();
                Event::HandedOver(jobs, if fails { Err(lost()) } else { Ok(answers) })
            }
            Command::Tell(report) => {
                let wanted = self.marks.of(&report.asks, dice, fails);
                Event::Told(report, if fails { Err(lost()) } else { Ok(wanted) })
            }
            Command::Renew(ids) => {
                let renewed = self.renewed(&ids, fails);
                let is_paused = !goes_well && dice.is_multiple_of(11);
                Event::Renewed(if fails { Err(lost()) } else { Ok(renewed) }, Ok(is_paused))
            }
            Command::RenewFresh(_) => Event::RenewedFresh(!fails),
            Command::ProbeEngine => Event::EngineProbed(if fails { Err("down".to_owned()) } else { Ok(()) }),
            Command::ProbeStore => Event::StoreProbed(if fails { Err(Failure::Store(lost())) } else { Ok(()) }),
            Command::ProbeRoom => {
                Event::RoomProbed(if fails { Err(Failure::Store(lost())) } else { Ok(goes_well || is_executed) })
            }
            Command::Adopt => Event::Adopted(if fails { Err(lost()) } else { Ok(self.adoption()) }),
            Command::Tidy => Event::Tidied(if fails { Err(lost()) } else { Ok(None) }),
            Command::Reconcile => Event::Reconciled,
            Command::InterruptRead
            | Command::DropReader
            | Command::ReplaceCommands
            | Command::EndFetches
            | Command::Resume(..)
            | Command::Dismiss(_) => {
                return Ok(());
            }
        };
        let turn = self.turn();
        self.state.route(event, &turn);
        Ok(())
    }

    fn end_read(&mut self, count: usize, dice: Dice, fails: bool, is_executed: bool, goes_well: bool) -> Event {
        let is_lost = !goes_well && dice.is_multiple_of(13);
        let brings = if goes_well || self.is_interrupted && !is_lost { 0 } else { usize::from(dice % 9).min(count) };
        let ids: Vec<EntryId> = (0..brings).map(|_| self.append(Place::Others)).collect();
        if !fails || is_executed {
            self.entries.extend(ids.iter().map(|id| (*id, Place::Mine)));
        }
        if fails {
            let kind = if dice.is_multiple_of(3) { Kind::GroupLost } else { Kind::Unreachable };
            return Event::Read(Err(RedisError { kind, text: "no".to_owned() }));
        }
        if self.is_interrupted {
            return Event::Read(Ok(Read::Interrupted));
        }
        Event::Read(Ok(Read::Returned(ids.iter().map(delivery).collect())))
    }

    fn end_sweep(
        &mut self,
        aim: Aim,
        want: usize,
        dice: Dice,
        fails: bool,
        is_executed: bool,
        goes_well: bool,
    ) -> Event {
        let others = self.of(Place::Others);
        if aim == Aim::Look || others.is_empty() || goes_well {
            let swept = match dice % 3 {
                0 if !goes_well && aim == Aim::Look && !others.is_empty() => Swept::Found,
                1 if !goes_well && !aim.is_suspect() => Swept::Suspects,
                _ => Swept::NotDue,
            };
            return Event::Swept(if fails { Err(lost()) } else { Ok(reply(swept)) });
        }
        let (want, crashes) =
            if aim.is_suspect() { (1, 2) } else { (want.min(usize::from(dice % 8)), u64::from(dice % 2)) };
        let ids: Vec<EntryId> = others.into_iter().take(want).collect();
        if !fails || is_executed {
            self.entries.extend(ids.iter().map(|id| (*id, Place::Mine)));
        }
        let delivery = |id: EntryId| {
            let is_of_dead = (u64::from(dice / 8) + id.ms).is_multiple_of(2);
            let dead_owner = is_of_dead.then(|| format!("owner of {id}").into());
            Delivery { id, origin: Origin::Claimed, dead_owner, deliveries: 2, crashes, failures: 0, fields: None }
        };
        let claimed: Vec<Delivery> = ids.into_iter().map(delivery).collect();
        // One that is in hand already stays as it came.
        let holdings = &self.state.stages.holdings;
        let come = claimed.iter().filter(|one| !fails && holdings.stage(EntryKey::of(one.id)).is_none());
        self.dead_owners.extend(come.filter_map(|one| Some((one.id, one.dead_owner.clone()?))));
        let sweep = Sweep { claimed, ..Sweep::default() };
        Event::Swept(if fails { Err(lost()) } else { Ok(reply(Swept::Done(sweep))) })
    }

    fn end_settle(&mut self, batch: Batch, fails: bool, is_executed: bool) -> Result<Event, TestCaseError> {
        let mut settled = Vec::new();
        for finished in batch.entries.iter().filter(|_| !fails || is_executed) {
            let id = finished.held.id();
            settled.push(match self.entries[&id] {
                Place::Mine if matches!(finished.ending, Ending::Known) => Settled::Lost,
                Place::Mine => {
                    self.entries.insert(id, Place::Settled);
                    let times = self.settled.entry(id).or_default();
                    *times += 1;
                    prop_assert_eq!(*times, 1, "settled twice");
                    Settled::Done
                }
                Place::Settled => Settled::Duplicate,
                Place::Others => Settled::Lost,
            });
        }
        Ok(Event::Settled(batch, if fails { Err(lost()) } else { Ok(settle_reply(settled)) }))
    }

    /// An attempt gives up its slot; or one that has done so wants a slot again, or ends without.
    fn request_slot(&mut self, dice: Dice) {
        let running = self.under_way.iter().position(|one| matches!(one, Command::Start(_)));
        match running {
            Some(at) if dice.is_multiple_of(2) => {
                let Command::Start(ticket) = self.under_way.swap_remove(at) else { return };
                self.tell(Event::SlotRequested(EntryKey::of(ticket.id), SlotRequest::GiveUp(Dismissal::unheard())));
                self.outside.push(ticket);
            }
            _ if dice % 8 == 1 => {
                let Some(ticket) = self.outside.ended(usize::from(dice)) else { return };
                self.tell(Event::Concluded(EntryKey::of(ticket.id), conclusion(&ticket, dice / 8, false)));
            }
            _ => self.ask_back(usize::from(dice)),
        }
    }

    fn ask_back(&mut self, at: usize) {
        if let Some(key) = self.outside.asks(at) {
            self.tell(Event::SlotRequested(key, SlotRequest::Return(Grant::unheard())));
        }
    }

    fn tell(&mut self, event: Event) {
        let turn = self.turn();
        self.state.route(event, &turn);
    }

    /// Another replica hands over an entry to this one, and tells it, or the message is lost.
    fn hand_to_us(&mut self, dice: Dice) {
        let others = self.of(Place::Others);
        let Some(&id) = others.get(usize::from(dice) % others.len().max(1)) else { return };
        self.entries.insert(id, Place::Mine);
        self.handed.insert(id);
        if dice.is_multiple_of(3) {
            let turn = self.turn();
            self.state.stages.keeper.was_told(&turn);
        }
    }

    fn renewed(&mut self, ids: &[EntryId], fails: bool) -> Renewed {
        let renewal = |id: &EntryId| match self.entries[id] {
            Place::Mine => (*id, Renewal::Mine),
            Place::Others => (*id, Renewal::Other),
            Place::Settled => (*id, Renewal::Settled),
        };
        let named: BTreeSet<&EntryId> = ids.iter().collect();
        let strays = self.of(Place::Mine).into_iter().filter(|id| !named.contains(id));
        let stray = |id: EntryId| {
            let was_handed = self.handed.contains(&id);
            let dead_owner = (was_handed && id.ms.is_multiple_of(2)).then(|| format!("owner of {id}").into());
            Stray { id, deliveries: 1, was_handed, dead_owner }
        };
        let strays: Vec<Stray> = strays.map(stray).collect();
        let entries = ids.iter().map(renewal).collect();
        let holdings = &self.state.stages.holdings;
        for stray in &strays {
            self.handed.remove(&stray.id);
            if !fails && holdings.stage(EntryKey::of(stray.id)).is_none() {
                self.dead_owners.extend(stray.dead_owner.clone().map(|owner| (stray.id, owner)));
            }
        }
        Renewed { delivered: None, entries, strays, hearing: Hearing::Heard }
    }

    fn adoption(&self) -> Adoption {
        let delivered = self.entries.keys().last().copied().unwrap_or(EntryId { ms: 0, seq: 0 });
        Adoption { state: AdoptionState::Created, mirror: "0-0".to_owned(), acknowledged: 0, delivered }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_calls_come_to_no_entry_is_lost_or_settled_twice(
        steps in proptest::collection::vec((0..14_u8, any::<u16>(), 0..200_u64), 1..200),
    ) {
        let mut world = World::new();
        world.begin_all()?;
        for (step, dice, ms) in steps {
            world.now += Duration::from_millis(ms);
            match step {
                // Another replica claims what is ours, or settles what it had claimed.
                0 => if let Some(id) = world.of(Place::Mine).first() {
                    world.entries.insert(*id, Place::Others);
                    // The claim has raised its number of deliveries.
                    world.handed.remove(id);
                },
                1 => if let Some(id) = world.of(Place::Others).first() { world.entries.insert(*id, Place::Settled); },
                2 => {
                    let id = world.append(Place::Others);
                    if dice.is_multiple_of(4) { world.marks.place(id); }
                }
                3 => world.hand_to_us(dice),
                13 => if let Some(id) = world.of(Place::Mine).get(usize::from(dice % 5)) {
                    world.marks.place(*id);
                    let turn = world.turn();
                    world.state.stages.was_told(&turn);
                },
                4 | 5 => world.request_slot(dice),
                _ if world.under_way.is_empty() => {}
                _ => { let at = usize::from(dice) % world.under_way.len(); world.end(at, dice, false)?; }
            }
            world.begin_all()?;
        }
        // Everything answers, and the replica drains.
        let turn = world.turn();
        world.state.begin_drain(world.now + Duration::from_secs(3_600), &turn);
        world.begin_all()?;
        for round in 0..400_u16 {
            world.now += Duration::from_millis(50);
            (0..world.outside.len()).for_each(|at| world.ask_back(at));
            while !world.under_way.is_empty() {
                world.end(0, round * 8 + 4, true)?;
            }
            world.begin_all()?;
        }
        prop_assert_eq!(world.of(Place::Mine), Vec::new(), "pending for a replica that has drained");
        prop_assert!(world.state.stages.holdings.is_empty());
        prop_assert!(!world.state.stages.may_receive(&world.turn()));
    }
}
