//! One replica: it waits for what ends next, hands what came of it to the stages, and begins what they want.
//!
//! One task owns the state. [`State::route`] is the one table of which event goes where; nothing in it waits.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::WORKER;
use super::calls::{Calls, Event, Presence, next_turn};
use super::stages::turn::Turn;
use super::state::State;
use super::troubles::Troubles;
use crate::redis::subscription::SubscriptionState;
use crate::stream::Member;
use crate::stream::fleet_event::Happened;
use crate::stream::presence::About;
use crate::stream::renew::ReplicaState;
use crate::stream::tell::Report;

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

/// How a replica's life under one name ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The process ends.
    Exit(Exit),
    /// Others declared it dead although it lives: it goes on under another name.
    DeclaredDead(Box<Former>),
}

/// What a life leaves to the next.
#[derive(Debug)]
pub(crate) struct Former {
    /// The group under the name that is spent.
    pub(super) member: Member,
    /// What its presence record said.
    pub(super) about: About,
    /// How many generations of subscriptions there were. The next life counts on: it has lost one too.
    pub(super) generations: u64,
    /// What operators have not been told yet.
    pub(super) rest: Report,
    /// What was wrong, and may still be.
    pub(super) troubles: Troubles,
}

/// One replica.
#[derive(Debug)]
pub(crate) struct Replica {
    /// Makes the calls.
    pub(super) calls: Calls,
    /// Stages, journal, troubles.
    pub(super) state: State,
    /// What the presence record says from the start of this process to its end.
    pub(super) about: About,
    /// `slots`
    pub(super) slots: usize,
    /// `drain-timeout`
    pub(super) drain_timeout: Duration,
}

fn turn() -> Turn {
    Turn { now: Instant::now(), random: fastrand::f64() }
}

impl Replica {
    /// Runs until `stop` is cancelled and everything in hand is finished, until the drain deadline passes, or until it learns
    /// that it was declared dead.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> End {
        let mut reconnections = self.calls.reconnections();
        let mut subscription = self.calls.subscription();
        let mut messages = self.calls.messages();
        let mut masters = self.calls.masters();
        let mut master = masters.borrow_and_update().clone();
        self.state.journal.uses(master.as_ref());
        // It may have been made, or refused, before the first turn.
        subscription.mark_changed();
        self.state.tell_life(Happened::Started, self.about.host.as_deref(), &turn());
        // One timer, set anew only when the time changes.
        let mut timer = pin!(sleep_until(Instant::now()));
        loop {
            let turn = turn();
            // Not only in the wait below: while calls end all the time it gets no further than them.
            if subscription.has_changed().unwrap_or(false) {
                self.subscription_changed(&subscription.borrow_and_update().state, &turn);
            }
            if messages.has_changed().unwrap_or(false) {
                messages.mark_unchanged();
                self.state.stages.was_told(&turn);
            }
            if self.state.stages.gate.is_declared_dead() {
                return if stop.is_cancelled() { self.leave(Exit::Drained).await } else { self.end_life() };
            }
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
                () = stop.cancelled(), if self.state.stages.gate.is_running() => { self.begin_drain(); None }
                event = self.calls.ended() => Some(event),
                Ok(()) = reconnections.changed() => { self.reconnected(); None }
                Ok(()) = masters.changed() => {
                    let named = masters.borrow_and_update().clone();
                    self.state.journal.failed_over(master.as_ref(), named.as_ref());
                    master = named;
                    None
                }
                Ok(()) = subscription.changed() => { subscription.mark_changed(); None }
                Ok(()) = messages.changed() => { messages.mark_changed(); None }
                () = next_turn(), if self.state.stages.is_deferring() => None,
                () = timer.as_mut() => None,
            };
            // Everything else that has ended by now comes before anything new is begun, so that a batch is all that is ready.
            // Bounded by what is under way.
            let turn = self::turn();
            if let Some(event) = event {
                self.state.route(event, &turn);
            }
            while let Some(event) = self.calls.try_ended() {
                self.state.route(event, &turn);
            }
        }
    }

    /// Begins whatever has become possible.
    fn begin_all(&mut self, turn: &Turn) {
        self.state.turns(turn);
        while let Some(command) = self.state.next(turn) {
            let held = self.state.stages.holdings.len();
            let presence = || presence(&self.about, self.slots, &self.state);
            self.calls.begin(command, held, presence);
        }
        self.state.show();
    }

    /// When the loop must wake although nothing has ended.
    fn wake(&self, turn: &Turn) -> Instant {
        let State { stages, troubles, .. } = &self.state;
        let deadline = stages.gate.drains_until();
        let looks_until = stages.keeper.looks_until().filter(|&until| deadline.is_some() && turn.now < until);
        let wakes = [stages.wake(), troubles.wake(), deadline, looks_until];
        wakes.into_iter().flatten().min().unwrap_or(turn.now + IDLE_WAKE)
    }

    /// After a reconnection whatever we held may have been claimed: renew first. Who died meanwhile the claim script decides:
    /// it declares no owner dead for one claim idle after a gap between our renewals.
    fn reconnected(&mut self) {
        self.state.stages.keeper.hurry(&turn());
        self.state.stages.settler.forget_index_mark();
    }

    /// Lost, or there again: the others, who judge by it, are told at once.
    fn subscription_changed(&mut self, state: &SubscriptionState, turn: &Turn) {
        if let SubscriptionState::Refused(words) = state {
            self.state.journal.subscription_refused(words);
        }
        self.state.stages.keeper.hurry(turn);
    }

    fn begin_drain(&mut self) {
        let turn = turn();
        // What is left after the attempts' deadline is for giving back and leaving.
        let reserve = (self.drain_timeout / 5).min(Duration::from_secs(1));
        self.state.begin_drain(turn.now + self.drain_timeout.saturating_sub(reserve), &turn);
    }

    fn has_ended(&self, turn: &Turn) -> Option<Exit> {
        let stages = &self.state.stages;
        let is_over = turn.now >= stages.gate.drains_until()?;
        let has_nothing = stages.holdings.is_empty() && !stages.health.owes();
        if has_nothing && (is_over || !stages.may_receive(turn)) {
            return Some(Exit::Drained);
        }
        is_over.then(|| Exit::DeadlinePassed(stages.holdings.len()))
    }

    async fn leave(mut self, exit: Exit) -> End {
        let limit = (self.drain_timeout / 5).min(Duration::from_secs(1)) / 2;
        let in_hand = match exit {
            Exit::Drained => {
                drop(timeout(limit, self.end_report()).await);
                Vec::new()
            }
            Exit::DeadlinePassed(_) => self.state.stages.holdings.ids(),
        };
        let presence = presence(&self.about, self.slots, &self.state);
        let turn = turn();
        self.state.tell_life(Happened::Left, self.about.host.as_deref(), &turn);
        let last = self.state.stages.teller.rest(turn.now);
        let telling = self.calls.tell(last, limit);
        let ((), left) = tokio::join!(telling, self.calls.leave(&in_hand, &presence, limit));
        if let Some(entries @ 1..) = left {
            let stream = &self.state.journal.stream;
            tracing::info!(worker = WORKER, stream, entries, "gave back what was still pending");
        }
        End::Exit(exit)
    }

    /// Waits for the report that is under way: whether it arrived decides what the last one says.
    async fn end_report(&mut self) {
        while self.state.stages.teller.is_telling() {
            if let Event::Told(report, wanted) = self.calls.ended().await {
                self.state.told(report, wanted, &turn());
            }
        }
    }

    /// What is in hand is dropped, as if it had been claimed already: starts under way end where they are, and those who claim
    /// the entries find what they have begun. The rest is given back under the name that is spent.
    fn end_life(self) -> End {
        let Self { calls, mut state, about, .. } = self;
        state.troubles.carry_over(turn().now);
        state.vitals.wedged(None);
        // Both are found out anew.
        state.journal.metrics.paused.set(0);
        state.journal.metrics.disconnect_notice.set(0);
        let (member, generations) = calls.end();
        let rest = state.stages.teller.rest(turn().now);
        End::DeclaredDead(Box::new(Former { member, about, generations, rest, troubles: state.troubles }))
    }
}

impl State {
    /// Which event goes where.
    pub(super) fn route(&mut self, event: Event, turn: &Turn) {
        match event {
            // An entry's way, in order.
            Event::Read(result) => self.read(result, turn),
            Event::Swept(result) => self.swept(result, turn),
            Event::LookedUp(entries, result) => self.looked_up(entries, result, turn),
            Event::Fetched(entries, fetched) => self.fetched(entries, fetched, turn),
            Event::FetchedStuck(held, fetched) => self.fetched_stuck(held, fetched, turn),
            Event::SlotRequested(key, request) => self.slot_requested(key, request, turn),
            Event::Concluded(key, conclusion) => self.concluded(key, conclusion, turn),
            Event::Settled(batch, result) => self.settled(batch, result, turn),
            Event::HandedBack(entries, result) => self.handed_back(entries, result, turn),
            Event::FailuresWithdrawn(counts, result) => self.failures_withdrawn(counts, result, turn),
            Event::HandedOver(jobs, result) => self.handed_over(jobs, result, turn),
            // What keeps it.
            Event::Renewed(result, paused) => {
                self.renewed(result, turn);
                self.paused(paused, turn);
            }
            Event::Told(report, wanted) => self.told(report, wanted, turn),
            Event::RenewedFresh(works) => self.stages.doubt.tried(turn, works),
            // The rest.
            Event::EngineProbed(result) => self.engine_probed(result, turn),
            Event::StoreProbed(result) => self.store_probed(result, turn),
            Event::RoomProbed(result) => self.room_probed(&result, turn),
            Event::Adopted(result) => self.adopted(result, turn),
            Event::Tidied(result) => self.tidied(result, turn),
            Event::Reconciled => self.stages.upkeep.reconciled(),
        }
    }
}

/// What this replica tells of itself.
fn presence(about: &About, slots: usize, state: &State) -> Presence {
    let stages = &state.stages;
    let (serves, held, in_flight) = (stages.gate.takes_entries(), stages.holdings.len(), stages.starts.running());
    let number = |count: usize| u64::try_from(count).ok();
    let about = About {
        engine_host: state.handler.host(),
        policy: state.handler.policy(),
        serves: Some(serves),
        sick: (!serves && stages.gate.tries_entries()).then_some(true),
        paused: stages.gate.is_paused().then_some(true),
        slots: number(slots),
        in_flight: number(in_flight),
        held: number(held),
        ..about.clone()
    };
    Presence { state: if stages.gate.is_running() { ReplicaState::Running } else { ReplicaState::Draining }, about }
}
