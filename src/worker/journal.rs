//! Every log line and every metric of an entry's way through this process.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::WORKER;
use super::clock::Clock;
use super::handler::Failure;
use super::spans::Recorder;
use super::stages::batch::Finished;
use super::stages::held::Held;
use super::stages::job::Job;
use crate::contract::dead_letter::Reason;
use crate::metrics::Metrics;
use crate::metrics::labels::{Counted, SettleResult, SweepResult};
use crate::redis::{Kind, Master, RedisError};
use crate::stream::adopt::{Adoption, AdoptionState};
use crate::stream::claim::{Deaths, Sweep, Swept};
use crate::stream::drain::Drain;
use crate::stream::entry_id::EntryId;
use crate::stream::janitor::Tidied;
use crate::stream::mark::Cancel;
use crate::stream::presence::Noticed;
use crate::stream::renew::{Hearing, Renewal};
use crate::stream::settle::{Ending, MirrorMove, SettleReply, Settled};
use crate::stream::{Delivery, Origin};

/// What one replica logs and counts.
#[derive(Debug)]
pub(crate) struct Journal {
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// The jobs stream; in every line.
    pub(crate) stream: String,
    /// What does the work; in every line about a job that is done.
    pub(crate) engine: &'static str,
    /// By which the age of a job is told.
    pub(crate) clock: Arc<Clock>,
    /// What is recorded for traces.
    pub(crate) spans: Recorder,
}

impl Journal {
    /// A read has brought so many entries.
    pub(crate) fn read(&self, entries: usize) {
        self.metrics.last_read.set(unix_seconds());
        self.metrics.received(Origin::New, entries);
    }

    /// A sweep has ended.
    pub(crate) fn swept(&self, result: Result<&Swept, &RedisError>) {
        self.metrics.sweep(match result {
            Ok(Swept::NotDue | Swept::DeclaredDead) => SweepResult::NotDue,
            Ok(Swept::Found) => SweepResult::Found,
            Ok(Swept::Suspects) => SweepResult::Suspects,
            Ok(Swept::Done(sweep)) if sweep.claimed.is_empty() => SweepResult::Nothing,
            Ok(Swept::Done(_)) => SweepResult::Claimed,
            Err(_) => SweepResult::Error,
        });
    }

    /// A sweep has claimed entries.
    pub(crate) fn claimed(&self, sweep: &Sweep) {
        let stream = &self.stream;
        for (from, entries) in &sweep.from {
            tracing::info!(worker = WORKER, stream, from, entries, "claimed pending entries");
        }
        self.metrics.received(Origin::Claimed, sweep.claimed.len());
        self.metrics.crashes_counted.inc_by(sweep.crashed);
        if sweep.lost > 0 {
            let entries = sweep.lost;
            self.metrics.entries_lost.inc_by(entries);
            (0..entries).for_each(|_| self.metrics.dead_letter(Reason::EntryLost));
            tracing::error!(worker = WORKER, stream, entries, "pending entries had been deleted from the stream");
        }
    }

    /// What a sweep has learned of deaths.
    pub(crate) fn deaths(&self, deaths: &Deaths) {
        let stream = &self.stream;
        for replica in &deaths.declared {
            tracing::warn!(worker = WORKER, stream, replica, "replica declared dead: its connections are closed");
        }
        self.metrics.deaths_noticed(Noticed::Disconnect, u64::try_from(deaths.declared.len()).unwrap_or(u64::MAX));
        self.metrics.deaths_noticed(Noticed::Silence, deaths.silent);
        self.metrics.crashes_withdrawn.inc_by(deaths.withdrawn);
    }

    /// The server says something else than before of this replica's subscription.
    pub(crate) fn hearing(&self, hearing: Hearing) {
        self.metrics.disconnect_notice.set(i64::from(hearing == Hearing::Heard));
    }

    /// Redis does not tell who is subscribed.
    pub(crate) fn not_told(&self) {
        let stream = &self.stream;
        let hint = "give the user +info and +pubsub|numsub; until then a dead replica is noticed after claim-idle";
        tracing::warn!(worker = WORKER, stream, hint, "Redis does not tell who is subscribed");
    }

    /// SUBSCRIBE was refused.
    pub(crate) fn subscription_refused(&self, err: &str) {
        let stream = &self.stream;
        let hint = "give the user +subscribe and the channels; until then the death of this replica is noticed after claim-idle";
        tracing::warn!(worker = WORKER, stream, err, hint, "Redis refuses the subscription of this replica");
    }

    /// This replica uses this master, where sentinels have named one.
    pub(crate) fn uses(&self, master: Option<&Master>) {
        let epoch = master.map_or(0, |master| master.epoch);
        self.metrics.redis_master_epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
    }

    /// The sentinels name another master, or the same with another epoch.
    pub(crate) fn failed_over(&self, from: Option<&Master>, to: Option<&Master>) {
        self.uses(to);
        let (Some(from), Some(to)) = (from, to) else { return };
        if from.at == to.at {
            return;
        }
        self.metrics.redis_failovers.inc();
        let (stream, epoch) = (&self.stream, to.epoch);
        tracing::warn!(worker = WORKER, stream, %from, %to, epoch, "Redis failed over, going on with the new master");
    }

    /// A suspect runs alone in this process.
    pub(crate) fn runs_alone(&self, suspect: &Delivery) {
        let (stream, stream_entry_id, crashes) = (&self.stream, suspect.id.to_string(), suspect.crashes);
        self.metrics.suspects.inc();
        tracing::warn!(worker = WORKER, stream, stream_entry_id, crashes, "suspect runs alone");
    }

    /// A renewal has found entries whose delivery was lost.
    pub(crate) fn found(&self, first: EntryId, entries: usize) {
        let (stream, stream_entry_id) = (&self.stream, first.to_string());
        self.metrics.received(Origin::Found, entries);
        tracing::warn!(worker = WORKER, stream, stream_entry_id, entries, "found entries whose delivery was lost");
    }

    /// A job was handed over to this consumer of its host.
    pub(crate) fn handed_over(&self, job: &Job, host: &str, consumer: &str) {
        self.metrics.handed_over.inc();
        let (stream, stream_entry_id, game_id) = (&self.stream, job.held.id().to_string(), job.request.lane());
        tracing::info!(worker = WORKER, stream, stream_entry_id, game_id, host, consumer, "handed over");
    }

    /// Others have handed entries over to this replica.
    pub(crate) fn was_handed(&self, first: EntryId, entries: usize) {
        let (stream, stream_entry_id) = (&self.stream, first.to_string());
        self.metrics.received(Origin::Handed, entries);
        tracing::debug!(worker = WORKER, stream, stream_entry_id, entries, "got entries that were handed over");
    }

    /// An operator wants a job cancelled.
    pub(crate) fn cancels(&self, id: EntryId, cancel: &Cancel) {
        let (stream, stream_entry_id) = (&self.stream, id.to_string());
        let (by, reason) = (&cancel.by, &cancel.reason);
        tracing::info!(worker = WORKER, stream, stream_entry_id, by, reason, "an operator cancels the job");
    }

    /// An operator wants a job tried again at once.
    pub(crate) fn hurries(&self, id: EntryId, by: &str) {
        let (stream, stream_entry_id) = (&self.stream, id.to_string());
        tracing::info!(worker = WORKER, stream, stream_entry_id, by, "an operator lets the job be tried again at once");
    }

    /// The payload of an entry was deleted while it was pending.
    pub(crate) fn payload_gone(&self) {
        self.metrics.entries_lost.inc();
    }

    /// An entry is no job.
    pub(crate) fn malformed(&self, held: &Held, err: &str) {
        let (stream, stream_entry_id) = (&self.stream, held.id().to_string());
        tracing::warn!(worker = WORKER, stream, stream_entry_id, err, "decode start job");
    }

    /// What became of one entry in a renewal.
    pub(crate) fn renewed(&self, id: EntryId, renewal: Renewal) {
        self.metrics.renewal(renewal);
        if renewal == Renewal::Restored {
            let (stream, stream_entry_id) = (&self.stream, id.to_string());
            tracing::warn!(worker = WORKER, stream, stream_entry_id, "entry missing from the pending list; restored");
        }
    }

    /// A job waits for its next attempt.
    pub(crate) fn backs_off(&self, job: &Job, after: Duration, is_counted: bool, why: &Failure) {
        self.metrics.retry(if is_counted { Counted::Yes } else { Counted::No });
        let (stream, stream_entry_id) = (&self.stream, job.held.id().to_string());
        let (game_id, err, retry_in_s) = (job.request.lane(), why.to_string(), after.as_secs_f64());
        if is_counted {
            tracing::warn!(worker = WORKER, stream, stream_entry_id, game_id, err, retry_in_s, "start service failed");
        } else if job.uncounted == 0 && matches!(why, Failure::Store(error) if error.kind == Kind::WrongType) {
            // An operator must repair it, and no condition of the whole replica says so.
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
    }

    /// Failures that were counted are withdrawn: the host was sick.
    pub(crate) fn failures_withdrawn(&self, failures: u64) {
        let stream = &self.stream;
        if failures > 0 {
            tracing::info!(worker = WORKER, stream, failures, "withdrew failures that were counted on a sick host");
        }
    }

    /// A batch has been settled.
    pub(crate) fn settled(&self, reply: &SettleReply) {
        let (stream, mirror) = (&self.stream, &reply.mirror);
        let done = reply.settled.iter().filter(|&settled| *settled == Settled::Done).count();
        if done > 0 {
            self.metrics.settled(SettleResult::Done, done);
            self.metrics.last_outcome.set(unix_seconds());
        }
        let skipped = reply.settled.iter().filter(|&settled| *settled == Settled::Skipped).count();
        self.metrics.settled(SettleResult::Skipped, skipped);
        if reply.mirror_move == MirrorMove::Lowered {
            self.metrics.mirror_lowered.inc();
            tracing::warn!(worker = WORKER, stream, mirror, "offset mirror went back with its group");
        }
        if let Some(found) = &reply.foreign {
            self.metrics.mirror_foreign.inc();
            let hint = "the legacy worker runs beside the fleet, or an operator wrote the offset";
            tracing::error!(worker = WORKER, stream, mirror, found, hint, "another client wrote the offset mirror");
        }
    }

    /// An entry has left this process.
    pub(crate) fn left(&self, finished: &Finished, settled: &Settled) {
        if *settled == Settled::Done {
            return self.published(finished);
        }
        self.metrics.settled(settled.into(), 1);
        let (stream, stream_entry_id) = (&self.stream, finished.held.id().to_string());
        match settled {
            Settled::Done | Settled::Refused(_) | Settled::Skipped => {}
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
        }
    }

    fn published(&self, finished: &Finished) {
        let held = &finished.held;
        if let Some(summary) = &finished.summary {
            let age = self.clock.age_of(held.id());
            self.metrics.outcome(summary.kind, summary.label, age, held.traced.trace_id());
            tracing::info!(
                worker = WORKER,
                stream = self.stream,
                stream_entry_id = held.id().to_string(),
                game_id = summary.request.lane(),
                outcome = summary.kind.as_str(),
                error_code = &*summary.error_code,
                requested_at_ms = summary.request.requested_at_ms(),
                attempt = held.deliveries,
                engine = self.engine,
                "start job processed"
            );
        }
        if let Ending::Dead(letter) | Ending::Both(_, letter) = &finished.ending {
            self.metrics.dead_letter(letter.reason);
        }
    }

    /// Redis refused an entry's outcome, so often since the refusals began.
    pub(crate) fn refused(&self, finished: &Finished, err: &str, times: u64) {
        self.metrics.settled(SettleResult::Refused, 1);
        let is_plain = matches!(finished.ending, Ending::Outcome(_));
        let Some(summary) = finished.summary.as_ref().filter(|_| is_plain && times == 1) else { return };
        let (stream, stream_entry_id) = (&self.stream, finished.held.id().to_string());
        let (game_id, outcome) = (summary.request.lane(), summary.kind.as_str());
        let error_code = &*summary.error_code;
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

    /// An operator has paused or resumed the fleet.
    pub(crate) fn paused(&self, is_paused: bool) {
        self.metrics.paused.set(i64::from(is_paused));
        let stream = &self.stream;
        if is_paused {
            tracing::warn!(worker = WORKER, stream, "paused by an operator: nothing is read or claimed");
        } else {
            tracing::info!(worker = WORKER, stream, "resumed by an operator");
        }
    }

    /// An operator wants this replica to drain.
    pub(crate) fn is_to_drain(&self, Drain { by, reason, .. }: &Drain) {
        let stream = &self.stream;
        tracing::info!(worker = WORKER, stream, by, reason, "an operator drains this replica");
    }

    /// The janitor has run.
    pub(crate) fn tidied(&self, tidied: &Tidied) {
        let stream = &self.stream;
        self.metrics.consumers_removed.inc_by(tidied.consumers);
        if tidied.consumers > 0 {
            tracing::info!(worker = WORKER, stream, consumers = tidied.consumers, "dead consumers removed");
        }
        if let Some(stream_entry_id) = tidied.orphans.first() {
            let entries = tidied.orphans.len();
            self.metrics.orphans.inc_by(u64::try_from(entries).unwrap_or(u64::MAX));
            let hint = "a client deleted a consumer that held them, or their pending records";
            tracing::error!(
                worker = WORKER,
                stream,
                entries,
                stream_entry_id,
                hint,
                "unanswered entries missing from the pending list; restored"
            );
        }
    }

    /// The group was made usable.
    pub(crate) fn adopted(&self, adoption: &Adoption) {
        self.metrics.adopted(adoption.state);
        let (stream, mirror, acknowledged) = (&self.stream, &adoption.mirror, adoption.acknowledged);
        match adoption.state {
            AdoptionState::Existed => {}
            AdoptionState::Created => tracing::info!(worker = WORKER, stream, mirror, "consumer group created"),
            AdoptionState::Adopted => {
                tracing::warn!(worker = WORKER, stream, mirror, acknowledged, "took over the legacy worker's offset");
            }
            AdoptionState::Foreign => {
                let hint =
                    "other replicas run: the offset is not taken over; stop the fleet before the legacy worker runs";
                tracing::error!(worker = WORKER, stream, mirror, hint, "another client moved the offset mirror");
            }
        }
    }

    /// Renewals fail although fresh connections work.
    pub(crate) fn wedged(&self, err: &str, reason: &str) {
        let stream = &self.stream;
        tracing::error!(worker = WORKER, stream, err, reason, "not live: this process cannot recover by itself");
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
