//! What the other events change: renewal, an operator's pause, the engine, the store, the group, the janitor; and what every
//! answer or silence of Redis means.

use super::handler::Failure;
use super::replica::Replica;
use super::stages::backoff::CALLS;
use super::stages::held::{EntryKey, HoldStage};
use super::stages::starts::Lost;
use super::stages::turn::Turn;
use super::troubles::Trouble;
use super::work::Conclusion;
use crate::redis::{Kind, RedisError};
use crate::stream::adopt::Adoption;
use crate::stream::janitor::Tidied;
use crate::stream::renew::{Renewal, Renewed};
use tokio::time::Instant;

impl Replica {
    /// Notes a trouble when it begins and when it ends; answers when to try again after an error.
    pub(super) fn judge<T>(
        &mut self,
        trouble: Trouble,
        result: Result<T, RedisError>,
        turn: &Turn,
    ) -> Result<T, Instant> {
        let error = match result {
            Ok(value) => {
                self.troubles.over(trouble, turn.now);
                if self.troubles.over(Trouble::Redis, turn.now) {
                    self.redis_answers_again(turn);
                }
                return Ok(value);
            }
            Err(error) => error,
        };
        let met = match error.kind {
            Kind::Unreachable => {
                if trouble != Trouble::Read {
                    self.intake.call_was_lost();
                }
                Trouble::Redis
            }
            Kind::GroupLost => {
                if self.gate.has_group() {
                    self.upkeep.adoption.set(turn.now);
                }
                self.gate.set_group(false);
                Trouble::Group
            }
            // A wrong type at the jobs key itself is a lost group; at any other key it is waited out.
            Kind::WrongType if trouble == Trouble::Read => {
                self.gate.set_group(false);
                Trouble::Group
            }
            _ => trouble,
        };
        let times = self.troubles.met(met, &error.text, turn.now);
        Err(turn.after(CALLS, times))
    }

    /// The first answer after a time without any: what waits for the end of a back-off goes on.
    fn redis_answers_again(&mut self, turn: &Turn) {
        let soon = turn.now + CALLS.min;
        self.payloads.hurry(soon);
        self.settler.hurry(soon);
        self.returns.hurry(soon);
        self.upkeep.adoption.hurry(soon);
        self.intake.redis_answers_again(soon);
    }

    /// What we hold was renewed, or not.
    pub(super) fn renewed(&mut self, result: Result<Renewed, RedisError>, turn: &Turn) {
        self.look_for_wedge(result.as_ref().err());
        let Renewed { delivered, entries, strays } = match self.judge(Trouble::Renew, result, turn) {
            Ok(renewed) => renewed,
            Err(retry_at) => return self.keeper.failed(turn, retry_at),
        };
        self.keeper.renewed(turn);
        self.intake.saw_delivered(delivered);
        for (id, renewal) in entries {
            self.journal.renewed(id, renewal);
            match renewal {
                Renewal::Mine | Renewal::Trimmed | Renewal::Absent | Renewal::Restored => {}
                Renewal::Other | Renewal::Settled => self.lost(EntryKey::of(id), turn),
            }
        }
        self.receive_strays(strays, turn);
    }

    /// The entry is not ours any more: what has not started is dropped, what runs cannot settle.
    fn lost(&mut self, key: EntryKey, turn: &Turn) {
        match self.holdings.stage(key) {
            Some(HoldStage::Waiting | HoldStage::Running | HoldStage::BackingOff) => {
                let unread = self.payloads.lost(key);
                let held = unread.or_else(|| match self.starts.lost(key) {
                    Lost::Leaves(held) => Some(held),
                    Lost::Runs | Lost::Unknown => None,
                });
                if let Some(held) = held {
                    self.let_go(held, turn);
                }
            }
            Some(HoldStage::Ending | HoldStage::GoingBack) | None => {}
        }
    }

    /// What a renewal says about our connections.
    fn look_for_wedge(&mut self, error: Option<&RedisError>) {
        let was_wedged = self.doubt.is_wedged();
        match error {
            Some(error) if error.kind == Kind::Unreachable => self.doubt.unanswered(),
            Some(_) | None => self.doubt.answered(),
        }
        if self.doubt.is_wedged() == was_wedged {
            return;
        }
        if was_wedged {
            self.vitals.wedged(None);
        } else {
            let reason = "renewals fail although a fresh connection to Redis works; a restart helps";
            self.journal.wedged(error.map_or("", |error| &error.text), reason);
            self.vitals.wedged(Some(reason));
        }
    }

    /// Whether an operator pauses the fleet.
    pub(super) fn paused(&mut self, result: Result<bool, RedisError>, turn: &Turn) {
        let Ok(is_paused) = self.judge(Trouble::Renew, result, turn) else { return };
        let before = self.gate.set_paused(is_paused);
        if before == Some(is_paused) || (before.is_none() && !is_paused) {
            return;
        }
        self.journal.paused(is_paused);
        if is_paused {
            self.give_back_unstarted(turn);
        } else {
            self.intake.sweep_now(turn);
        }
    }

    /// The janitor has run, or could not.
    pub(super) fn tidied(&mut self, result: Result<Option<Tidied>, RedisError>, turn: &Turn) {
        match self.judge(Trouble::Tidy, result, turn) {
            Ok(tidied) => {
                self.upkeep.tidied(turn, tidied.as_ref().is_some_and(|tidied| tidied.has_more));
                tidied.iter().for_each(|tidied| self.journal.tidied(tidied));
            }
            Err(retry_at) => self.upkeep.tidy_failed(retry_at),
        }
    }

    /// The group was made usable, or not.
    pub(super) fn adopted(&mut self, result: Result<Adoption, RedisError>, turn: &Turn) {
        self.upkeep.adoption.ended();
        match self.judge(Trouble::Group, result, turn) {
            Ok(adoption) => {
                self.gate.set_group(true);
                self.settler.forget_index_mark();
                self.settler.hurry(turn.now);
                self.journal.adopted(&adoption);
                self.intake.saw_delivered(Some(adoption.delivered));
            }
            Err(retry_at) => self.upkeep.adoption.set(retry_at),
        }
    }

    /// The engine is gone: nothing is read, claimed or started until it answers again.
    pub(super) fn engine_went_down(&mut self, err: &str, turn: &Turn) {
        let times = self.troubles.met(Trouble::Engine, err, turn.now);
        self.gate.set_engine(false);
        self.upkeep.engine_probe.set(turn.after(CALLS, times));
        self.give_back_unstarted(turn);
    }

    /// The engine was asked whether it answers.
    pub(super) fn engine_probed(&mut self, result: Result<(), String>, turn: &Turn) {
        self.upkeep.engine_probe.ended();
        match result {
            Ok(()) => {
                self.troubles.over(Trouble::Engine, turn.now);
                self.gate.set_engine(true);
                self.intake.sweep_now(turn);
            }
            Err(error) => {
                let times = self.troubles.met(Trouble::Engine, &error, turn.now);
                self.upkeep.engine_probe.set(turn.after(CALLS, times));
            }
        }
    }

    /// What an attempt says about the handler's store.
    pub(super) fn update_store_breaker(&mut self, conclusion: &Conclusion, turn: &Turn) {
        match conclusion {
            Conclusion::Again { why: Failure::Store(error), .. } if error.kind != Kind::WrongType => {
                // One that was under way when the breaker opened says nothing new.
                if self.gate.store_is_up() {
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
        self.gate.set_store(false);
        self.upkeep.store_probe.set(turn.after(CALLS, times));
    }

    fn store_is_well(&mut self, turn: &Turn) {
        self.gate.set_store(true);
        self.troubles.over(Trouble::Store, turn.now);
    }

    /// The handler's store was asked whether it takes writes.
    pub(super) fn store_probed(&mut self, result: Result<(), Failure>, turn: &Turn) {
        self.upkeep.store_probe.ended();
        match result {
            // An attempt that was under way has found it well.
            _ if self.gate.store_is_up() => {}
            Err(Failure::Store(error)) => self.store_refused(&error, turn),
            Ok(()) | Err(_) => self.store_is_well(turn),
        }
    }
}
