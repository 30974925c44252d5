//! What can be measured, and what comes of it.

use std::time::Duration;

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) enum Experiment {
    /// Replicas die or freeze, one after the other, while all slots are busy.
    Kills(Kills),
    /// Jobs that kill the process that starts them, among others.
    Poison {
        /// Jobs in all.
        jobs: usize,
        /// Of them, those that kill.
        killers: usize,
    },
    /// Every replica stopped and started anew, one after the other, under load.
    Rolling {
        /// Jobs a second.
        rate: u32,
        /// How long jobs are sent; at least one full round is made.
        lasts: Duration,
    },
}

/// Replicas that die or freeze.
#[derive(Debug, Clone)]
pub(crate) struct Kills {
    /// How many, one after the other.
    pub(crate) count: usize,
    /// How each of them ends.
    pub(crate) by: Death,
    /// Nothing is sent between the end of a replica and the last answer to what it held. Otherwise the slots of the whole
    /// fleet stay busy.
    pub(crate) pauses: bool,
    /// While they run, another fleet on the same Redis drains backlogs of so many jobs.
    pub(crate) drain_beside: Option<u64>,
}

/// How a replica ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// SIGKILL. The kernel closes its connections.
    Kill,
    /// SIGABRT, as after a failed assertion. The kernel closes its connections.
    Abort,
    /// SIGSTOP. Its connections stay open, so it is only silent. It is killed after its jobs are answered.
    Stop,
}

impl Death {
    /// The name of its signal.
    pub(super) fn signal(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Abort => "SIGABRT",
            Self::Stop => "SIGSTOP",
        }
    }

    /// Whether Redis sees it at once.
    pub(super) fn closes_connections(self) -> bool {
        self != Self::Stop
    }
}

/// What came of an experiment.
#[derive(Debug)]
pub(crate) struct Figures {
    /// For people.
    pub(crate) text: String,
    /// What was promised holds.
    pub(crate) is_kept: bool,
}
