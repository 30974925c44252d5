//! The stages of an entry in this process. Each owns its state and decides without I/O, clock or randomness of its own.
//!
//! A stage answers three questions. `next` gives the next command, if one can begin now. `wake` tells when `next` may
//! give one without anything else having happened. `returned` takes what a command came to, and answers what the loop has
//! to hand on. Commands become calls in [`super::calls`]; [`super::passage`] and its neighbours hand entries from stage to stage.

// the moment a stage decides in
pub(crate) mod turn;
// one operation that repeats
pub(crate) mod timer;
// what stops what
pub(crate) mod gate;
// whether it is the host that fails, and not its jobs
pub(crate) mod health;
// back-off schedules
pub(crate) mod backoff;
// the entries this process holds
pub(crate) mod held;
// endings that are settled together
pub(crate) mod batch;
// what a stage wants done
pub(crate) mod command;
// reads and claim sweeps: how entries come in
pub(crate) mod intake;
// the blocking read under way
pub(crate) mod reading;
// how much is in hand, and how much may be
pub(crate) mod load;
// how many entries the next read asks for
pub(crate) mod appetite;
// what gives way to what at low and high rates
pub(crate) mod cadence;
// entries that are pending for us although we do not hold them
pub(crate) mod strays;
// what is known of an entry before it is accepted
pub(crate) mod lookups;
// the payloads of entries that came by their ids
pub(crate) mod payloads;
// one at a time per lane
pub(crate) mod lanes;
// a well-formed job
pub(crate) mod job;
// waiting, running, outside their slots, backing off
pub(crate) mod starts;
// endings on their way into Redis
pub(crate) mod settler;
// entries that are given back
pub(crate) mod returns;
// renewal and presence
pub(crate) mod keeper;
// whether our own connections are what fails
pub(crate) mod doubt;
// what operators are told
pub(crate) mod teller;
// probes, the group, the janitor, the reconciler
pub(crate) mod upkeep;

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Config;
use crate::stream::entry_id::EntryId;

use crate::stream::tell::{ASKS_MAX, Report};
use command::Command;
use doubt::Doubt;
use gate::Gate;
use health::Health;
use held::{EntryKey, HoldStage, Holdings};
use intake::Intake;
use keeper::Keeper;
use load::{Limits, Load};
use lookups::Lookups;
use payloads::Payloads;
use returns::Returns;
use settler::Settler;
use starts::Starts;
use teller::Teller;
use turn::Turn;
use upkeep::{Intervals, Upkeep};

/// All stages of one replica, what stops them, and what they hold.
#[derive(Debug)]
pub(crate) struct Stages {
    pub(crate) gate: Gate,
    pub(crate) health: Health,
    pub(crate) holdings: Holdings,
    pub(crate) intake: Intake,
    pub(crate) lookups: Lookups,
    pub(crate) payloads: Payloads,
    pub(crate) starts: Starts,
    pub(crate) settler: Settler,
    pub(crate) returns: Returns,
    pub(crate) keeper: Keeper,
    pub(crate) doubt: Doubt,
    pub(crate) teller: Teller,
    pub(crate) upkeep: Upkeep,
}

/// What the stages need to know besides the replica's configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// The largest id that may have been delivered before.
    pub(crate) delivered: EntryId,
    /// The ledger's index is told of a bucket again after so long.
    pub(crate) index_within: Duration,
    /// How often the reconciler runs; none: never.
    pub(crate) reconcile_interval: Option<Duration>,
}

impl Stages {
    /// Nothing is held, and everything is due.
    pub(crate) fn new(config: &Config, facts: Facts, now: Instant) -> Self {
        let intake = Limits {
            slots: config.slots,
            max_backing_off: config.max_backing_off,
            max_held_bytes: config.max_held_bytes,
            block: config.block,
            sweep_interval: config.sweep_interval,
            watches: config.disconnect_grace.is_some(),
        };
        let settler = settler::Limits { entries: intake.read_max(), index_within: facts.index_within };
        let intervals = Intervals { tidy: config.janitor_interval, reconcile: facts.reconcile_interval };
        Self {
            gate: Gate::default(),
            health: Health::new(now),
            holdings: Holdings::default(),
            intake: Intake::new(intake, facts.delivered, now),
            lookups: Lookups::new(now),
            payloads: Payloads::new(u64::from(config.crash_budget), now),
            starts: Starts::new(config.slots),
            settler: Settler::new(settler, now),
            returns: Returns::new(now),
            keeper: Keeper::new(config.renewal_interval(), config.max_run, now),
            doubt: Doubt::new(config.claim_idle, config.max_run, now),
            teller: Teller::new(config.renewal_interval(), now),
            upkeep: Upkeep::new(intervals, now),
        }
    }

    fn load(&self) -> Load {
        Load::of(&self.holdings, self.settler.calls(), self.returns.calls())
    }

    /// The next command of any stage, in the order in which they matter.
    pub(crate) fn next(&mut self, turn: &Turn) -> Option<Command> {
        let gate = self.gate;
        if let Some(mut start) = self.starts.next(&gate) {
            match &mut start {
                Command::Start(ticket) => {
                    let key = EntryKey::of(ticket.id);
                    self.holdings.enter_key(key, HoldStage::Running);
                    ticket.cancel = self.holdings.cancelled(key).cloned();
                }
                Command::Resume(key, _) => self.holdings.enter_key(*key, HoldStage::Running),
                _ => {}
            }
            return Some(start);
        }
        self.payloads
            .next(turn)
            .or_else(|| self.settler.next(turn))
            // Before the entries go back: another replica should find the counts withdrawn.
            .or_else(|| self.health.next(turn))
            .or_else(|| self.returns.next(turn))
            .or_else(|| self.lookups.next(turn))
            .or_else(|| self.keeper.next(turn, &self.holdings))
            .or_else(|| self.doubt.next(turn, &gate, self.keeper.renewed_at(), &self.holdings))
            .or_else(|| self.teller.next(turn, self.starts.has_open(), || in_hand(&self.starts, &self.holdings, turn)))
            .or_else(|| self.upkeep.next(turn, &gate))
            .or_else(|| {
                let load = self.load();
                self.intake.next(turn, &gate, &load)
            })
    }

    /// When a stage may have a command although nothing has come back.
    pub(crate) fn wake(&self) -> Option<Instant> {
        let gate = &self.gate;
        let wakes = [
            self.starts.wake(gate),
            self.payloads.wake(),
            self.settler.wake(),
            self.health.wake(),
            self.returns.wake(),
            self.lookups.wake(),
            self.keeper.wake(),
            self.doubt.wake(gate, self.keeper.renewed_at()),
            self.teller.wake(self.starts.has_open()),
            self.upkeep.wake(gate),
            self.intake.wake(gate, &self.load()),
        ];
        wakes.into_iter().flatten().min()
    }

    /// Others say that something was handed over to this replica, or that an operator wants something of it.
    pub(crate) fn was_told(&mut self, turn: &Turn) {
        self.keeper.was_told(turn);
        self.teller.hurry(turn);
    }

    /// Does something wait for the next turn, so that what can be done at once goes first?
    pub(crate) fn is_deferring(&self) -> bool {
        self.intake.is_deferring() || self.starts.is_deferring(&self.gate)
    }

    /// May entries still come in, although none is asked for any more?
    pub(crate) fn may_receive(&self, turn: &Turn) -> bool {
        let looks = self.keeper.looks_until().is_some_and(|until| turn.now < until);
        self.intake.is_reading() || self.intake.is_sweeping() || looks
    }
}

/// The jobs of which operators are told, and the entries whose marks are asked for: those first, then whatever else is in hand.
fn in_hand(starts: &Starts, holdings: &Holdings, turn: &Turn) -> Report {
    let open = starts.open(turn.now);
    let mut asks: Vec<EntryId> = open.iter().map(|job| job.id).collect();
    let named: HashSet<EntryId> = asks.iter().copied().collect();
    asks.extend(holdings.ids().into_iter().filter(|id| !named.contains(id)).take(ASKS_MAX - named.len()));
    Report { open, backing_off: starts.backing_off(), asks, ..Report::default() }
}
