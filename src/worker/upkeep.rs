//! What the events of the replica's upkeep change: renewal, tidying, the group, the engine. Nothing here waits.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::WORKER;
use super::backoff::CALLS;
use super::conditions::Trouble;
use super::holdings::{Held, Stage};
use super::replica::Replica;
use crate::redis::{Kind, RedisError};
use crate::start::StartError;
use crate::start::reconcile::Reconciled;
use crate::stream::adopt::{Adoption, AdoptionState};
use crate::stream::entry_id::EntryId;
use crate::stream::janitor::Tidied;
use crate::stream::renew::{Renewal, Renewed, Stray};
use crate::stream::{Delivery, Origin};

/// While the orphan walk has more before it.
const TIDY_AGAIN: Duration = Duration::from_millis(300);

impl Replica {
    pub(super) fn renewed(&mut self, result: Result<Renewed, RedisError>) {
        self.under_way.renew = false;
        self.look_at_renewal(result.as_ref().err());
        let Renewed { delivered, entries, strays } = match self.checked(Trouble::Renew, result) {
            Ok(renewed) => {
                self.renewed_at = Instant::now();
                self.unseen = self.unseen.filter(|unseen| !unseen.is_looked_for);
                renewed
            }
            Err(delay) => {
                self.renew_later(delay.min(Instant::now() + self.settings.claim_idle / 3));
                return;
            }
        };
        self.saw_delivered(delivered);
        for (id, renewal) in entries {
            self.metrics.renewal(renewal);
            match renewal {
                Renewal::Mine | Renewal::Trimmed | Renewal::Absent => {}
                Renewal::Restored => {
                    let (stream, stream_entry_id) = (&self.stream.jobs, id.to_string());
                    tracing::warn!(
                        worker = WORKER,
                        stream,
                        stream_entry_id,
                        "entry had fallen out of the group; put back"
                    );
                }
                Renewal::Other | Renewal::Settled => self.lost(id),
            }
        }
        self.look_at_strays(strays);
    }

    /// What is pending for us and was brought by a reply that is lost comes into our hands by its id.
    fn look_at_strays(&mut self, mut told: Vec<Stray>) {
        told.retain(|stray| self.holdings.stage(stray.id).is_none());
        let lost = self.strays.lost(told, self.under_way.read.is_some(), self.under_way.sweep);
        let Some(first) = lost.first() else { return };
        let (stream, stream_entry_id, entries) = (&self.stream.jobs, first.id.to_string(), lost.len());
        self.metrics.received(Origin::Found, entries);
        tracing::warn!(worker = WORKER, stream, stream_entry_id, entries, "found entries whose delivery was lost");
        let delivery = |stray: Stray| Delivery {
            id: stray.id,
            origin: Origin::Found,
            deliveries: stray.deliveries,
            crashes: 0,
            failures: 0,
            fields: None,
        };
        self.take_in(lost.into_iter().map(delivery).collect());
    }

    /// The renewal after one that failed. It counts as under way from now on: the client makes a new connection after
    /// some refusals (READONLY), and every reconnection would renew at once, and be refused again, without end.
    fn renew_later(&mut self, due: Instant) {
        let renewal = self.next_renewal(due);
        let later = async move {
            tokio::time::sleep_until(due).await;
            renewal.await
        };
        self.operations.push(later.boxed());
    }

    pub(super) fn look_at_pause(&mut self, result: Result<bool, RedisError>) {
        let Ok(paused) = self.checked(Trouble::Renew, result) else { return };
        let before = self.paused.replace(paused);
        if before == Some(paused) || (before.is_none() && !paused) {
            return;
        }
        self.metrics.paused.set(i64::from(paused));
        let stream = &self.stream.jobs;
        if paused {
            tracing::warn!(worker = WORKER, stream, "paused by an operator: nothing is read or claimed");
            self.give_back_all_unstarted();
            if self.under_way.read.is_some() {
                self.interrupt_reader();
            }
        } else {
            tracing::info!(worker = WORKER, stream, "resumed by an operator");
            self.due.sweep = Instant::now();
        }
    }

    /// The entry is not ours any more: what has not started is dropped, what runs cannot settle.
    fn lost(&mut self, id: EntryId) {
        match self.holdings.stage(id) {
            Some(Stage::Waiting) => {
                let unread = std::mem::take(&mut self.to_fetch).into_iter().chain(std::mem::take(&mut self.stuck));
                let (gone, kept): (Vec<Held>, Vec<Held>) = unread.partition(|held| held.id() == id);
                self.to_fetch = kept;
                for held in gone {
                    self.let_go(held);
                }
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
            Some(Stage::Ending | Stage::GoingBack) | None => {}
        }
    }

    pub(super) fn tidied(&mut self, result: Result<Option<Tidied>, RedisError>) {
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
            tracing::error!(
                worker = WORKER,
                stream,
                entries,
                stream_entry_id,
                hint,
                "unanswered entries had fallen out of the group; put back"
            );
        }
    }

    pub(super) fn reconciled(&mut self, result: &Result<Option<Reconciled>, StartError>) {
        self.under_way.reconcile = false;
        let stream = &self.stream.jobs;
        match result {
            Ok(None) => {}
            Ok(Some(found)) => {
                for container_id in &found.stray {
                    self.metrics.strays_removed.inc();
                    tracing::warn!(worker = WORKER, stream, container_id, "removed an unknown container");
                }
                for err in &found.failed {
                    tracing::warn!(worker = WORKER, stream, err, "left an unknown container alone");
                }
            }
            // Engine and Redis troubles are said where entries meet them; the next interval tries again.
            Err(error) => tracing::debug!(worker = WORKER, stream, err = %error, "reconciliation failed"),
        }
    }

    pub(super) fn handed_back(&mut self, helds: Vec<Held>, result: Result<u64, RedisError>) {
        self.under_way.hand_backs -= 1;
        match self.checked(Trouble::Renew, result) {
            Ok(given_back) => {
                self.metrics.handed_back.inc_by(given_back);
                for held in helds {
                    self.let_go(held);
                }
            }
            Err(delay) => {
                self.due.hand_back = delay;
                self.to_hand_back.extend(helds);
            }
        }
    }

    pub(super) fn adopted(&mut self, result: Result<Adoption, RedisError>) {
        self.under_way.adopt = false;
        match self.checked(Trouble::Group, result) {
            Ok(adoption) => {
                self.group_lost = false;
                self.group.tell_index_again();
                self.metrics.adopted(adoption.state);
                self.due.settle = Instant::now();
                log_adoption(&self.stream.jobs, &adoption);
                self.saw_delivered(Some(adoption.delivered));
            }
            Err(delay) => self.due.adopt = delay,
        }
    }

    /// Says a trouble when it begins and when it ends; answers when to try again after an error.
    pub(super) fn checked<T>(&mut self, trouble: Trouble, result: Result<T, RedisError>) -> Result<T, Instant> {
        let error = match result {
            Ok(value) => {
                self.conditions.over(trouble);
                if self.conditions.over(Trouble::Redis) {
                    self.redis_answers_again();
                }
                return Ok(value);
            }
            Err(error) => error,
        };
        let times = match error.kind {
            Kind::Unreachable => {
                self.went_unanswered(trouble);
                self.conditions.met(Trouble::Redis, &error.text)
            }
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
