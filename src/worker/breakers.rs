//! The breakers: while the engine, its host or the handler's store fails everyone, nothing is started for it. What opens them,
//! and the probes that close them.

use super::handler::{Blame, Failure};
use super::stages::backoff::CALLS;
use super::stages::gate::Host;
use super::stages::health::{CANARY_PAUSE, HostFailure};
use super::stages::job::Job;
use super::stages::turn::Turn;
use super::state::State;
use super::troubles::Trouble;
use super::work::Conclusion;
use crate::metrics::labels::{OutcomeCode, OutcomeKind};
use crate::redis::{Kind, RedisError};
use crate::stream::Origin;
use crate::stream::entry_id::EntryId;

impl State {
    /// The engine is gone: nothing is read, claimed or started until it answers again.
    pub(super) fn engine_went_down(&mut self, err: &str, turn: &Turn) {
        let times = self.troubles.met(Trouble::Engine, err, turn.now);
        self.stages.gate.set_engine(false);
        self.stages.upkeep.engine_probe.set(turn.after(CALLS, times));
        self.give_back_unstarted(turn);
    }

    /// The engine was asked whether it answers.
    pub(super) fn engine_probed(&mut self, result: Result<(), String>, turn: &Turn) {
        self.stages.upkeep.engine_probe.ended();
        match result {
            Ok(()) => {
                if self.stages.gate.host() != Host::Sick {
                    self.troubles.over(Trouble::Engine, turn.now);
                }
                self.stages.gate.set_engine(true);
                self.stages.intake.sweep_now(turn);
            }
            Err(error) => {
                let times = self.troubles.met(Trouble::Engine, &error, turn.now);
                self.stages.upkeep.engine_probe.set(turn.after(CALLS, times));
            }
        }
    }

    /// What an attempt says about the host.
    pub(super) fn judge_host(&mut self, job: &Job, conclusion: &Conclusion, turn: &Turn) {
        let id = job.held.id();
        let mut may_go_on = false;
        match conclusion {
            Conclusion::Answered(answer, _) => {
                self.stages.health.answered(id);
                if answer.label == OutcomeCode::Started
                    && (self.stages.health.succeeded() || self.stages.gate.host() == Host::Full)
                {
                    self.host_is_well(turn);
                }
                // It says nothing about the host, and is no reason to let the next one of its kind wait.
                may_go_on = answer.kind == OutcomeKind::Success;
            }
            Conclusion::Exhausted { blame, err, .. } => {
                self.stages.health.answered(id);
                self.has_room(turn);
                self.host_failed(job, (*blame, false), err, turn);
            }
            Conclusion::Again { is_counted, why: why @ Failure::Failed { blame, .. }, .. } => {
                self.has_room(turn);
                if *blame != Blame::Job {
                    self.host_failed(job, (*blame, *is_counted), &why.to_string(), turn);
                }
            }
            Conclusion::Again { why: Failure::NotBefore { .. }, .. } => self.has_room(turn),
            Conclusion::Again { why: Failure::NoRoom { message, .. }, .. } => self.has_no_room(message, turn),
            // It says nothing about this host, and leaves it.
            Conclusion::Elsewhere(_) => may_go_on = true,
            Conclusion::Again { .. } | Conclusion::EngineDown(_) | Conclusion::Dismissed | Conclusion::NotOurs => {}
        }
        if may_go_on {
            return;
        }
        match self.stages.gate.host() {
            Host::Well => {}
            Host::Sick => self.stages.intake.defer(turn.now + CANARY_PAUSE),
            // A game that runs here may be asked for behind jobs that wait for room: what is unread is looked at once, and what
            // has found no room is not tried all the time.
            Host::Full => {
                self.stages.intake.defer_read(turn.now + CALLS.min);
                if job.held.origin != Origin::New {
                    self.stages.intake.defer_sweep(turn.now + CANARY_PAUSE);
                }
            }
        }
    }

    /// An attempt has failed, and the host may be the reason.
    fn host_failed(&mut self, job: &Job, (blame, is_counted): (Blame, bool), err: &str, turn: &Turn) {
        let (lane, variety) = (job.request.lane(), job.request.variety());
        let failure = HostFailure { id: job.held.id(), lane, variety, blame, is_counted };
        if self.stages.health.failed(failure) {
            self.stages.gate.set_host(Host::Sick);
            self.give_back_unstarted(turn);
        }
        if self.stages.gate.host() == Host::Sick {
            let err = format!("the host is sick: it fails jobs that others may start; the last one: {err}");
            self.troubles.met(Trouble::Engine, &err, turn.now);
        }
    }

    /// The host has no room for a job: it reads as little as a sick one, and is not broken. One such answer is enough.
    fn has_no_room(&mut self, message: &str, turn: &Turn) {
        self.troubles.met(Trouble::HostFull, &format!("the host is full: {message}"), turn.now);
        if self.stages.gate.host() == Host::Well {
            self.stages.gate.set_host(Host::Full);
            self.stages.upkeep.room_probe.set(turn.now + CANARY_PAUSE);
            self.give_back_unstarted(turn);
        }
    }

    /// A job has failed for another reason than that there is no room. Where there is none after all, the next one says so.
    fn has_room(&mut self, turn: &Turn) {
        if self.stages.gate.host() == Host::Full {
            self.host_is_well(turn);
        }
        self.troubles.over(Trouble::HostFull, turn.now);
    }

    /// A full host was asked whether it has room again.
    pub(super) fn room_probed(&mut self, result: &Result<bool, Failure>, turn: &Turn) {
        self.stages.upkeep.room_probe.ended();
        self.stages.upkeep.room_probe.set(turn.now + CANARY_PAUSE);
        if *result == Ok(true) {
            self.has_room(turn);
        }
    }

    /// A job was done here, or may be: everything is taken again.
    fn host_is_well(&mut self, turn: &Turn) {
        self.stages.gate.set_host(Host::Well);
        if self.stages.gate.engine_is_up() {
            self.troubles.over(Trouble::Engine, turn.now);
        }
        self.troubles.over(Trouble::HostFull, turn.now);
        self.stages.intake.host_is_well(turn);
    }

    /// Counted failures were withdrawn, or not.
    pub(super) fn failures_withdrawn(
        &mut self,
        counts: Vec<(EntryId, u64)>,
        result: Result<u64, RedisError>,
        turn: &Turn,
    ) {
        // Where nothing is left to withdraw nothing is written.
        let result = self.judge_idle(Trouble::Renew, result, turn);
        if let Ok(failures) = result {
            self.journal.failures_withdrawn(failures);
        }
        self.stages.health.withdrawn(counts, result.err());
    }

    /// What an attempt says about the handler's store.
    pub(super) fn update_store_breaker(&mut self, conclusion: &Conclusion, turn: &Turn) {
        match conclusion {
            Conclusion::Again { why: Failure::Store(error), .. } if error.kind != Kind::WrongType => {
                // One that was under way when the breaker opened says nothing new.
                if self.stages.gate.store_is_up() {
                    self.store_refused(error, turn);
                }
            }
            Conclusion::NotOurs | Conclusion::Dismissed | Conclusion::EngineDown(_) => {}
            Conclusion::Again { .. }
            | Conclusion::Elsewhere(_)
            | Conclusion::Answered(..)
            | Conclusion::Exhausted { .. } => self.store_is_well(turn),
        }
    }

    /// The breaker is open until a probe, or an attempt that was under way, finds the store well.
    fn store_refused(&mut self, error: &RedisError, turn: &Turn) {
        let trouble = if error.kind == Kind::Unreachable { Trouble::Redis } else { Trouble::Store };
        let times = self.troubles.met(trouble, &error.text, turn.now);
        self.stages.gate.set_store(false);
        self.stages.upkeep.store_probe.set(turn.after(CALLS, times));
    }

    fn store_is_well(&mut self, turn: &Turn) {
        self.stages.gate.set_store(true);
        self.troubles.over(Trouble::Store, turn.now);
    }

    /// The handler's store was asked whether it takes writes.
    pub(super) fn store_probed(&mut self, result: Result<(), Failure>, turn: &Turn) {
        self.stages.upkeep.store_probe.ended();
        match result {
            // An attempt that was under way has found it well.
            _ if self.stages.gate.store_is_up() => {}
            Err(Failure::Store(error)) => self.store_refused(&error, turn),
            Ok(()) | Err(_) => self.store_is_well(turn),
        }
    }
}
