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
use super::image_ref::ImageRef;
use super::record::{AttemptResult, FenceToken, Records};
use super::step::{Broken, Step, has_image, is_ours, next_step};
use super::{StartError, StartInput};
use crate::contract::error_code::ErrorCode;
use crate::contract::job_result::{Answer, SuccessKind};
use crate::engine::{Container, ContainerSpec, ContainerState, Engine, EngineError, PullStep, Readiness, label};
use crate::faults::{Faults, Point};

/// How the game engine is reached and awaited.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// `engine-port`
    pub(crate) port: u16,
    /// `readiness`
    pub(crate) readiness: Readiness,
    /// `ready-timeout`
    pub(crate) ready_timeout: Duration,
}

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
}

/// What an attempt knows of the game's container without asking the engine.
enum Known {
    /// Nothing.
    Nothing,
    /// The record has seen no attempt, so there should be no container. Where there is one all the same (Redis lost the
    /// record), the engine refuses the name.
    AssumedAbsent,
    /// The engine showed it with its start.
    Shown(Container),
}

/// How far an attempt has come.
struct Progress {
    began: Instant,
    known: Known,
    /// Whether the engine has been asked for the container.
    has_looked: bool,
    /// A success is a replay unless this attempt has started the container itself.
    kind: SuccessKind,
    replacements: u32,
}

impl Progress {
    fn started(&mut self, shown: Option<Container>) {
        self.kind = SuccessKind::Started;
        self.known = shown.map_or(Known::Nothing, Known::Shown);
    }
}

/// What became of a create or a start.
enum Started {
    /// It runs, or has gone away again; the container, where the engine showed it.
    Yes(Option<Container>),
    /// Another container has the name.
    NameTaken,
    /// The engine refuses it for good.
    Refused(Answer),
}

/// What became of the wait for a game engine.
enum Awaited {
    /// The attempt is over.
    Over(AttemptResult),
    /// The container exited or went away, and may be replaced.
    Broken(Broken),
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
        if let Err(error) = self.bring_image().await {
            let failure = answer_or_try_again(error)?;
            // An earlier attempt may have started the container all the same: look before answering that it failed.
            return self.look_again(failure).await;
        }
        self.faults.reach(Point::BeforeCreate);
        self.bring_container().await
    }

    async fn bring_image(&self) -> Result<(), EngineError> {
        let faults = self.faults;
        let progress = move |step| match step {
            PullStep::Starting => faults.reach(Point::BeforePull),
            PullStep::Receiving => faults.reach(Point::InPull),
        };
        self.engine.ensure_image(self.image.as_str(), &progress).await
    }

    /// The result of an attempt that cannot create a container: this failure, unless the game runs already.
    async fn look_again(&self, failure: Answer) -> Result<AttemptResult, StartError> {
        let found = self.find().await?.filter(|found| is_ours(found, self.game) && has_image(found, self.image));
        let Some(container) = found else { return Ok(failure.into()) };
        if container.state != ContainerState::Running {
            return self.fail(Broken { container_id: container.id, failure }).await;
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
            let step = next_step(found, self.game, self.image);
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
        }
        Ok(Flow::Continue(()))
    }

    async fn create(&self, progress: &mut Progress) -> Result<Flow, StartError> {
        match self.create_and_start().await? {
            Started::Yes(shown) => progress.started(shown),
            Started::NameTaken => self.await_name(progress).await?,
            Started::Refused(failure) => return self.look_again(failure).await.map(Flow::Break),
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
            Started::Refused(failure) => {
                return self.fail(Broken { container_id: id, failure }).await.map(Flow::Break);
            }
        }
        Ok(Flow::Continue(()))
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
        let id = match self.engine.create(&self.spec()).await {
            Ok(id) => id,
            Err(EngineError::NameTaken) => return Ok(Started::NameTaken),
            Err(EngineError::ImageMissing) => {
                let message = "the image disappeared between pull and create".to_owned();
                return Err(StartError::Engine { code: ErrorCode::ImagePullFailed, message });
            }
            Err(error) => return answer_or_try_again(error).map(Started::Refused),
        };
        self.faults.reach(Point::AfterCreate);
        let started = self.start_created(&id).await?;
        if matches!(started, Started::Refused(_)) {
            // Nothing may be left behind by a failure.
            self.condemn_and_remove(&id).await?;
        }
        Ok(started)
    }

    async fn start_created(&self, id: &str) -> Result<Started, StartError> {
        self.check_fence().await?;
        match self.engine.start(id).await {
            Ok(shown) => {
                self.faults.reach(Point::AfterStart);
                Ok(Started::Yes(shown))
            }
            // The next look finds out what became of it.
            Err(EngineError::NoSuchContainer) => Ok(Started::Yes(None)),
            Err(error) => answer_or_try_again(error).map(Started::Refused),
        }
    }

    async fn await_ready(&self, mut container: Container, kind: SuccessKind) -> Result<Awaited, StartError> {
        let deadline = Instant::now() + self.launch.ready_timeout;
        if container.state != ContainerState::Running {
            return Ok(Awaited::Broken(self.exited(container).await));
        }
        while container.endpoint.is_none() || !self.engine.is_ready(&container, &self.launch.readiness).await {
            let Some(again) = self.engine.find(&container.id).await.map_err(try_again)? else {
                let gone = Broken::new(container.id, ErrorCode::EngineExited, "the container disappeared");
                return Ok(Awaited::Broken(gone));
            };
            if again.state != ContainerState::Running {
                return Ok(Awaited::Broken(self.exited(again).await));
            }
            container = again;
            if Instant::now() >= deadline {
                let endpoint = container.endpoint.as_deref().unwrap_or("any published port");
                let message = format!("no answer on {endpoint} within {:?}", self.launch.ready_timeout);
                let late = Broken::new(container.id, ErrorCode::EngineNotReady, message);
                return self.fail(late).await.map(Awaited::Over);
            }
            sleep(LOOK_INTERVAL).await;
        }
        self.faults.reach(Point::AfterReady);
        let engine_endpoint = container.endpoint.unwrap_or_default();
        let answer = Answer::Success { container_id: container.id, engine_endpoint, kind };
        Ok(Awaited::Over(answer.into()))
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
        self.condemn_and_remove(&broken.container_id).await?;
        Ok(Flow::Continue(()))
    }

    /// A decided failure: the container goes first. Where the engine does not remove it, the record keeps its id.
    async fn fail(&self, broken: Broken) -> Result<AttemptResult, StartError> {
        let Broken { container_id, failure } = broken;
        self.condemn(&container_id).await?;
        let still_condemned = match self.engine.remove(&container_id).await {
            Ok(()) => None,
            Err(error) => {
                let game_id = self.game.as_str();
                tracing::warn!(container_id, game_id, err = %error, "failed to remove condemned container");
                Some(container_id)
            }
        };
        Ok(AttemptResult { answer: failure, still_condemned })
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

    fn spec(&self) -> ContainerSpec {
        let pairs = [
            (label::GAME_ID, self.game.as_str()),
            (label::IMAGE_REF, self.image.as_str()),
            (label::SOURCE_REF, &self.input.source_ref),
            (label::FENCE, &self.token.fence),
            (label::OWNER, self.records.owner()),
            (label::HOST, &self.token.host),
        ];
        let labels: BTreeMap<String, String> =
            pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut env = vec![format!("GAME_ID={}", self.game.as_str()), format!("PORT={}", self.launch.port)];
        let trace = &self.input.trace;
        env.extend(trace.parent.iter().map(|parent| format!("TRACEPARENT={parent}")));
        env.extend(trace.state.iter().map(|state| format!("TRACESTATE={state}")));
        ContainerSpec {
            name: self.game.container_name(),
            image: self.image.as_str().to_owned(),
            port: self.launch.port,
            env,
            labels,
        }
    }
}
