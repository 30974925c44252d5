//! One pull per image at a time in this process, shared by all that wait for it.
//!
//! A pull runs in a task of its own, so that dropping one waiter does not end the wait of the others. The pull ends with
//! its last waiter, so there are never more pulls than waiters. Ended pulls are forgotten.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::failure::PullError;

/// What the waiters see of a pull.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// The registry has begun to answer.
    is_receiving: bool,
    /// How it ended.
    result: Option<Result<(), PullError>>,
}

/// Lets a pull report to its waiters.
#[derive(Debug, Clone)]
pub(super) struct Reporter(watch::Sender<Progress>);

impl Reporter {
    /// The registry has begun to answer. Only the first call has an effect.
    pub(super) fn receiving(&self) {
        self.0.send_if_modified(|progress| !std::mem::replace(&mut progress.is_receiving, true));
    }
}

/// The pulls that run now.
#[derive(Debug, Default)]
pub(super) struct SharedPulls {
    running: Arc<Running>,
}

/// Each pull by its image, with the channel to its waiters.
#[derive(Debug, Default)]
struct Running(Mutex<HashMap<String, watch::Sender<Progress>>>);

impl SharedPulls {
    /// Waits for the pull of `image`, and starts it with `pull` where none runs. `receiving` is called at most once, as
    /// soon as the registry has begun to answer.
    pub(super) async fn join<F>(
        &self,
        image: &str,
        receiving: impl Fn(),
        pull: impl FnOnce(Reporter) -> F,
    ) -> Result<(), PullError>
    where
        F: Future<Output = Result<(), PullError>> + Send + 'static,
    {
        let mut waiter = self.subscribe(image, pull);
        let mut was_receiving = false;
        loop {
            let progress = waiter.borrow_and_update().clone();
            if progress.is_receiving && !was_receiving {
                was_receiving = true;
                receiving();
            }
            if let Some(result) = progress.result {
                return result;
            }
            if waiter.changed().await.is_err() {
                return Err(PullError::bug("the pull ended without a result"));
            }
        }
    }

    fn subscribe<F>(&self, image: &str, pull: impl FnOnce(Reporter) -> F) -> watch::Receiver<Progress>
    where
        F: Future<Output = Result<(), PullError>> + Send + 'static,
    {
        let mut running = self.running.lock();
        if let Some(sender) = running.get(image) {
            return sender.subscribe();
        }
        let (sender, waiter) = watch::channel(Progress::default());
        running.insert(image.to_owned(), sender.clone());
        let pull = pull(Reporter(sender.clone()));
        let shared =
            SharedPull { running: Arc::clone(&self.running), image: image.to_owned(), sender, is_listed: true };
        tokio::spawn(shared.run(pull));
        waiter
    }
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Progress>>> {
        // Each change is one insert or one remove, so a panic elsewhere cannot leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One pull that runs. However it ends, it takes itself off the list.
#[derive(Debug)]
struct SharedPull {
    running: Arc<Running>,
    image: String,
    sender: watch::Sender<Progress>,
    /// Whether it is still on the list. Once it is not, an entry for its image belongs to another pull.
    is_listed: bool,
}

impl SharedPull {
    async fn run(mut self, pull: impl Future<Output = Result<(), PullError>>) {
        let result = tokio::select! {
            result = pull => result,
            () = self.abandoned() => return,
        };
        self.unlist();
        self.sender.send_modify(|progress| progress.result = Some(result));
    }

    /// Returns when there is no waiter left. Unlists itself under the lock, so that no waiter can join in between.
    async fn abandoned(&mut self) {
        loop {
            self.sender.closed().await;
            let mut running = self.running.lock();
            if self.sender.receiver_count() == 0 {
                running.remove(&self.image);
                self.is_listed = false;
                return;
            }
        }
    }

    fn unlist(&mut self) {
        if std::mem::take(&mut self.is_listed) {
            self.running.lock().remove(&self.image);
        }
    }
}

impl Drop for SharedPull {
    fn drop(&mut self) {
        self.unlist();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::contract::error_code::ErrorCode;
    use crate::engine::EngineError;

    /// Pulls that count themselves and end when they are let go.
    #[derive(Debug)]
    struct Fixture {
        pulls: SharedPulls,
        begun: Arc<AtomicUsize>,
        gate: Arc<Semaphore>,
        received: AtomicUsize,
    }

    impl Fixture {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                pulls: SharedPulls::default(),
                begun: Arc::default(),
                gate: Arc::new(Semaphore::new(0)),
                received: AtomicUsize::new(0),
            })
        }

        async fn join(&self, image: &str) -> Result<(), PullError> {
            let (begun, gate, fails) = (Arc::clone(&self.begun), Arc::clone(&self.gate), image == "broken");
            let receiving = || {
                self.received.fetch_add(1, Ordering::SeqCst);
            };
            let pull = move |reporter: Reporter| async move {
                begun.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.expect("never closed").forget();
                reporter.receiving();
                reporter.receiving();
                if fails { Err(EngineError::ImageMissing.into()) } else { Ok(()) }
            };
            self.pulls.join(image, receiving, pull).await
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::SeqCst)
        }

        /// Lets every other task run until it waits.
        async fn settle(&self) {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn spawn(fixture: &Arc<Fixture>, image: &'static str) -> tokio::task::JoinHandle<Result<(), PullError>> {
        let fixture = Arc::clone(fixture);
        tokio::spawn(async move { fixture.join(image).await })
    }

    #[tokio::test]
    async fn waiters_share_a_pull_and_its_result() {
        for (image, want) in [("good", Ok(())), ("broken", Err(EngineError::ImageMissing.into()))] {
            let fixture = Fixture::new();
            let waiters: Vec<_> = (0..8).map(|_| spawn(&fixture, image)).collect();
            fixture.settle().await;
            fixture.gate.add_permits(1);
            for waiter in waiters {
                assert_eq!(waiter.await.expect("no panic"), want);
            }
            assert_eq!(fixture.begun(), 1);
            assert_eq!(fixture.received.load(Ordering::SeqCst), 8);
            assert!(fixture.pulls.running.lock().is_empty());
        }
    }

    #[tokio::test]
    async fn a_dropped_waiter_does_not_end_the_wait_of_another() {
        let fixture = Fixture::new();
        let first = spawn(&fixture, "good");
        fixture.settle().await;
        let second = spawn(&fixture, "good");
        fixture.settle().await;
        first.abort();
        fixture.settle().await;
        fixture.gate.add_permits(1);
        assert_eq!(second.await.expect("no panic"), Ok(()));
        assert_eq!(fixture.begun(), 1);
    }

    #[tokio::test]
    async fn a_pull_without_waiters_ends_and_is_begun_anew() {
        let fixture = Fixture::new();
        let only = spawn(&fixture, "good");
        fixture.settle().await;
        only.abort();
        fixture.settle().await;
        assert!(fixture.pulls.running.lock().is_empty());
        let next = spawn(&fixture, "good");
        fixture.settle().await;
        fixture.gate.add_permits(1);
        assert_eq!(next.await.expect("no panic"), Ok(()));
        assert_eq!(fixture.begun(), 2);
    }

    #[tokio::test]
    async fn images_do_not_wait_for_each_other() {
        let fixture = Fixture::new();
        let waiters = [spawn(&fixture, "good"), spawn(&fixture, "broken")];
        fixture.settle().await;
        assert_eq!(fixture.begun(), 2);
        fixture.gate.add_permits(2);
        for waiter in waiters {
            assert!(waiter.await.is_ok(), "no panic");
        }
    }

    #[tokio::test]
    async fn a_pull_that_panics_is_an_error_and_forgotten() {
        let pulls = SharedPulls::default();
        let result = pulls.join("x", || (), |_| async { panic!("a bug in a pull") }).await;
        let Err(PullError::Engine(EngineError::Failed { code, .. })) = result else { panic!("{result:?}") };
        assert_eq!(code, ErrorCode::InternalError);
        assert!(pulls.running.lock().is_empty());
    }
}
