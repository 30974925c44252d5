//! Start jobs for the worker: what an entry asks of the start service, and what its answer looks like as an outcome.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::task::AbortOnDropHandle;

use super::blame::blame_of;
use crate::contract::Fields;
use crate::contract::error_code::ErrorCode;
use crate::contract::image_ref::ImageRef;
use crate::contract::job_result::{Answer as StartAnswer, JobResult, REPLAY_NO_OP, SuccessKind};
use crate::contract::start_job::{FIELDS, StartJob};
use crate::policy::Current;
use crate::slot::Slot;
use crate::start::host::{Host, HostError};
use crate::start::reconcile::Reconciler;
use crate::start::{Answered, OP_SOURCE, StartError, StartInput, StartService};
use crate::stream::settle::Outcome;
use crate::telemetry::Scope;
use crate::worker::WORKER;
use crate::worker::clock::now_ms;
use crate::worker::handler::{Answer, Attempt, Condemned, Failure, GiveUp, Handler, Request};

/// The handler of start jobs.
#[derive(Debug)]
pub(super) struct StartJobs {
    /// Starts games.
    pub(super) service: Arc<dyn StartService>,
    /// The hosts, each with what keeps its records true; at least one.
    pub(super) hosts: Vec<(Arc<Host>, Arc<Reconciler>)>,
    /// How often.
    pub(super) reconcile_interval: Duration,
    /// `docker` or `simulated`.
    pub(super) engine: &'static str,
    /// `max-field-bytes`
    pub(super) max_field_bytes: usize,
    /// Which images may run.
    pub(super) policy: Current,
    /// The fields that an outcome carries.
    pub(super) outcome_fields: &'static [&'static str],
    /// The jobs stream; in log lines.
    pub(super) stream: String,
    /// What goes on beside the jobs.
    pub(super) tasks: Vec<AbortOnDropHandle<()>>,
}

impl Handler for StartJobs {
    fn decode(&self, fields: &Fields) -> Result<Arc<dyn Request>, String> {
        let StartJob { game_id, image_ref, requested_at_ms, trace } =
            StartJob::decode(fields, self.max_field_bytes).map_err(|malformed| malformed.to_string())?;
        let service = Arc::clone(&self.service);
        let (source_ref, dead_owner) = (String::new(), None);
        let input = StartInput {
            game_id,
            image_ref,
            op_source: OP_SOURCE,
            source_ref,
            dead_owner,
            trace,
            slot: Slot::default(),
            scope: Scope::default(),
        };
        let (outcome_fields, variety) = (self.outcome_fields.len(), OnceLock::new());
        Ok(Arc::new(Start { service, input, requested_at_ms, outcome_fields, variety }))
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

    fn host(&self) -> Option<String> {
        let settled = self.hosts.iter().filter_map(|(host, _)| host.settled());
        let names: Vec<String> = settled.map(|identity| identity.here.host().to_owned()).collect();
        (!names.is_empty()).then(|| names.join(" "))
    }

    fn policy(&self) -> Option<String> {
        self.policy.now().digest().map(str::to_owned)
    }

    /// An engine on which host and fleet cannot be settled starts nothing: its jobs are for other hosts, and wait where there
    /// are none.
    fn is_up(&self) -> BoxFuture<'_, Result<(), String>> {
        async {
            self.service.engine_answers().await.map_err(|error| error.to_string())?;
            // A service that starts nothing on an engine has no host.
            let hosts = if self.tasks.is_empty() { [].as_slice() } else { &self.hosts };
            let mut answer = Ok(());
            for (host, _) in hosts {
                answer = match host.identity().await {
                    // A trouble of Redis is met by entries.
                    Ok(_) | Err(HostError::Store(_)) => return Ok(()),
                    Err(error) => Err(error.to_string()),
                };
            }
            answer
        }
        .boxed()
    }

    fn store_is_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.service.store_answers().map(|answer| answer.map_err(Failure::from)).boxed()
    }

    fn has_room(&self) -> BoxFuture<'_, Result<bool, Failure>> {
        self.service.has_room().map(|answer| answer.map_err(Failure::from)).boxed()
    }

    fn reconcile_interval(&self) -> Option<Duration> {
        Some(self.reconcile_interval)
    }

    fn reconcile(&self) -> BoxFuture<'_, ()> {
        async {
            let stream = &self.stream;
            // What it changes it tells itself. Troubles of engine and Redis are logged where entries meet them; the next
            // interval tries again.
            for (_, reconciler) in &self.hosts {
                if let Err(error) = reconciler.run_if_due(self.reconcile_interval).await {
                    tracing::debug!(worker = WORKER, stream, err = %error, "reconciliation failed");
                }
            }
        }
        .boxed()
    }
}

/// One start job.
#[derive(Debug)]
struct Start {
    service: Arc<dyn StartService>,
    /// Without the entry's id and its dead owner, which an attempt has.
    input: StartInput,
    requested_at_ms: i64,
    /// How many of an outcome's fields are published.
    outcome_fields: usize,
    /// The normalised image reference, from when it is first asked for.
    variety: OnceLock<String>,
}

impl Request for Start {
    fn lane(&self) -> &str {
        &self.input.game_id
    }

    fn variety(&self) -> &str {
        self.variety.get_or_init(|| {
            let image = &self.input.image_ref;
            ImageRef::parse(image).map_or_else(|_| image.clone(), |parsed| parsed.as_str().to_owned())
        })
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
        let (source_ref, dead_owner) = (attempt.id.to_string(), attempt.dead_owner.clone());
        let (slot, scope) = (attempt.slot.clone(), attempt.scope.clone());
        let mut input = StartInput { source_ref, dead_owner, slot, scope, ..self.input.clone() };
        // What goes on in the game engine goes on beneath this attempt.
        if let Some(traceparent) = attempt.scope.traceparent() {
            input.trace.parent = Some(traceparent);
        }
        input
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
            StartError::Dismissed(dismissed) => Self::Dismissed(dismissed),
            StartError::Elsewhere { host } => Self::Elsewhere { host },
            StartError::NoRoom { message } => Self::NoRoom { code: ErrorCode::HostFull, message },
            StartError::Store(error) => Self::Store(error),
            StartError::NotBefore { code, message, after, is_counted } => {
                Self::NotBefore { code, message, after, is_counted }
            }
            StartError::Engine { code, message } => Self::Failed { blame: blame_of(code, &message), code, message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::trace::Trace;
    use crate::stream::entry_id::EntryId;
    use std::sync::{Mutex, PoisonError};

    /// Keeps what it is asked.
    #[derive(Debug, Default)]
    struct Asked(Mutex<Vec<StartInput>>);

    impl Asked {
        fn answer(&self, input: &StartInput, answered: Answered) -> BoxFuture<'_, Result<Answered, StartError>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(input.clone());
            std::future::ready(Ok(answered)).boxed()
        }
    }

    impl StartService for Asked {
        fn handle<'a>(&'a self, input: &'a StartInput) -> BoxFuture<'a, Result<Answered, StartError>> {
            self.answer(input, StartAnswer::failure(ErrorCode::InternalError, "no".to_owned()).into())
        }

        fn give_up<'a>(
            &'a self,
            input: &'a StartInput,
            failure: Answered,
        ) -> BoxFuture<'a, Result<Answered, StartError>> {
            self.answer(input, failure)
        }

        fn engine_answers(&self) -> BoxFuture<'_, Result<(), StartError>> {
            std::future::ready(Ok(())).boxed()
        }

        fn store_answers(&self) -> BoxFuture<'_, Result<(), StartError>> {
            std::future::ready(Ok(())).boxed()
        }
    }

    #[tokio::test]
    async fn the_service_is_told_from_whom_the_entry_was_taken() {
        let asked = Arc::new(Asked::default());
        let input = StartInput {
            game_id: "game".to_owned(),
            image_ref: "image".to_owned(),
            op_source: OP_SOURCE,
            source_ref: String::new(),
            dead_owner: None,
            trace: Trace::default(),
            slot: Slot::default(),
            scope: Scope::default(),
        };
        let service: Arc<dyn StartService> = Arc::<Asked>::clone(&asked);
        let start =
            Start { service, input: input.clone(), requested_at_ms: 0, outcome_fields: 10, variety: OnceLock::new() };
        let id = EntryId { ms: 5, seq: 1 };
        for dead_owner in [None, Some(Arc::from("a"))] {
            let attempt = Attempt {
                id,
                dead_owner: dead_owner.clone(),
                deliveries: 2,
                slot: Slot::default(),
                scope: Scope::default(),
            };
            let why = GiveUp { code: ErrorCode::Poison, message: String::new(), reason: None };
            start.handle(&attempt).await.expect("it answers");
            start.give_up(&attempt, why).await.expect("it answers");
            let expected = StartInput { source_ref: "5-1".to_owned(), dead_owner, ..input.clone() };
            let inputs = std::mem::take(&mut *asked.0.lock().unwrap_or_else(PoisonError::into_inner));
            assert_eq!(inputs, [expected.clone(), expected]);
        }
    }
}
