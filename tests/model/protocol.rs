//! The protocol as a model: which steps there are, and which of them only a fault takes.

use stateright::{Model, Property};

use super::properties;
use super::state::{ENTRIES, FAULTS, Fault, Life, NOBODY, Name, Phase, Presence, REPLICAS, State};
use super::variants::Variant;

/// A fleet, its jobs, and what may happen to it.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    /// The game of each entry.
    pub(crate) games: Vec<usize>,
    /// The host of each replica.
    pub(crate) hosts: Vec<usize>,
    pub(crate) faults: Vec<(Fault, u8)>,
    /// Replicas of this host do not come back.
    pub(crate) lost_host: Option<usize>,
    /// The janitor trims the stream.
    pub(crate) trims: bool,
    /// What is left out or done wrongly.
    pub(crate) variant: Option<Variant>,
}

/// One step, of the replica and the entry of these numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Action {
    /// read
    Read(usize),
    /// read, and the reply is lost
    ReadLost(usize),
    /// claim.lua
    Claim(usize, usize),
    /// claim.lua, and the reply is lost
    ClaimLost(usize, usize),
    /// claim.lua of what a living replica holds for longer than `max-run`
    ClaimSlow(usize, usize),
    /// renew.lua
    Renew(usize),
    /// hand_back.lua
    HandBack(usize, usize),
    /// hand_over.lua, to this consumer
    HandOver(usize, usize, Name),
    /// tell_marks.lua
    TellMark(usize, usize),
    /// The next step of an attempt, or settle.lua.
    Step(usize, usize),
    /// The same, and the reply is lost.
    StepLost(usize, usize),
    EngineFails(usize, usize),
    GameFails(usize, usize),
    /// adopt.lua
    Adopt(usize),
    /// janitor.lua
    Janitor(usize),
    /// watch.lua: this consumer is declared dead
    Notice(Name),
    /// A replica that was declared dead goes on under another name: leave.lua, adopt.lua.
    Rename(usize),
    Boot(usize),
    /// The same, so soon after others that their presence has not run out.
    BootEarly(usize),
    Continue(usize),
    /// The lease of this game runs out.
    LeaseEnds(usize),
    /// This host has not said for a heartbeat that it is alive.
    HostSilent(usize),
    /// reconcile of this host and game: what the record says is corrected
    Correct(usize, usize),
    /// reap.lua
    Reap(usize, usize),
    /// The removal that follows.
    Reaped(usize, usize),
    /// Faults.
    Crash(usize),
    Stop(usize),
    Drain(usize),
    Cut(Name),
    GameEnds(usize, usize),
    Destroy,
    DeleteConsumer(Name),
    SetBack,
    Lag,
    Failover,
    Delete(usize),
    /// place_mark.lua
    Cancel(usize),
    Legacy,
}

impl Action {
    /// Whether it happens only where something goes wrong, or someone interferes.
    pub(crate) fn is_fault(self) -> bool {
        match self {
            Self::Read(_)
            | Self::Claim(..)
            | Self::Renew(_)
            | Self::HandOver(..)
            | Self::TellMark(..)
            | Self::Step(..)
            | Self::Adopt(_)
            | Self::Janitor(_)
            | Self::Notice(_)
            | Self::Rename(_)
            | Self::Boot(_)
            | Self::Continue(_)
            | Self::LeaseEnds(_)
            | Self::HostSilent(_)
            | Self::Correct(..)
            | Self::Reap(..)
            | Self::Reaped(..) => false,
            Self::ReadLost(_)
            | Self::ClaimLost(..)
            | Self::ClaimSlow(..)
            | Self::HandBack(..)
            | Self::StepLost(..)
            | Self::EngineFails(..)
            | Self::GameFails(..)
            | Self::BootEarly(_)
            | Self::Crash(_)
            | Self::Stop(_)
            | Self::Drain(_)
            | Self::Cut(_)
            | Self::GameEnds(..)
            | Self::Destroy
            | Self::DeleteConsumer(_)
            | Self::SetBack
            | Self::Lag
            | Self::Failover
            | Self::Delete(_)
            | Self::Cancel(_)
            | Self::Legacy => true,
        }
    }
}

impl Protocol {
    /// Two replicas on one host, and these entries.
    pub(crate) fn of(games: &[usize], faults: &[(Fault, u8)]) -> Self {
        Self {
            games: games.to_vec(),
            hosts: vec![0, 0],
            faults: faults.to_vec(),
            lost_host: None,
            trims: false,
            variant: None,
        }
    }

    pub(crate) fn on_hosts(self, hosts: &[usize]) -> Self {
        Self { hosts: hosts.to_vec(), ..self }
    }

    /// The second one never comes up.
    pub(crate) fn of_one_replica(self) -> Self {
        Self { hosts: vec![0], ..self }
    }

    pub(crate) fn with(self, variant: Variant) -> Self {
        Self { variant: Some(variant), ..self }
    }

    pub(crate) fn is(&self, variant: Variant) -> bool {
        self.variant == Some(variant)
    }

    pub(crate) fn entries(&self) -> usize {
        self.games.len()
    }

    pub(crate) fn replicas(&self) -> usize {
        self.hosts.len()
    }

    pub(crate) fn games(&self) -> usize {
        self.games.iter().max().map_or(0, |most| most + 1)
    }

    pub(crate) fn host_count(&self) -> usize {
        self.hosts.iter().max().map_or(0, |most| most + 1)
    }

    pub(crate) fn host_of(&self, name: Name) -> usize {
        self.hosts[usize::from(name) % REPLICAS]
    }

    /// Whether any replica of this host works.
    pub(crate) fn host_is_up(&self, state: &State, host: usize) -> bool {
        (0..self.replicas()).any(|c| self.hosts[c] == host && state.replicas[c].life == Life::Up)
    }

    pub(crate) fn may_happen(&self, fault: Fault) -> bool {
        self.faults.iter().any(|&(one, times)| one == fault && times > 0)
    }

    /// Every step that may be possible.
    fn every_action(&self, state: &State, actions: &mut Vec<Action>) {
        for c in 0..self.replicas() {
            self.actions_of(state, c, actions);
        }
        for game in 0..self.games() {
            if state.redis.records[game].lease {
                actions.push(Action::LeaseEnds(game));
            }
            for host in 0..self.host_count() {
                actions.extend([Action::Correct(host, game), Action::Reap(host, game), Action::Reaped(host, game)]);
                if state.may(Fault::GameEnds) {
                    actions.push(Action::GameEnds(host, game));
                }
            }
        }
        if self.host_count() > 1 {
            actions.extend((0..self.host_count()).map(Action::HostSilent));
        }
        self.outside_actions(state, actions);
    }

    fn actions_of(&self, state: &State, c: usize, actions: &mut Vec<Action>) {
        let replica = &state.replicas[c];
        match replica.life {
            Life::Down => {
                actions.push(Action::Boot(c));
                if self.may_happen(Fault::Legacy) {
                    actions.push(Action::BootEarly(c));
                }
                return;
            }
            Life::Stopped => return actions.push(Action::Continue(c)),
            Life::Up => {}
        }
        let presence = state.redis.presence[usize::from(replica.name)];
        if presence == Presence::Dead {
            actions.push(Action::Rename(c));
        } else {
            actions.extend([Action::Read(c), Action::Renew(c), Action::Janitor(c), Action::Adopt(c)]);
            if state.may(Fault::ReplyLost) {
                actions.push(Action::ReadLost(c));
            }
        }
        for e in 0..self.entries() {
            match replica.attempts[e] {
                Some(attempt) => {
                    actions.push(Action::Step(c, e));
                    if state.redis.entries[e].cancel && !attempt.cancel {
                        actions.push(Action::TellMark(c, e));
                    }
                    if state.may(Fault::ReplyLost) {
                        actions.push(Action::StepLost(c, e));
                    }
                    if state.may(Fault::EngineFails) {
                        actions.push(Action::EngineFails(c, e));
                    }
                    if state.may(Fault::GameFails) {
                        actions.push(Action::GameFails(c, e));
                    }
                    if state.may(Fault::HandBack) && attempt.phase.is_waiting() {
                        actions.push(Action::HandBack(c, e));
                    }
                    if let Phase::Away(host) = attempt.phase {
                        self.hand_overs(state, (c, e), host, actions);
                    }
                }
                None if state.redis.entries[e].owner != NOBODY && presence == Presence::Running => {
                    actions.push(Action::Claim(c, e));
                    if state.may(Fault::ReplyLost) {
                        actions.push(Action::ClaimLost(c, e));
                    }
                    if state.may(Fault::Slow) {
                        actions.push(Action::ClaimSlow(c, e));
                    }
                }
                None => {}
            }
        }
        for (fault, action) in
            [(Fault::Crash, Action::Crash(c)), (Fault::Stop, Action::Stop(c)), (Fault::Drain, Action::Drain(c))]
        {
            if state.may(fault) {
                actions.push(action);
            }
        }
    }

    fn hand_overs(&self, state: &State, (c, e): (usize, usize), host: u8, actions: &mut Vec<Action>) {
        for (name, presence) in (0..).zip(state.redis.presence) {
            let is_there = presence == Presence::Running && usize::from(name) % REPLICAS < self.replicas();
            if is_there && name != state.replicas[c].name && self.host_of(name) == usize::from(host) {
                actions.push(Action::HandOver(c, e, name));
            }
        }
    }

    fn outside_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (name, presence) in (0..).zip(state.redis.presence) {
            let holds = state.redis.entries.iter().any(|entry| entry.owner == name);
            if !holds || name == NOBODY {
                continue;
            }
            if presence == Presence::Running {
                actions.push(Action::Notice(name));
                if state.may(Fault::Cut) {
                    actions.push(Action::Cut(name));
                }
            }
            if state.may(Fault::DeleteConsumer) {
                actions.push(Action::DeleteConsumer(name));
            }
        }
        for (fault, action) in
            [(Fault::Destroy, Action::Destroy), (Fault::SetBack, Action::SetBack), (Fault::Legacy, Action::Legacy)]
        {
            if state.may(fault) {
                actions.push(action);
            }
        }
        if state.may(Fault::Failover) {
            actions.push(if state.lagging.is_none() { Action::Lag } else { Action::Failover });
        }
        for e in 0..self.entries() {
            if state.may(Fault::Delete) {
                actions.push(Action::Delete(e));
            }
            if state.may(Fault::Cancel) {
                actions.push(Action::Cancel(e));
            }
        }
    }

    /// Takes the step, if it is possible now.
    fn take(&self, s: &mut State, action: Action) -> bool {
        match action {
            Action::Read(c) => self.read(s, c, false),
            Action::ReadLost(c) => self.read(s, c, true),
            Action::Claim(c, e) => self.claim(s, c, e, false),
            Action::ClaimLost(c, e) => self.claim(s, c, e, true),
            Action::ClaimSlow(c, e) => self.claim_slow(s, c, e),
            Action::Renew(c) => self.renew(s, c),
            Action::HandBack(c, e) => self.hand_back(s, c, e),
            Action::HandOver(c, e, to) => Self::hand_over(s, c, e, to),
            Action::TellMark(c, e) => {
                s.attempt(c, e).cancel = true;
                true
            }
            Action::Step(c, e) => self.step(s, c, e),
            Action::StepLost(c, e) => self.step_lost(s, c, e),
            Action::EngineFails(c, e) => Self::engine_fails(s, c, e),
            Action::GameFails(c, e) => Self::game_fails(s, c, e),
            Action::Adopt(c) => !s.redis.group && self.adopt(s, c, true),
            Action::Janitor(c) => self.janitor(s, c),
            Action::Notice(name) => self.notice(s, name),
            Action::Rename(c) => self.rename(s, c),
            Action::Boot(c) => self.boot(s, c, false),
            Action::BootEarly(c) => self.boot(s, c, true),
            Action::Continue(c) => self.go_on(s, c),
            Action::LeaseEnds(game) => self.lease_ends(s, game),
            Action::HostSilent(host) => self.host_silent(s, host),
            Action::Correct(host, game) => self.correct(s, host, game),
            Action::Reap(host, game) => self.reap(s, host, game),
            Action::Reaped(host, game) => self.reaped(s, host, game),
            Action::Crash(c) => Self::crash(s, c),
            Action::Stop(c) => Self::stop(s, c),
            Action::Drain(c) => self.drain(s, c),
            Action::Cut(name) => self.cut(s, name),
            Action::GameEnds(host, game) => Self::game_ends(s, host, game),
            Action::Destroy => Self::destroy(s),
            Action::DeleteConsumer(name) => Self::delete_consumer(s, name),
            Action::SetBack => Self::set_back(s),
            Action::Lag => Self::lag(s),
            Action::Failover => Self::failover(s),
            Action::Delete(e) => Self::delete(s, e),
            Action::Cancel(e) => self.cancel(s, e),
            Action::Legacy => self.legacy(s),
        }
    }

    /// The state after the step; nothing where it changes nothing.
    pub(crate) fn after(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        if !self.take(&mut state, action) || state == *before {
            return None;
        }
        let is_lower = |game: usize| state.redis.records[game].fence < before.redis.records[game].fence;
        state.past.fence_lowered |= action != Action::Failover && (0..self.games()).any(is_lower);
        Some(state)
    }

    /// Whether nothing happens any more unless something goes wrong.
    pub(crate) fn is_at_rest(&self, state: &State) -> bool {
        let mut actions = Vec::with_capacity(64);
        self.every_action(state, &mut actions);
        !actions.into_iter().any(|action| !action.is_fault() && self.after(state, action).is_some())
    }

    /// A run without further faults in which every step has its turn again and again. Answers whether it has come to rest within
    /// so many rounds, and where.
    pub(crate) fn run_fairly(&self, from: &State, rounds: usize) -> (bool, State) {
        let mut state = from.clone();
        for _ in 0..rounds {
            let mut actions = Vec::with_capacity(64);
            self.every_action(&state, &mut actions);
            let mut has_moved = false;
            for action in actions.into_iter().filter(|action| !action.is_fault()) {
                // What was possible when the round began may not be any more.
                let mut possible = Vec::with_capacity(64);
                self.every_action(&state, &mut possible);
                if let Some(next) = possible.contains(&action).then(|| self.after(&state, action)).flatten() {
                    state = next;
                    has_moved = true;
                }
            }
            if !has_moved {
                return (true, state);
            }
        }
        (false, state)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut left = [0; FAULTS];
        for &(fault, times) in &self.faults {
            left[fault as usize] = times;
        }
        assert!(self.entries() <= ENTRIES && self.replicas() <= REPLICAS, "the state has no room for these");
        vec![State::first(self.entries(), self.replicas(), left)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.every_action(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.after(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
