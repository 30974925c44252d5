//! How a game engine is started, and how long what is left over is kept.

use std::time::Duration;

use crate::engine::Readiness;

/// How a game engine is started, and how long what is left over is kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// `engine-host-id`; none: chosen, and kept.
    pub(crate) host_id: Option<String>,
    /// `fleet-id`; none: chosen, and kept.
    pub(crate) fleet_id: Option<String>,
    /// `host-heartbeat`
    pub(crate) host_heartbeat: Duration,
    /// `on-isolation` is `stop`: the games of a host that is cut off are stopped.
    pub(crate) stops_when_isolated: bool,
    /// `game-events`; none: off.
    pub(crate) game_events: Option<String>,
    /// `record-prefix`
    pub record_prefix: String,
    /// `readiness`
    pub readiness: Readiness,
    /// `ready-timeout`
    pub(crate) ready_timeout: Duration,
    /// `pull-policy`
    pub(crate) pull_policy: PullPolicy,
    /// `pull-concurrency`
    pub(crate) pull_concurrency: usize,
    /// `reconcile-interval`
    pub(crate) reconcile_interval: Duration,
    /// `reconcile-grace`
    pub(crate) reconcile_grace: Duration,
}

/// When an image is asked for at its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    /// When it is not on the engine.
    Missing,
    /// At every start, unless its reference is a digest that is on the engine.
    Always,
    /// Never: it is there, or the job fails.
    Never,
}
