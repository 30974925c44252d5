//! A well-formed job in our hands, and one that is to leave them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::gate::Gate;
use super::held::Held;
use super::lanes::HasLane;
use crate::contract::error_code::ErrorCode;
use crate::slot::Slot;
use crate::stream::fleet_event::cut_to;
use crate::stream::hand_over::ANOTHER_HOST;
use crate::stream::open::{OpenJob, OpenState, WORDS_MAX};
use crate::telemetry::Scope;
use crate::worker::handler::{Failure, Request};
use crate::worker::work::Ticket;

/// A well-formed job in our hands.
#[derive(Debug)]
pub(crate) struct Job {
    /// The entry.
    pub(crate) held: Held,
    /// What it asks for.
    pub(crate) request: Arc<dyn Request>,
    /// Attempts in this process that did not count against a budget.
    pub(crate) uncounted: u64,
    /// Another consumer has the entry: what comes of the attempt that runs is not ours to publish.
    pub(crate) is_lost: bool,
    /// Only the job's fields could be read: it is answered, not started.
    pub(crate) is_too_large: bool,
    /// Why it was not done the last time, for operators. Most jobs never have one.
    pub(crate) last: Option<Box<LastFailure>>,
}

/// Why a job was not done the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastFailure {
    /// When.
    pub(crate) at: Instant,
    /// How many attempts have failed until then, and were counted.
    pub(crate) counted: u64,
    /// The code; none where it has none.
    pub(crate) code: Option<ErrorCode>,
    /// The words, cut.
    pub(crate) words: String,
}

impl HasLane for Job {
    fn lane(&self) -> &str {
        self.request.lane()
    }
}

impl Away {
    /// A job that is placed on this host.
    pub(crate) fn placed(job: Job, host: Arc<str>) -> Self {
        Self { job, host, failed: None }
    }

    /// A job that this host has failed, or has no room for: another one may do it at once.
    pub(crate) fn failed(job: Job, why: Failure, after: Duration, is_counted: bool) -> Self {
        Self { job, host: ANOTHER_HOST.into(), failed: Some(Failed { why, after, is_counted }) }
    }
}

impl Job {
    /// An attempt was not successful: operators are told why.
    pub(crate) fn failed(&mut self, why: &Failure, is_counted: bool, now: Instant) {
        let before = self.last.as_ref().map_or(self.held.failures, |last| last.counted);
        let counted = before + u64::from(is_counted);
        let (code, words) = (why.code(), cut_to(&why.words(), WORDS_MAX));
        self.last = Some(Box::new(LastFailure { at: now, counted, code, words }));
    }

    /// How many attempts have failed and were counted.
    pub(crate) fn failures(&self) -> u64 {
        self.last.as_ref().map_or(self.held.failures, |last| last.counted)
    }

    /// What operators are told of it while it does not run.
    pub(crate) fn open(&self, state: OpenState, now: Instant, next: Option<Instant>) -> OpenJob {
        let (last, lane, variety) = (self.last.as_deref(), self.request.lane(), self.request.variety());
        let began = last.filter(|_| state == OpenState::BackingOff).map_or(self.held.since, |last| last.at);
        OpenJob {
            id: self.held.id(),
            state,
            game: lane.to_owned(),
            // What a handler does not tell apart is its lane.
            image: if variety == lane { String::new() } else { variety.to_owned() },
            failures: self.failures(),
            code: last.and_then(|last| last.code).map_or_else(String::new, |code| code.to_string()),
            text: last.map_or_else(String::new, |last| last.words.clone()),
            next_in: next.map(|next| next.saturating_duration_since(now)),
            since: now.saturating_duration_since(began),
        }
    }

    /// What the attempt needs to know; a copy, because the original stays here even if the attempt panics.
    pub(crate) fn ticket(&self, gate: &Gate) -> Ticket {
        Ticket {
            id: self.held.id(),
            request: Arc::clone(&self.request),
            dead_owner: self.held.dead_owner.clone(),
            deliveries: self.held.deliveries,
            slot: Slot::default(),
            crashes: self.held.crashes,
            failures: self.held.failures,
            uncounted: self.uncounted,
            since: self.held.since,
            is_too_large: self.is_too_large,
            is_canary: gate.tries_one(),
            traced: self.held.traced.clone(),
            scope: Scope::default(),
            cancel: None,
        }
    }
}

/// A job that is to be handed over to a replica of another host. Until one has it, it is ours.
#[derive(Debug)]
pub(crate) struct Away {
    /// The job.
    pub(crate) job: Job,
    /// The host on which it is placed, or [`ANOTHER_HOST`].
    pub(crate) host: Arc<str>,
    /// The failure for which it leaves this host.
    pub(crate) failed: Option<Failed>,
}

/// Why a job leaves a host that may not do it.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The failure.
    pub(crate) why: Failure,
    /// For how long it backs off where no other host takes it.
    pub(crate) after: Duration,
    /// Whether the failure was counted.
    pub(crate) is_counted: bool,
}
