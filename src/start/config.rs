//! How a game engine is started, and how long what is left over is kept.

use std::time::Duration;

use crate::engine::Readiness;

/// How a game engine is started, and how long what is left over is kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// `engine-host-id`
    pub(crate) host_id: String,
    /// `record-prefix`
    pub record_prefix: String,
    /// `readiness`
    pub readiness: Readiness,
    /// `ready-timeout`
    pub(crate) ready_timeout: Duration,
    /// `reconcile-interval`
    pub(crate) reconcile_interval: Duration,
    /// `reconcile-grace`
    pub(crate) reconcile_grace: Duration,
}
