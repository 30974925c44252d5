//! What the sending thread, the observing thread and the main task of a run share: the book, the clock of the run, and
//! the request to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::books::Books;

/// What the threads of one run share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// The book.
    pub(crate) books: Arc<Mutex<Books>>,
    /// The beginning of the run.
    pub(crate) began: Instant,
    /// Asks every thread to end.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Shared {
    /// The book, for a moment.
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether the threads shall end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
