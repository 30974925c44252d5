//! What one replica knows and tells: its stages, its journal, its troubles. And the moves that every event may lead to.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handler::Handler;
use super::journal::Journal;
use super::stages::Stages;
use super::stages::backoff::CALLS;
use super::stages::batch::{Finished, Summary};
use super::stages::command::Command;
use super::stages::held::{EntryKey, Held, HoldStage};
use super::stages::turn::Turn;
use super::troubles::{Trouble, Troubles};
use super::vitals::Vitals;
use crate::faults::Faults;
use crate::redis::{Kind, RedisError};
use crate::stream::drain::Drain;
use crate::stream::fleet_event::{FleetEvent, Happened};
use crate::stream::renew::Hearing;
use crate::stream::settle::Ending;

/// The state of one replica.
#[derive(Debug)]
pub(crate) struct State {
    /// What it holds, and what it wants next.
    pub(crate) stages: Stages,
    /// Knows what a job asks for.
    pub(crate) handler: Arc<dyn Handler>,
    /// Its name in the group.
    pub(crate) consumer: String,
    /// Lines and figures of an entry's way.
    pub(crate) journal: Journal,
    /// What the server last said of its subscription.
    pub(crate) hearing: Hearing,
    /// When it was logged last that Redis does not tell.
    pub(crate) refusal_logged: Option<Instant>,
    /// What is wrong.
    pub(crate) troubles: Troubles,
    /// Signs of life.
    pub(crate) vitals: Arc<Vitals>,
    /// Crash hooks.
    pub(crate) faults: Arc<Faults>,
    /// Ends this replica.
    pub(crate) stop: CancellationToken,
    /// The operator who wants it to drain.
    pub(crate) drain: Option<Drain>,
    /// What its last renewal told of the gate.
    pub(crate) announced: Option<(bool, bool)>,
}

impl State {
    /// Notes a trouble when it begins and when it ends; answers when to try again after an error.
    pub(super) fn judge<T>(
        &mut self,
        trouble: Trouble,
        result: Result<T, RedisError>,
        turn: &Turn,
    ) -> Result<T, Instant> {
        let value = self.note_error(trouble, result, turn)?;
        self.troubles.over(trouble, turn.now);
        Ok(value)
    }

    /// The same of a call that may have had nothing to write: a Redis that refuses writes answers it all the same. While
    /// renewals are refused, which always write, its answer ends no trouble.
    pub(super) fn judge_idle<T>(
        &mut self,
        trouble: Trouble,
        result: Result<T, RedisError>,
        turn: &Turn,
    ) -> Result<T, Instant> {
        let value = self.note_error(trouble, result, turn)?;
        if !self.troubles.lasts(Trouble::Renew) {
            self.troubles.over(trouble, turn.now);
        }
        Ok(value)
    }

    /// Notes a trouble when it begins; answers when to try again after an error.
    fn note_error<T>(&mut self, trouble: Trouble, result: Result<T, RedisError>, turn: &Turn) -> Result<T, Instant> {
        let error = match result {
            Ok(value) => {
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
                    self.stages.intake.call_was_lost();
                }
                Trouble::Redis
            }
            Kind::GroupLost => {
                if self.stages.gate.has_group() {
                    self.stages.upkeep.adoption.set(turn.now);
                }
                self.stages.gate.set_group(false);
                Trouble::Group
            }
            // A wrong type at the jobs key itself is a lost group; at any other key it is waited out.
            Kind::WrongType if trouble == Trouble::Read => {
                self.stages.gate.set_group(false);
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
        self.stages.payloads.hurry(soon);
        self.stages.settler.hurry(soon);
        self.stages.returns.hurry(soon);
        self.stages.health.hurry(soon);
        self.stages.upkeep.adoption.hurry(soon);
        self.stages.intake.redis_answers_again(soon);
    }

    /// The next command of any stage.
    pub(super) fn next(&mut self, turn: &Turn) -> Option<Command> {
        let command = self.stages.next(turn)?;
        if let Command::Renew(_) = command {
            self.announced = Some(self.stages.gate.announced());
        }
        if let Command::DropReader = command {
            let err = "no return of the blocking read within three block times; connection dropped";
            self.troubles.met(Trouble::Read, err, turn.now);
        }
        Some(command)
    }

    /// The replica drains until then at the latest.
    pub(super) fn begin_drain(&mut self, deadline: Instant, turn: &Turn) {
        self.stages.gate.drain(deadline);
        self.journal.metrics.draining.set(1);
        self.vitals.draining();
        let event = FleetEvent::new(Happened::Drains, turn.now);
        self.stages.teller.happened(match &self.drain {
            Some(drain) => event.saying("", &drain.reason).done_by(&drain.by),
            None => event,
        });
        self.stages.keeper.hurry(turn);
        self.give_back_unstarted(turn);
    }

    /// The replica begins or leaves.
    pub(super) fn tell_life(&mut self, kind: Happened, host: Option<&str>, turn: &Turn) {
        let host = host.unwrap_or_default().to_owned();
        let event = FleetEvent::new(kind, turn.now);
        self.stages.teller.happened(FleetEvent { host, ..event });
    }

    /// What the loop holds, for metrics and probes.
    pub(super) fn show(&self) {
        self.vitals.turned(self.stages.intake.read_is_overdue());
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let metrics = &self.journal.metrics;
        metrics.in_flight.set(number(self.stages.starts.running()));
        metrics.outside_slots.set(number(self.stages.starts.outside()));
        metrics.held.set(number(self.stages.holdings.len()));
        metrics.backing_off.set(number(self.stages.starts.backing_off()));
    }

    /// An entry has ended in this process: its outcome, or what else becomes of it, goes into Redis.
    pub(super) fn end(&mut self, mut held: Held, ending: Ending, summary: Option<Summary>) {
        // Its mark is to be forgotten with it.
        held.was_counted |= self.stages.holdings.cancelled(held.key()).is_some();
        self.stages.holdings.enter(&held, HoldStage::Ending);
        self.stages.settler.end(Finished { held, ending, summary });
    }

    /// The entry leaves our hands.
    pub(super) fn let_go(&mut self, held: Held, turn: &Turn) {
        self.stages.intake.left(turn, held.key());
        self.stages.holdings.let_go(held);
    }

    /// Is an entry that comes now kept, to be started here? While the host is sick or full only the canary is.
    pub(super) fn keeps(&self, held: &Held) -> bool {
        self.may_stay(held.key()) && (!self.stages.gate.tries_one() || held.is_canary)
    }

    /// May this entry stay in our hands, as far as the host has nothing against it? While the fleet is paused only what is to be
    /// cancelled may.
    pub(super) fn may_stay(&self, key: EntryKey) -> bool {
        let gate = &self.stages.gate;
        gate.keeps_entries() || (gate.answers_cancelled() && self.stages.holdings.cancelled(key).is_some())
    }

    /// One entry goes back.
    pub(super) fn give_back(&mut self, held: Held) {
        self.stages.holdings.enter(&held, HoldStage::GoingBack);
        self.stages.returns.push(held);
    }

    /// Everything that has not started goes back, for others to take at once.
    pub(super) fn give_back_unstarted(&mut self, turn: &Turn) {
        let unstarted = self.stages.payloads.give_up(turn).into_iter().chain(self.stages.starts.give_up());
        for held in unstarted {
            self.give_back(held);
        }
    }
}
