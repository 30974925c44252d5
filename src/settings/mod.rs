//! Settings: everything an operator decides, validated as a whole before anything else runs.

// what settings there are
pub mod shape;
pub mod table;
// where their texts come from
mod file;
pub mod flags;
mod nearest;
mod source;
// what the texts mean
mod redis_url;
mod url;
mod validate;
// what is wrong with them
mod report;

use std::net::SocketAddr;
use std::time::Duration;

use crate::engine::Readiness;
use crate::redis::config as redis;
use crate::tls::Tls;

pub use report::{Problem, Report};
pub use source::{Origin, Sources, Values};
pub use validate::{Loaded, ResolvedSetting};

/// Every setting, typed, complete and cross-checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach Redis.
    pub redis: redis::Config,
    /// The streams, the group and the keys beside them.
    pub stream: StreamSettings,
    /// One replica's limits and rhythms.
    pub worker: WorkerSettings,
    /// Which engine starts containers, and how.
    pub engine: EngineSettings,
    /// What is refused or allowed beyond production use.
    pub faults: FaultSettings,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where probes and metrics are served; none: nowhere.
    pub http_addr: Option<SocketAddr>,
    /// Turns start-up warnings about data safety into errors.
    pub strict: bool,
}

/// The streams, the group and the keys beside them.
#[derive(Debug, Clone)]
pub struct StreamSettings {
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

/// One replica's limits and rhythms.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// `slots`: starts under way at once, and entries held that are to be started.
    pub slots: usize,
    /// `claim-idle`: how long an entry must lie untouched before another replica takes it; the lease lasts as long.
    pub claim_idle: Duration,
    /// `sweep-interval`: one claim sweep in the fleet per interval.
    pub sweep_interval: Duration,
    /// `block`: how long one blocking read waits.
    pub block: Duration,
    /// `drain-timeout`
    pub drain_timeout: Duration,
    /// `max-run`: renewal of one entry ends after this long.
    pub max_run: Duration,
    /// `retry-min`
    pub retry_min: Duration,
    /// `retry-max`
    pub retry_max: Duration,
    /// `retry-attempts`: service failures until the budget is spent.
    pub retry_attempts: u32,
    /// `retry-max-age`: time since the first failure until the budget is spent.
    pub retry_max_age: Duration,
    /// `crash-budget`
    pub crash_budget: u32,
    /// `max-backing-off`
    pub max_backing_off: usize,
    /// `max-held-bytes`
    pub max_held_bytes: usize,
    /// `start-deadline`; none: off.
    pub start_deadline: Option<Duration>,
    /// `janitor-interval`
    pub janitor_interval: Duration,
    /// `consumer-idle`
    pub consumer_idle: Duration,
}

impl WorkerSettings {
    /// How often an entry we hold is renewed. Two renewals may be lost before another replica may claim it.
    pub fn renewal_interval(&self) -> Duration {
        self.claim_idle / 3
    }
}

/// Which engine starts containers, and how.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// `engine`
    pub kind: EngineKind,
    /// `docker-host`, else `DOCKER_HOST`, else the local socket; a `unix://` or `tcp://` URL.
    pub docker_host: String,
    /// How the connection to it is encrypted (`docker-tls-*`); none: it is not.
    pub docker_tls: Option<Tls>,
    /// `engine-host-id`
    pub host_id: String,
    /// `engine-port`: where a game engine listens inside its container.
    pub port: u16,
    /// `start-concurrency`: containers created and started at once by one process.
    pub start_concurrency: usize,
    /// `record-prefix`
    pub record_prefix: String,
    /// `readiness`
    pub readiness: Readiness,
    /// `ready-timeout`
    pub ready_timeout: Duration,
    /// `simulated-*`
    pub simulated: SimulatedSettings,
    /// `reconcile-interval`
    pub reconcile_interval: Duration,
    /// `reconcile-grace`
    pub reconcile_grace: Duration,
}

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// A Docker Engine.
    Docker,
    /// Containers that exist only in Redis.
    Simulated,
}

/// How the simulated engine behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedSettings {
    /// Shortest start.
    pub latency_min: Duration,
    /// Longest start; uniform between the two.
    pub latency_max: Duration,
    /// Share of jobs that fail for good, 0 to 1.
    pub failures: f64,
    /// Share of attempts that fail retryably, 0 to 1.
    pub errors: f64,
    /// Decides, with the entry id, which ones.
    pub seed: u64,
}

/// Fault injection. Both points are refused unless it is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultSettings {
    /// `STARTJOBS_CRASH_AT`: the process kills itself when it reaches this point.
    pub crash_at: Option<crate::faults::Point>,
    /// `STARTJOBS_PAUSE_AT`: the process stops itself there, once.
    pub pause_at: Option<crate::faults::Point>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}
