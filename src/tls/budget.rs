//! How many bytes an engine's answer may have.
//!
//! The client library collects whole bodies, and whole lines of a stream, however long they are. So the bytes are counted
//! where they are read, and the connection fails before they are too many to hold in memory.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

const MIB: u64 = 1 << 20;

/// What an answer about one thing may have: a container with all of its labels and its environment, say.
const ANSWER_MAX: u64 = 4 * MIB;
/// What a list may have: about ten thousand containers.
const LIST_MAX: u64 = 16 * MIB;
/// What one item of a stream may have: a line of a pull, an event, a frame of a log. More than is read ahead.
const ITEM_MAX: u64 = MIB;
/// What all progress of a pull may have: some hundred times as much as a large image needs.
const PULL_MAX: u64 = 64 * MIB;

/// How many bytes the answer to a request may have. The request carries it to the connection; clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    total_max: u64,
    item_max: u64,
    /// Bytes of the present answer.
    total: AtomicU64,
    /// Bytes since the caller has taken an item.
    item: AtomicU64,
    is_exceeded: AtomicBool,
    /// The head of an answer has arrived.
    answered: Notify,
}

impl Default for Budget {
    /// The most that any answer may have.
    fn default() -> Self {
        Self::list()
    }
}

impl Budget {
    /// For an answer about one thing.
    pub(crate) fn answer() -> Self {
        Self::new(ANSWER_MAX, ANSWER_MAX)
    }

    /// For an answer about many.
    pub(crate) fn list() -> Self {
        Self::new(LIST_MAX, LIST_MAX)
    }

    /// For the progress of a pull, with [`Self::item_taken`] after each line.
    pub(crate) fn pull() -> Self {
        Self::new(PULL_MAX, ITEM_MAX)
    }

    /// For a log, with [`Self::item_taken`] after each frame.
    pub(crate) fn log() -> Self {
        Self::new(LIST_MAX, ITEM_MAX)
    }

    /// For items without end, with [`Self::item_taken`] after each.
    pub(crate) fn endless() -> Self {
        Self::new(u64::MAX, ITEM_MAX)
    }

    fn new(total_max: u64, item_max: u64) -> Self {
        Self(Arc::new(Shared {
            total_max,
            item_max,
            total: AtomicU64::new(0),
            item: AtomicU64::new(0),
            is_exceeded: AtomicBool::new(false),
            answered: Notify::new(),
        }))
    }

    /// An item was taken out of what has been read.
    pub(crate) fn item_taken(&self) {
        self.0.item.store(0, Ordering::Relaxed);
    }

    /// What an answer that had too many bytes is told apart by.
    pub(crate) fn exceeded(&self) -> Option<String> {
        if !self.0.is_exceeded.load(Ordering::Relaxed) {
            return None;
        }
        let Shared { total_max, item_max, total, .. } = &*self.0;
        Some(if total.load(Ordering::Relaxed) > *total_max {
            format!("the engine's answer has more than {} MiB", total_max / MIB)
        } else {
            format!("one item of the engine's answer has more than {} MiB", item_max / MIB)
        })
    }

    /// Ends when the head of an answer has arrived.
    pub(crate) async fn answered(&self) {
        self.0.answered.notified().await;
    }

    /// A request begins, so the count does.
    pub(super) fn begin(&self) {
        self.0.total.store(0, Ordering::Relaxed);
        self.0.item.store(0, Ordering::Relaxed);
        self.0.is_exceeded.store(false, Ordering::Relaxed);
    }

    pub(super) fn head_arrived(&self) {
        self.0.answered.notify_one();
    }

    /// Counts what was read; fails where it is too much.
    fn spend(&self, bytes: usize) -> io::Result<()> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let add = |count: &AtomicU64| count.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let (total, item) = (add(&self.0.total), add(&self.0.item));
        if total <= self.0.total_max && item <= self.0.item_max {
            return Ok(());
        }
        self.0.is_exceeded.store(true, Ordering::Relaxed);
        Err(io::Error::other(self.exceeded().unwrap_or_default()))
    }
}

/// A connection whose bytes are counted.
pub(super) struct Counted<T> {
    pub(super) connection: T,
    pub(super) budget: Budget,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.connection).poll_read(cx, buffer))?;
        Poll::Ready(self.budget.spend(buffer.filled().len() - before))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spends pieces of this size until it fails; the bytes that went through, and the words.
    fn until_refused(budget: &Budget, piece: usize, each: impl Fn()) -> (u64, String) {
        let mut passed = 0;
        loop {
            match budget.spend(piece) {
                Ok(()) => passed += piece as u64,
                Err(error) => return (passed, error.to_string()),
            }
            each();
        }
    }

    #[test]
    fn an_answer_ends_at_its_bound_and_the_next_begins_anew() {
        let budget = Budget::answer();
        for _ in 0..2 {
            budget.begin();
            assert_eq!(budget.exceeded(), None);
            let (passed, said) = until_refused(&budget, 1 << 16, || ());
            assert_eq!((passed, said.as_str()), (ANSWER_MAX, "the engine's answer has more than 4 MiB"));
            assert_eq!(budget.exceeded(), Some(said));
        }
    }

    #[test]
    fn items_are_bounded_one_by_one_and_all_together() {
        let pull = Budget::pull();
        let (passed, said) = until_refused(&pull, 1 << 10, || ());
        assert_eq!((passed, said.as_str()), (ITEM_MAX, "one item of the engine's answer has more than 1 MiB"));
        pull.begin();
        let (passed, said) = until_refused(&pull, 1 << 10, || pull.item_taken());
        assert_eq!((passed, said.as_str()), (PULL_MAX, "the engine's answer has more than 64 MiB"));
        let events = Budget::endless();
        for _ in 0..1_000 {
            assert!(events.spend(1 << 19).is_ok());
            events.item_taken();
        }
    }
}
