//! What is started, and how; and one subject's starts of one round.

use std::time::Duration;

use crate::bench::rig::place::Pairs;
use crate::tls::Tls;

/// What is started, and how.
#[derive(Debug, Clone)]
pub struct ContainersOptions {
    /// The engine.
    pub docker_host: String,
    /// How the connection to it is encrypted.
    pub docker_tls: Option<Tls>,
    /// Both as settings of the replicas.
    pub docker: Pairs,
    /// What the containers of this run carry as `engine-host-id`, and no others.
    pub host_id: String,
    /// The image; it is on the engine.
    pub image: String,
    /// Containers of one round and one subject.
    pub starts: usize,
    /// Rounds.
    pub rounds: usize,
    /// Replicas of the worker.
    pub replicas: usize,
    /// Slots of each.
    pub slots: usize,
    /// Further settings.
    pub more: Pairs,
    /// What the workers log.
    pub log_level: String,
}

impl ContainersOptions {
    /// Starts under way at once, of either subject.
    pub fn in_flight(&self) -> usize {
        self.replicas * self.slots
    }

    /// Settings of the replicas. As much is started at once as there are slots, unless something else was asked for.
    pub fn settings(&self) -> Pairs {
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
pub struct Started {
    /// From the first request to the last answer.
    pub took: Duration,
    /// Each start.
    pub each: Vec<Duration>,
}
