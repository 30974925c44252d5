//! What each event changes. Nothing here waits: one event, one transition.

use std::time::{Duration, SystemTime};

use tokio::task::JoinError;
use tokio::time::Instant;

use super::WORKER;
use super::backoff::CALLS;
use super::conditions::Trouble;
use super::events::Event;
use super::holdings::{Held, SUSPECT_CRASHES, Stage};
use super::replica::{Job, Mode, Replica};
use super::work::{Conclusion, age_of, now_ms};
use crate::contract::dead_letter::{DeadLetter, Reason};
use crate::contract::error_code::ErrorCode;
use crate::contract::job_result::{Answer, JobResult, REPLAY_NO_OP};
use crate::contract::start_job::StartJob;
use crate::faults::Point;
use crate::redis::{Kind, RedisError};
use crate::start::StartError;
use crate::start::reconcile::Reconciled;
use crate::stream::Delivery;
use crate::stream::adopt::{Adoption, AdoptionState};
use crate::stream::claim::{Aim, Sweep, Swept};
use crate::stream::entry_id::EntryId;
use crate::stream::janitor::Tidied;
use crate::stream::past::Past;
use crate::stream::renew::Renewal;
use crate::stream::settle::{Ending, MirrorMove, SettleReply, Settled};

/// While the orphan walk has more before it.
const TIDY_AGAIN: Duration = Duration::from_millis(300);

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
            Event::Settled(batch, result) => self.settled(batch, result),
            Event::Renewed(result) => self.renewed(result),
            Event::Swept(result) => self.swept(result),
            Event::Tidied(result) => self.tidied(result),
            Event::Reconciled(result) => self.reconciled(&result),
            Event::HandedBack(helds, result) => self.handed_back(helds, result),
            Event::Probed(result) => self.probed(result),
            Event::Adopted(result) => self.adopted(result),
        }
    }

    fn read_returned(&mut self, result: Result<Vec<Delivery>, RedisError>) {
        self.under_way.read = None;
        match self.checked(Trouble::Read, result) {
            Ok(deliveries) => {
                self.metrics.last_read.set(unix_seconds());
                self.metrics.received("new", deliveries.len());
                self.take_in(deliveries);
            }
            Err(delay) => self.due.read = delay,
        }
    }

    fn take_in(&mut self, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        self.faults.reach(Point::AfterRead);
        let now = Instant::now();
        let helds: Vec<Held> = deliveries.into_iter().filter_map(|delivery| self.holdings.take(delivery, now)).collect();
        self.admit(helds);
    }

    fn admitted(&mut self, helds: Vec<Held>, result: Result<Vec<Past>, RedisError>) {
        self.under_way.admissions -= 1;
        let pasts = match self.checked(Trouble::Admit, result) {
            Ok(pasts) => pasts,
            // The question is asked again until it is answered; a drain gives the entries back instead.
            Err(_) if self.mode == Mode::Running => return self.admit(helds),
            Err(_) => vec![Past::default(); helds.len()],
        };
        for (mut held, past) in helds.into_iter().zip(pasts) {
            held.crashes = held.crashes.max(past.crashes);
            held.failures = held.failures.max(past.failures);
            let is_suspect = held.is_suspect() && self.alone != Some(held.id());
            if past.is_settled {
                self.end(held, Ending::Known);
            } else if self.mode != Mode::Running || !self.engine_up || is_suspect {
                self.give_back(held);
            } else {
                self.decode(held);
            }
        }
    }

    fn decode(&mut self, held: Held) {
        match StartJob::decode(&held.fields, self.stream.max_field_bytes) {
            Ok(job) => self.games.push(Job { held, job, uncounted: 0, lost: false }),
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
            original: held.fields.clone(),
        }
    }

    pub(super) fn conclude(&mut self, job: Job, conclusion: Conclusion) {
        self.games.finished(&job.job.game_id);
        if job.lost && !matches!(conclusion, Conclusion::Answered(_) | Conclusion::GivenUp { .. }) {
            return self.let_go(job.held);
        }
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
        self.metrics.retry(counted);
        let (stream, stream_entry_id) = (&self.stream.jobs, job.held.id().to_string());
        let (game_id, err, retry_in_s) = (&job.job.game_id, why.to_string(), after.as_secs_f64());
        if counted {
            tracing::warn!(worker = WORKER, stream, stream_entry_id, game_id, err, retry_in_s, "start service failed");
        } else {
            tracing::debug!(worker = WORKER, stream, stream_entry_id, game_id, err, retry_in_s, "start waits");
        }
        if !counted {
            job.uncounted += 1;
        }
        if self.mode != Mode::Running || !self.engine_up {
            return self.give_back(job.held);
        }
        if self.alone == Some(job.held.id()) {
            // Others need not wait for its back-off; when that is over it is given back, and claimed alone again.
            self.alone = None;
        }
        if self.claim_next == Some(Aim::Alone) {
            // This replica will not be empty soon: another takes the suspect.
            self.claim_next = None;
        }
        self.holdings.enter(&job.held, Stage::BackingOff);
        self.backing_off.insert((Instant::now() + after, job.held.id()), job);
    }

    fn let_go(&mut self, held: Held) {
        if self.alone == Some(held.id()) {
            self.alone = None;
        }
        self.holdings.let_go(held);
    }

    fn end(&mut self, held: Held, ending: Ending) {
        self.holdings.enter(&held, Stage::Ending);
        self.endings.push_back((held, ending));
    }

    fn settled(&mut self, batch: Vec<(Held, Ending)>, result: Result<SettleReply, RedisError>) {
        self.under_way.settles -= 1;
        let reply = match self.checked(Trouble::Settle, result) {
            Ok(reply) => reply,
            Err(delay) => {
                self.due.settle = delay;
                // In front, because they have waited longest. Safe to send again: the fence knows what was settled.
                return batch.into_iter().rev().for_each(|ending| self.endings.push_front(ending));
            }
        };
        self.faults.reach(Point::AfterSettle);
        self.look_at_mirror(&reply);
        for ((held, ending), settled) in batch.into_iter().zip(reply.settled) {
            self.entry_settled(held, ending, settled);
        }
    }

    fn entry_settled(&mut self, held: Held, ending: Ending, settled: Settled) {
        let (stream, stream_entry_id) = (&self.stream.jobs, held.id().to_string());
        self.metrics.settled(result_of(&settled));
        match settled {
            Settled::Done => {
                if let Ending::Outcome(result) | Ending::Both(result, _) = &ending {
                    self.metrics.outcome(result.answer.outcome(), code_label(&result.answer), age_of(held.id()));
                    self.metrics.last_outcome.set(unix_seconds());
                    log_processed(stream, self.engine, result);
                }
                if let Ending::Dead(letter) | Ending::Both(_, letter) = &ending {
                    self.metrics.dead_letter(letter.reason.as_str());
                }
            }
            Settled::Duplicate => {
                tracing::debug!(worker = WORKER, stream, stream_entry_id, "entry was settled before");
            }
            Settled::Lost => {
                tracing::warn!(worker = WORKER, stream, stream_entry_id, "another consumer has the entry; not published");
            }
            Settled::Expired => {
                let hint = "older than ledger-ttl and not pending: put back, will run again";
                tracing::error!(worker = WORKER, stream, stream_entry_id, hint, "entry cannot be settled");
            }
            Settled::Refused(err) => {
                let times = self.conditions.met(Trouble::Settle, &err);
                if let Ending::Outcome(JobResult { game_id, answer, .. }) = &ending {
                    if times == 1 {
                        let (outcome, error_code) = (answer.outcome(), answer.error_code());
                        let stream = &self.stream.jobs;
                        tracing::error!(
                            worker = WORKER, stream, stream_entry_id, game_id, outcome, error_code, err, "publish job result"
                        );
                    }
                }
                self.due.settle = Instant::now() + CALLS.delay(times, fastrand::f64());
                return self.endings.push_back((held, ending));
            }
            Settled::Skipped => return self.endings.push_back((held, ending)),
        }
        self.let_go(held);
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

    fn renewed(&mut self, result: Result<Vec<(EntryId, Renewal)>, RedisError>) {
        self.under_way.renew = false;
        let words = match self.checked(Trouble::Renew, result) {
            Ok(words) => {
                let now = Instant::now();
                if now.duration_since(self.renewed_at) > self.settings.claim_idle {
                    // Something held us up, and if that was Redis, then everybody.
                    self.due.sweep = self.due.sweep.max(now + self.settings.claim_idle);
                }
                self.renewed_at = now;
                words
            }
            Err(delay) => {
                self.due.renew = self.due.renew.min(delay);
                // Others' renewals fail with ours: nobody is to be taken for dead because Redis was away.
                self.due.sweep = Instant::now() + self.settings.claim_idle;
                return;
            }
        };
        for (id, renewal) in words {
            self.metrics.renewal(renewal.as_str());
            match renewal {
                Renewal::Mine | Renewal::Trimmed => {}
                Renewal::Restored => {
                    let (stream, stream_entry_id) = (&self.stream.jobs, id.to_string());
                    tracing::warn!(worker = WORKER, stream, stream_entry_id, "entry had fallen out of the group; put back");
                }
                Renewal::Other | Renewal::Absent => self.lost(id),
            }
        }
    }

    /// The entry is not ours any more: what has not started is dropped, what runs cannot settle.
    fn lost(&mut self, id: EntryId) {
        match self.holdings.stage(id) {
            Some(Stage::Waiting) => {
                for job in self.games.remove_where(|job| job.held.id() == id) {
                    self.let_go(job.held);
                }
            }
            Some(Stage::BackingOff) => {
                let key = self.backing_off.keys().find(|(_, entry)| *entry == id).copied();
                if let Some(job) = key.and_then(|key| self.backing_off.remove(&key)) {
                    self.let_go(job.held);
                }
            }
            Some(Stage::Running) => {
                if let Some(job) = self.running.values_mut().find(|job| job.held.id() == id) {
                    job.lost = true;
                }
            }
            Some(Stage::Ending) | None => {}
        }
    }

    fn swept(&mut self, result: Result<Swept, RedisError>) {
        self.under_way.sweep = false;
        self.metrics.sweep(match &result {
            Ok(Swept::NotDue) => "not_due",
            Ok(Swept::Found) => "found",
            Ok(Swept::Suspects) => "suspects",
            Ok(Swept::Done(sweep)) if sweep.claimed.is_empty() => "nothing",
            Ok(Swept::Done(_)) => "claimed",
            Err(_) => "error",
        });
        match self.checked(Trouble::Claim, result) {
            Ok(Swept::NotDue) => {}
            Ok(Swept::Found) => self.claim_next(Aim::Take),
            Ok(Swept::Suspects) => {
                self.claim_next(Aim::Alone);
                self.give_back_all_unstarted();
            }
            Ok(Swept::Done(sweep)) => self.claimed(sweep),
            Err(delay) => self.due.sweep = self.due.sweep.max(delay),
        }
    }

    /// The next sweep follows as soon as the read under way has made room.
    fn claim_next(&mut self, aim: Aim) {
        self.claim_next = Some(aim);
        if self.under_way.read.is_some() {
            self.unblock_reader();
        }
    }

    fn claimed(&mut self, sweep: Sweep) {
        let stream = &self.stream.jobs;
        for (from, entries) in &sweep.from {
            tracing::info!(worker = WORKER, stream, from, entries, "claimed pending entries");
        }
        self.metrics.received("claimed", sweep.claimed.len());
        if sweep.lost > 0 {
            let entries = sweep.lost;
            self.metrics.entries_lost.inc_by(entries);
            tracing::error!(worker = WORKER, stream, entries, "pending entries had been deleted from the stream");
        }
        if !sweep.claimed.is_empty() {
            // There may be more where these came from.
            self.due.sweep = Instant::now();
        }
        if let [only] = sweep.claimed.as_slice()
            && only.crashes >= SUSPECT_CRASHES
        {
            let (stream_entry_id, crashes) = (only.id.to_string(), only.crashes);
            self.metrics.suspects.inc();
            tracing::warn!(worker = WORKER, stream, stream_entry_id, crashes, "suspect runs alone");
            self.alone = Some(only.id);
        }
        self.take_in(sweep.claimed);
    }

    fn tidied(&mut self, result: Result<Option<Tidied>, RedisError>) {
        self.under_way.tidy = false;
        let tidied = match self.checked(Trouble::Tidy, result) {
            Ok(Some(tidied)) => tidied,
            Ok(None) => return,
            Err(delay) => {
                self.due.tidy = self.due.tidy.max(delay);
                return;
            }
        };
        if tidied.has_more {
            self.due.tidy = self.due.tidy.min(Instant::now() + TIDY_AGAIN);
        }
        let stream = &self.stream.jobs;
        self.metrics.consumers_removed.inc_by(tidied.consumers);
        if tidied.consumers > 0 {
            tracing::info!(worker = WORKER, stream, consumers = tidied.consumers, "dead consumers removed");
        }
        if let Some(stream_entry_id) = tidied.orphans.first() {
            let entries = tidied.orphans.len();
            self.metrics.orphans.inc_by(u64::try_from(entries).unwrap_or(u64::MAX));
            let hint = "somebody deleted a consumer that held them, or their pending records";
            tracing::error!(worker = WORKER, stream, entries, stream_entry_id, hint, "unanswered entries had fallen out of the group; put back");
        }
    }

    fn reconciled(&mut self, result: &Result<Option<Reconciled>, StartError>) {
        self.under_way.reconcile = false;
        let stream = &self.stream.jobs;
        match result {
            Ok(None) => {}
            Ok(Some(found)) => {
                for container_id in &found.stray {
                    self.metrics.strays_removed.inc();
                    tracing::warn!(worker = WORKER, stream, container_id, "removed a container that no record stands for");
                }
                for err in &found.failed {
                    tracing::warn!(worker = WORKER, stream, err, "a container that no record stands for stays");
                }
            }
            // Engine and Redis troubles are said where entries meet them; the next interval tries again.
            Err(error) => tracing::debug!(worker = WORKER, stream, err = %error, "reconciler found out nothing"),
        }
    }

    fn handed_back(&mut self, helds: Vec<Held>, result: Result<u64, RedisError>) {
        self.under_way.hand_backs -= 1;
        match self.checked(Trouble::Renew, result) {
            Ok(given_back) => {
                self.metrics.handed_back.inc_by(given_back);
                helds.into_iter().for_each(|held| self.let_go(held));
            }
            Err(delay) => {
                self.due.hand_back = delay;
                self.to_hand_back.extend(helds);
            }
        }
    }

    fn probed(&mut self, result: Result<(), StartError>) {
        self.under_way.probe = false;
        match result {
            Ok(()) => {
                self.conditions.over(Trouble::Engine);
                self.engine_up = true;
                self.due.sweep = Instant::now();
            }
            Err(error) => {
                let times = self.conditions.met(Trouble::Engine, &error.to_string());
                self.due.probe = Instant::now() + CALLS.delay(times, fastrand::f64());
            }
        }
    }

    fn adopted(&mut self, result: Result<Adoption, RedisError>) {
        self.under_way.adopt = false;
        match self.checked(Trouble::Group, result) {
            Ok(adoption) => {
                self.group_lost = false;
                self.metrics.adopted(adoption.state.as_str());
                self.due.settle = Instant::now();
                log_adoption(&self.stream.jobs, &adoption);
            }
            Err(delay) => self.due.adopt = delay,
        }
    }

    /// Says a trouble when it begins and when it ends; answers when to try again after an error.
    fn checked<T>(&mut self, trouble: Trouble, result: Result<T, RedisError>) -> Result<T, Instant> {
        let error = match result {
            Ok(value) => {
                self.conditions.over(Trouble::Redis);
                self.conditions.over(trouble);
                return Ok(value);
            }
            Err(error) => error,
        };
        let times = match error.kind {
            Kind::Unreachable => self.conditions.met(Trouble::Redis, &error.text),
            Kind::GroupLost => {
                if !self.group_lost {
                    self.group_lost = true;
                    self.due.adopt = Instant::now();
                }
                self.conditions.met(Trouble::Group, &error.text)
            }
            // A wrong type at the jobs key itself is a lost group; at any other key it is waited out.
            Kind::WrongType if trouble == Trouble::Read => {
                self.group_lost = true;
                self.conditions.met(Trouble::Group, &error.text)
            }
            _ => self.conditions.met(trouble, &error.text),
        };
        Err(Instant::now() + CALLS.delay(times, fastrand::f64()))
    }
}

fn outcome(job: &Job, answer: Answer) -> JobResult {
    JobResult {
        game_id: job.job.game_id.clone(),
        answer,
        source_ref: job.held.id().to_string(),
        requested_at_ms: job.job.requested_at_ms,
        finished_at_ms: now_ms(),
        attempt: job.held.deliveries,
    }
}

fn result_of(settled: &Settled) -> &'static str {
    match settled {
        Settled::Done => "done",
        Settled::Duplicate => "duplicate",
        Settled::Lost => "lost",
        Settled::Expired => "expired",
        Settled::Refused(_) => "refused",
        Settled::Skipped => "skipped",
    }
}

/// A stored answer may carry a code of another version: labels are a closed list all the same.
fn code_label(answer: &Answer) -> &'static str {
    let code = answer.error_code();
    let known = ErrorCode::ALL.iter().map(|known| known.as_str()).chain(["", REPLAY_NO_OP]);
    known.into_iter().find(|&known| known == code).unwrap_or("other")
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

pub(super) fn log_adoption(stream: &str, adoption: &Adoption) {
    let (mirror, acknowledged) = (&adoption.mirror, adoption.acknowledged);
    match adoption.state {
        AdoptionState::Existed => {}
        AdoptionState::Created => tracing::info!(worker = WORKER, stream, mirror, "consumer group created"),
        AdoptionState::Adopted => {
            tracing::warn!(worker = WORKER, stream, mirror, acknowledged, "took over the legacy worker's offset");
        }
        AdoptionState::Foreign => {
            let hint = "other replicas run: the offset is not taken over; stop the fleet before the legacy worker runs";
            tracing::error!(worker = WORKER, stream, mirror, hint, "somebody else moved the offset mirror");
        }
    }
}
