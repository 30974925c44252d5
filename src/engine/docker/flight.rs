//! One pull per image at a time, shared by everybody who waits for it.
//!
//! A pull runs in a task of its own, so a waiter that is dropped breaks nobody else's. The pull ends with its last
//! waiter, so there are never more pulls than waiters, and what has ended is forgotten.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::contract::error_code::ErrorCode;
use crate::engine::EngineError;

/// What the waiters see of a pull.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// Something has arrived.
    flows: bool,
    /// How it ended.
    landed: Option<Result<(), EngineError>>,
}

/// A pull's way to say that something has arrived.
#[derive(Debug, Clone)]
pub(super) struct Reporter(watch::Sender<Progress>);

impl Reporter {
    /// Tells every waiter; only the first call does anything.
    pub(super) fn flows(&self) {
        self.0.send_if_modified(|progress| !std::mem::replace(&mut progress.flows, true));
    }
}

/// The pulls under way, by image.
#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: Arc<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay(Mutex<HashMap<String, watch::Sender<Progress>>>);

impl Flights {
    /// Waits for the pull of `image`, and begins it with `pull` where none is under way. `flows` is called at most
    /// once, as soon as something has arrived.
    pub(super) async fn join<F>(
        &self,
        image: &str,
        flows: impl Fn(),
        pull: impl FnOnce(Reporter) -> F,
    ) -> Result<(), EngineError>
    where
        F: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        let mut waiter = self.board(image, pull);
        let mut told = false;
        loop {
            let progress = waiter.borrow_and_update().clone();
            if progress.flows && !told {
                told = true;
                flows();
            }
            if let Some(result) = progress.landed {
                return result;
            }
            if waiter.changed().await.is_err() {
                return Err(EngineError::failed(ErrorCode::InternalError, "the pull ended without a result"));
            }
        }
    }

    fn board<F>(&self, image: &str, pull: impl FnOnce(Reporter) -> F) -> watch::Receiver<Progress>
    where
        F: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        let mut under_way = self.under_way.lock();
        if let Some(sender) = under_way.get(image) {
            return sender.subscribe();
        }
        let (sender, waiter) = watch::channel(Progress::default());
        under_way.insert(image.to_owned(), sender.clone());
        let pull = pull(Reporter(sender.clone()));
        let flight = Flight { under_way: Arc::clone(&self.under_way), image: image.to_owned(), sender, listed: true };
        tokio::spawn(flight.run(pull));
        waiter
    }
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Progress>>> {
        // Entries are put in and taken out whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One pull under way; strikes itself off the list however it ends.
#[derive(Debug)]
struct Flight {
    under_way: Arc<UnderWay>,
    image: String,
    sender: watch::Sender<Progress>,
    /// Still on the list; once it is not, an entry of the same image is somebody else's.
    listed: bool,
}

impl Flight {
    async fn run(mut self, pull: impl Future<Output = Result<(), EngineError>>) {
        let result = tokio::select! {
            result = pull => result,
            () = self.abandoned() => return,
        };
        self.strike_off();
        self.sender.send_modify(|progress| progress.landed = Some(result));
    }

    /// Returns when nobody waits any more, struck off under the lock so that nobody can board in between.
    async fn abandoned(&mut self) {
        loop {
            self.sender.closed().await;
            let mut under_way = self.under_way.lock();
            if self.sender.receiver_count() == 0 {
                under_way.remove(&self.image);
                self.listed = false;
                return;
            }
        }
    }

    fn strike_off(&mut self) {
        if std::mem::take(&mut self.listed) {
            self.under_way.lock().remove(&self.image);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.strike_off();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Pulls that count themselves and end when they are let go.
    #[derive(Debug)]
    struct Fixture {
        flights: Flights,
        begun: Arc<AtomicUsize>,
        gate: Arc<Semaphore>,
        flowed: AtomicUsize,
    }

    impl Fixture {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                flights: Flights::default(),
                begun: Arc::default(),
                gate: Arc::new(Semaphore::new(0)),
                flowed: AtomicUsize::new(0),
            })
        }

        async fn join(&self, image: &str) -> Result<(), EngineError> {
            let (begun, gate, fails) = (Arc::clone(&self.begun), Arc::clone(&self.gate), image == "broken");
            let flows = || {
                self.flowed.fetch_add(1, Ordering::SeqCst);
            };
            let pull = move |reporter: Reporter| async move {
                begun.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.expect("never closed").forget();
                reporter.flows();
                reporter.flows();
                if fails { Err(EngineError::ImageMissing) } else { Ok(()) }
            };
            self.flights.join(image, flows, pull).await
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

    fn spawn(fixture: &Arc<Fixture>, image: &'static str) -> tokio::task::JoinHandle<Result<(), EngineError>> {
        let fixture = Arc::clone(fixture);
        tokio::spawn(async move { fixture.join(image).await })
    }

    #[tokio::test]
    async fn waiters_share_a_pull_and_its_result() {
        for (image, want) in [("good", Ok(())), ("broken", Err(EngineError::ImageMissing))] {
            let fixture = Fixture::new();
            let waiters: Vec<_> = (0..8).map(|_| spawn(&fixture, image)).collect();
            fixture.settle().await;
            fixture.gate.add_permits(1);
            for waiter in waiters {
                assert_eq!(waiter.await.expect("no panic"), want);
            }
            assert_eq!(fixture.begun(), 1);
            assert_eq!(fixture.flowed.load(Ordering::SeqCst), 8);
            assert!(fixture.flights.under_way.lock().is_empty());
        }
    }

    #[tokio::test]
    async fn a_dropped_waiter_breaks_nobody() {
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
        assert!(fixture.flights.under_way.lock().is_empty());
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
        let flights = Flights::default();
        let result = flights.join("x", || (), |_| async { panic!("a bug in a pull") }).await;
        assert!(matches!(result, Err(EngineError::Failed { code: ErrorCode::InternalError, .. })), "{result:?}");
        assert!(flights.under_way.lock().is_empty());
    }
}
