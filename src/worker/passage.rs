//! The way of an entry through this process, step by step: read or claimed, looked up, accepted, decoded, attempted, ended,
//! settled, gone. Each step takes an entry from one stage and hands it to the next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::clock::now_ms;
use super::handler::{Answer, Blame, Failure, Handler, Request};
use super::stages::backoff::CALLS;
use super::stages::batch::{Batch, Finished, Summary};
use super::stages::gate::Host;
use super::stages::held::{EntryKey, Held, HoldStage};
use super::stages::job::{Away, Job};
use super::stages::payloads::Unpacked;
use super::stages::turn::Turn;
use super::state::State;
use super::troubles::Trouble;
use super::work::Conclusion;
use crate::contract::Fields;
use crate::contract::dead_letter::{DeadLetter, Kept, Reason};
use crate::faults::Point;
use crate::metrics::labels::OutcomeKind;
use crate::redis::RedisError;
use crate::slot::SlotRequest;
use crate::stream::claim::{Aim, Sweep, SweepReply, Swept};
use crate::stream::failures::Attempts;
use crate::stream::fetch::{Fetched, Payload};
use crate::stream::history::History;
use crate::stream::read::Read;
use crate::stream::settle::{Ending, SettleReply, Settled};
use crate::stream::{Delivery, Origin};

impl State {
    /// A read has returned.
    pub(super) fn read(&mut self, result: Result<Read, RedisError>, turn: &Turn) {
        let result = match result {
            Ok(Read::Interrupted) => {
                self.stages.intake.read_interrupted();
                return self.stages.keeper.look_for_unseen(turn);
            }
            Ok(Read::Returned(deliveries)) => Ok(deliveries),
            Err(error) => Err(error),
        };
        match self.judge(Trouble::Read, result, turn) {
            Ok(deliveries) => {
                self.journal.read(deliveries.len());
                self.stages.intake.read_returned(turn, &deliveries);
                self.receive(deliveries, turn);
            }
            Err(retry_at) => {
                self.stages.intake.read_failed(retry_at);
                self.stages.keeper.hurry(turn);
            }
        }
    }

    /// A sweep has returned.
    pub(super) fn swept(&mut self, result: Result<SweepReply, RedisError>, turn: &Turn) {
        self.journal.swept(result.as_ref().map(|reply| &reply.swept));
        let SweepReply { swept, next_in, deaths } = match self.judge_idle(Trouble::Claim, result, turn) {
            Ok(reply) => reply,
            Err(retry_at) => return self.stages.intake.sweep_failed(retry_at),
        };
        self.journal.deaths(&deaths);
        self.tell_deaths(&deaths, turn);
        self.stages.intake.next_sweep_in(turn, next_in);
        match swept {
            Swept::NotDue => self.stages.intake.sweep_ended(),
            Swept::Found => self.stages.intake.follow_up(turn, Aim::Take),
            Swept::Suspects => {
                self.stages.intake.follow_up(turn, Aim::Alone);
                self.give_back_unstarted(turn);
            }
            Swept::Done(sweep) => self.claimed(sweep, turn),
            Swept::DeclaredDead => {
                self.stages.intake.sweep_ended();
                self.stages.gate.declare_dead();
            }
        }
    }

    fn claimed(&mut self, sweep: Sweep, turn: &Turn) {
        self.journal.claimed(&sweep);
        self.tell_claimed(&sweep, turn);
        let tally = self.stages.teller.tally();
        tally.claimed(sweep.claimed.len());
        tally.dead(Reason::EntryLost, sweep.lost);
        if let Some(suspect) = self.stages.intake.swept(turn, &sweep) {
            self.journal.runs_alone(suspect);
        }
        self.receive(sweep.claimed, turn);
    }

    /// Entries come into our hands. About those that may have been delivered before, what is known is looked up first.
    /// Nothing is known of what a read brought from above all that had ever been delivered.
    pub(super) fn receive(&mut self, deliveries: Vec<Delivery>, turn: &Turn) {
        if deliveries.is_empty() {
            return;
        }
        self.faults.reach(Point::AfterRead);
        let (mut fresh, mut known) = (Vec::with_capacity(deliveries.len()), Vec::new());
        let is_canary = self.stages.gate.tries_one() && self.stages.holdings.at_hand() == 0 && deliveries.len() == 1;
        for delivery in deliveries {
            let Some(mut held) = self.stages.holdings.take(delivery, turn.now) else { continue };
            held.is_canary = is_canary;
            let is_fresh = held.origin == Origin::New && !self.stages.intake.may_be_known(held.id());
            if is_fresh { fresh.push(held) } else { known.push(held) }
        }
        self.stages.lookups.push(known);
        for held in fresh {
            self.accept(held, History::default(), turn);
        }
    }

    /// What is known of entries was looked up.
    pub(super) fn looked_up(&mut self, entries: Vec<Held>, result: Result<Vec<History>, RedisError>, turn: &Turn) {
        let histories = match self.judge(Trouble::Admit, result, turn) {
            Ok(histories) => histories,
            Err(retry_at) if self.stages.gate.is_running() => {
                // Whatever reads and sweeps brought would be looked up on its own, and many batches are more than ten calls a
                // second: they wait for longer.
                self.stages.intake.defer(retry_at + CALLS.max);
                return self.stages.lookups.failed(entries, retry_at);
            }
            // A drain gives the entries back instead.
            Err(_) => vec![History::default(); entries.len()],
        };
        self.stages.lookups.answered();
        for (held, history) in entries.into_iter().zip(histories) {
            self.accept(held, history, turn);
        }
    }

    /// What is known of an entry decides where it goes.
    fn accept(&mut self, mut held: Held, history: History, turn: &Turn) {
        held.crashes = held.crashes.max(history.crashes);
        held.failures = held.failures.max(history.failures);
        if let Some(cancel) = history.cancel.filter(|_| !history.is_settled) {
            self.cancels(held.key(), &cancel, turn);
        }
        let waits_for_empty_replica = held.is_suspect() && !self.stages.intake.runs_alone(held.key());
        if history.is_settled {
            self.end(held, Ending::Known, None);
        } else if !self.keeps(&held) || waits_for_empty_replica {
            self.give_back(held);
        } else if let Some(fields) = held.fields.take() {
            self.decode(held, fields);
        } else {
            self.stages.payloads.push(held);
        }
    }

    /// Payloads were read, as far as they were.
    pub(super) fn fetched(&mut self, entries: Vec<Held>, fetched: Option<Fetched>, turn: &Turn) {
        let (fetched, retry) = self.fetch_result(fetched, turn);
        let unpacked = self.stages.payloads.fetched(entries, fetched, retry);
        self.unpack(unpacked);
    }

    /// The same of one that had not arrived before.
    pub(super) fn fetched_stuck(&mut self, held: Held, fetched: Option<Fetched>, turn: &Turn) {
        let (fetched, retry) = self.fetch_result(fetched, turn);
        let unpacked = self.stages.payloads.fetched_stuck(held, fetched, retry);
        self.unpack(unpacked);
    }

    /// What was read, and when to read on, if that has failed. A reading that was ended says nothing about Redis.
    fn fetch_result(&mut self, fetched: Option<Fetched>, turn: &Turn) -> (Fetched, Option<Instant>) {
        let Some(mut fetched) = fetched else { return (Fetched::default(), None) };
        let result = fetched.failed.take().map_or(Ok(()), Err);
        let retry = self.judge(Trouble::Fetch, result, turn).err();
        (fetched, retry)
    }

    fn unpack(&mut self, unpacked: Unpacked) {
        for held in unpacked.unread {
            self.give_back(held);
        }
        for (mut held, payload) in unpacked.payloads {
            if !self.keeps(&held) {
                self.give_back(held);
                continue;
            }
            match payload {
                Payload::Whole(fields) => self.decode(held, fields),
                Payload::JobFields(fields) => {
                    held.traced = self.journal.spans.entry(held.id(), &fields, || held.since.elapsed());
                    let request = decode(self.handler.as_ref(), &fields);
                    held.kept = Kept::job_fields(fields);
                    self.decoded(held, request, true);
                }
                Payload::Gone => {
                    let detail = "the payload was deleted from the stream while the entry was pending".to_owned();
                    let letter = self.letter(&held, Reason::EntryLost, detail, None);
                    self.journal.payload_gone();
                    self.end(held, Ending::Dead(letter), None);
                }
            }
        }
    }

    fn decode(&mut self, mut held: Held, fields: Fields) {
        held.traced = self.journal.spans.entry(held.id(), &fields, || held.since.elapsed());
        let request = decode(self.handler.as_ref(), &fields);
        held.kept = Kept::of(fields);
        self.decoded(held, request, false);
    }

    fn decoded(&mut self, held: Held, request: Result<Arc<dyn Request>, String>, is_too_large: bool) {
        self.stages.holdings.resize(&held, held.kept.bytes());
        let lane = request.as_ref().ok().map(|request| request.lane());
        held.traced.describe(held.deliveries, held.dead_owner.as_deref(), lane);
        match request {
            Ok(request) => {
                self.stages.starts.push(Job { held, request, uncounted: 0, is_lost: false, is_too_large, last: None });
            }
            Err(malformed) => {
                self.journal.malformed(&held, &malformed);
                held.traced.failed(Reason::Malformed.as_str());
                let letter = self.letter(&held, Reason::Malformed, malformed, None);
                self.end(held, Ending::Dead(letter), None);
            }
        }
    }

    pub(super) fn letter(&self, held: &Held, reason: Reason, detail: String, attempts: Option<Attempts>) -> DeadLetter {
        DeadLetter {
            source_ref: held.id().to_string(),
            reason,
            detail,
            deliveries: held.deliveries,
            crashes: attempts.map_or(held.crashes, |attempts| attempts.crashes),
            failures: attempts.map_or(held.failures, |attempts| attempts.failures),
            dead_at_ms: now_ms(),
            consumer: self.consumer.clone(),
            original: held.kept.clone(),
        }
    }

    /// A turn of the loop begins: jobs whose back-off is over wait for their lane again.
    pub(super) fn turns(&mut self, turn: &Turn) {
        self.troubles.report_recovered(turn.now);
        self.tell_troubles();
        // Others, and operators, judge this replica by what it told last.
        if self.announced.is_some_and(|announced| announced != self.stages.gate.announced()) {
            self.stages.keeper.was_told(turn);
        }
        let woken = self.stages.starts.wake_up(turn, &self.stages.gate);
        for key in woken.waiting {
            self.stages.holdings.enter_key(key, HoldStage::Waiting);
        }
        for held in woken.suspects {
            self.give_back(held);
        }
    }

    /// An attempt gives up its slot, or wants one again.
    pub(super) fn slot_requested(&mut self, key: EntryKey, request: SlotRequest, turn: &Turn) {
        match request {
            SlotRequest::GiveUp(dismissal) => {
                if self.stages.starts.gave_up_slot(key, dismissal) {
                    self.stages.holdings.enter_key(key, HoldStage::Outside);
                }
                // It has begun nothing on the engine, and need not be waited for.
                if !self.stages.gate.is_running() {
                    self.stages.starts.dismiss_outside();
                }
            }
            SlotRequest::Return(grant) => self.stages.starts.wants_slot(key, grant, turn),
        }
    }

    /// An attempt has ended.
    pub(super) fn concluded(&mut self, key: EntryKey, conclusion: Conclusion, turn: &Turn) {
        let job = self.stages.starts.ended(key);
        self.judge_host(&job, &conclusion, turn);
        if job.is_lost && !matches!(conclusion, Conclusion::Answered(..) | Conclusion::Exhausted { .. }) {
            return self.let_go(job.held, turn);
        }
        self.update_store_breaker(&conclusion, turn);
        match conclusion {
            Conclusion::Answered(answer, attempts) | Conclusion::Exhausted { answer, attempts, .. } => {
                self.answered(job, answer, attempts);
            }
            Conclusion::Again { after, is_counted, why } if self.may_go_elsewhere(&why, is_counted) => {
                self.stages.holdings.enter(&job.held, HoldStage::Waiting);
                self.stages.returns.push_away(Away::failed(job, why, after, is_counted));
            }
            Conclusion::Again { after, is_counted, why } => self.back_off(job, after, is_counted, &why, turn),
            Conclusion::EngineDown(err) => {
                self.give_back(job.held);
                self.engine_went_down(&err, turn);
            }
            Conclusion::Elsewhere(host) => {
                self.stages.holdings.enter(&job.held, HoldStage::Waiting);
                self.stages.returns.push_away(Away::placed(job, host));
            }
            Conclusion::Dismissed if self.is_cancelled_here(&job) => {
                self.stages.holdings.enter(&job.held, HoldStage::Waiting);
                self.stages.starts.push(job);
            }
            Conclusion::Dismissed => self.give_back(job.held),
            Conclusion::NotOurs => self.let_go(job.held, turn),
        }
    }

    /// Whether a job that failed so is tried on another host, if there is one that takes it: this one is to blame, or full. Else a
    /// host that fails few jobs, too few to be judged sick, would spend their budgets.
    fn may_go_elsewhere(&self, why: &Failure, is_counted: bool) -> bool {
        let gate = &self.stages.gate;
        let may_go = match why {
            Failure::NoRoom { .. } => true,
            Failure::Failed { blame: Blame::Engine, .. } => is_counted && gate.host() != Host::Sick,
            Failure::Failed { .. }
            | Failure::NotBefore { .. }
            | Failure::InProgress { .. }
            | Failure::TakenOver
            | Failure::Dismissed(_)
            | Failure::Elsewhere { .. }
            | Failure::Store(_) => false,
        };
        may_go && gate.is_running() && gate.engine_is_up() && self.handler.host().is_some()
    }

    fn answered(&mut self, mut job: Job, answer: Answer, attempts: Attempts) {
        let Answer { outcome, kind, error_code, label, dead_letter } = answer;
        if kind == OutcomeKind::Failure {
            job.held.traced.failed(&error_code);
        }
        let ending = match dead_letter {
            None => Ending::Outcome(outcome),
            Some(condemned) => {
                job.held.was_counted = true;
                Ending::Both(outcome, self.letter(&job.held, condemned.reason, condemned.detail, Some(attempts)))
            }
        };
        self.end(job.held, ending, Some(Summary { request: job.request, kind, error_code, label }));
    }

    pub(super) fn back_off(&mut self, mut job: Job, mut after: Duration, is_counted: bool, why: &Failure, turn: &Turn) {
        if self.stages.holdings.cancelled(job.held.key()).is_some() {
            after = after.min(CALLS.delay(job.uncounted + 1, turn.random));
        }
        self.journal.backs_off(&job, after, is_counted, why);
        job.failed(why, is_counted, turn.now);
        self.tell_failed(&job, (after, is_counted), why, turn);
        job.held.was_counted = true;
        if is_counted {
            job.held.since = turn.now;
        } else {
            job.uncounted += 1;
        }
        if !self.may_stay(job.held.key()) || self.stages.gate.tries_one() {
            return self.give_back(job.held);
        }
        self.stages.intake.backs_off(job.held.key());
        self.stages.holdings.enter(&job.held, HoldStage::BackingOff);
        self.stages.starts.back_off(job, turn.now + after);
    }

    /// A batch was settled, or not.
    pub(super) fn settled(&mut self, batch: Batch, result: Result<SettleReply, RedisError>, turn: &Turn) {
        let reply = match self.judge(Trouble::Settle, result, turn) {
            Ok(reply) => reply,
            Err(retry_at) => return self.stages.settler.failed(batch, retry_at),
        };
        self.faults.reach(Point::AfterSettle);
        self.stages.intake.saw_delivered(reply.delivered);
        self.journal.settled(&reply);
        let (journal, troubles) = (&self.journal, &mut self.troubles);
        let left = self.stages.settler.returned(batch, reply.settled, |finished, err| {
            let times = troubles.met(Trouble::Settle, err, turn.now);
            journal.refused(finished, err, times);
            turn.after(CALLS, times)
        });
        for (finished, settled) in left {
            self.journal.left(&finished, &settled);
            self.tell_dead(&finished, &settled, turn);
            if settled == Settled::Done {
                self.count(&finished);
            }
            self.let_go(finished.held, turn);
        }
    }

    /// An entry's ending was published: it counts in the history of the fleet.
    fn count(&mut self, finished: &Finished) {
        let tally = self.stages.teller.tally();
        if let Some(summary) = &finished.summary {
            tally.outcome(summary.label.told(), self.journal.clock.age_of(finished.held.id()));
        }
        if let Ending::Dead(letter) | Ending::Both(_, letter) = &finished.ending {
            tally.dead(letter.reason, 1);
        }
    }

    /// Entries were given back, or not.
    pub(super) fn handed_back(&mut self, entries: Vec<Held>, result: Result<u64, RedisError>, turn: &Turn) {
        let given_back = self.judge(Trouble::Renew, result, turn);
        if let Ok(given_back) = given_back {
            self.journal.metrics.handed_back.inc_by(given_back);
        }
        for held in self.stages.returns.returned(entries, given_back.err()) {
            self.let_go(held, turn);
        }
    }
}

/// An entry that makes the handler panic is no job. Without this it would end every replica that reads it.
fn decode(handler: &dyn Handler, fields: &Fields) -> Result<Arc<dyn Request>, String> {
    let decoded = catch_unwind(AssertUnwindSafe(|| handler.decode(fields)));
    decoded.unwrap_or_else(|_| Err("the handler panicked while it decoded the entry".to_owned()))
}
