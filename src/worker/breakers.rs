//! The breakers: while the engine or the handler's store fails everyone, nothing is started for it. What opens them, and the
//! probes that close them.

use super::handler::Failure;
use super::stages::backoff::CALLS;
use super::stages::turn::Turn;
use super::state::State;
use super::troubles::Trouble;
use super::work::Conclusion;
use crate::redis::{Kind, RedisError};

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
                self.troubles.over(Trouble::Engine, turn.now);
                self.stages.gate.set_engine(true);
                self.stages.intake.sweep_now(turn);
            }
            Err(error) => {
                let times = self.troubles.met(Trouble::Engine, &error, turn.now);
                self.stages.upkeep.engine_probe.set(turn.after(CALLS, times));
            }
        }
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
            Conclusion::NotOurs | Conclusion::EngineDown(_) => {}
            Conclusion::Again { .. } | Conclusion::Answered(..) => self.store_is_well(turn),
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
