//! One attempt on the engine, under a fence: from "the intent is written" to "the game engine answers".
//!
//! The name is deterministic, so every step looks first and does only what is missing; an attempt that died at any
//! point is simply continued by the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::game_id::GameId;
use super::image_ref::ImageRef;
use super::record::{Fenced, Records};
use super::{StartError, StartInput};
use crate::contract::error_code::{Class, ErrorCode};
use crate::contract::job_result::{Answer, SuccessKind};
use crate::engine::{Container, ContainerSpec, ContainerState, Engine, EngineError, PullStep, Readiness, label};
use crate::faults::{Faults, Point};

/// How the game engine is reached and awaited.
#[derive(Debug, Clone)]
pub struct Launch {
    /// `engine-port`
    pub port: u16,
    /// `readiness`
    pub readiness: Readiness,
    /// `ready-timeout`
    pub ready_timeout: Duration,
}

/// Between looks at a container that is coming up, or at a name that is taken by one that is not visible yet.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);
/// How long a taken name may stay without a container.
const NAME_STUCK_AFTER: Duration = Duration::from_secs(5);
/// How often a container of this game may be thrown away and made anew in one attempt.
const RECREATIONS_MAX: u32 = 1;
/// A container that this attempt did not start itself makes the success a replay.
const FOUND: SuccessKind = SuccessKind::Replayed;
/// Looks at the engine in one attempt; a bound for states that no engine should show.
const STEPS_MAX: u32 = 1_000;

/// One attempt.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub(super) records: &'a Records,
    pub(super) engine: &'a Arc<dyn Engine>,
    pub(super) faults: &'a Faults,
    pub(super) launch: &'a Launch,
    pub(super) input: &'a StartInput,
    pub(super) game: &'a GameId,
    pub(super) image: &'a ImageRef,
    pub(super) fenced: &'a Fenced,
}

/// How an attempt came out, short of an error.
#[derive(Debug)]
pub struct Outcome {
    /// What is to be committed.
    pub answer: Answer,
    /// A condemned container that is still there.
    pub still_condemned: Option<String>,
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self { answer, still_condemned: None }
    }
}

/// What to do with a container that carries the game's name.
enum Step {
    Create,
    Start(String),
    AwaitReady(Container),
    Unpause(String),
    Replace(String, ErrorCode, String),
    Wait,
    Foreign(String),
}

impl Attempt<'_> {
    /// Drives the engine until the game engine answers or the failure is decided.
    pub async fn drive(&self) -> Result<Outcome, StartError> {
        if let Some(condemned) = &self.fenced.condemned {
            self.still_fenced().await?;
            self.engine.remove(condemned).await.map_err(undecided)?;
        }
        match self.bring_image().await {
            Ok(()) => {}
            Err(error) => {
                let failure = decided(error)?;
                // An earlier attempt may have started it all the same: look again before saying that it failed.
                return self.look_again(failure).await;
            }
        }
        self.faults.reach(Point::BeforeCreate);
        self.bring_container().await
    }

    async fn bring_image(&self) -> Result<(), EngineError> {
        let faults = self.faults;
        let progress = move |step| match step {
            PullStep::Begins => faults.reach(Point::BeforePull),
            PullStep::Flows => faults.reach(Point::InPull),
        };
        self.engine.ensure_image(self.image.as_str(), &progress).await
    }

    async fn look_again(&self, failure: Answer) -> Result<Outcome, StartError> {
        let found = self.engine.find(&self.game.container_name()).await.map_err(undecided)?;
        match found {
            Some(container) if self.is_ours(&container) && self.has_image(&container) => match container.state {
                ContainerState::Running => match self.await_ready(container, FOUND).await? {
                    Ready::Answers(outcome) => Ok(outcome),
                    Ready::Gone(id, code, message) => self.fail(&id, Answer::failure(code, message)).await,
                },
                _ => self.fail(&container.id, failure).await,
            },
            _ => Ok(failure.into()),
        }
    }

    async fn bring_container(&self) -> Result<Outcome, StartError> {
        let name = self.game.container_name();
        let (began, mut recreated) = (Instant::now(), 0);
        let mut kind = FOUND;
        // What is there, where it need not be asked. A game of which no record says that it ever began is taken to have
        // no container; where it has one all the same (Redis lost the record), the engine refuses the name.
        let mut known = self.fenced.is_first().then_some(None);
        for _ in 0..STEPS_MAX {
            let was_assumed = known == Some(None);
            let found = match known.take() {
                Some(known) => known,
                None => self.engine.find(&name).await.map_err(undecided)?,
            };
            match self.next_step(found) {
                Step::Create => match self.create(&name).await {
                    Ok(started) => {
                        kind = SuccessKind::Started;
                        known = started.map(Some);
                    }
                    Err(StepError::NameTaken) if was_assumed => {}
                    Err(StepError::NameTaken) if began.elapsed() >= NAME_STUCK_AFTER => {
                        let message = format!("the name {name} is taken, but the engine shows no such container");
                        return Err(StartError::Engine { code: ErrorCode::ContainerNameStuck, message });
                    }
                    // The engine reserves a name before it shows the container.
                    Err(StepError::NameTaken) => sleep(LOOK_INTERVAL).await,
                    Err(StepError::Decided(failure)) => return self.look_again(failure).await,
                    Err(StepError::Stop(error)) => return Err(error),
                },
                Step::Start(id) => match self.start(&id).await {
                    Ok(started) => {
                        kind = SuccessKind::Started;
                        known = started.map(Some);
                        self.faults.reach(Point::AfterStart);
                    }
                    Err(StepError::NameTaken) => {}
                    Err(StepError::Decided(failure)) => return self.fail(&id, failure).await,
                    Err(StepError::Stop(error)) => return Err(error),
                },
                Step::AwaitReady(container) => match self.await_ready(container, kind).await? {
                    Ready::Answers(outcome) => return Ok(outcome),
                    // However it went: one that keeps going away must not be made anew for ever.
                    Ready::Gone(id, code, message) => {
                        if recreated >= RECREATIONS_MAX {
                            return self.fail(&id, Answer::failure(code, message)).await;
                        }
                        recreated += 1;
                        self.condemn_and_remove(&id).await?;
                    }
                },
                Step::Unpause(id) => {
                    self.still_fenced().await?;
                    self.engine.unpause(&id).await.map_err(undecided)?;
                }
                Step::Replace(id, code, message) => {
                    if recreated >= RECREATIONS_MAX {
                        return self.fail(&id, Answer::failure(code, message)).await;
                    }
                    recreated += 1;
                    self.condemn_and_remove(&id).await?;
                }
                Step::Wait => sleep(LOOK_INTERVAL).await,
                Step::Foreign(id) => {
                    let message = format!("container {id} has the name {name} and is not the fleet's");
                    return Ok(Answer::failure(ErrorCode::ContainerNameConflict, message).into());
                }
            }
        }
        let message = format!("the state of container {name} kept changing during {STEPS_MAX} looks");
        Err(StartError::Engine { code: ErrorCode::InternalError, message })
    }

    fn next_step(&self, found: Option<Container>) -> Step {
        let Some(container) = found else { return Step::Create };
        if !self.is_ours(&container) {
            return Step::Foreign(container.id);
        }
        if !self.has_image(&container) {
            // Nothing runs by the record: a leftover of an earlier job.
            return Step::Replace(container.id, ErrorCode::InternalError, "leftover of another image".to_owned());
        }
        match container.state {
            ContainerState::Created => Step::Start(container.id),
            // One that has ended says why in its log, whether it ended before the first look or after.
            ContainerState::Running | ContainerState::Exited(_) => Step::AwaitReady(container),
            ContainerState::Paused => Step::Unpause(container.id),
            ContainerState::Removing => Step::Wait,
            ContainerState::StartFailed(message) => {
                Step::Replace(container.id, ErrorCode::ContainerStartFailed, message)
            }
        }
    }

    /// Creates and starts; answers the container where the engine shows it with the start.
    async fn create(&self, name: &str) -> Result<Option<Container>, StepError> {
        let _permit = self.engine.permit().await;
        self.still_fenced().await?;
        let id = match self.engine.create(&self.spec(name)).await {
            Ok(id) => id,
            Err(EngineError::NameTaken) => return Err(StepError::NameTaken),
            Err(EngineError::ImageMissing) => {
                let message = "the image disappeared between pull and create".to_owned();
                return Err(StartError::Engine { code: ErrorCode::ImagePullFailed, message }.into());
            }
            Err(error) => return Err(StepError::Decided(decided(error)?)),
        };
        self.faults.reach(Point::AfterCreate);
        self.still_fenced().await?;
        match self.engine.start(&id).await {
            Ok(started) => {
                self.faults.reach(Point::AfterStart);
                Ok(started)
            }
            // The next look finds out what became of it.
            Err(EngineError::NoSuchContainer) => Ok(None),
            Err(error) => Err(self.failed_start(&id, error).await),
        }
    }

    async fn start(&self, id: &str) -> Result<Option<Container>, StepError> {
        let _permit = self.engine.permit().await;
        self.still_fenced().await?;
        match self.engine.start(id).await {
            Ok(started) => Ok(started),
            Err(EngineError::NoSuchContainer) => Ok(None),
            Err(error) => Err(StepError::Decided(decided(error)?)),
        }
    }

    /// A refused first start: the container goes, so that a failure leaves nothing behind.
    async fn failed_start(&self, id: &str, error: EngineError) -> StepError {
        match decided(error) {
            Err(error) => error.into(),
            Ok(failure) => match self.condemn_and_remove(id).await {
                Ok(()) => StepError::Decided(failure),
                Err(error) => error.into(),
            },
        }
    }

    async fn await_ready(&self, container: Container, kind: SuccessKind) -> Result<Ready, StartError> {
        let deadline = Instant::now() + self.launch.ready_timeout;
        let mut container = container;
        if container.state != ContainerState::Running {
            return Ok(self.exited(container).await);
        }
        loop {
            if container.endpoint.is_some() && self.engine.is_ready(&container, &self.launch.readiness).await {
                break;
            }
            let Some(again) = self.engine.find(&container.id).await.map_err(undecided)? else {
                return Ok(Ready::Gone(container.id, ErrorCode::EngineExited, "the container disappeared".to_owned()));
            };
            if again.state != ContainerState::Running {
                return Ok(self.exited(again).await);
            }
            container = again;
            if Instant::now() >= deadline {
                let endpoint = container.endpoint.as_deref().unwrap_or("any published port");
                let message = format!("no answer on {endpoint} within {:?}", self.launch.ready_timeout);
                let failure = Answer::failure(ErrorCode::EngineNotReady, message);
                return self.fail(&container.id, failure).await.map(Ready::Answers);
            }
            sleep(LOOK_INTERVAL).await;
        }
        self.faults.reach(Point::AfterReady);
        let engine_endpoint = container.endpoint.unwrap_or_default();
        let answer = Answer::Success { container_id: container.id, engine_endpoint, kind };
        Ok(Ready::Answers(answer.into()))
    }

    async fn exited(&self, container: Container) -> Ready {
        let what = match container.state {
            ContainerState::Exited(code) => format!("the game engine exited with code {code} before it was ready"),
            other => format!("the game engine's container is {other:?} before it was ready"),
        };
        let tail = self.engine.log_tail(&container.id).await;
        let message = if tail.is_empty() { what } else { format!("{what}: {tail}") };
        Ready::Gone(container.id, ErrorCode::EngineExited, message)
    }

    /// A decided failure: the container goes first, and where the engine will not let it, the record keeps its id.
    async fn fail(&self, container_id: &str, failure: Answer) -> Result<Outcome, StartError> {
        self.condemn(container_id).await?;
        let still_condemned = match self.engine.remove(container_id).await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(container_id, game_id = self.game.as_str(), err = %error, "condemned container stays");
                Some(container_id.to_owned())
            }
        };
        Ok(Outcome { answer: failure, still_condemned })
    }

    pub(super) async fn condemn_and_remove(&self, container_id: &str) -> Result<(), StartError> {
        self.condemn(container_id).await?;
        self.engine.remove(container_id).await.map_err(undecided)
    }

    async fn condemn(&self, container_id: &str) -> Result<(), StartError> {
        self.faults.reach(Point::BeforeCondemn);
        if !self.records.condemn(self.game, &self.fenced.fence, container_id).await? {
            return Err(StartError::Fenced);
        }
        self.faults.reach(Point::AfterCondemn);
        Ok(())
    }

    /// Directly before every engine call that changes something.
    async fn still_fenced(&self) -> Result<(), StartError> {
        if self.fenced.proved_at.elapsed() < self.records.proof_stands() {
            return Ok(());
        }
        if self.records.is_ours(self.game, &self.fenced.fence).await? { Ok(()) } else { Err(StartError::Fenced) }
    }

    /// Ours by name and labels: an image may carry labels of our names, but never this game's id and an owner.
    pub(super) fn is_ours(&self, container: &Container) -> bool {
        let has = |name| container.labels.get(name).map(String::as_str);
        has(label::GAME_ID) == Some(self.game.as_str()) && has(label::OWNER).is_some_and(|owner| !owner.is_empty())
    }

    fn has_image(&self, container: &Container) -> bool {
        container.labels.get(label::IMAGE_REF).map(String::as_str) == Some(self.image.as_str())
    }

    fn spec(&self, name: &str) -> ContainerSpec {
        let pairs = [
            (label::GAME_ID, self.game.as_str()),
            (label::IMAGE_REF, self.image.as_str()),
            (label::SOURCE_REF, &self.input.source_ref),
            (label::FENCE, &self.fenced.fence),
            (label::OWNER, self.records.owner()),
            (label::HOST, &self.fenced.host),
        ];
        let labels: BTreeMap<String, String> =
            pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut env = vec![format!("GAME_ID={}", self.game.as_str()), format!("PORT={}", self.launch.port)];
        let trace = &self.input.trace;
        env.extend(trace.parent.iter().map(|parent| format!("TRACEPARENT={parent}")));
        env.extend(trace.state.iter().map(|state| format!("TRACESTATE={state}")));
        ContainerSpec {
            name: name.to_owned(),
            image: self.image.as_str().to_owned(),
            port: self.launch.port,
            env,
            labels,
        }
    }
}

enum Ready {
    Answers(Outcome),
    /// The container ended and may be made anew; why, if it may not.
    Gone(String, ErrorCode, String),
}

enum StepError {
    NameTaken,
    Decided(Answer),
    Stop(StartError),
}

impl From<StartError> for StepError {
    fn from(error: StartError) -> Self {
        Self::Stop(error)
    }
}

/// An engine error at a step that decides nothing about the game: tried again whatever its code.
pub(super) fn undecided(error: EngineError) -> StartError {
    match error {
        EngineError::Failed { code: ErrorCode::StateStoreUnavailable, message } => StartError::Store(store(message)),
        EngineError::Failed { code, message } if code.class() == Class::Retryable => {
            StartError::Engine { code, message }
        }
        other => StartError::Engine { code: ErrorCode::InternalError, message: other.to_string() },
    }
}

/// An engine error at a step whose failure may be the answer.
fn decided(error: EngineError) -> Result<Answer, StartError> {
    match error {
        EngineError::Failed { code, message } if code.class() == Class::Permanent => Ok(Answer::failure(code, message)),
        other => Err(undecided(other)),
    }
}

fn store(text: String) -> crate::redis::RedisError {
    crate::redis::RedisError { kind: crate::redis::Kind::Unreachable, text }
}
