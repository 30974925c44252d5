//! One replica: it waits for what ends next, hands what came of it to the stages, and begins what they want.
//!
//! One task owns every stage. [`Replica::route`] is the one table of who hands what to whom; nothing in it waits.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Config;
use super::WORKER;
use super::calls::{Calls, Event, Presence, next_turn};
use super::handler::Handler;
use super::journal::Journal;
use super::stages::command::Command;
use super::stages::doubt::Doubt;
use super::stages::gate::Gate;
use super::stages::held::{EntryKey, HoldStage, Holdings};
use super::stages::intake::{Intake, Limits as IntakeLimits, Load};
use super::stages::keeper::Keeper;
use super::stages::lookups::Lookups;
use super::stages::payloads::Payloads;
use super::stages::returns::Returns;
use super::stages::settler::{Limits as SettlerLimits, Settler};
use super::stages::starts::Starts;
use super::stages::turn::Turn;
use super::stages::upkeep::{Intervals, Upkeep};
use super::troubles::{Trouble, Troubles};
use super::vitals::Vitals;
use crate::stream::entry_id::EntryId;
use crate::stream::renew::ReplicaState;
use crate::stream::settle::index_within;

/// When nothing at all is due.
const IDLE_WAKE: Duration = Duration::from_secs(60);

/// How a replica ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything that ran was finished and settled, the rest given back.
    Drained,
    /// The drain deadline passed with this many entries in hand; they were given back where Redis answered.
    DeadlinePassed(usize),
}

/// What a replica is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Makes the calls.
    pub(crate) calls: Calls,
    /// Knows what a job asks for.
    pub(crate) handler: Arc<dyn Handler>,
    /// Limits and rhythms.
    pub(crate) config: Config,
    /// How long the ledger remembers.
    pub(crate) ledger_ttl: Duration,
    /// Members of the presence record that do not change: JSON without braces.
    pub(crate) about: String,
    /// What is wrong, as known from the start-up.
    pub(crate) troubles: Troubles,
    /// Lines and figures.
    pub(crate) journal: Journal,
    /// Signs of life.
    pub(crate) vitals: Arc<Vitals>,
    /// The largest id that may have been delivered before.
    pub(crate) delivered: EntryId,
}

/// One replica.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(super) config: Config,
    pub(super) about: String,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) calls: Calls,
    pub(super) journal: Journal,
    pub(super) troubles: Troubles,
    pub(super) vitals: Arc<Vitals>,
    pub(super) gate: Gate,
    pub(super) holdings: Holdings,
    pub(super) intake: Intake,
    pub(super) lookups: Lookups,
    pub(super) payloads: Payloads,
    pub(super) starts: Starts,
    pub(super) settler: Settler,
    pub(super) returns: Returns,
    pub(super) keeper: Keeper,
    pub(super) doubt: Doubt,
    pub(super) upkeep: Upkeep,
}

fn turn() -> Turn {
    Turn { now: Instant::now(), random: fastrand::f64() }
}

impl Replica {
    /// A replica of these parts, with the group usable and the engine answering.
    pub(crate) fn new(parts: Parts) -> Self {
        let (config, now) = (parts.config, Instant::now());
        let intake = IntakeLimits {
            slots: config.slots,
            max_backing_off: config.max_backing_off,
            max_held_bytes: config.max_held_bytes,
            block: config.block,
            sweep_interval: config.sweep_interval,
        };
        let settler = SettlerLimits { entries: intake.read_max(), index_within: index_within(parts.ledger_ttl) };
        let reconcile = parts.handler.reconcile_interval();
        Self {
            gate: Gate::default(),
            holdings: Holdings::default(),
            intake: Intake::new(intake, parts.delivered, now),
            lookups: Lookups::new(now),
            payloads: Payloads::new(u64::from(config.crash_budget), now),
            starts: Starts::new(config.slots),
            settler: Settler::new(settler, now),
            returns: Returns::new(now),
            keeper: Keeper::new(config.renewal_interval(), config.max_run, now),
            doubt: Doubt::new(config.claim_idle, config.max_run, now),
            upkeep: Upkeep::new(Intervals { tidy: config.janitor_interval, reconcile }, now),
            config,
            about: parts.about,
            handler: parts.handler,
            calls: parts.calls,
            journal: parts.journal,
            troubles: parts.troubles,
            vitals: parts.vitals,
        }
    }

    /// Runs until `stop` is cancelled and everything in hand is finished, or the drain deadline passes.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Exit {
        let mut reconnections = self.calls.reconnections();
        // One timer, set anew only when the time changes.
        let mut timer = pin!(sleep_until(Instant::now()));
        loop {
            let turn = turn();
            self.begin_all(&turn);
            if let Some(exit) = self.has_ended(&turn) {
                return self.leave(exit).await;
            }
            let wake = self.wake(&turn);
            if timer.deadline() != wake {
                timer.as_mut().reset(wake);
            }
            // Biased: what is finished is taken in before anything new, which bounds what we hold.
            let event = tokio::select! {
                biased;
                () = stop.cancelled(), if self.gate.is_running() => { self.begin_drain(); None }
                event = self.calls.ended() => Some(event),
                Ok(()) = reconnections.changed() => { self.reconnected(); None }
                () = next_turn(), if self.intake.is_deferring() || self.starts.is_deferring(&self.gate) => None,
                () = timer.as_mut() => None,
            };
            // Everything else that has ended by now comes before anything new is begun, so that a batch is all that is ready.
            // Bounded by what is under way.
            let turn = self::turn();
            event.into_iter().for_each(|event| self.route(event, &turn));
            while let Some(event) = self.calls.try_ended() {
                self.route(event, &turn);
            }
        }
    }

    /// Begins whatever has become possible.
    fn begin_all(&mut self, turn: &Turn) {
        self.troubles.report_recovered(turn.now);
        self.wake_backed_off(turn);
        while let Some(command) = self.next_command(turn) {
            if let Command::DropReader = command {
                let err = "no return of the blocking read within three block times; connection dropped";
                self.troubles.met(Trouble::Read, err, turn.now);
            }
            if let Command::Start(ticket) = &command {
                self.holdings.enter_key(EntryKey::of(ticket.id), HoldStage::Running);
            }
            let held = self.holdings.len();
            self.calls.begin(command, held, || {
                presence(&self.about, &self.gate, self.config.slots, self.starts.running(), held)
            });
        }
        self.show();
    }

    /// The next thing that a stage wants, in the order in which they matter.
    fn next_command(&mut self, turn: &Turn) -> Option<Command> {
        let gate = &self.gate;
        self.starts
            .next(gate)
            .or_else(|| self.payloads.next(turn))
            .or_else(|| self.settler.next(turn))
            .or_else(|| self.returns.next(turn))
            .or_else(|| self.lookups.next(turn))
            .or_else(|| self.keeper.next(turn, &self.holdings))
            .or_else(|| self.doubt.next(turn, gate, self.keeper.renewed_at(), &self.holdings))
            .or_else(|| self.upkeep.next(turn, gate))
            .or_else(|| {
                let load = Load::of(&self.holdings, self.settler.calls(), self.returns.calls());
                self.intake.next(turn, gate, &load)
            })
    }

    /// When the loop must wake although nothing has ended.
    fn wake(&self, turn: &Turn) -> Instant {
        let gate = &self.gate;
        let load = Load::of(&self.holdings, self.settler.calls(), self.returns.calls());
        let wakes = [
            self.troubles.wake(),
            self.starts.wake(gate),
            self.payloads.wake(),
            self.settler.wake(),
            self.returns.wake(),
            self.lookups.wake(),
            self.keeper.wake(),
            self.doubt.wake(gate, self.keeper.renewed_at()),
            self.upkeep.wake(gate),
            self.intake.wake(gate, &load),
            gate.drains_until(),
            self.keeper.looks_until().filter(|&until| !gate.is_running() && turn.now < until),
        ];
        wakes.into_iter().flatten().min().unwrap_or(turn.now + IDLE_WAKE)
    }

    fn show(&self) {
        self.vitals.turned(self.intake.read_is_overdue());
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let metrics = &self.journal.metrics;
        metrics.in_flight.set(number(self.starts.running()));
        metrics.held.set(number(self.holdings.len()));
        metrics.backing_off.set(number(self.starts.backing_off()));
    }

    /// Who hands what to whom.
    fn route(&mut self, event: Event, turn: &Turn) {
        match event {
            Event::Read(result) => self.read(result, turn),
            Event::LookedUp(entries, result) => self.looked_up(entries, result, turn),
            Event::Fetched(entries, mut fetched) => {
                let retry = self.fetch_retry(&mut fetched, turn);
                let unpacked = self.payloads.fetched(entries, fetched, retry);
                self.unpack(unpacked);
            }
            Event::FetchedStuck(held, mut fetched) => {
                let retry = self.fetch_retry(&mut fetched, turn);
                let unpacked = self.payloads.fetched_stuck(held, fetched, retry);
                self.unpack(unpacked);
            }
            Event::Concluded(key, conclusion) => self.concluded(key, conclusion, turn),
            Event::Settled(batch, result) => self.settled(batch, result, turn),
            Event::Renewed(result, paused) => {
                self.renewed(result, turn);
                self.paused(paused, turn);
            }
            Event::Swept(result) => self.swept(result, turn),
            Event::Tidied(result) => self.tidied(result, turn),
            Event::Reconciled => self.upkeep.reconciled(),
            Event::HandedBack(entries, result) => self.handed_back(entries, result, turn),
            Event::RenewedFresh(works) => {
                self.doubt.tried(works);
                if works {
                    self.calls.replace_commands();
                }
            }
            Event::EngineProbed(result) => self.engine_probed(result, turn),
            Event::StoreProbed(result) => self.store_probed(result, turn),
            Event::Adopted(result) => self.adopted(result, turn),
        }
    }

    /// After a reconnection whatever we held may have been claimed: renew first. Who died meanwhile the claim script decides:
    /// it declares no owner dead for one claim idle after a gap between our renewals.
    fn reconnected(&mut self) {
        self.keeper.hurry(&turn());
        self.settler.forget_index_mark();
    }

    fn begin_drain(&mut self) {
        let turn = turn();
        // What is left after the attempts' deadline is for giving back and leaving.
        let reserve = (self.config.drain_timeout / 5).min(Duration::from_secs(1));
        self.gate.drain(turn.now + self.config.drain_timeout.saturating_sub(reserve));
        self.journal.metrics.draining.set(1);
        self.vitals.draining();
        self.keeper.hurry(&turn);
        self.give_back_unstarted(&turn);
    }

    fn has_ended(&self, turn: &Turn) -> Option<Exit> {
        let deadline = self.gate.drains_until()?;
        let is_over = turn.now >= deadline;
        let looks = self.keeper.looks_until().is_some_and(|until| turn.now < until);
        let may_get = self.intake.is_reading() || self.intake.is_sweeping() || looks;
        if self.holdings.is_empty() && (!may_get || is_over) {
            return Some(Exit::Drained);
        }
        is_over.then(|| Exit::DeadlinePassed(self.holdings.len()))
    }

    async fn leave(mut self, exit: Exit) -> Exit {
        let limit = (self.config.drain_timeout / 5).min(Duration::from_secs(1)) / 2;
        let in_hand = match exit {
            Exit::Drained => Vec::new(),
            Exit::DeadlinePassed(_) => self.holdings.ids(),
        };
        let held = self.holdings.len();
        let presence = presence(&self.about, &self.gate, self.config.slots, self.starts.running(), held);
        if let Some(entries @ 1..) = self.calls.leave(&in_hand, &presence, limit).await {
            tracing::info!(worker = WORKER, stream = self.journal.stream, entries, "gave back what was still pending");
        }
        exit
    }
}

/// What this replica tells of itself.
fn presence(about: &str, gate: &Gate, slots: usize, in_flight: usize, held: usize) -> Presence {
    let state = if gate.is_running() { ReplicaState::Running } else { ReplicaState::Draining };
    let serves = gate.takes_entries();
    let record = format!("{{{about},\"serves\":{serves},\"slots\":{slots},\"in_flight\":{in_flight},\"held\":{held}}}");
    Presence { state, record }
}
