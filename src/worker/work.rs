//! One attempt at a job: the handler, and what a failure means for the entry's budgets.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::clock::Clock;
use super::handler::{Answer, Attempt, Blame, Failure, GiveUp, Handler, Request};
use super::spans::Traced;
use super::stages::backoff::{Backoff, CALLS};
use crate::contract::dead_letter::Reason;
use crate::contract::error_code::ErrorCode;
use crate::metrics::Metrics;
use crate::metrics::labels::OutcomeKind;
use crate::redis::Kind;
use crate::slot::Slot;
use crate::stream::Member;
use crate::stream::entry_id::EntryId;
use crate::stream::failures::Attempts;
use crate::stream::mark::Cancel;
use crate::telemetry::Scope;

/// What an attempt needs to know besides the entry.
#[derive(Debug)]
pub(crate) struct Work {
    /// What does it.
    pub(crate) handler: Arc<dyn Handler>,
    /// Where failures are counted.
    pub(crate) member: Member,
    /// Between attempts after failures.
    pub(crate) retry: Backoff,
    /// Failures until the budget is spent.
    pub(crate) retry_attempts: u64,
    /// How long replicas may have had it in hand since its first failure until the budget is spent.
    pub(crate) retry_max_age: Duration,
    /// Crashes beyond which an entry is not run any more.
    pub(crate) crash_budget: u64,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Age of a request beyond which it is answered instead of handled.
    pub(crate) start_deadline: Option<Duration>,
    /// By which that age is told.
    pub(crate) clock: Arc<Clock>,
}

/// One job as an attempt sees it.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    /// Which entry.
    pub(crate) id: EntryId,
    /// What it asks for.
    pub(crate) request: Arc<dyn Request>,
    /// The dead replica that the entry was taken from.
    pub(crate) dead_owner: Option<Arc<str>>,
    /// How often it has been delivered.
    pub(crate) deliveries: u64,
    /// The slot it runs in.
    pub(crate) slot: Slot,
    /// How often a process died with it.
    pub(crate) crashes: u64,
    /// How often the handler failed with it.
    pub(crate) failures: u64,
    /// How often this process has tried without the attempt counting.
    pub(crate) uncounted: u64,
    /// Since when this process holds it, or has told the last failure of it.
    pub(crate) since: Instant,
    /// Only the job's fields could be read.
    pub(crate) is_too_large: bool,
    /// The host is sick or full, and this attempt finds out whether it still is.
    pub(crate) is_canary: bool,
    /// What is recorded of it.
    pub(crate) traced: Traced,
    /// Where the spans of this attempt go.
    pub(crate) scope: Scope,
    /// An operator wants it cancelled: it is answered, not started.
    pub(crate) cancel: Option<Arc<Cancel>>,
}

impl Ticket {
    fn attempt(&self) -> Attempt {
        Attempt {
            id: self.id,
            dead_owner: self.dead_owner.clone(),
            deliveries: self.deliveries,
            slot: self.slot.clone(),
            scope: self.scope.clone(),
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Conclusion {
    /// Answered. What it has behind it matters where it goes to the dead letters too.
    Answered(Answer, Attempts),
    /// The same, because a failure has spent the budget that was not the job's own for sure.
    Exhausted {
        /// The answer.
        answer: Answer,
        /// What it has behind it.
        attempts: Attempts,
        /// Whose fault the failure may be.
        blame: Blame,
        /// Its words, for the log.
        err: String,
    },
    /// To be tried again.
    Again {
        /// When.
        after: Duration,
        /// Whether the failure was counted.
        is_counted: bool,
        /// Why, for the log.
        why: Failure,
    },
    /// The engine does not answer anyone: the entry is better off with another replica.
    EngineDown(String),
    /// A replica of this host must do it.
    Elsewhere(Arc<str>),
    /// It waited without its slot, and the replica has given it up.
    Dismissed,
    /// The entry is not ours any more.
    NotOurs,
}

impl Conclusion {
    /// An attempt that panicked outside the handler is a bug, and no answer about the job. Neither about the host: it would
    /// happen on every host.
    pub(crate) fn of_panic() -> Self {
        let message = "the attempt panicked".to_owned();
        let why = Failure::Failed { code: ErrorCode::InternalError, message, blame: Blame::Job };
        Self::Again { after: CALLS.max, is_counted: false, why }
    }

    /// Why the attempt has not brought a success: an error code, or why nothing was decided.
    fn error_type(&self) -> Option<&str> {
        match self {
            Self::Answered(answer, _) | Self::Exhausted { answer, .. } => {
                (answer.kind == OutcomeKind::Failure).then_some(&*answer.error_code)
            }
            Self::Again { why, .. } => Some(match why {
                Failure::InProgress { .. } => "in_progress",
                Failure::Dismissed(_) => "dismissed",
                Failure::TakenOver => "taken_over",
                Failure::Elsewhere { .. } => "elsewhere",
                Failure::Store(_) => "store",
                Failure::NoRoom { code, .. } | Failure::Failed { code, .. } | Failure::NotBefore { code, .. } => {
                    code.as_str()
                }
            }),
            Self::EngineDown(_) => Some(ErrorCode::EngineUnavailable.as_str()),
            Self::Elsewhere(_) => Some("elsewhere"),
            Self::Dismissed => Some("dismissed"),
            Self::NotOurs => Some("taken_over"),
        }
    }
}

impl Work {
    /// Makes one attempt.
    pub(crate) async fn run(&self, mut ticket: Ticket) -> Conclusion {
        let (began, age) = (Instant::now(), self.clock.age_of(ticket.id));
        let trace = ticket.traced.trace_id();
        self.metrics.attempt_began(age, trace);
        let span = ticket.traced.attempt(age);
        ticket.scope = span.scope();
        // A bug, and no answer about the job: it counts, so that the job does not come back for ever.
        let conclusion = if let Ok(conclusion) = AssertUnwindSafe(self.conclude(&ticket)).catch_unwind().await {
            conclusion
        } else {
            let message = "the start panicked".to_owned();
            Box::pin(self.failed(&ticket, ErrorCode::InternalError, message, Blame::Job)).await
        };
        span.over(conclusion.error_type());
        self.metrics.attempt_ended(began.elapsed(), trace);
        conclusion
    }

    async fn conclude(&self, ticket: &Ticket) -> Conclusion {
        // Boxed, as everything rare here: an attempt's future is moved about, and most attempts need none of it.
        if let Some(why) = self.refuses(ticket) {
            return Box::pin(self.give_up(ticket, why, None)).await;
        }
        let attempt = ticket.attempt();
        match ticket.request.handle(&attempt).await {
            Ok(answer) => match self.misshapen(&answer) {
                None => answered(ticket, answer, None),
                Some(message) => Box::pin(self.failed(ticket, ErrorCode::InternalError, message, Blame::Job)).await,
            },
            Err(Failure::InProgress { retry_after }) => {
                // Never doubled: it must not wait for a dead replica's lease much longer than for its entry.
                let after = retry_after.map_or(self.retry.min, |left| left.min(self.retry.min)).max(CALLS.min);
                Conclusion::Again { after, is_counted: false, why: Failure::InProgress { retry_after } }
            }
            Err(Failure::Elsewhere { host }) => Conclusion::Elsewhere(host),
            Err(why @ Failure::NoRoom { .. }) => Self::again(ticket, why, self.retry),
            Err(Failure::Failed { code, message, blame }) => Box::pin(self.failed(ticket, code, message, blame)).await,
            // A service that asks for one pause after the other must not keep the job for ever.
            Err(why @ Failure::NotBefore { after, is_counted: false, .. })
                if ticket.since.elapsed() <= self.retry_max_age =>
            {
                Conclusion::Again { after: after.max(CALLS.min), is_counted: false, why }
            }
            Err(Failure::NotBefore { code, message, after: asked, .. }) => {
                match Box::pin(self.failed(ticket, code, message, Blame::Job)).await {
                    Conclusion::Again { after, is_counted, why } => {
                        Conclusion::Again { after: after.max(asked), is_counted, why }
                    }
                    other => other,
                }
            }
            Err(Failure::Dismissed(_)) => Conclusion::Dismissed,
            Err(why @ (Failure::TakenOver | Failure::Store(_))) => self.uncounted(ticket, why),
        }
    }

    /// Why a job is answered without an attempt.
    fn refuses(&self, ticket: &Ticket) -> Option<GiveUp> {
        if let Some(cancel) = &ticket.cancel {
            return Some(GiveUp { code: ErrorCode::Cancelled, message: cancel.message(), reason: None });
        }
        if ticket.crashes > self.crash_budget {
            let message = format!("the process died {} times while it worked on this job", ticket.crashes);
            return Some(GiveUp { code: ErrorCode::Poison, message, reason: Some(Reason::Poison) });
        }
        if ticket.is_too_large {
            let message = "the entry is too large to be read in time; nothing was started".to_owned();
            return Some(GiveUp { code: ErrorCode::JobTooLarge, message, reason: Some(Reason::TooLarge) });
        }
        let message = self.too_late(ticket.request.requested_at_ms())?;
        Some(GiveUp { code: ErrorCode::StartDeadlineExceeded, message, reason: None })
    }

    async fn failed(&self, ticket: &Ticket, code: ErrorCode, message: String, blame: Blame) -> Conclusion {
        if code == ErrorCode::EngineUnavailable
            && let Err(error) = self.handler.is_up().await
        {
            return Conclusion::EngineDown(error);
        }
        let is_of_host = blame != Blame::Job;
        if is_of_host && ticket.is_canary {
            return Self::again(ticket, Failure::Failed { code, message, blame }, self.retry);
        }
        let attempts = match self.member.record_failure(ticket.id, ticket.since.elapsed()).await {
            Ok(Some(attempts)) => attempts,
            Ok(None) => return Conclusion::NotOurs,
            Err(error) => return Self::again(ticket, Failure::Store(error), self.retry),
        };
        if attempts.failures >= self.retry_attempts || attempts.failing_for > self.retry_max_age {
            let err = format!("{code}: {message}");
            let why = GiveUp { code, message, reason: Some(Reason::RetriesExhausted) };
            return match self.give_up(ticket, why, Some(attempts)).await {
                Conclusion::Answered(answer, attempts) if is_of_host => {
                    Conclusion::Exhausted { answer, attempts, blame, err }
                }
                other => other,
            };
        }
        let after = self.retry.delay(attempts.failures, fastrand::f64());
        Conclusion::Again { after, is_counted: true, why: Failure::Failed { code, message, blame } }
    }

    async fn give_up(&self, ticket: &Ticket, why: GiveUp, attempts: Option<Attempts>) -> Conclusion {
        let (attempt, is_late) = (ticket.attempt(), why.reason.is_none());
        match ticket.request.give_up(&attempt, why).await {
            Ok(answer) => match self.misshapen(&answer) {
                None => answered(ticket, answer, attempts),
                Some(message) => {
                    let (code, blame) = (ErrorCode::InternalError, Blame::Job);
                    Self::again(ticket, Failure::Failed { code, message, blame }, self.retry)
                }
            },
            Err(Failure::Elsewhere { host }) => Conclusion::Elsewhere(host),
            // A job that came too late, or was cancelled, has no budget to wait for.
            Err(failure) if is_late => Self::again(ticket, failure, CALLS),
            Err(failure) => self.uncounted(ticket, failure),
        }
    }

    /// Why an answer cannot be published: settling it would fail, and everything in its batch with it.
    fn misshapen(&self, answer: &Answer) -> Option<String> {
        let (values, fields) = (answer.outcome.len(), self.handler.outcome_fields().len());
        (values != fields).then(|| format!("the handler answered with {values} values for {fields} fields"))
    }

    fn uncounted(&self, ticket: &Ticket, why: Failure) -> Conclusion {
        // The loop's breaker decides when the store is tried; the job must be there when it is back. A key of another type
        // fails this job alone.
        let is_everyones = matches!(&why, Failure::Store(error) if error.kind != Kind::WrongType);
        Self::again(ticket, why, if is_everyones { CALLS } else { self.retry })
    }

    fn again(ticket: &Ticket, why: Failure, backoff: Backoff) -> Conclusion {
        let after = backoff.delay(ticket.uncounted + 1, fastrand::f64());
        Conclusion::Again { after, is_counted: false, why }
    }

    fn too_late(&self, requested_at_ms: i64) -> Option<String> {
        let limit = self.start_deadline?;
        let requested = u64::try_from(requested_at_ms).ok().filter(|&ms| ms > 0)?;
        let age = self.clock.requested_ago(requested);
        (age > limit).then(|| format!("requested {age:?} ago, and the limit is {limit:?}"))
    }
}

fn answered(ticket: &Ticket, answer: Answer, attempts: Option<Attempts>) -> Conclusion {
    let known = Attempts { crashes: ticket.crashes, failures: ticket.failures, failing_for: Duration::ZERO };
    Conclusion::Answered(answer, attempts.unwrap_or(known))
}
