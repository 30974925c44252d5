//! One pull: waits for its turn, takes it on the board of the host, lets the engine pull, and tells how far it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, interval_at, sleep};

use super::board::{Board, Claim, Claimed, End, RENEW};
use super::failure::PullError;
use super::flight::Reporter;
use super::told::{PullEvent, PullsTold};
use crate::contract::error_code::ErrorCode;
use crate::engine::{Engine, EngineError, PullProgress, PullStep};
use crate::redis::RedisError;

/// Between two looks at the pull of another replica.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A pull that takes longer is in the log.
const SLOW_AFTER: Duration = Duration::from_secs(10);
/// No registry is left alone for longer because of one answer, and none for less.
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
const WAIT_MIN: Duration = Duration::from_secs(1);

/// What every pull needs.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) engine: Arc<dyn Engine>,
    /// None: pulls are not shared, for an engine that has nothing to pull.
    pub(super) board: Option<Board>,
    /// Shared by all engines of this process.
    pub(super) permits: Arc<Semaphore>,
    /// The consumer name of this process.
    pub(super) owner: String,
    pub(super) told: PullsTold,
}

/// One pull of this process.
pub(super) struct Pull {
    pub(super) parts: Arc<Parts>,
    pub(super) image: String,
    pub(super) host: String,
    /// A replica that is known to be dead.
    pub(super) dead_owner: Option<Arc<str>>,
    /// The registry is asked even where the image is there.
    pub(super) asks_anyway: bool,
}

/// What the board says to do.
enum Turn<'a> {
    /// This process pulls, under this id.
    Mine { _permit: OwnedSemaphorePermit, board: &'a Board, id: String },
    /// It pulls, and no other replica knows of it.
    Unshared(OwnedSemaphorePermit),
    /// Another replica has pulled, or nothing may be pulled now.
    Over(Result<(), PullError>),
}

impl Pull {
    /// Until the image is there, or cannot be had.
    pub(super) async fn run(self, reporter: Reporter) -> Result<(), PullError> {
        let progress = Mutex::new(PullProgress::default());
        match self.turn(&reporter).await {
            Turn::Over(result) => result,
            Turn::Unshared(_permit) => self.ask_engine(None, &reporter, &progress).await,
            Turn::Mine { _permit, board, id } => {
                let mut held = Held { board, pull: &self, id: &id, is_over: false };
                let result = self.ask_engine(Some((board, &id)), &reporter, &progress).await;
                held.end(&result, read(&progress)).await;
                result
            }
        }
    }

    async fn turn(&self, reporter: &Reporter) -> Turn<'_> {
        let Some(board) = &self.parts.board else { return Turn::Unshared(self.permit().await) };
        let mut awaited: Option<String> = None;
        loop {
            let claimed = match self.claim(board, awaited.as_deref(), None).await {
                Ok(Claimed::Free) => {
                    // What others have taken meanwhile is seen by the second look.
                    let (permit, id) = (self.permit().await, uuid::Uuid::new_v4().simple().to_string());
                    match self.claim(board, awaited.as_deref(), Some(&id)).await {
                        Ok(Claimed::Go) => return Turn::Mine { _permit: permit, board, id },
                        Ok(claimed) => claimed,
                        Err(error) => return self.unshared(&error, permit),
                    }
                }
                Ok(claimed) => claimed,
                Err(error) => {
                    let permit = self.permit().await;
                    return self.unshared(&error, permit);
                }
            };
            match claimed {
                Claimed::Ended(result) => {
                    let result = result.map_err(|(code, message)| EngineError::failed(code, message).into());
                    return Turn::Over(result);
                }
                Claimed::Limited(wait, message) => {
                    return Turn::Over(Err(PullError::Limited { message, wait, is_new: false }));
                }
                Claimed::Busy { id, has_bytes } => {
                    if has_bytes {
                        reporter.receiving();
                    }
                    awaited = Some(id);
                    sleep(LOOK_AGAIN).await;
                }
                Claimed::Free | Claimed::Go => {
                    let error = PullError::bug("a look took the pull, or a claim did not");
                    return Turn::Over(Err(error));
                }
            }
        }
    }

    async fn claim(&self, board: &Board, awaited: Option<&str>, id: Option<&str>) -> Result<Claimed, RedisError> {
        let (image, owner, dead_owner) = (self.image.as_str(), self.parts.owner.as_str(), self.dead_owner.as_deref());
        board.claim(&self.host, Claim { image, owner, dead_owner, awaited, id }).await
    }

    /// The engine itself shares what several pulls have in common.
    fn unshared(&self, error: &RedisError, permit: OwnedSemaphorePermit) -> Turn<'_> {
        tracing::debug!(image = self.image, err = %error, "pulling without asking the other replicas of this host");
        Turn::Unshared(permit)
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        let permits = Arc::clone(&self.parts.permits);
        permits.acquire_owned().await.expect("the semaphore is never closed")
    }

    async fn ask_engine(
        &self,
        shared: Option<(&Board, &str)>,
        reporter: &Reporter,
        received: &Mutex<PullProgress>,
    ) -> Result<(), PullError> {
        let engine = &self.parts.engine;
        // It may have come while this pull waited for its turn.
        if !self.asks_anyway && engine.has_image(&self.image).await? {
            return Ok(());
        }
        let mut told = Told { pull: self, began: Instant::now(), is_over: false };
        self.parts.told.tell(&PullEvent::Began);
        let progress = |step| match step {
            PullStep::Starting => {}
            PullStep::Receiving => reporter.receiving(),
            PullStep::Received(progress) => *received.lock().unwrap_or_else(PoisonError::into_inner) = progress,
        };
        let pulled = tokio::select! {
            biased;
            pulled = engine.pull(&self.image, &progress) => pulled,
            never = self.tell_progress(shared, received, told.began) => match never {},
        };
        let result = match pulled {
            Err(EngineError::Failed { code: ErrorCode::ImagePullRateLimited, message }) => {
                Err(self.limited(message).await)
            }
            pulled => pulled.map_err(PullError::from),
        };
        told.end(read(received), &result);
        result
    }

    async fn limited(&self, message: String) -> PullError {
        match self.parts.engine.registry_wait(&self.image, &message).await {
            Some(wait) if !wait.is_zero() => {
                PullError::Limited { message, wait: wait.clamp(WAIT_MIN, WAIT_MAX), is_new: true }
            }
            // The registry does not say, so the ordinary back-off applies.
            _ => EngineError::failed(ErrorCode::ImagePullRateLimited, message).into(),
        }
    }

    /// For as long as it is polled.
    async fn tell_progress(
        &self,
        mut shared: Option<(&Board, &str)>,
        received: &Mutex<PullProgress>,
        began: Instant,
    ) -> std::convert::Infallible {
        let mut ticks = interval_at(began + RENEW, RENEW);
        let mut slow_at = began + SLOW_AFTER;
        loop {
            let now = ticks.tick().await;
            let progress = read(received);
            if let Some((board, id)) = shared
                && board.renew(&self.host, (&self.image, id), progress).await == Ok(false)
            {
                // It is pulled twice then, and the engine shares the layers.
                tracing::debug!(
                    image = self.image,
                    "another replica has taken this pull over; going on without telling it"
                );
                shared = None;
            }
            if now >= slow_at {
                // Twice as long until the next line.
                let took = now.saturating_duration_since(began);
                slow_at = now + took;
                self.parts.told.tell(&PullEvent::Slow { image: &self.image, took, progress });
            }
        }
    }
}

/// How far it is.
fn read(progress: &Mutex<PullProgress>) -> PullProgress {
    *progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells that a pull has ended, even when it is dropped.
struct Told<'a> {
    pull: &'a Pull,
    began: Instant,
    is_over: bool,
}

impl Told<'_> {
    fn end(&mut self, progress: PullProgress, result: &Result<(), PullError>) {
        self.is_over = true;
        let error = match result {
            Ok(()) => None,
            Err(PullError::Engine(error)) => Some(error.to_string()),
            Err(PullError::Limited { message, wait, .. }) => Some(format!("{message}; the registry asks for {wait:?}")),
        };
        let event = PullEvent::Ended { image: &self.pull.image, took: self.began.elapsed(), progress, error };
        self.pull.parts.told.tell(&event);
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.pull.parts.told.tell(&PullEvent::Dropped);
        }
    }
}

/// A pull that the board says is ours. One that is dropped is open to the other replicas at once.
struct Held<'a> {
    board: &'a Board,
    pull: &'a Pull,
    id: &'a str,
    is_over: bool,
}

impl Held<'_> {
    async fn end(&mut self, result: &Result<(), PullError>, progress: PullProgress) {
        let end = match result {
            Ok(()) => End::Done,
            Err(PullError::Limited { message, wait, .. }) => End::Limited(message, *wait),
            Err(PullError::Engine(EngineError::Failed { code, message })) => End::Failed(*code, message),
            Err(PullError::Engine(_)) => End::Failed(ErrorCode::InternalError, "the engine refused the pull"),
        };
        // Where Redis does not answer, others wait until the line is not renewed any more.
        drop(self.board.finish(&self.pull.host, (&self.pull.image, self.id), (end, progress)).await);
        self.is_over = true;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Without a runtime the process is ending, and the line is not renewed any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (board, host, image) = (self.board.clone(), self.pull.host.clone(), self.pull.image.clone());
        let id = self.id.to_owned();
        let end = (End::GivenUp, PullProgress::default());
        drop(runtime.spawn(async move { board.finish(&host, (&image, &id), end).await }));
    }
}
