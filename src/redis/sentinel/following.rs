//! What sentinels have said, for all that are connected by it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::choose::Master;
use crate::redis::RedisError;

/// Where those that have one configuration find what one of them has begun. Cloning it shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Follower(Arc<Mutex<Weak<Following>>>);

/// The sentinels of one service, asked until this is dropped.
#[derive(Debug)]
pub(in crate::redis) struct Following {
    masters: watch::Receiver<Option<Master>>,
    troubles: watch::Receiver<Option<RedisError>>,
    hurry: Arc<Notify>,
    task: AbortOnDropHandle<()>,
}

/// Tells what sentinels have said.
#[derive(Debug)]
pub(super) struct Teller {
    masters: watch::Sender<Option<Master>>,
    troubles: watch::Sender<Option<RedisError>>,
    hurry: Arc<Notify>,
}

impl Follower {
    /// Joins those that ask already, or begins.
    pub(super) fn join(
        &self,
        begin: impl FnOnce() -> Result<Following, RedisError>,
    ) -> Result<Arc<Following>, RedisError> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // It ends with the runtime that it was begun on.
        if let Some(following) = shared.upgrade().filter(|following| !following.task.is_finished()) {
            return Ok(following);
        }
        let following = Arc::new(begin()?);
        *shared = Arc::downgrade(&following);
        Ok(following)
    }
}

impl Following {
    /// Begins to ask.
    pub(super) fn begin<F>(asking: impl FnOnce(Teller) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let ((teller, masters), (complainer, troubles)) = (watch::channel(None), watch::channel(None));
        let hurry = Arc::new(Notify::new());
        let teller = Teller { masters: teller, troubles: complainer, hurry: Arc::clone(&hurry) };
        Self { masters, troubles, hurry, task: AbortOnDropHandle::new(tokio::spawn(asking(teller))) }
    }

    /// Changes with each other master.
    pub(in crate::redis) fn masters(&self) -> watch::Receiver<Option<Master>> {
        self.masters.clone()
    }

    /// Changes with each round that has found no master, and says why.
    pub(in crate::redis) fn troubles(&self) -> watch::Receiver<Option<RedisError>> {
        self.troubles.clone()
    }

    /// A call has failed as it may after a failover: the sentinels are asked again at once.
    pub(in crate::redis) fn hurry(&self) {
        self.hurry.notify_one();
    }
}

impl Teller {
    /// This is the master as of now.
    pub(super) fn master(&self, known: Option<&Master>) {
        self.masters.send_if_modified(|told| {
            let is_news = told.as_ref() != known;
            if is_news {
                *told = known.cloned();
            }
            is_news
        });
    }

    /// No master was found in this round.
    pub(super) fn trouble(&self, trouble: RedisError) {
        drop(self.troubles.send(Some(trouble)));
    }

    /// Waits until the sentinels are to be asked at once.
    pub(super) async fn hurried(&self) {
        self.hurry.notified().await;
    }
}
