//! One entry's stay in the start stage: the start service, and what an error means for the entry's budgets.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::backoff::{Backoff, CALLS};
use super::clock::Clock;
use crate::contract::dead_letter::Reason;
use crate::contract::error_code::ErrorCode;
use crate::contract::job_result::Answer;
use crate::metrics::Metrics;
use crate::redis::Kind;
use crate::start::{Answered, StartError, StartInput, StartService};
use crate::stream::Member;
use crate::stream::entry_id::EntryId;
use crate::stream::failures::Attempts;

/// What the start stage needs to know besides the entry.
#[derive(Debug)]
pub struct Work {
    /// Who starts.
    pub service: Arc<dyn StartService>,
    /// Where failures are counted.
    pub member: Member,
    /// Between attempts after service failures.
    pub retry: Backoff,
    /// Service failures until the budget is spent.
    pub retry_attempts: u64,
    /// How long replicas may have had it in hand since its first failure until the budget is spent.
    pub retry_max_age: Duration,
    /// Crashes beyond which an entry is not run any more.
    pub crash_budget: u64,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Age of `requested_at_ms` beyond which a job is answered instead of started.
    pub start_deadline: Option<Duration>,
    /// By which that age is told.
    pub clock: Arc<Clock>,
}

/// One entry as the start stage sees it; a copy, because the original stays with the loop even if a start panics.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// Which entry.
    pub id: EntryId,
    /// What is asked of the service.
    pub input: StartInput,
    /// When Lobby asked, Unix ms; 0 unknown.
    pub requested_at_ms: i64,
    /// How often a process died with it.
    pub crashes: u64,
    /// How often the start service failed with it.
    pub failures: u64,
    /// How often this process has tried without the attempt counting.
    pub uncounted: u64,
    /// Since when this process holds it, or has told the last failure of it.
    pub since: Instant,
    /// Only the job's fields could be read.
    pub is_too_large: bool,
}

/// How an entry left the start stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// Answered.
    Answered(Answer),
    /// Answered with a failure that goes to the dead letters too.
    GivenUp {
        /// What is published: the failure, or what an earlier attempt had stored.
        answer: Answer,
        /// Why.
        reason: Reason,
        /// What it has behind it.
        attempts: Attempts,
    },
    /// To be tried again.
    Again {
        /// When.
        after: Duration,
        /// Whether the failure was counted, and against what.
        counted: Option<Attempts>,
        /// Why, for the log.
        why: StartError,
    },
    /// The engine does not answer anybody: the entry is better off with another replica.
    EngineDown(String),
    /// The entry is not ours any more.
    NotOurs,
}

impl Work {
    /// Takes one entry through the start stage.
    pub async fn run(&self, ticket: Ticket) -> Conclusion {
        let began = Instant::now();
        self.metrics.attempt_began(self.clock.age_of(ticket.id));
        // A bug, and no answer about the game: it counts, so that the job does not come back for ever.
        let conclusion = if let Ok(conclusion) = AssertUnwindSafe(self.conclude(&ticket)).catch_unwind().await {
            conclusion
        } else {
            let message = "the start panicked".to_owned();
            Box::pin(self.engine_failed(&ticket, ErrorCode::InternalError, message)).await
        };
        self.metrics.attempt_ended(began.elapsed());
        conclusion
    }

    async fn conclude(&self, ticket: &Ticket) -> Conclusion {
        if ticket.crashes > self.crash_budget {
            let message = format!("the process died {} times while it worked on this job", ticket.crashes);
            return Box::pin(self.give_up(ticket, ErrorCode::Poison, message, Reason::Poison, None)).await;
        }
        if ticket.is_too_large {
            let message = "the entry is too large to be read in time; nothing was started".to_owned();
            return Box::pin(self.give_up(ticket, ErrorCode::JobTooLarge, message, Reason::TooLarge, None)).await;
        }
        if let Some(message) = self.too_late(ticket.requested_at_ms) {
            let failure = Answer::failure(ErrorCode::StartDeadlineExceeded, message);
            return match self.service.give_up(&ticket.input, failure.into()).await {
                Ok(answered) => concluded(ticket, answered, None),
                Err(error) => uncounted(ticket, error, CALLS),
            };
        }
        match self.service.handle(&ticket.input).await {
            Ok(answered) => concluded(ticket, answered, None),
            Err(StartError::InProgress { retry_after }) => {
                // Never doubled: it must not wait for a dead replica's lease much longer than for its entry.
                let after = retry_after.map_or(self.retry.min, |left| left.min(self.retry.min)).max(CALLS.min);
                Conclusion::Again { after, counted: None, why: StartError::InProgress { retry_after } }
            }
            // The loop's breaker decides when it is tried; it must be there when the store is back.
            Err(StartError::Store(error)) if error.kind != Kind::WrongType => {
                uncounted(ticket, StartError::Store(error), CALLS)
            }
            Err(error @ (StartError::Fenced | StartError::Store(_))) => uncounted(ticket, error, self.retry),
            // Boxed, as everything rare here: a start's future is moved about, and most starts need none of it.
            Err(StartError::Engine { code, message }) => Box::pin(self.engine_failed(ticket, code, message)).await,
        }
    }

    async fn engine_failed(&self, ticket: &Ticket, code: ErrorCode, message: String) -> Conclusion {
        if code == ErrorCode::EngineUnavailable
            && let Err(error) = self.service.engine_answers().await
        {
            return Conclusion::EngineDown(error.to_string());
        }
        let attempts = match self.member.record_failure(ticket.id, ticket.since.elapsed()).await {
            Ok(Some(attempts)) => attempts,
            Ok(None) => return Conclusion::NotOurs,
            Err(error) => return uncounted(ticket, StartError::Store(error), self.retry),
        };
        if attempts.failures >= self.retry_attempts || attempts.failing_for > self.retry_max_age {
            return self.give_up(ticket, code, message, Reason::RetriesExhausted, Some(attempts)).await;
        }
        let after = self.retry.delay(attempts.failures, fastrand::f64());
        Conclusion::Again { after, counted: Some(attempts), why: StartError::Engine { code, message } }
    }

    async fn give_up(
        &self,
        ticket: &Ticket,
        code: ErrorCode,
        message: String,
        reason: Reason,
        attempts: Option<Attempts>,
    ) -> Conclusion {
        let failure = Answered { answer: Answer::failure(code, message), given_up: Some(reason) };
        match self.service.give_up(&ticket.input, failure).await {
            Ok(answered) => concluded(ticket, answered, attempts),
            // As above: a store that is away for everybody is the breaker's affair.
            Err(StartError::Store(error)) if error.kind != Kind::WrongType => {
                uncounted(ticket, StartError::Store(error), CALLS)
            }
            Err(error) => uncounted(ticket, error, self.retry),
        }
    }

    fn too_late(&self, requested_at_ms: i64) -> Option<String> {
        let limit = self.start_deadline?;
        let requested = u64::try_from(requested_at_ms).ok().filter(|&ms| ms > 0)?;
        let age = self.clock.requested_ago(requested);
        (age > limit).then(|| format!("requested {age:?} ago, and the limit is {limit:?}"))
    }
}

fn concluded(ticket: &Ticket, answered: Answered, attempts: Option<Attempts>) -> Conclusion {
    let Answered { answer, given_up } = answered;
    let Some(reason) = given_up else { return Conclusion::Answered(answer) };
    let known = Attempts { crashes: ticket.crashes, failures: ticket.failures, failing_for: Duration::ZERO };
    Conclusion::GivenUp { answer, reason, attempts: attempts.unwrap_or(known) }
}

fn uncounted(ticket: &Ticket, why: StartError, backoff: Backoff) -> Conclusion {
    let after = backoff.delay(ticket.uncounted + 1, fastrand::f64());
    Conclusion::Again { after, counted: None, why }
}
