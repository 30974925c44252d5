//! What happens to pulls, for log and metrics.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::PullProgress;

/// What happens to pulls, for log and metrics.
#[derive(Debug)]
pub(crate) enum PullEvent<'a> {
    /// One has begun.
    Began,
    /// One takes long.
    Slow {
        /// The image.
        image: &'a str,
        /// For how long so far.
        took: Duration,
        /// How far it is.
        progress: PullProgress,
    },
    /// One has ended.
    Ended {
        /// The image.
        image: &'a str,
        /// After so long.
        took: Duration,
        /// How far it came.
        progress: PullProgress,
        /// Why it failed.
        error: Option<String>,
    },
    /// One was dropped: nothing waits for it any more.
    Dropped,
}

/// Is called with what happens to pulls.
#[derive(Clone)]
pub(crate) struct PullsTold(Arc<dyn Fn(&PullEvent<'_>) + Send + Sync>);

impl PullsTold {
    /// This is called.
    pub(crate) fn new(told: impl Fn(&PullEvent<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    pub(super) fn tell(&self, event: &PullEvent<'_>) {
        (self.0)(event);
    }
}

impl std::fmt::Debug for PullsTold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PullsTold")
    }
}
