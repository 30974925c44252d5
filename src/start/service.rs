//! The start service: what the record says, then at most one attempt, then the commit.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::attempt::{Attempt, Launch};
use super::engine_failure::try_again;
use super::game_id::GameId;
use super::image_ref::ImageRef;
use super::record::{Abandoned, AttemptResult, Begun, FenceToken, Placed, RecordJob, Records, Seen};
use super::step::is_ours;
use super::{Answered, StartError, StartInput, StartService};
use crate::contract::error_code::ErrorCode;
use crate::contract::job_result::{Answer, SuccessKind};
use crate::engine::{ContainerState, Engine, label};
use crate::faults::{Faults, Point};

/// The production start service.
#[derive(Debug)]
pub(crate) struct Service {
    records: Records,
    engine: Arc<dyn Engine>,
    faults: Arc<Faults>,
    launch: Launch,
    /// `engine-host-id`: where new games are placed.
    host: String,
    /// A lease is not renewed beyond this.
    max_run: Duration,
}

/// How often one call may begin again because the record or the engine had changed meanwhile.
const BEGINS_MAX: u32 = 8;

impl Service {
    /// A service for this engine and these records.
    pub(crate) fn new(
        records: Records,
        engine: Arc<dyn Engine>,
        faults: Arc<Faults>,
        launch: Launch,
        host: String,
        max_run: Duration,
    ) -> Self {
        Self { records, engine, faults, launch, host, max_run }
    }

    async fn start(&self, input: &StartInput) -> Result<Answered, StartError> {
        let (game, image) = match parse(input) {
            Ok(parsed) => parsed,
            Err(failure) => return Ok(failure.into()),
        };
        let job = self.job(&game, &image, input);
        let mut seen = Seen::default();
        for _ in 0..BEGINS_MAX {
            match self.records.begin(&job, &self.host, &seen).await? {
                Begun::Stored(answer) => return Ok(answer),
                Begun::Running(placed) => match self.find_running(&placed).await? {
                    Some(answer) => return Ok(answer.into()),
                    None => seen.dead_container = Some(placed.container_id),
                },
                Begun::Conflict(placed, running) => match self.find_running(&placed).await? {
                    Some(_) => {
                        let message = format!("the game runs {running}, not {}", image.as_str());
                        return Ok(Answer::failure(ErrorCode::ImageConflict, message).into());
                    }
                    None => seen.dead_container = Some(placed.container_id),
                },
                Begun::Busy(left) => return Err(StartError::InProgress { retry_after: Some(left) }),
                Begun::Blocked(source) => {
                    if self.records.is_pending(&source).await? {
                        return Err(StartError::InProgress { retry_after: None });
                    }
                    seen.gone_source = Some(source);
                }
                Begun::Go(token) => return self.attempt(input, &job, &token).await.map(Answered::from),
            }
        }
        Err(StartError::InProgress { retry_after: None })
    }

    /// The answer for a game whose record names this container: a replay where it runs, nothing where it does not.
    async fn find_running(&self, placed: &Placed) -> Result<Option<Answer>, StartError> {
        self.check_host(&placed.host)?;
        let mut found = self.engine.find(&placed.container_id).await.map_err(try_again)?;
        if found.as_ref().is_some_and(|container| container.state == ContainerState::Paused) {
            // An operator froze it; a job that asks for the game wants it to run.
            self.engine.unpause(&placed.container_id).await.map_err(try_again)?;
            found = self.engine.find(&placed.container_id).await.map_err(try_again)?;
        }
        let Some(container) = found.filter(|container| container.state == ContainerState::Running) else {
            return Ok(None);
        };
        // Not from the record: an engine that restarts publishes another port.
        let Some(engine_endpoint) = container.endpoint else {
            let message = format!("container {} runs without a published engine port", container.id);
            return Err(StartError::Engine { code: ErrorCode::InternalError, message });
        };
        Ok(Some(Answer::Success { container_id: container.id, engine_endpoint, kind: SuccessKind::Replayed }))
    }

    fn check_host(&self, host: &str) -> Result<(), StartError> {
        if host == self.host {
            return Ok(());
        }
        let message = format!("the game is placed on host {host:?}, and this replica serves {:?}", self.host);
        Err(StartError::Engine { code: ErrorCode::HostUnavailable, message })
    }

    async fn attempt(&self, input: &StartInput, job: &RecordJob<'_>, token: &FenceToken) -> Result<Answer, StartError> {
        self.faults.reach(Point::AfterBegin);
        let attempt = self.attempt_on(input, job, token);
        let mut lease = LeaseGuard { records: &self.records, game: job.game, fence: &token.fence, is_over: false };
        let driven = async {
            self.check_host(&token.host)?;
            attempt.drive().await
        };
        let driven = tokio::select! {
            biased;
            driven = driven => driven,
            never = self.keep_lease(job.game, &token.fence) => match never {},
        };
        let result = match driven {
            Ok(result) => self.commit(job, token, result).await,
            Err(error) => Err(error),
        };
        lease.is_over = true;
        match &result {
            Ok(_) => {}
            Err(StartError::Fenced) => self.remove_own(job.game, token).await,
            Err(_) => {
                // Where the reply is lost the lease runs out; the same owner with the same job need not wait for it.
                drop(self.records.release(job.game, &token.fence).await);
            }
        }
        result
    }

    async fn commit(
        &self,
        job: &RecordJob<'_>,
        token: &FenceToken,
        result: AttemptResult,
    ) -> Result<Answer, StartError> {
        self.faults.reach(Point::BeforeCommit);
        if !self.records.commit(job, token, &result).await? {
            return Err(StartError::Fenced);
        }
        self.faults.reach(Point::AfterCommit);
        Ok(result.answer)
    }

    /// Renews the lease for as long as it is polled. A lost fence is not acted on here: every step of the attempt that
    /// changes something checks it, and an engine call must not be dropped half-way.
    async fn keep_lease(&self, game: &GameId, fence: &str) -> std::convert::Infallible {
        let until = Instant::now() + self.max_run;
        loop {
            sleep(self.records.lease() / 3).await;
            if Instant::now() < until {
                drop(self.records.renew(game, fence).await);
            }
        }
    }

    /// After an attempt was fenced: removes the container that carries its token, unless a later attempt may have
    /// adopted it.
    async fn remove_own(&self, game: &GameId, token: &FenceToken) {
        let Ok(Some(container)) = self.engine.find(&game.container_name()).await else { return };
        if container.label(label::OWNER) != self.records.owner() || container.label(label::FENCE) != token.fence {
            return;
        }
        if self.records.disown(game, &container.id).await == Ok(true) {
            tracing::info!(
                game_id = game.as_str(),
                container_id = container.id,
                "removing a fenced attempt's container"
            );
            // Where it fails the record keeps the id condemned, and the next attempt removes it.
            drop(self.engine.remove(&container.id).await);
        }
    }

    async fn end(&self, input: &StartInput, failure: Answered) -> Result<Answered, StartError> {
        let Ok((game, image)) = parse(input) else { return Ok(failure) };
        // A container that the engine does not show now is found by the game's next attempt, or by the reconciler.
        let found = self.engine.find(&game.container_name()).await.ok().flatten();
        let container = found.filter(|found| is_ours(found, &game));
        let container_id = container.as_ref().map(|container| container.id.as_str());
        let job = self.job(&game, &image, input);
        match self.records.abandon(&job, &self.host, &failure, container_id).await? {
            Abandoned::Stored(answer) => return Ok(answer),
            Abandoned::Kept => {}
            Abandoned::Taken => {
                if let Some(container_id) = container_id
                    && let Err(error) = self.engine.remove(container_id).await
                {
                    let game_id = game.as_str();
                    tracing::warn!(game_id, container_id, err = %error, "failed to remove condemned container");
                }
            }
        }
        Ok(failure)
    }

    fn job<'a>(&self, game: &'a GameId, image: &'a ImageRef, input: &'a StartInput) -> RecordJob<'a> {
        RecordJob { game, image, source: &input.source_ref, engine: self.engine.kind() }
    }

    fn attempt_on<'a>(&'a self, input: &'a StartInput, job: &RecordJob<'a>, token: &'a FenceToken) -> Attempt<'a> {
        Attempt {
            records: &self.records,
            engine: &self.engine,
            faults: &self.faults,
            launch: &self.launch,
            input,
            game: job.game,
            image: job.image,
            token,
        }
    }
}

/// Releases the lease of an attempt that is dropped half-way, as the drain deadline does it. Its entry is handed back, and
/// the replica that takes it must not wait for a lease that is no longer in use. What the engine still does for the
/// dropped attempt is found by the next one, as after a crash.
struct LeaseGuard<'a> {
    records: &'a Records,
    game: &'a GameId,
    fence: &'a str,
    is_over: bool,
}

impl Drop for LeaseGuard<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Without a runtime the process is ending, and the lease runs out by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (records, game, fence) = (self.records.clone(), self.game.clone(), self.fence.to_owned());
        drop(runtime.spawn(async move { records.release(&game, &fence).await }));
    }
}

fn parse(input: &StartInput) -> Result<(GameId, ImageRef), Answer> {
    let game =
        GameId::parse(&input.game_id).map_err(|error| Answer::failure(ErrorCode::InvalidGameId, error.to_string()))?;
    let image = ImageRef::parse(&input.image_ref)
        .map_err(|error| Answer::failure(ErrorCode::InvalidImageRef, error.to_string()))?;
    Ok((game, image))
}

impl StartService for Service {
    fn handle<'a>(&'a self, input: &'a StartInput) -> BoxFuture<'a, Result<Answered, StartError>> {
        self.start(input).boxed()
    }

    fn give_up<'a>(&'a self, input: &'a StartInput, failure: Answered) -> BoxFuture<'a, Result<Answered, StartError>> {
        self.end(input, failure).boxed()
    }

    fn engine_answers(&self) -> BoxFuture<'_, Result<(), StartError>> {
        async { self.engine.ping().await.map_err(try_again) }.boxed()
    }

    fn store_answers(&self) -> BoxFuture<'_, Result<(), StartError>> {
        async { Ok(self.records.probe().await?) }.boxed()
    }
}
