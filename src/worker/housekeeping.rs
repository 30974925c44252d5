//! What the other events change: renewals, an operator's pause, the group, the janitor.

use std::time::Duration;

use super::WORKER;
use super::stages::held::{EntryKey, HoldStage};
use super::stages::starts::Lost;
use super::stages::turn::Turn;
use super::state::State;
use super::troubles::Trouble;
use crate::redis::{Kind, RedisError};
use crate::stream::adopt::Adoption;
use crate::stream::janitor::Tidied;
use crate::stream::renew::{Hearing, Renewal, Renewed};
use crate::stream::tell::{Report, Wanted};

/// That Redis does not tell who is subscribed is logged again after this long: as often as it is asked.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(300);

impl State {
    /// What we hold was renewed, or not.
    pub(super) fn renewed(&mut self, result: Result<Renewed, RedisError>, turn: &Turn) {
        self.look_for_wedge(result.as_ref().err());
        let was_refused = result.as_ref().is_err_and(|error| error.kind != Kind::Unreachable);
        let Renewed { delivered, entries, strays, hearing } = match self.judge(Trouble::Renew, result, turn) {
            Ok(renewed) => renewed,
            Err(retry_at) => return self.stages.keeper.failed(turn, retry_at, was_refused),
        };
        self.stages.keeper.renewed(turn);
        if std::mem::replace(&mut self.hearing, hearing) != hearing {
            self.journal.hearing(hearing);
            let is_due = self.refusal_logged.is_none_or(|logged| turn.now >= logged + REFUSAL_LOG_INTERVAL);
            if hearing == Hearing::Refused && is_due {
                self.refusal_logged = Some(turn.now);
                self.journal.not_told();
            }
        }
        if hearing == Hearing::DeclaredDead {
            return self.stages.gate.declare_dead();
        }
        self.stages.intake.saw_delivered(delivered);
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
        match self.stages.holdings.stage(key) {
            Some(HoldStage::Waiting | HoldStage::Running | HoldStage::Outside | HoldStage::BackingOff) => {
                let unread = self.stages.payloads.lost(key);
                let held = unread.or_else(|| match self.stages.starts.lost(key) {
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
        let was_wedged = self.stages.doubt.is_wedged();
        match error {
            Some(error) if error.kind == Kind::Unreachable => self.stages.doubt.unanswered(),
            Some(_) | None => self.stages.doubt.answered(),
        }
        if self.stages.doubt.is_wedged() == was_wedged {
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
        let Ok(is_paused) = self.judge_idle(Trouble::Renew, result, turn) else { return };
        let before = self.stages.gate.set_paused(is_paused);
        if before == Some(is_paused) || (before.is_none() && !is_paused) {
            return;
        }
        self.journal.paused(is_paused);
        if is_paused {
            self.give_back_unstarted(turn);
        } else {
            self.stages.intake.sweep_now(turn);
        }
    }

    /// Operators were told, or not. A refusal is no trouble of the work: what was counted is told again.
    pub(super) fn told(&mut self, report: Report, wanted: Result<Wanted, RedisError>, turn: &Turn) {
        self.stages.teller.returned(turn, report, wanted.is_ok());
        match wanted {
            Ok(Wanted { marks, drain }) => {
                for mark in marks {
                    self.obey(mark, turn);
                }
                if let Some(drain) = drain {
                    self.is_to_drain(drain);
                }
            }
            Err(error) => {
                let stream = &self.journal.stream;
                tracing::debug!(worker = WORKER, stream, err = error.text, "operators were not told");
            }
        }
    }

    /// The janitor has run, or could not.
    pub(super) fn tidied(&mut self, result: Result<Option<Tidied>, RedisError>, turn: &Turn) {
        match self.judge_idle(Trouble::Tidy, result, turn) {
            Ok(tidied) => {
                self.stages.upkeep.tidied(turn, tidied.as_ref().is_some_and(|tidied| tidied.has_more));
                if let Some(tidied) = tidied {
                    self.journal.tidied(&tidied);
                }
            }
            Err(retry_at) => self.stages.upkeep.tidy_failed(retry_at),
        }
    }

    /// The group was made usable, or not.
    pub(super) fn adopted(&mut self, result: Result<Adoption, RedisError>, turn: &Turn) {
        self.stages.upkeep.adoption.ended();
        match self.judge(Trouble::Group, result, turn) {
            Ok(adoption) => {
                self.stages.gate.set_group(true);
                self.stages.settler.forget_index_mark();
                self.stages.settler.hurry(turn.now);
                self.journal.adopted(&adoption);
                self.stages.intake.saw_delivered(Some(adoption.delivered));
            }
            Err(retry_at) => self.stages.upkeep.adoption.set(retry_at),
        }
    }
}
