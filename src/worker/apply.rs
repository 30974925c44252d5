//! What each event changes. Nothing here waits: one event, one transition.

use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::WORKER;
use super::backoff::CALLS;
use super::clock::now_ms;
use super::conditions::Trouble;
use super::events::Event;
use super::holdings::{Held, Stage};
use super::pump::{FEW, SPARSE_AFTER};
use super::replica::{Job, Mode, Replica};
use super::work::Conclusion;
use crate::contract::dead_letter::{DeadLetter, Kept, Reason};
use crate::contract::error_code::ErrorCode;
use crate::contract::job_result::{Answer, JobResult};
use crate::contract::start_job::{Malformed, StartJob};
use crate::faults::Point;
use crate::metrics::labels::{Counted, SettleResult};
use crate::redis::{Kind, RedisError};
use crate::start::StartError;
use crate::stream::claim::Aim;
use crate::stream::entry_id::EntryId;
use crate::stream::fetch::{Fetched, Payload};
use crate::stream::past::Past;
use crate::stream::read::Read;
use crate::stream::settle::{Ending, MirrorMove, SettleReply, Settled};
use crate::stream::{Delivery, Origin};

impl Conclusion {
    /// A start that panicked is a bug, and no answer about the game.
    pub(super) fn of_panic(error: &JoinError) -> Self {
        let why = StartError::Engine { code: ErrorCode::InternalError, message: error.to_string() };
        Self::Again { after: CALLS.max, counted: None, why }
    }
}

impl Replica {
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Read(result) => self.read_returned(result),
            Event::Admitted(helds, result) => self.admitted(helds, result),
            Event::Fetched(helds, fetched) => {
                self.under_way.fetch = false;
                self.fetched(helds, fetched);
            }
            Event::FetchedStuck(held, fetched) => {
                self.under_way.stuck_fetch = false;
                self.fetched(vec![held], fetched);
            }
            Event::Settled(batch, result) => self.settled(batch, result),
            Event::Renewed(result, paused) => {
                self.renewed(result);
                self.look_at_pause(paused);
            }
            Event::Swept(result) => self.swept(result),
            Event::Tidied(result) => self.tidied(result),
            Event::Reconciled(result) => self.reconciled(&result),
            Event::HandedBack(helds, result) => self.handed_back(helds, result),
            Event::Doubted(works) => self.doubted(works),
            Event::Probed(result) => self.probed(result),
            Event::StoreProbed(result) => self.store_probed(result),
            Event::Adopted(result) => self.adopted(result),
        }
    }

    fn read_returned(&mut self, result: Result<Read, RedisError>) {
        let waited = self.under_way.read.take().map_or(Duration::ZERO, |since| since.elapsed());
        let result = match result {
            Ok(Read::Interrupted) => return self.read_interrupted(),
            Ok(Read::Returned(deliveries)) => Ok(deliveries),
            Err(error) => Err(error),
        };
        match self.checked(Trouble::Read, result) {
            Ok(deliveries) => {
                self.metrics.last_read.set(unix_seconds());
                self.metrics.received(Origin::New, deliveries.len());
                let are_few = deliveries.len() <= FEW && deliveries.len() < self.pace.asked;
                self.appetite.served(self.pace.asked, deliveries.iter().map(Delivery::bytes));
                self.pace.is_sparse = waited >= SPARSE_AFTER && are_few;
                self.saw_delivered(deliveries.last().map(|delivery| delivery.id));
                self.take_in(deliveries);
            }
            Err(delay) => {
                // What the lost reply held is found by the next renewal.
                self.appetite.starved();
                self.due.renew = Instant::now();
                self.due.read = delay;
            }
        }
    }

    pub(super) fn take_in(&mut self, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        self.faults.reach(Point::AfterRead);
        let now = Instant::now();
        let helds: Vec<Held> =
            deliveries.into_iter().filter_map(|delivery| self.holdings.take(delivery, now)).collect();
        self.admit(helds);
    }

    fn admitted(&mut self, helds: Vec<Held>, result: Result<Vec<Past>, RedisError>) {
        self.under_way.admissions -= 1;
        let pasts = match self.checked(Trouble::Admit, result) {
            Ok(pasts) => pasts,
            // The question is asked again until it is answered; a drain gives the entries back instead.
            Err(delay) if self.mode == Mode::Running => return self.admit_later(helds, delay),
            Err(_) => vec![Past::default(); helds.len()],
        };
        for (held, past) in helds.into_iter().zip(pasts) {
            self.take_on(held, past);
        }
    }

    pub(super) fn take_on(&mut self, mut held: Held, past: Past) {
        held.crashes = held.crashes.max(past.crashes);
        held.failures = held.failures.max(past.failures);
        let is_suspect = held.is_suspect() && self.alone != Some(held.id());
        if past.is_settled {
            self.end(held, Ending::Known);
        } else if self.mode != Mode::Running || !self.engine_up || self.paused == Some(true) || is_suspect {
            self.give_back(held);
        } else if held.fields.is_none() {
            self.to_fetch.push(held);
        } else {
            self.decode(held);
        }
    }

    fn fetched(&mut self, helds: Vec<Held>, fetched: Fetched) {
        let result = fetched.failed.map_or(Ok(()), Err);
        if let Err(delay) = self.checked(Trouble::Fetch, result) {
            self.due.fetch = delay;
        }
        let mut is_stuck = fetched.is_next_stuck;
        let mut payloads = fetched.payloads.into_iter();
        for mut held in helds {
            let payload = payloads.next();
            if self.mode != Mode::Running || !self.engine_up || self.paused == Some(true) {
                self.give_back(held);
                continue;
            }
            match payload {
                None if std::mem::take(&mut is_stuck) => self.stuck.push_back(held),
                None => self.to_fetch.push(held),
                Some(Payload::Whole(fields)) => {
                    held.fields = Some(fields);
                    self.decode(held);
                }
                Some(Payload::JobFields(fields)) => {
                    let job = StartJob::decode(&fields, self.stream.max_field_bytes);
                    held.kept = Kept::job_fields(fields);
                    self.decoded(held, job, true);
                }
                Some(Payload::Gone) => {
                    let detail = "the payload was deleted from the stream while the entry was pending".to_owned();
                    let letter = self.letter(&held, Reason::EntryLost, detail, held.crashes, held.failures);
                    self.metrics.entries_lost.inc();
                    self.end(held, Ending::Dead(letter));
                }
            }
        }
    }

    /// Somebody has been given this entry, and everything before it.
    pub(super) fn saw_delivered(&mut self, id: Option<EntryId>) {
        self.delivered = self.delivered.max(id.unwrap_or(self.delivered));
    }

    /// Asks again when the back-off is over. Reads and sweeps wait for longer than that: whatever they brought would ask
    /// on its own, and many batches that ask are more than ten calls a second.
    fn admit_later(&mut self, helds: Vec<Held>, due: Instant) {
        self.due.read = self.due.read.max(due + CALLS.max);
        self.due.sweep = self.due.sweep.max(due + CALLS.max);
        self.under_way.admissions += 1;
        let group = self.group.clone();
        let ask = async move {
            tokio::time::sleep_until(due).await;
            let ids: Vec<_> = helds.iter().map(Held::id).collect();
            let past = group.past(&ids).await;
            Event::Admitted(helds, past)
        };
        self.operations.push(ask.boxed());
    }

    fn decode(&mut self, mut held: Held) {
        let fields = held.fields.take().unwrap_or_default();
        let job = StartJob::decode(&fields, self.stream.max_field_bytes);
        held.kept = Kept::of(fields);
        self.decoded(held, job, false);
    }

    fn decoded(&mut self, held: Held, job: Result<StartJob, Malformed>, is_too_large: bool) {
        self.holdings.resize(&held, held.kept.bytes());
        match job {
            Ok(envelope) => self.games.push(Job { held, envelope, uncounted: 0, lost: false, is_too_large }),
            Err(malformed) => {
                let (stream, stream_entry_id, err) = (&self.stream.jobs, held.id().to_string(), malformed.to_string());
                tracing::warn!(worker = WORKER, stream, stream_entry_id, err, "decode start job");
                let letter = self.letter(&held, Reason::Malformed, err, held.crashes, held.failures);
                self.end(held, Ending::Dead(letter));
            }
        }
    }

    fn letter(&self, held: &Held, reason: Reason, detail: String, crashes: u64, failures: u64) -> DeadLetter {
        DeadLetter {
            source_ref: held.id().to_string(),
            reason,
            detail,
            deliveries: held.deliveries,
            crashes,
            failures,
            dead_at_ms: now_ms(),
            consumer: self.group.consumer().to_owned(),
            original: held.kept.clone(),
        }
    }

    pub(super) fn conclude(&mut self, mut job: Job, conclusion: Conclusion) {
        self.games.finished(&job.envelope.game_id);
        if job.lost && !matches!(conclusion, Conclusion::Answered(_) | Conclusion::GivenUp { .. }) {
            return self.let_go(job.held);
        }
        self.look_at_store(&conclusion);
        match conclusion {
            Conclusion::Answered(answer) => {
                let result = outcome(&job, answer);
                self.end(job.held, Ending::Outcome(result));
            }
            Conclusion::GivenUp { answer, reason, attempts } => {
                let detail = match &answer {
                    Answer::Failure { code, message } => format!("{code}: {message}"),
                    Answer::Success { .. } => "an earlier attempt had succeeded".to_owned(),
                };
                let letter = self.letter(&job.held, reason, detail, attempts.crashes, attempts.failures);
                let result = outcome(&job, answer);
                job.held.was_counted = true;
                self.end(job.held, Ending::Both(result, letter));
            }
            Conclusion::Again { after, counted, why } => self.back_off(job, after, counted.is_some(), &why),
            Conclusion::EngineDown(err) => {
                self.give_back(job.held);
                self.engine_went_down(&err);
            }
            Conclusion::NotOurs => self.let_go(job.held),
        }
    }

    fn back_off(&mut self, mut job: Job, after: Duration, counted: bool, why: &StartError) {
        self.metrics.retry(if counted { Counted::Yes } else { Counted::No });
        let (stream, stream_entry_id) = (&self.stream.jobs, job.held.id().to_string());
        let (game_id, err, retry_in_s) = (&job.envelope.game_id, why.to_string(), after.as_secs_f64());
        if counted {
            tracing::warn!(worker = WORKER, stream, stream_entry_id, game_id, err, retry_in_s, "start service failed");
        } else if job.uncounted == 0 && matches!(why, StartError::Store(error) if error.kind == Kind::WrongType) {
            // Somebody must repair it, and no condition of the whole replica says so.
            tracing::warn!(
                worker = WORKER,
                stream,
                stream_entry_id,
                game_id,
                err,
                "start waits for a key to be repaired"
            );
        } else {
            tracing::debug!(worker = WORKER, stream, stream_entry_id, game_id, err, retry_in_s, "start waits");
        }
        job.held.was_counted = true;
        if counted {
            job.held.since = Instant::now();
        } else {
            job.uncounted += 1;
        }
        if self.mode != Mode::Running || !self.engine_up {
            return self.give_back(job.held);
        }
        if self.alone == Some(job.held.id()) {
            // Others need not wait for its back-off; when that is over it is given back, and claimed alone again.
            self.alone = None;
        }
        if self.claim_next.is_some_and(Aim::is_suspect) {
            // This replica will not be empty soon: another takes the suspect.
            self.claim_next = None;
        }
        self.holdings.enter(&job.held, Stage::BackingOff);
        self.backing_off.insert((Instant::now() + after, job.held.id()), job);
    }

    pub(super) fn let_go(&mut self, held: Held) {
        if self.alone == Some(held.id()) {
            self.alone = None;
            // Still empty: the next suspect may follow at once.
            self.claim_next = Some(Aim::Another);
        }
        self.holdings.let_go(held);
    }

    fn end(&mut self, held: Held, ending: Ending) {
        self.holdings.enter(&held, Stage::Ending);
        self.endings.push_back((held, ending));
    }

    fn settled(&mut self, batch: Vec<(Held, Ending)>, result: Result<SettleReply, RedisError>) {
        self.under_way.settles -= 1;
        self.under_way.settling -= batch.len();
        let reply = match self.checked(Trouble::Settle, result) {
            Ok(reply) => reply,
            Err(delay) => {
                self.due.settle = delay;
                // In front, because they have waited longest. Safe to send again: the fence knows what was settled.
                return batch.into_iter().rev().for_each(|ending| self.endings.push_front(ending));
            }
        };
        self.faults.reach(Point::AfterSettle);
        self.saw_delivered(reply.delivered);
        self.look_at_mirror(&reply);
        let done = reply.settled.iter().filter(|&settled| *settled == Settled::Done).count();
        if done > 0 {
            self.metrics.settled(SettleResult::Done, done);
            self.metrics.last_outcome.set(unix_seconds());
        }
        for ((held, ending), settled) in batch.into_iter().zip(reply.settled) {
            self.entry_settled(held, ending, settled);
        }
    }

    fn entry_settled(&mut self, held: Held, ending: Ending, settled: Settled) {
        if settled == Settled::Done {
            self.published(&held, &ending);
            return self.let_go(held);
        }
        self.metrics.settled((&settled).into(), 1);
        let (stream, stream_entry_id) = (&self.stream.jobs, held.id().to_string());
        match settled {
            Settled::Done => {}
            Settled::Duplicate => {
                tracing::debug!(worker = WORKER, stream, stream_entry_id, "entry was settled before");
            }
            // The job's one line from this replica. Nothing is wrong with it: the other answers.
            Settled::Lost => {
                tracing::info!(
                    worker = WORKER,
                    stream,
                    stream_entry_id,
                    "another consumer has the entry; not published"
                );
            }
            Settled::Unknown => {
                let hint = "Redis has lost the job, in a failover or a restart; its sender must send it again";
                tracing::error!(
                    worker = WORKER,
                    stream,
                    stream_entry_id,
                    hint,
                    "job is not in the stream; not published"
                );
            }
            Settled::Expired => {
                let hint = "older than ledger-ttl and not pending: put back, will run again";
                tracing::error!(worker = WORKER, stream, stream_entry_id, hint, "entry cannot be settled");
            }
            Settled::Refused(err) => {
                let times = self.conditions.met(Trouble::Settle, &err);
                if times == 1
                    && let Ending::Outcome(JobResult { game_id, answer, .. }) = &ending
                {
                    let (outcome, error_code) = (answer.outcome(), answer.error_code());
                    let stream = &self.stream.jobs;
                    tracing::error!(
                        worker = WORKER,
                        stream,
                        stream_entry_id,
                        game_id,
                        outcome,
                        error_code,
                        err,
                        "publish job result"
                    );
                }
                self.due.settle = Instant::now() + CALLS.delay(times, fastrand::f64());
                return self.endings.push_back((held, ending));
            }
            Settled::Skipped => return self.endings.push_back((held, ending)),
        }
        self.let_go(held);
    }

    fn published(&self, held: &Held, ending: &Ending) {
        if let Ending::Outcome(result) | Ending::Both(result, _) = ending {
            self.metrics.outcome((&result.answer).into(), (&result.answer).into(), self.work.clock.age_of(held.id()));
            log_processed(&self.stream.jobs, self.engine, result);
        }
        if let Ending::Dead(letter) | Ending::Both(_, letter) = ending {
            self.metrics.dead_letter(letter.reason);
        }
    }

    fn look_at_mirror(&mut self, reply: &SettleReply) {
        let (stream, mirror) = (&self.stream.jobs, &reply.mirror);
        if reply.mirror_move == MirrorMove::Lowered {
            self.metrics.mirror_lowered.inc();
            tracing::warn!(worker = WORKER, stream, mirror, "offset mirror went back with its group");
        }
        if let Some(found) = &reply.foreign {
            self.metrics.mirror_foreign.inc();
            let hint = "the legacy worker runs beside the fleet, or an operator wrote the offset";
            tracing::error!(worker = WORKER, stream, mirror, found, hint, "somebody else wrote the offset mirror");
        }
    }
}

fn outcome(job: &Job, answer: Answer) -> JobResult {
    JobResult {
        game_id: job.envelope.game_id.clone(),
        answer,
        source_ref: job.held.id().to_string(),
        requested_at_ms: job.envelope.requested_at_ms,
        finished_at_ms: now_ms(),
        attempt: job.held.deliveries,
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn log_processed(stream: &str, engine: &str, result: &JobResult) {
    tracing::info!(
        worker = WORKER,
        stream,
        stream_entry_id = result.source_ref,
        game_id = result.game_id,
        outcome = result.answer.outcome(),
        error_code = result.answer.error_code(),
        requested_at_ms = result.requested_at_ms,
        attempt = result.attempt,
        engine,
        "start job processed"
    );
}
