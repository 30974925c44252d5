//! The images of one engine: whether one is there, and how it is pulled.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::board::Board;
use super::failure::PullError;
use super::flight::{Reporter, SharedPulls};
use super::pull::{Parts, Pull};
use super::told::PullsTold;
use crate::contract::error_code::ErrorCode;
use crate::contract::reference::Reference;
use crate::engine::{Engine, EngineError, PullStep};
use crate::start::StartError;
use crate::start::config::PullPolicy;
use crate::start::place::Place;

/// What a start asks for.
pub(in crate::start) struct Wanted<'a> {
    /// Normalised.
    pub(in crate::start) image: &'a str,
    /// Where.
    pub(in crate::start) host: &'a str,
    /// A replica that is known to be dead: its pull is not waited for.
    pub(in crate::start) dead_owner: Option<&'a Arc<str>>,
    /// Given up while the image is on its way.
    pub(in crate::start) place: Place<'a>,
    /// Called with the steps of the pull.
    pub(in crate::start) progress: &'a (dyn Fn(PullStep) + Send + Sync),
}

/// The images of one engine.
#[derive(Debug)]
pub(crate) struct Images {
    engine: Arc<dyn Engine>,
    pull_policy: PullPolicy,
    running: SharedPulls,
    pub(super) parts: Arc<Parts>,
}

impl Images {
    /// The images of this engine, pulled by `owner`. Nothing is asked yet.
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        pull_policy: PullPolicy,
        board: Board,
        permits: Arc<Semaphore>,
        (owner, told): (&str, PullsTold),
    ) -> Self {
        // Containers that exist only in Redis have no images to pull.
        let board = Some(board).filter(|_| !engine.keeps_containers());
        let parts = Parts { engine: Arc::clone(&engine), board, permits, owner: owner.to_owned(), told };
        Self { engine, pull_policy, running: SharedPulls::default(), parts: Arc::new(parts) }
    }

    /// Makes sure that the image is on the engine, as `pull-policy` says. The outer error is that of an attempt that cannot go on,
    /// whatever becomes of the image.
    pub(in crate::start) async fn ensure(&self, wanted: Wanted<'_>) -> Result<Result<(), PullError>, StartError> {
        let Wanted { image, host, dead_owner, place, progress } = wanted;
        let is_fixed = Reference::parse(image).is_some_and(|parts| parts.is_digest);
        let asks_anyway = self.pull_policy == PullPolicy::Always && !is_fixed;
        if !asks_anyway {
            match self.engine.has_image(image).await {
                Ok(false) => {}
                seen => return Ok(seen.map(drop).map_err(PullError::from)),
            }
        }
        if self.pull_policy == PullPolicy::Never {
            let message = format!("the image {image} is not on host {host}, and pull-policy is never");
            return Ok(Err(EngineError::failed(ErrorCode::ImageNotFound, message).into()));
        }
        progress(PullStep::Starting);
        let pull = |reporter| self.pull(image, host, dead_owner.cloned(), asks_anyway).run(reporter);
        let pulled = self.running.join(image, || progress(PullStep::Receiving), pull);
        // What is answered at once is not worth giving the slot up for.
        if self.engine.keeps_containers() { Ok(pulled.await) } else { place.without(pulled).await }
    }

    /// Carries an operator's wish out: asks the registry even where the image is there.
    pub(super) async fn fetch(&self, image: &str, host: &str) -> Result<(), PullError> {
        let pull = |reporter: Reporter| self.pull(image, host, None, true).run(reporter);
        self.running.join(image, || (), pull).await
    }

    fn pull(&self, image: &str, host: &str, dead_owner: Option<Arc<str>>, asks_anyway: bool) -> Pull {
        Pull { parts: Arc::clone(&self.parts), image: image.to_owned(), host: host.to_owned(), dead_owner, asks_anyway }
    }
}
