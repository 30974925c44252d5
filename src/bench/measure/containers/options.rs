//! What is started, and how; and one subject's starts of one round.

use std::time::Duration;

use crate::bench::rig::place::Pairs;
use crate::tls::Tls;

/// A host: an engine, and a name that its containers carry.
#[derive(Debug, Clone)]
pub(crate) struct HostOptions {
    /// Where its engine answers.
    pub(crate) docker_host: String,
    /// How the connection to it is encrypted.
    pub(crate) docker_tls: Option<Tls>,
    /// Both and the ports as settings of its replicas.
    pub(crate) docker: Pairs,
    /// On which ports its containers are published, `FIRST-LAST`; none: at the engine's choice.
    pub(crate) ports: Option<String>,
    /// What the containers of this run on this host carry as `engine-host-id`, and no others.
    pub(crate) host_id: String,
}

/// What is started, and how.
#[derive(Debug, Clone)]
pub(crate) struct ContainersOptions {
    /// The hosts, at least one.
    pub(crate) hosts: Vec<HostOptions>,
    /// The name of this run, which no other has; also the fleet's.
    pub(crate) run: String,
    /// The image; it is on every engine.
    pub(crate) image: String,
    /// Containers of one round and one subject.
    pub(crate) starts: usize,
    /// Rounds.
    pub(crate) rounds: usize,
    /// Replicas of the worker on each host.
    pub(crate) replicas: usize,
    /// Slots of each.
    pub(crate) slots: usize,
    /// Further settings.
    pub(crate) more: Pairs,
    /// What the workers log.
    pub(crate) log_level: String,
}

impl ContainersOptions {
    /// Starts under way at once on each host, of either subject.
    pub(crate) fn in_flight_on_one(&self) -> usize {
        self.replicas * self.slots
    }

    /// Starts under way at once on all hosts.
    pub(crate) fn in_flight(&self) -> usize {
        self.hosts.len() * self.in_flight_on_one()
    }

    /// The same on the first host alone.
    pub(crate) fn on_one_host(&self) -> Self {
        let hosts = self.hosts.iter().take(1).cloned().collect();
        Self { hosts, ..self.clone() }
    }

    /// Settings of all replicas. As much is started at once as there are slots, unless something else was asked for.
    pub(crate) fn settings(&self) -> Pairs {
        let slots = self.slots.to_string();
        let own: Pairs =
            [("engine", "docker"), ("fleet-id", &self.run), ("slots", &slots), ("start-concurrency", &slots)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        [own, self.more.clone()].concat()
    }
}

impl HostOptions {
    /// Further settings of the replicas on this host.
    pub(crate) fn settings(&self) -> Pairs {
        let id = ("engine-host-id".to_owned(), self.host_id.clone());
        self.docker.iter().cloned().chain([id]).collect()
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
