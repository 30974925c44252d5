//! One attempt on the engine, under a fence: from "the intent is recorded" to "the game engine answers".
//!
//! The container's name is deterministic, so every step looks first and does only what is missing. An attempt that died
//! at any point is continued by the next.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::engine_failure::{answer_or_try_again, try_again};
use super::game_id::GameId;
use super::host::Identity;
use super::launch::Launch;
use super::ours::is_ours;
use super::place::Place;
use super::progress::{Awaited, Known, Progress, Started};
use super::pulls::{PullError, Wanted};
use super::record::{AttemptResult, FenceToken, RecordJob, Records};
use super::step::{Broken, Step, has_image, image_conflict, next_step};
use super::{StartError, StartInput};
use crate::contract::error_code::ErrorCode;
use crate::contract::image_ref::ImageRef;
use crate::contract::job_result::{Answer, SuccessKind};
use crate::engine::{Container, ContainerSpec, ContainerState, Engine, EngineError, PullStep, Ready, label};
use crate::faults::{Faults, Point};
use crate::policy::{Refusal, Terms};
use crate::telemetry::{Kind, Span};

/// Between two looks at a container that is coming up, or at a taken name whose container is not visible yet.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);
/// How long a name may be taken without a visible container.
const NAME_STUCK_AFTER: Duration = Duration::from_secs(5);
/// How many containers of this game one attempt may remove in order to create another.
const REPLACEMENTS_MAX: u32 = 1;
/// Looks at the engine in one attempt: a bound for states that no engine should show.
const STEPS_MAX: u32 = 1_000;

/// One attempt.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) records: &'a Records,
    pub(super) engine: &'a Arc<dyn Engine>,
    pub(super) faults: &'a Faults,
    pub(super) launch: &'a Launch,
    pub(super) input: &'a StartInput,
    pub(super) game: &'a GameId,
    pub(super) image: &'a ImageRef,
    pub(super) token: &'a FenceToken,
    pub(super) identity: &'a Identity,
}

/// Whether an attempt goes on after a step.
type Flow = ControlFlow<AttemptResult>;

impl Attempt<'_> {
    /// Drives the engine until the game engine answers or the failure is decided.
    pub(super) async fn drive(&self) -> Result<AttemptResult, StartError> {
        if let Some(condemned) = &self.token.condemned {
            self.check_fence().await?;
            self.engine.remove(condemned).await.map_err(try_again)?;
        }
        if let Err(refusal) = self.launch.policy.now().admit(self.image) {
            // It may have been allowed when the game was started.
            return self.look_again(not_allowed(&refusal)).await;
        }
        let pulled = match self.bring_image().await? {
            Err(PullError::Engine(error)) => Err(error),
            Err(limited) => return Err(limited.into()),
            Ok(()) => Ok(()),
        };
        if let Err(error) = pulled {
            let failure = answer_or_try_again(error)?;
            // An earlier attempt may have started the container all the same: look before answering that it failed.
            return self.look_again(failure).await;
        }
        self.faults.reach(Point::BeforeCreate);
        self.bring_container().await
    }

    async fn bring_image(&self) -> Result<Result<(), PullError>, StartError> {
        let faults = self.faults;
        let progress = move |step| match step {
            PullStep::Starting => faults.reach(Point::BeforePull),
            PullStep::Receiving => faults.reach(Point::InPull),
            PullStep::Received(_) => {}
        };
        let wanted = Wanted {
            image: self.image.as_str(),
            host: self.identity.here.host(),
            dead_owner: self.input.dead_owner.as_ref(),
            place: Place {
                records: self.records,
                game: self.game,
                fence: &self.token.fence,
                here: &self.identity.here,
                slot: &self.input.slot,
                games_max: self.launch.policy.now().containers_max(),
            },
            progress: &progress,
        };
        let pulling = self.step("pull");
        match self.launch.images.ensure(wanted).await {
            Ok(brought) => Ok(pulling.over(brought)),
            Err(error) => pulling.over(Err(error)),
        }
    }

    /// A step that is recorded where the attempt is.
    fn step(&self, name: &'static str) -> Span {
        self.input.scope.begin(name, Kind::Internal)
    }

    /// The result of an attempt that cannot create a container: this failure, unless the game runs already.
    async fn look_again(&self, failure: Answer) -> Result<AttemptResult, StartError> {
        let found =
            self.find().await?.filter(|found| is_ours(found, self.game, self.identity) && has_image(found, self.image));
        let Some(container) = found else { return Ok(failure.into()) };
        if container.state != ContainerState::Running {
            return self.fail(Broken { container_id: container.id, failure, is_decided: true }).await;
        }
        match self.await_ready(container, SuccessKind::Replayed).await? {
            Awaited::Over(result) => Ok(result),
            Awaited::Broken(broken) => self.fail(broken).await,
        }
    }

    async fn bring_container(&self) -> Result<AttemptResult, StartError> {
        let mut progress = Progress {
            began: Instant::now(),
            known: if self.token.is_first() { Known::AssumedAbsent } else { Known::Nothing },
            has_looked: false,
            kind: SuccessKind::Replayed,
            replacements: 0,
        };
        for _ in 0..STEPS_MAX {
            let found = match std::mem::replace(&mut progress.known, Known::Nothing) {
                Known::Shown(container) => Some(container),
                Known::AssumedAbsent => None,
                Known::Nothing => {
                    progress.has_looked = true;
                    self.find().await?
                }
            };
            let step = next_step(found, self.game, self.image, self.identity, &self.token.fence);
            if let ControlFlow::Break(result) = self.take(step, &mut progress).await? {
                return Ok(result);
            }
        }
        let name = self.game.container_name();
        let message = format!("the state of container {name} kept changing during {STEPS_MAX} looks");
        Err(StartError::Engine { code: ErrorCode::InternalError, message })
    }

    async fn take(&self, step: Step, progress: &mut Progress) -> Result<Flow, StartError> {
        match step {
            Step::Create => return self.create(progress).await,
            Step::Start(id) => return self.start(id, progress).await,
            Step::AwaitReady(container) => {
                return match self.await_ready(container, progress.kind).await? {
                    Awaited::Over(result) => Ok(Flow::Break(result)),
                    Awaited::Broken(broken) => self.replace(broken, progress).await,
                };
            }
            Step::Replace(broken) => return self.replace(broken, progress).await,
            Step::Unpause(id) => {
                self.check_fence().await?;
                self.engine.unpause(&id).await.map_err(try_again)?;
            }
            Step::Wait => sleep(LOOK_INTERVAL).await,
            Step::Foreign(id) => {
                let message =
                    format!("container {id} has the name {} and is not the fleet's", self.game.container_name());
                return Ok(Flow::Break(Answer::failure(ErrorCode::ContainerNameConflict, message).into()));
            }
            Step::Unrecorded(container) => return self.yield_to(&container).await.map(Flow::Break),
        }
        Ok(Flow::Continue(()))
    }

    async fn create(&self, progress: &mut Progress) -> Result<Flow, StartError> {
        match self.create_and_start().await? {
            Started::Yes(shown) => progress.started(shown),
            Started::NameTaken => self.await_name(progress).await?,
            Started::Refused(None, failure) => return self.look_again(failure).await.map(Flow::Break),
            Started::Refused(Some(id), failure) => return self.refused(id, failure).await.map(Flow::Break),
            Started::PortTaken(id, message) => self.replace_for_port(&id, message, progress).await?,
        }
        Ok(Flow::Continue(()))
    }

    async fn start(&self, id: String, progress: &mut Progress) -> Result<Flow, StartError> {
        let started = {
            let _permit = self.engine.permit().await;
            self.start_created(&id).await?
        };
        match started {
            Started::Yes(shown) => progress.started(shown),
            Started::NameTaken => {}
            Started::Refused(_, failure) => return self.refused(id, failure).await.map(Flow::Break),
            Started::PortTaken(id, message) => self.replace_for_port(&id, message, progress).await?,
        }
        Ok(Flow::Continue(()))
    }

    /// Removes a container whose host port is not free, once. After that the port's absence is the host's trouble.
    async fn replace_for_port(&self, id: &str, message: String, progress: &mut Progress) -> Result<(), StartError> {
        if progress.replacements >= REPLACEMENTS_MAX {
            return Err(StartError::Engine { code: ErrorCode::HostPortUnavailable, message });
        }
        progress.replacements += 1;
        self.condemn_and_remove(id).await
    }

    /// After a refused name: the engine reserves a name before it shows the container.
    async fn await_name(&self, progress: &Progress) -> Result<(), StartError> {
        if !progress.has_looked {
            return Ok(());
        }
        if progress.began.elapsed() >= NAME_STUCK_AFTER {
            let name = self.game.container_name();
            let message = format!("the name {name} is taken, but the engine shows no such container");
            return Err(StartError::Engine { code: ErrorCode::ContainerNameStuck, message });
        }
        sleep(LOOK_INTERVAL).await;
        Ok(())
    }

    async fn create_and_start(&self) -> Result<Started, StartError> {
        let _permit = self.engine.permit().await;
        self.check_fence().await?;
        // As the policy is now: the wait for the image may have been long.
        let spec = match self.launch.policy.now().terms(self.image) {
            Ok(terms) => self.spec(terms),
            Err(refusal) => return Ok(Started::Refused(None, not_allowed(&refusal))),
        };
        let id = match self.step("create").over(self.engine.create(&spec).await) {
            Ok(id) => id,
            Err(EngineError::NameTaken) => return Ok(Started::NameTaken),
            Err(EngineError::ImageMissing) => {
                let message = "the image disappeared between pull and create".to_owned();
                return Err(StartError::Engine { code: ErrorCode::ImagePullFailed, message });
            }
            Err(error) => return answer_or_try_again(error).map(|failure| Started::Refused(None, failure)),
        };
        self.faults.reach(Point::AfterCreate);
        self.start_created(&id).await
    }

    /// The result of a start that was refused for good. Nothing may be left behind by a failure.
    async fn refused(&self, container_id: String, failure: Answer) -> Result<AttemptResult, StartError> {
        self.fail(Broken { container_id, failure, is_decided: true }).await
    }

    async fn start_created(&self, id: &str) -> Result<Started, StartError> {
        self.check_fence().await?;
        match self.step("start").over(self.engine.start(id).await) {
            Ok(shown) => {
                self.faults.reach(Point::AfterStart);
                Ok(Started::Yes(shown))
            }
            // The next look finds out what became of it.
            Err(EngineError::NoSuchContainer) => Ok(Started::Yes(None)),
            Err(EngineError::Failed { code: ErrorCode::HostPortUnavailable, message }) => {
                Ok(Started::PortTaken(id.to_owned(), message))
            }
            Err(error) => answer_or_try_again(error).map(|failure| Started::Refused(Some(id.to_owned()), failure)),
        }
    }

    async fn await_ready(&self, container: Container, kind: SuccessKind) -> Result<Awaited, StartError> {
        let mut waiting = self.step("ready");
        let awaited = self.until_ready(container, kind).await;
        if let Some(error_type) = awaited.as_ref().ok().and_then(Awaited::error_type) {
            waiting.fail(error_type);
        }
        waiting.over(awaited)
    }

    async fn until_ready(&self, mut container: Container, kind: SuccessKind) -> Result<Awaited, StartError> {
        let deadline = Instant::now() + self.launch.ready_timeout;
        let mut seen_at = Instant::now();
        if container.state != ContainerState::Running {
            return Ok(Awaited::Broken(self.exited(container).await));
        }
        loop {
            let ready = match container.endpoint {
                Some(_) => self.engine.is_ready(&container, &self.launch.readiness).await,
                None => Ready::NotYet,
            };
            if let Ready::Never(why) = ready {
                let never = Broken::new(container.id, ErrorCode::EngineNotReady, why);
                return self.fail(never).await.map(Awaited::Over);
            }
            // A look takes time, and the game engine may have accepted a connection and ended in it.
            if ready == Ready::Yes && seen_at.elapsed() < LOOK_INTERVAL {
                break;
            }
            let Some(again) = self.engine.find(&container.id).await.map_err(try_again)? else {
                let gone = Broken::new(container.id, ErrorCode::EngineExited, "the container disappeared");
                return Ok(Awaited::Broken(gone));
            };
            if again.state == ContainerState::Paused {
                // An operator froze it while it came up.
                self.check_fence().await?;
                self.engine.unpause(&again.id).await.map_err(try_again)?;
            } else if again.state != ContainerState::Running {
                return Ok(Awaited::Broken(self.exited(again).await));
            }
            container = again;
            seen_at = Instant::now();
            if ready == Ready::Yes && container.endpoint.is_some() {
                break;
            }
            if seen_at >= deadline {
                return self.fail(self.late(container)).await.map(Awaited::Over);
            }
            sleep(LOOK_INTERVAL).await;
        }
        self.faults.reach(Point::AfterReady);
        let engine_endpoint = container.endpoint.unwrap_or_default();
        let answer = Answer::Success { container_id: container.id, engine_endpoint, kind };
        Ok(Awaited::Over(answer.into()))
    }

    fn late(&self, container: Container) -> Broken {
        let timeout = self.launch.ready_timeout;
        let message = match container.endpoint.as_deref() {
            Some(endpoint) => format!("no answer on {endpoint} within {timeout:?}"),
            None => format!(
                "the engine has not published port {} of the container within {timeout:?}; check that its containers \
                 have a network with published ports",
                self.launch.port
            ),
        };
        Broken::new(container.id, ErrorCode::EngineNotReady, message)
    }

    async fn exited(&self, container: Container) -> Broken {
        let what = match container.state {
            ContainerState::Exited(code) => format!("the game engine exited with code {code} before it was ready"),
            other => format!("the game engine's container is {other:?} before it was ready"),
        };
        let tail = self.engine.log_tail(&container.id).await;
        let message = if tail.is_empty() { what } else { format!("{what}: {tail}") };
        Broken::new(container.id, ErrorCode::EngineExited, message)
    }

    /// Removes a broken container so that another can be created. One that breaks again fails the job: it must not be
    /// replaced for ever.
    async fn replace(&self, broken: Broken, progress: &mut Progress) -> Result<Flow, StartError> {
        if progress.replacements >= REPLACEMENTS_MAX {
            return self.fail(broken).await.map(Flow::Break);
        }
        progress.replacements += 1;
        self.condemn(&broken.container_id).await?;
        let Err(error) = self.engine.remove(&broken.container_id).await else { return Ok(Flow::Continue(())) };
        if !broken.is_decided || self.engine.ping().await.is_err() {
            return Err(try_again(error));
        }
        // The engine answers and does not remove it: no other can be created, and the job need not wait for that.
        Ok(Flow::Break(self.not_removed(broken.container_id, &error, broken.failure)))
    }

    /// The result of a failed attempt whose container the engine does not remove: the record keeps its id, and the reconciler
    /// goes on with it.
    fn not_removed(&self, container_id: String, error: &EngineError, failure: Answer) -> AttemptResult {
        let game_id = self.game.as_str();
        tracing::warn!(container_id, game_id, err = %error, "failed to remove condemned container");
        AttemptResult { answer: failure, still_condemned: Some(container_id), is_recorded: false }
    }

    /// The game runs another image, and the record did not know of it: it is written again.
    async fn yield_to(&self, container: &Container) -> Result<AttemptResult, StartError> {
        let failure = image_conflict(container.label(label::IMAGE_REF), self.image);
        let job = RecordJob {
            game: self.game,
            image: self.image,
            source: &self.input.source_ref,
            engine: self.engine.kind(),
        };
        if !self.records.yield_to(&job, self.token, container, &failure).await? {
            return Err(StartError::Fenced);
        }
        Ok(AttemptResult { answer: failure, still_condemned: None, is_recorded: true })
    }

    /// A decided failure: the container goes first. Where the engine does not remove it, the record keeps its id.
    async fn fail(&self, broken: Broken) -> Result<AttemptResult, StartError> {
        let Broken { container_id, failure, .. } = broken;
        self.condemn(&container_id).await?;
        match self.engine.remove(&container_id).await {
            Ok(()) => Ok(failure.into()),
            Err(error) => Ok(self.not_removed(container_id, &error, failure)),
        }
    }

    async fn condemn_and_remove(&self, container_id: &str) -> Result<(), StartError> {
        self.condemn(container_id).await?;
        self.engine.remove(container_id).await.map_err(try_again)
    }

    async fn condemn(&self, container_id: &str) -> Result<(), StartError> {
        self.faults.reach(Point::BeforeCondemn);
        if !self.records.condemn(self.game, &self.token.fence, container_id).await? {
            return Err(StartError::Fenced);
        }
        self.faults.reach(Point::AfterCondemn);
        Ok(())
    }

    /// Fails where a newer attempt has taken over. Goes directly before every engine call that changes something.
    async fn check_fence(&self) -> Result<(), StartError> {
        if self.token.checked_at.elapsed() < self.records.fence_check_ttl() {
            return Ok(());
        }
        if self.records.holds_fence(self.game, &self.token.fence).await? { Ok(()) } else { Err(StartError::Fenced) }
    }

    async fn find(&self) -> Result<Option<Container>, StartError> {
        self.engine.find(&self.game.container_name()).await.map_err(try_again)
    }

    fn spec(&self, terms: Terms) -> ContainerSpec {
        let pairs = [
            (label::GAME_ID, self.game.as_str()),
            (label::IMAGE_REF, self.image.as_str()),
            (label::SOURCE_REF, &self.input.source_ref),
            (label::FENCE, &self.token.fence),
            (label::OWNER, self.records.owner()),
            (label::HOST, &self.token.host),
            (label::FLEET, &self.identity.fleet),
        ];
        // Ours come last: no policy can replace them.
        let mut labels: BTreeMap<String, String> = terms.labels.into_iter().collect();
        labels.extend(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut env: Vec<String> = terms.env.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect();
        env.extend([format!("GAME_ID={}", self.game.as_str()), format!("PORT={}", self.launch.port)]);
        let trace = &self.input.trace;
        env.extend(trace.parent.iter().map(|parent| format!("TRACEPARENT={parent}")));
        env.extend(trace.state.iter().map(|state| format!("TRACESTATE={state}")));
        ContainerSpec {
            name: self.game.container_name(),
            image: self.image.as_str().to_owned(),
            port: self.launch.port,
            env,
            labels,
            sandbox: terms.sandbox,
        }
    }
}

fn not_allowed(refusal: &Refusal) -> Answer {
    Answer::failure(ErrorCode::ImageNotAllowed, refusal.to_string())
}
