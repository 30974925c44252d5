//! What is started, and how; and one subject's starts of one round.

use std::time::Duration;

use crate::bench::rig::place::Pairs;
use crate::tls::Tls;

/// What is started, and how.
#[derive(Debug, Clone)]
pub(crate) struct ContainersOptions {
    /// The engine.
    pub(crate) docker_host: String,
    /// How the connection to it is encrypted.
    pub(crate) docker_tls: Option<Tls>,
    /// Both as settings of the replicas.
    pub(crate) docker: Pairs,
    /// What the containers of this run carry as `engine-host-id`, and no others.
    pub(crate) host_id: String,
    /// The image; it is on the engine.
    pub(crate) image: String,
    /// Containers of one round and one subject.
    pub(crate) starts: usize,
    /// Rounds.
    pub(crate) rounds: usize,
    /// Replicas of the worker.
    pub(crate) replicas: usize,
    /// Slots of each.
    pub(crate) slots: usize,
    /// Further settings.
    pub(crate) more: Pairs,
    /// What the workers log.
    pub(crate) log_level: String,
}

impl ContainersOptions {
    /// Starts under way at once, of either subject.
    pub(crate) fn in_flight(&self) -> usize {
        self.replicas * self.slots
    }

    /// Settings of the replicas. As much is started at once as there are slots, unless something else was asked for.
    pub(crate) fn settings(&self) -> Pairs {
        let slots = self.slots.to_string();
        let mut pairs: Pairs =
            [("engine", "docker"), ("engine-host-id", &self.host_id), ("slots", &slots), ("start-concurrency", &slots)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        pairs.extend_from_slice(&self.docker);
        pairs.extend_from_slice(&self.more);
        pairs
    }
}

/// One subject's starts of one round.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// Each start.
    pub(crate) each: Vec<Duration>,
}
