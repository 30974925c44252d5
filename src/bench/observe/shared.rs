//! What the sending thread, the observing thread and the main task of a run share: the book, the clock of the run, and
//! the request to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::books::Books;

/// What the threads of one run share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The book.
    pub books: Arc<Mutex<Books>>,
    /// The beginning of the run.
    pub began: Instant,
    /// Asks every thread to end.
    pub stop: Arc<AtomicBool>,
}

impl Shared {
    /// The book, for a moment.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether the threads shall end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
