//! Conditions: a trouble is said once when it begins and once when it ends, however often it is met meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::WORKER;
use super::vitals::Vitals;
use crate::metrics::Metrics;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// Redis does not answer. Any call that succeeds ends it.
    Redis,
    /// Reading new entries is refused.
    Read,
    /// Asking the ledger and the attempts about new entries is refused.
    Admit,
    /// Settling is refused.
    Settle,
    /// Renewing is refused.
    Renew,
    /// Claiming is refused.
    Claim,
    /// Tidying is refused.
    Tidy,
    /// The group or its stream is gone.
    Group,
    /// The container engine does not answer.
    Engine,
}

impl Trouble {
    /// Its name in logs, metrics and probes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Read => "read",
            Self::Admit => "admit",
            Self::Settle => "settle",
            Self::Renew => "renew",
            Self::Claim => "claim",
            Self::Tidy => "tidy",
            Self::Group => "group",
            Self::Engine => "engine",
        }
    }
}

/// The troubles of this process.
#[derive(Debug)]
pub struct Conditions {
    stream: String,
    metrics: Arc<Metrics>,
    vitals: Arc<Vitals>,
    since: HashMap<Trouble, (Instant, u64)>,
}

impl Conditions {
    /// No troubles yet, for the worker of this stream.
    pub fn new(stream: &str, metrics: Arc<Metrics>, vitals: Arc<Vitals>) -> Self {
        Self { stream: stream.to_owned(), metrics, vitals, since: HashMap::new() }
    }

    /// The trouble is met; says so only the first time. Answers how often in a row it has been met now.
    pub fn met(&mut self, trouble: Trouble, err: &str) -> u64 {
        let (_, times) = self.since.entry(trouble).or_insert_with(|| (Instant::now(), 0));
        *times += 1;
        if *times == 1 {
            self.metrics.condition_began(trouble.as_str());
            self.vitals.trouble_began(trouble, err);
            tracing::warn!(worker = WORKER, stream = self.stream, condition = trouble.as_str(), err, "condition began");
        }
        *times
    }

    /// The trouble is not there; says so if it was.
    pub fn over(&mut self, trouble: Trouble) {
        if let Some((since, times)) = self.since.remove(&trouble) {
            self.metrics.condition_ended(trouble.as_str());
            self.vitals.trouble_ended(trouble);
            let lasted_s = since.elapsed().as_secs_f64();
            let stream = &self.stream;
            tracing::info!(worker = WORKER, stream, condition = trouble.as_str(), lasted_s, times, "condition ended");
        }
    }

    /// Is the trouble there?
    pub fn has(&self, trouble: Trouble) -> bool {
        self.since.contains_key(&trouble)
    }
}
