//! Taking over what others left: when a sweep is due, after what, and what becomes of its answer. Nothing here waits.

use tokio::time::Instant;

use super::WORKER;
use super::conditions::Trouble;
use super::events::Event;
use super::holdings::SUSPECT_CRASHES;
use super::replica::Replica;
use crate::contract::dead_letter::Reason;
use crate::metrics::labels::{RedisOperation, SweepResult};
use crate::redis::RedisError;
use crate::stream::Origin;
use crate::stream::claim::{Aim, Sweep, Swept};

/// A sweep takes no more than this: Redis serves nobody else meanwhile, and the next one follows at once.
const CLAIM_MAX: usize = 256;

impl Replica {
    /// What a sweep would be after now; nothing where there can be none.
    pub(super) fn sweep_aim(&self) -> Option<Aim> {
        if !self.takes_work() || self.under_way.sweep || self.free_for_claims() == 0 {
            return None;
        }
        // A sweep behind a hand-back may take what is still in our hands here.
        if self.under_way.hand_backs > 0 {
            return None;
        }
        match (self.claim_next, self.under_way.read.is_some()) {
            // A suspect runs alone: it waits until everything else is finished and given back.
            (Some(aim), _) if aim.is_suspect() && !self.holdings.is_empty() => None,
            // The read has been asked to make room, and has not returned yet.
            (Some(_), true) => None,
            (Some(aim), false) => Some(aim),
            // The read under way may fill every slot that is free now: look first, take once it is back.
            (None, true) => Some(Aim::Look),
            (None, false) => Some(Aim::Take),
        }
    }

    pub(super) fn sweep_due(&mut self, now: Instant) {
        let Some(aim) = self.sweep_aim() else { return };
        if now < self.due.sweep && self.claim_next.is_none() {
            return;
        }
        let room = self.free_for_claims().min(CLAIM_MAX);
        let jitter = 0.8 + 0.4 * fastrand::f64();
        self.due.sweep = now + self.settings.sweep_interval.mul_f64(jitter);
        self.under_way.sweep = true;
        self.strays.sweep_begins();
        self.claim_next = None;
        let group = self.group.clone();
        let (claim_idle, interval) = (self.settings.claim_idle, self.settings.sweep_interval);
        let holds_nothing = self.holdings.is_empty();
        self.begin(RedisOperation::Claim, async move {
            Event::Swept(group.sweep(aim, claim_idle, interval, room, holds_nothing).await)
        });
    }

    pub(super) fn swept(&mut self, result: Result<Swept, RedisError>) {
        self.under_way.sweep = false;
        self.metrics.sweep(match &result {
            Ok(Swept::NotDue) => SweepResult::NotDue,
            Ok(Swept::Found) => SweepResult::Found,
            Ok(Swept::Suspects) => SweepResult::Suspects,
            Ok(Swept::Done(sweep)) if sweep.claimed.is_empty() => SweepResult::Nothing,
            Ok(Swept::Done(_)) => SweepResult::Claimed,
            Err(_) => SweepResult::Error,
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
            self.interrupt_reader();
        }
    }

    fn claimed(&mut self, sweep: Sweep) {
        let stream = &self.stream.jobs;
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
}
