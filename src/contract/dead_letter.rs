//! The dead letter: why an entry could not be answered in the ordinary way, then the entry itself.

use bytes::Bytes;

use super::Fields;

/// Why an entry became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is not a start job; no outcome.
    Malformed,
    /// Its process died too often while it ran; answered `failure`.
    Poison,
    /// The start service failed until the budget was spent; answered `failure`.
    RetriesExhausted,
    /// Its payload was deleted from the stream while it was pending; no outcome.
    EntryLost,
}

impl Reason {
    /// The value of the `reason` field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Poison => "poison",
            Self::RetriesExhausted => "retries_exhausted",
            Self::EntryLost => "entry_lost",
        }
    }
}

/// The pairs of a dead letter before `outcome_id` and the original fields, in wire order.
pub const HEAD_FIELDS: [&str; 8] =
    ["source_ref", "reason", "detail", "deliveries", "crashes", "failures", "dead_at_ms", "consumer"];

/// The last of our own pairs: the id of the outcome published with it, empty where none was.
pub const OUTCOME_ID: &str = "outcome_id";

/// How many original pairs a dead letter keeps. Redis's Lua can pass about 8,000 arguments to one command; an entry
/// with more pairs keeps the first of them, and its `detail` says so.
pub const KEPT_PAIRS_MAX: usize = 3_000;

/// A dead letter, ready for the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The entry's id in the jobs stream.
    pub source_ref: String,
    /// Why.
    pub reason: Reason,
    /// For people.
    pub detail: String,
    /// How often the entry had been delivered.
    pub deliveries: u64,
    /// How often a process died with it.
    pub crashes: u64,
    /// How often the start service failed.
    pub failures: u64,
    /// When, by the worker's clock, in Unix milliseconds.
    pub dead_at_ms: u64,
    /// The consumer that gave it up.
    pub consumer: String,
    /// The original pairs, in order, names repeated as they came.
    pub original: Fields,
}

impl DeadLetter {
    /// The values of [`HEAD_FIELDS`], in that order.
    pub fn head(&self) -> [Bytes; 8] {
        let mut detail = self.detail.clone();
        if self.original.len() > KEPT_PAIRS_MAX {
            detail = format!("{detail}; kept the first {KEPT_PAIRS_MAX} of {} fields", self.original.len());
        }
        [
            self.source_ref.clone(),
            self.reason.as_str().to_owned(),
            detail,
            self.deliveries.to_string(),
            self.crashes.to_string(),
            self.failures.to_string(),
            self.dead_at_ms.to_string(),
            self.consumer.clone(),
        ]
        .map(Bytes::from)
    }

    /// The original pairs that are kept.
    pub fn kept(&self) -> &[(Bytes, Bytes)] {
        &self.original[..self.original.len().min(KEPT_PAIRS_MAX)]
    }
}
