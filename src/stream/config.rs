//! The names of the streams and of the group, and how what they hold is kept.

use std::time::Duration;

use crate::contract::job_result::{FIELDS, ORIGINAL_FIELDS};

/// The group that scripts make for a moment to see which entries exist.
pub(crate) const PROBE_GROUP: &str = "startjobs:probe";

/// The streams, the group and the keys beside them.
#[derive(Debug, Clone)]
pub struct Config {
    /// `jobs-stream`
    pub jobs: String,
    /// `results-stream`
    pub results: String,
    /// `dead-stream`
    pub dead: String,
    /// `group`
    pub group: String,
    /// `offset-key` with `{label}` replaced by `startjobs`.
    pub offset_key: String,
    /// `outcome-fields`
    pub outcome_fields: OutcomeFields,
    /// `ledger-ttl`
    pub ledger_ttl: Duration,
    /// `dead-max`, entries
    pub dead_max: u64,
    /// `max-field-bytes`
    pub max_field_bytes: usize,
    /// `trim-jobs`
    pub trim_jobs: bool,
    /// `results-retention`
    pub results_retention: Option<Duration>,
}

/// Which fields an outcome carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeFields {
    /// The six fields of the original worker, byte for byte.
    Original,
    /// The six, then `source_ref`, `requested_at_ms`, `finished_at_ms`, `attempt`.
    Extended,
}

impl OutcomeFields {
    /// Their names, in wire order.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Original => &FIELDS[..ORIGINAL_FIELDS],
            Self::Extended => &FIELDS,
        }
    }
}
