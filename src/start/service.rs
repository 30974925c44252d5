//! The start service: what the record says, then at most one attempt, then the commit.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout};

use super::attempt::Attempt;
use super::engine_failure::try_again;
use super::game_id::GameId;
use super::host::{Host, Identity};
use super::launch::Launch;
use super::ours::is_ours;
use super::place::full;
use super::reconcile::{Mode, Reconciler};
use super::record::{Abandoned, AttemptResult, Begun, FenceToken, Here, RecordJob, Records, Seen, Standing};
use super::step::image_conflict;
use super::{Answered, StartError, StartInput, StartService};
use crate::contract::error_code::ErrorCode;
use crate::contract::image_ref::ImageRef;
use crate::contract::job_result::{Answer, SuccessKind};
use crate::engine::{Container, ContainerState, Engine, label};
use crate::faults::{Faults, Point};

/// The production start service.
#[derive(Debug)]
pub(crate) struct Service {
    records: Records,
    engine: Arc<dyn Engine>,
    faults: Arc<Faults>,
    launch: Launch,
    /// Where new games are placed.
    host: Arc<Host>,
    /// Removes what was placed anew while this host was away.
    reconciler: Arc<Reconciler>,
    /// Held while that is done.
    clearing: tokio::sync::Mutex<()>,
    /// A lease is not renewed beyond this.
    max_run: Duration,
}

/// An engine that was silent for a whole heartbeat is asked for so long.
const PROBE: Duration = Duration::from_secs(1);
/// How often one call may begin again because the record or the engine had changed meanwhile.
const BEGINS_MAX: u32 = 8;

impl Service {
    /// A service for this engine and these records.
    pub(crate) fn new(
        records: Records,
        engine: Arc<dyn Engine>,
        faults: Arc<Faults>,
        launch: Launch,
        (host, reconciler): (Arc<Host>, Arc<Reconciler>),
        max_run: Duration,
    ) -> Self {
        Self { records, engine, faults, launch, host, reconciler, clearing: tokio::sync::Mutex::new(()), max_run }
    }

    /// Host and fleet. Before anything is started, what other hosts have placed anew is removed here.
    async fn ready(&self) -> Result<Arc<Identity>, StartError> {
        let identity = self.host.identity().await?;
        if self.host.has_to_clear() {
            let _one_at_a_time = self.clearing.lock().await;
            if self.host.has_to_clear() {
                self.reconciler.run_once(Mode::Clear).await?;
                self.host.is_cleared();
            }
        }
        Ok(identity)
    }

    /// The other hosts take this one for dead, or soon will, and place its jobs anew: nothing here may wait longer than they do.
    /// What the engine still does for an attempt that ends so is found as after a crash.
    fn silent(&self) -> StartError {
        let message = format!("the engine has answered nothing for {:?}", self.host.heartbeat());
        StartError::Engine { code: ErrorCode::EngineUnavailable, message }
    }

    async fn start(&self, input: &StartInput) -> Result<Answered, StartError> {
        let (game, image) = match parse(input) {
            Ok(parsed) => parsed,
            Err(failure) => return Ok(failure.into()),
        };
        let identity = self.ready().await?;
        let mut here = identity.here.clone();
        let job = self.job(&game, &image, input);
        let games_max = self.launch.policy.now().containers_max();
        let mut seen = Seen { dead_owner: input.dead_owner.clone(), games_max, ..Seen::default() };
        for _ in 0..BEGINS_MAX {
            match self.records.begin(&job, &here, &seen).await? {
                Begun::Stored(answered, placed) => match self.still_true(&game, &here, answered, placed).await? {
                    StillTrue::Yes(answer) => return Ok(answer),
                    StillTrue::Gone(container_id) => seen.dead_container = Some(container_id),
                    StillTrue::Elsewhere(host) => self.settle_elsewhere(&game, host, &mut here, &mut seen).await?,
                },
                Begun::Running(container_id) => match self.find_running(&container_id).await? {
                    Some(container) => return Ok(replay(container)?.into()),
                    None => seen.dead_container = Some(container_id),
                },
                Begun::Conflict { container_id, image_ref } => match self.find_running(&container_id).await? {
                    Some(_) => return Ok(image_conflict(&image_ref, &image).into()),
                    None => seen.dead_container = Some(container_id),
                },
                Begun::Elsewhere(host) => self.settle_elsewhere(&game, host, &mut here, &mut seen).await?,
                Begun::Full(games) => return Err(full(games, games_max.unwrap_or_default())),
                Begun::Halted(who) => {
                    let message = format!("the game was stopped by {who} after this job had been appended");
                    return Ok(Answer::failure(ErrorCode::GameStopped, message).into());
                }
                Begun::Busy(left) => return Err(StartError::InProgress { retry_after: Some(left) }),
                Begun::Blocked(source) => {
                    if self.records.is_pending(&source).await? {
                        return Err(StartError::InProgress { retry_after: None });
                    }
                    seen.gone_source = Some(source);
                }
                Begun::Go(token) => return self.attempt(input, &job, &token, &identity).await.map(Answered::from),
            }
        }
        Err(StartError::InProgress { retry_after: None })
    }

    /// Whether an answer that was stored and may not have been published is one still. `placed`: the host of a success, where
    /// the record says that its container runs.
    async fn still_true(
        &self,
        game: &GameId,
        here: &Here,
        answered: Answered,
        placed: Option<String>,
    ) -> Result<StillTrue, StartError> {
        let Answer::Success { container_id, engine_endpoint, kind } = &answered.answer else {
            return Ok(StillTrue::Yes(answered));
        };
        let Some(host) = placed else { return Ok(StillTrue::Gone(container_id.clone())) };
        if !here.is(&host) {
            return Ok(StillTrue::Elsewhere(host));
        }
        let Some(container) = self.find_running(container_id).await? else {
            return Ok(StillTrue::Gone(container_id.clone()));
        };
        let now_at = endpoint_of(&container)?;
        if now_at == *engine_endpoint {
            return Ok(StillTrue::Yes(answered));
        }
        self.records.moved(game, container_id, &now_at, here).await?;
        let (container_id, kind) = (container_id.clone(), *kind);
        let answer = Answer::Success { container_id, engine_endpoint: now_at, kind };
        Ok(StillTrue::Yes(Answered { answer, given_up: answered.given_up }))
    }

    /// The game is placed on another host. Where that is dead, or is this one under a name that only the container says, the
    /// attempt begins again; else the job belongs there.
    async fn settle_elsewhere(
        &self,
        game: &GameId,
        host: String,
        here: &mut Here,
        seen: &mut Seen,
    ) -> Result<(), StartError> {
        match self.host.standing(&host).await? {
            Standing::Alive => return Err(StartError::Elsewhere { host: host.into() }),
            Standing::Dead => {
                seen.dead_host = Some(host);
                return Ok(());
            }
            Standing::Unknown => {}
        }
        // A host of a version that did not say that it was there: it is the one whose engine has the container.
        let found = self.engine.find(&game.container_name()).await.map_err(try_again)?;
        if found.is_some_and(|container| container.label(label::HOST) == host) {
            *here = Here::new(here.host(), [host.as_str()]);
            return Ok(());
        }
        let message = format!(
            "the game is placed on host {host:?}, of which nothing has been heard; if it is gone for good: startjobs runtime evict {host}"
        );
        Err(StartError::Engine { code: ErrorCode::HostUnavailable, message })
    }

    /// The container, where it runs.
    async fn find_running(&self, container_id: &str) -> Result<Option<Container>, StartError> {
        let mut found = self.engine.find(container_id).await.map_err(try_again)?;
        if found.as_ref().is_some_and(|container| container.state == ContainerState::Paused) {
            // An operator froze it; a job that asks for the game wants it to run.
            self.engine.unpause(container_id).await.map_err(try_again)?;
            found = self.engine.find(container_id).await.map_err(try_again)?;
        }
        Ok(found.filter(|container| container.state == ContainerState::Running))
    }

    async fn attempt(
        &self,
        input: &StartInput,
        job: &RecordJob<'_>,
        token: &FenceToken,
        identity: &Identity,
    ) -> Result<Answer, StartError> {
        self.faults.reach(Point::AfterBegin);
        let attempt = self.attempt_on(input, job, token, identity);
        let mut lease = LeaseGuard { records: &self.records, game: job.game, fence: &token.fence, is_over: false };
        let driven = tokio::select! {
            biased;
            driven = attempt.drive() => driven,
            never = self.keep_lease(job.game, &token.fence) => match never {},
        };
        let result = match driven {
            Ok(result) => self.commit(job, token, result).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(_) => {}
            Err(StartError::Fenced) => self.remove_own(job.game, token).await,
            Err(
                StartError::Engine { .. }
                | StartError::NotBefore { .. }
                | StartError::NoRoom { .. }
                | StartError::Dismissed(_),
            ) => self.leave(job.game, token).await,
            Err(_) => {
                // Where the reply is lost the lease runs out; the same owner with the same job need not wait for it.
                drop(self.records.release(job.game, &token.fence).await);
            }
        }
        lease.is_over = true;
        if !matches!(&result, Ok(Answer::Success { .. })) && self.launch.policy.now().containers_max().is_some() {
            // Where the reply is lost the reconciler does it.
            drop(self.records.unlist(job.game, &identity.here).await);
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
        if result.is_recorded {
            return Ok(result.answer);
        }
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

    /// After an attempt that the engine failed: the host may be the reason, and another one may start the game. A container that
    /// was never started, as on a full disk, goes first; where any other is left the game stays here.
    async fn leave(&self, game: &GameId, token: &FenceToken) {
        let found = self.engine.find(&game.container_name()).await;
        // Where the reply is lost the lease runs out; the same owner with the same job need not wait for it.
        drop(match found {
            Ok(None) => self.records.leave(game, &token.fence).await,
            Ok(Some(container)) if self.remove_unstarted(game, token, &container).await => {
                self.records.leave_after(game, &token.fence, &container.id).await
            }
            Ok(Some(_)) | Err(_) => self.records.release(game, &token.fence).await,
        });
    }

    /// Whether the container of a failed attempt is gone: one that this attempt created and that was never started. It is
    /// condemned first: this process may be stopped before it removes it, and another attempt would have started it meanwhile.
    async fn remove_unstarted(&self, game: &GameId, token: &FenceToken, container: &Container) -> bool {
        let is_own =
            container.label(label::OWNER) == self.records.owner() && container.label(label::FENCE) == token.fence;
        let is_unstarted = matches!(container.state, ContainerState::Created | ContainerState::StartFailed(_));
        if !is_own || !is_unstarted {
            return false;
        }
        self.faults.reach(Point::BeforeCondemn);
        let is_condemned = self.records.condemn(game, &token.fence, &container.id).await == Ok(true);
        is_condemned && self.engine.remove(&container.id).await.is_ok()
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
            if self.engine.remove(&container.id).await.is_ok() {
                drop(self.records.removed(game, &container.id).await);
            }
        }
    }

    async fn end(&self, input: &StartInput, failure: Answered) -> Result<Answered, StartError> {
        let Ok((game, image)) = parse(input) else { return Ok(failure) };
        // A container that the engine does not show now is found by the game's next attempt, or by the reconciler.
        let identity = self.host.settled();
        let found = match &identity {
            Some(identity) => {
                let found = match self.engine.find(&game.container_name()).await {
                    Ok(found) => found,
                    // Of a cancelled job nothing is to be left, so the engine must have been asked.
                    Err(error) if failure.answer.error_code() == ErrorCode::Cancelled.as_str() => {
                        return Err(try_again(error));
                    }
                    Err(_) => None,
                };
                found.filter(|found| is_ours(found, &game, identity))
            }
            None => None,
        };
        let container_id = found.as_ref().map(|container| container.id.as_str());
        let job = self.job(&game, &image, input);
        let host = identity.as_ref().map_or("", |identity| identity.here.host());
        match self.records.abandon(&job, host, &failure, container_id).await? {
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

    fn attempt_on<'a>(
        &'a self,
        input: &'a StartInput,
        job: &RecordJob<'a>,
        token: &'a FenceToken,
        identity: &'a Identity,
    ) -> Attempt<'a> {
        Attempt {
            records: &self.records,
            engine: &self.engine,
            faults: &self.faults,
            launch: &self.launch,
            input,
            game: job.game,
            image: job.image,
            token,
            identity,
        }
    }
}

/// Whether a stored answer is one still.
enum StillTrue {
    /// It is, or the same with where the game answers now.
    Yes(Answered),
    /// Its container is gone.
    Gone(String),
    /// Only this host can tell.
    Elsewhere(String),
}

/// The answer for a game that runs already.
fn replay(container: Container) -> Result<Answer, StartError> {
    // Not from the record: an engine that restarts publishes another port.
    let engine_endpoint = endpoint_of(&container)?;
    Ok(Answer::Success { container_id: container.id, engine_endpoint, kind: SuccessKind::Replayed })
}

fn endpoint_of(container: &Container) -> Result<String, StartError> {
    container.endpoint.clone().ok_or_else(|| {
        let message = format!("container {} runs without a published engine port", container.id);
        StartError::Engine { code: ErrorCode::InternalError, message }
    })
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
        async {
            tokio::select! {
                biased;
                answered = self.start(input) => answered,
                () = self.host.engine_falls_silent() => Err(self.silent()),
            }
        }
        .boxed()
    }

    fn give_up<'a>(&'a self, input: &'a StartInput, failure: Answered) -> BoxFuture<'a, Result<Answered, StartError>> {
        self.end(input, failure).boxed()
    }

    fn engine_answers(&self) -> BoxFuture<'_, Result<(), StartError>> {
        async {
            let ping = self.engine.ping();
            if self.host.engine_is_silent() {
                // It is asked for all the while, with more patience.
                timeout(PROBE, ping).await.map_err(|_| self.silent())?.map_err(try_again)?;
            } else {
                ping.await.map_err(try_again)?;
            }
            self.host.engine_answered();
            self.host.identity().await?;
            Ok(())
        }
        .boxed()
    }

    fn store_answers(&self) -> BoxFuture<'_, Result<(), StartError>> {
        async { Ok(self.records.probe().await?) }.boxed()
    }

    fn has_room(&self) -> BoxFuture<'_, Result<bool, StartError>> {
        async {
            let Some(most) = self.launch.policy.now().containers_max() else { return Ok(true) };
            let identity = self.host.identity().await?;
            Ok(self.records.placed_count(identity.here.host()).await? < u64::from(most))
        }
        .boxed()
    }
}
