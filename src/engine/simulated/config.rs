//! How the simulated engine behaves.

use std::time::Duration;

/// How the simulated engine behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Shortest start.
    pub latency_min: Duration,
    /// Longest start; uniform between the two.
    pub latency_max: Duration,
    /// Share of jobs that fail for good, 0 to 1.
    pub(crate) failures: f64,
    /// Share of attempts that fail retryably, 0 to 1.
    pub(crate) errors: f64,
    /// Decides, with the entry id, which ones.
    pub(crate) seed: u64,
}
