//! The server's clock, between its answers.

use tokio::time::Instant;

/// An estimate of the server's clock: never ahead of it, and behind it by no more than an answer took to arrive, as long
/// as both clocks run at the same speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerClock {
    ms: u64,
    heard_at: Instant,
}

impl ServerClock {
    /// From an answer that has just arrived.
    pub fn hear(ms: u64) -> Self {
        Self::hear_at(ms, Instant::now())
    }

    /// From an answer that arrived at this moment.
    pub(crate) fn hear_at(ms: u64, heard_at: Instant) -> Self {
        Self { ms, heard_at }
    }

    /// The estimate now, in Unix milliseconds.
    pub fn now_ms(self) -> u64 {
        self.ms_at(Instant::now())
    }

    /// The estimate at another moment.
    pub(crate) fn ms_at(self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.heard_at);
        self.ms.saturating_add(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
