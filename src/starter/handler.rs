//! Start jobs for the worker: what an entry asks of the start service, and what its answer looks like as an outcome.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::contract::Fields;
use crate::contract::job_result::{Answer as StartAnswer, JobResult, REPLAY_NO_OP, SuccessKind};
use crate::contract::start_job::{FIELDS, StartJob};
use crate::metrics::Metrics;
use crate::start::reconcile::Reconciler;
use crate::start::{Answered, OP_SOURCE, StartError, StartInput, StartService};
use crate::stream::settle::Outcome;
use crate::worker::WORKER;
use crate::worker::clock::now_ms;
use crate::worker::handler::{Answer, Attempt, Condemned, Failure, GiveUp, Handler, Request};

/// The handler of start jobs.
#[derive(Debug)]
pub(super) struct StartJobs {
    /// Starts games.
    pub(super) service: Arc<dyn StartService>,
    /// Removes stray containers.
    pub(super) reconciler: Reconciler,
    /// How often.
    pub(super) reconcile_interval: Duration,
    /// `docker` or `simulated`.
    pub(super) engine: &'static str,
    /// `max-field-bytes`
    pub(super) max_field_bytes: usize,
    /// The fields that an outcome carries.
    pub(super) outcome_fields: &'static [&'static str],
    /// What is counted.
    pub(super) metrics: Arc<Metrics>,
    /// The jobs stream; in log lines.
    pub(super) stream: String,
}

impl Handler for StartJobs {
    fn decode(&self, fields: &Fields) -> Result<Arc<dyn Request>, String> {
        let StartJob { game_id, image_ref, requested_at_ms, trace } =
            StartJob::decode(fields, self.max_field_bytes).map_err(|malformed| malformed.to_string())?;
        let service = Arc::clone(&self.service);
        let input = StartInput { game_id, image_ref, op_source: OP_SOURCE, source_ref: String::new(), trace };
        Ok(Arc::new(Start { service, input, requested_at_ms, outcome_fields: self.outcome_fields.len() }))
    }

    fn job_fields(&self) -> (&'static [&'static str], usize) {
        (&FIELDS, self.max_field_bytes)
    }

    fn outcome_fields(&self) -> &'static [&'static str] {
        self.outcome_fields
    }

    fn engine(&self) -> &'static str {
        self.engine
    }

    fn is_up(&self) -> BoxFuture<'_, Result<(), String>> {
        self.service.engine_answers().map(|answer| answer.map_err(|error| error.to_string())).boxed()
    }

    fn store_is_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.service.store_answers().map(|answer| answer.map_err(Failure::from)).boxed()
    }

    fn reconcile_interval(&self) -> Option<Duration> {
        Some(self.reconcile_interval)
    }

    fn reconcile(&self) -> BoxFuture<'_, ()> {
        async {
            let stream = &self.stream;
            match self.reconciler.run_if_due(self.reconcile_interval).await {
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
                // Troubles of engine and Redis are logged where entries meet them; the next interval tries again.
                Err(error) => tracing::debug!(worker = WORKER, stream, err = %error, "reconciliation failed"),
            }
        }
        .boxed()
    }
}

/// One start job.
#[derive(Debug)]
struct Start {
    service: Arc<dyn StartService>,
    /// Without the entry's id, which an attempt has.
    input: StartInput,
    requested_at_ms: i64,
    /// How many of an outcome's fields are published.
    outcome_fields: usize,
}

impl Request for Start {
    fn lane(&self) -> &str {
        &self.input.game_id
    }

    fn requested_at_ms(&self) -> i64 {
        self.requested_at_ms
    }

    fn handle<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Answer, Failure>> {
        async {
            let input = self.input_of(attempt);
            let answered = self.service.handle(&input).await?;
            Ok(self.answer(answered, input.source_ref, attempt))
        }
        .boxed()
    }

    fn give_up<'a>(&'a self, attempt: &'a Attempt, why: GiveUp) -> BoxFuture<'a, Result<Answer, Failure>> {
        async move {
            let input = self.input_of(attempt);
            let failure = Answered { answer: StartAnswer::failure(why.code, why.message), given_up: why.reason };
            let answered = self.service.give_up(&input, failure).await?;
            Ok(self.answer(answered, input.source_ref, attempt))
        }
        .boxed()
    }
}

impl Start {
    fn input_of(&self, attempt: &Attempt) -> StartInput {
        StartInput { source_ref: attempt.id.to_string(), ..self.input.clone() }
    }

    fn answer(&self, answered: Answered, source_ref: String, attempt: &Attempt) -> Answer {
        let Answered { answer, given_up } = answered;
        let dead_letter = given_up.map(|reason| {
            let detail = match &answer {
                StartAnswer::Failure { code, message } => format!("{code}: {message}"),
                StartAnswer::Success { .. } => "an earlier attempt had succeeded".to_owned(),
            };
            Condemned { reason, detail }
        });
        let result = JobResult {
            game_id: self.input.game_id.clone(),
            answer,
            source_ref,
            requested_at_ms: self.requested_at_ms,
            finished_at_ms: now_ms(),
            attempt: attempt.deliveries,
        };
        let outcome = Outcome::of(|push| {
            let mut left = self.outcome_fields;
            result.each_value(|value| {
                if left > 0 {
                    push(value);
                    left -= 1;
                }
            });
        });
        Answer {
            outcome,
            kind: (&result.answer).into(),
            label: (&result.answer).into(),
            error_code: error_code(result.answer),
            dead_letter,
        }
    }
}

fn error_code(answer: StartAnswer) -> Cow<'static, str> {
    match answer {
        StartAnswer::Success { kind: SuccessKind::Started, .. } => Cow::Borrowed(""),
        StartAnswer::Success { kind: SuccessKind::Replayed, .. } => Cow::Borrowed(REPLAY_NO_OP),
        StartAnswer::Failure { code, .. } => Cow::Owned(code),
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::InProgress { retry_after } => Self::InProgress { retry_after },
            StartError::Fenced => Self::TakenOver,
            StartError::Store(error) => Self::Store(error),
            StartError::Engine { code, message } => Self::Failed { code, message },
        }
    }
}
