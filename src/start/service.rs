//! The start service: what the record says, then at most one attempt, then the commit.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::attempt::{Attempt, Launch, Outcome, undecided};
use super::game_id::GameId;
use super::image_ref::ImageRef;
use super::record::{Abandoned, Begun, Ended, Fenced, Job, Placed, Records};
use super::{Answered, StartError, StartInput, StartService};
use crate::contract::error_code::ErrorCode;
use crate::contract::job_result::{Answer, SuccessKind};
use crate::engine::{ContainerState, Engine, label};
use crate::faults::{Faults, Point};

/// The production start service.
#[derive(Debug)]
pub struct Service {
    records: Records,
    engine: Arc<dyn Engine>,
    faults: Arc<Faults>,
    launch: Launch,
    /// `engine-host-id`: where new games are placed.
    host: String,
    /// A lease is not renewed beyond this.
    max_run: Duration,
}

/// How often one call may ask the record again after what it saw had changed meanwhile.
const BEGINS_MAX: u32 = 8;

impl Service {
    /// A service for this engine and these records.
    pub fn new(
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
        let (mut dead, mut gone) = (None, None);
        for _ in 0..BEGINS_MAX {
            match self.records.begin(&job, &self.host, dead.as_deref(), gone.as_deref()).await? {
                Begun::Stored(answer) => return Ok(answer),
                Begun::Running(placed) => match self.find_running(&placed).await? {
                    Some(answer) => return Ok(answer.into()),
                    None => dead = Some(placed.container_id),
                },
                Begun::Conflict(placed, running) => match self.find_running(&placed).await? {
                    Some(_) => {
                        let message = format!("the game runs {running}, not {}", image.as_str());
                        return Ok(Answer::failure(ErrorCode::ImageConflict, message).into());
                    }
                    None => dead = Some(placed.container_id),
                },
                Begun::Busy(left) => return Err(StartError::InProgress { retry_after: Some(left) }),
                Begun::Blocked(source) => {
                    if self.records.is_pending(&source).await? {
                        return Err(StartError::InProgress { retry_after: None });
                    }
                    gone = Some(source);
                }
                Begun::Go(fenced) => return self.attempt(input, &job, &fenced).await.map(Answered::from),
            }
        }
        Err(StartError::InProgress { retry_after: None })
    }

    /// The game's container as the record names it: a replay where it runs, nothing where it does not.
    async fn find_running(&self, placed: &Placed) -> Result<Option<Answer>, StartError> {
        self.reaches(&placed.host)?;
        let mut found = self.engine.find(&placed.container_id).await.map_err(undecided)?;
        if found.as_ref().is_some_and(|container| container.state == ContainerState::Paused) {
            // An operator froze it; a job that asks for the game wants it to run.
            self.engine.unpause(&placed.container_id).await.map_err(undecided)?;
            found = self.engine.find(&placed.container_id).await.map_err(undecided)?;
        }
        let Some(container) = found.filter(|container| container.state == ContainerState::Running) else {
            return Ok(None);
        };
        // Read anew: an engine that restarts publishes another port.
        let Some(engine_endpoint) = container.endpoint else {
            let message = format!("container {} runs without a published engine port", container.id);
            return Err(StartError::Engine { code: ErrorCode::InternalError, message });
        };
        Ok(Some(Answer::Success { container_id: container.id, engine_endpoint, kind: SuccessKind::Replayed }))
    }

    fn reaches(&self, host: &str) -> Result<(), StartError> {
        if host == self.host {
            return Ok(());
        }
        let message = format!("the game is placed on host {host:?}, and this replica serves {:?}", self.host);
        Err(StartError::Engine { code: ErrorCode::HostUnavailable, message })
    }

    async fn attempt(&self, input: &StartInput, job: &Job<'_>, fenced: &Fenced) -> Result<Answer, StartError> {
        self.faults.reach(Point::AfterBegin);
        let attempt = self.attempt_on(input, job, fenced);
        let mut unfinished =
            Unfinished { records: &self.records, game: job.game, fence: &fenced.fence, is_over: false };
        let driven = async {
            self.reaches(&fenced.host)?;
            attempt.drive().await
        };
        let result = tokio::select! {
            biased;
            result = driven => result,
            never = self.keep_lease(job.game, &fenced.fence) => match never {},
        };
        let result = match result {
            Ok(outcome) => self.commit(job, fenced, outcome).await,
            Err(error) => Err(error),
        };
        unfinished.is_over = true;
        match &result {
            Ok(_) => {}
            Err(StartError::Fenced) => self.remove_own(job.game, fenced).await,
            Err(_) => {
                // A lost reply leaves the lease to run out; the same owner and source pass it anyway.
                drop(self.records.release(job.game, &fenced.fence).await);
            }
        }
        result
    }

    async fn commit(&self, job: &Job<'_>, fenced: &Fenced, outcome: Outcome) -> Result<Answer, StartError> {
        self.faults.reach(Point::BeforeCommit);
        let ended = Ended { answer: &outcome.answer, still_condemned: outcome.still_condemned.as_deref() };
        if !self.records.commit(job, fenced, &ended).await? {
            return Err(StartError::Fenced);
        }
        self.faults.reach(Point::AfterCommit);
        Ok(outcome.answer)
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

    /// A fenced attempt removes what carries its own token, unless somebody may have adopted it.
    async fn remove_own(&self, game: &GameId, fenced: &Fenced) {
        let Ok(Some(container)) = self.engine.find(&game.container_name()).await else { return };
        let has = |name: &str| container.labels.get(name).map(String::as_str);
        if has(label::OWNER) != Some(self.records.owner()) || has(label::FENCE) != Some(fenced.fence.as_str()) {
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
        // What the engine does not tell now is found by name by the game's next attempt, or by the reconciler.
        let found = self.engine.find(&game.container_name()).await.ok().flatten();
        let has =
            |name: &str| found.as_ref().and_then(|container| container.labels.get(name)).map_or("", String::as_str);
        let is_ours = has(label::GAME_ID) == game.as_str() && !has(label::OWNER).is_empty();
        let container_id = found.as_ref().filter(|_| is_ours).map(|container| container.id.as_str());
        let job = self.job(&game, &image, input);
        match self.records.abandon(&job, &self.host, &failure, container_id).await? {
            Abandoned::Stored(answer) => return Ok(answer),
            Abandoned::Kept => {}
            Abandoned::Taken => {
                if let Some(container_id) = container_id
                    && let Err(error) = self.engine.remove(container_id).await
                {
                    tracing::warn!(game_id = game.as_str(), container_id, err = %error, "condemned container stays");
                }
            }
        }
        Ok(failure)
    }

    fn job<'a>(&self, game: &'a GameId, image: &'a ImageRef, input: &'a StartInput) -> Job<'a> {
        Job { game, image, source: &input.source_ref, engine: self.engine.kind() }
    }

    fn attempt_on<'a>(&'a self, input: &'a StartInput, job: &Job<'a>, fenced: &'a Fenced) -> Attempt<'a> {
        Attempt {
            records: &self.records,
            engine: &self.engine,
            faults: &self.faults,
            launch: &self.launch,
            input,
            game: job.game,
            image: job.image,
            fenced,
        }
    }
}

/// An attempt that may be dropped half-way, as the drain deadline does it: its entry is handed back, and whoever takes
/// it must not wait for a lease that nobody uses any more. What the engine may still do for the dropped attempt is
/// found by the next one, as after a crash.
struct Unfinished<'a> {
    records: &'a Records,
    game: &'a GameId,
    fence: &'a str,
    is_over: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Without a runtime the process ends this moment, and the lease runs out by itself.
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
        async { self.engine.ping().await.map_err(undecided) }.boxed()
    }

    fn store_answers(&self) -> BoxFuture<'_, Result<(), StartError>> {
        async { Ok(self.records.probe().await?) }.boxed()
    }
}
