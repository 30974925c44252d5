//! What is told of a job that is not being started, and of what to do next.

use serde::Serialize;

/// For what it waits. The first that applies is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WaitsFor {
    /// The end of the pause.
    Resume,
    /// Redis refuses writes.
    Writes,
    /// A replica that reads.
    Replica,
    /// Every host has as many games as it may.
    Room,
    /// Its next try.
    NextTry,
    /// Its image.
    Image,
    /// Replicas read, and no engine answers them.
    Engine,
    /// Other jobs are before it.
    Turn,
}

/// Why it is not being started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Wait {
    /// For what it waits.
    pub(crate) waits_for: WaitsFor,
    /// The same for people, as the rest of a sentence; foreign text in it is escaped.
    pub(crate) sentence: String,
    /// Jobs before it that no replica has read.
    pub(crate) ahead: Option<u64>,
    /// All of them were counted.
    pub(crate) ahead_exact: bool,
    /// Jobs that the fleet has answered in a minute lately.
    pub(crate) per_minute: Option<u64>,
}

/// What to do next about a job: one command, and where to read more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct NextStep {
    /// The command.
    pub(crate) command: Option<String>,
    /// What to read.
    pub(crate) runbook: Option<String>,
}
