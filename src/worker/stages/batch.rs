//! Endings that are settled together.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::time::Instant;

use super::held::Held;
use crate::metrics::labels::{OutcomeCode, OutcomeKind};
use crate::stream::settle::Ending;
use crate::worker::handler::Request;

/// An entry that has ended in this process, and has not in Redis.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The entry.
    pub(crate) held: Held,
    /// How it ends.
    pub(crate) ending: Ending,
    /// What is logged and counted once its outcome is published; nothing where it has none.
    pub(crate) summary: Option<Summary>,
}

/// What is logged and counted of an outcome.
#[derive(Debug)]
pub(crate) struct Summary {
    /// The job.
    pub(crate) request: Arc<dyn Request>,
    /// What it says.
    pub(crate) kind: OutcomeKind,
    /// The published error code.
    pub(crate) error_code: Cow<'static, str>,
    /// The same from a closed list.
    pub(crate) label: OutcomeCode,
}

/// Endings that are settled in one step.
#[derive(Debug)]
pub(crate) struct Batch {
    /// At most [`BATCH_MAX`](crate::stream::settle::BATCH_MAX), of one ledger hour, never empty.
    pub(crate) entries: Vec<Finished>,
    /// The ledger's index is told of the hour's bucket.
    pub(crate) marks_index: bool,
    /// That hour.
    pub(crate) hour: u64,
    /// When it was sent.
    pub(crate) sent_at: Instant,
}
