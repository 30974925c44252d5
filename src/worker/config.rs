//! One replica's limits and rhythms.

use std::time::Duration;

use crate::redis;
use crate::stream;

/// One replica's limits and rhythms.
#[derive(Debug, Clone)]
pub struct Config {
    /// `slots`: starts under way at once, and entries held that are to be started.
    pub(crate) slots: usize,
    /// `claim-idle`: how long an entry must lie untouched before another replica takes it; the lease lasts as long.
    pub claim_idle: Duration,
    /// `disconnect-grace`: how long the subscription of a replica must be missing before it is declared dead; none: off.
    pub disconnect_grace: Option<Duration>,
    /// `sweep-interval`: one claim sweep in the fleet per interval.
    pub(crate) sweep_interval: Duration,
    /// `block`: how long one blocking read waits.
    pub block: Duration,
    /// `drain-timeout`
    pub drain_timeout: Duration,
    /// `max-run`: renewal of one entry ends after this long.
    pub(crate) max_run: Duration,
    /// `retry-min`
    pub(crate) retry_min: Duration,
    /// `retry-max`
    pub(crate) retry_max: Duration,
    /// `retry-attempts`: service failures until the budget is spent.
    pub(crate) retry_attempts: u32,
    /// `retry-max-age`: time since the first failure until the budget is spent.
    pub(crate) retry_max_age: Duration,
    /// `crash-budget`
    pub(crate) crash_budget: u32,
    /// `max-backing-off`
    pub max_backing_off: usize,
    /// `max-held-bytes`
    pub(crate) max_held_bytes: usize,
    /// `start-deadline`; none: off.
    pub(crate) start_deadline: Option<Duration>,
    /// `janitor-interval`
    pub(crate) janitor_interval: Duration,
    /// `consumer-idle`
    pub(crate) consumer_idle: Duration,
    /// `settle-wait-replicas`: how many replicas of Redis a settled batch is waited for; 0: none.
    pub(crate) settle_wait_replicas: u64,
}

impl Config {
    /// How often an entry we hold is renewed. Two renewals may be lost before another replica may claim it.
    pub fn renewal_interval(&self) -> Duration {
        self.claim_idle / 3
    }
}

/// What a replica is configured by.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// How to reach Redis.
    pub redis: redis::Config,
    /// The streams, the group and the keys beside them.
    pub stream: stream::Config,
    /// Limits and rhythms.
    pub worker: Config,
    /// A server that may lose data is refused.
    pub strict: bool,
}
