//! The verdict's form, as JSON and the page show it.

use serde::Serialize;

use super::problem::Problem;

/// How the fleet is. The first that applies is said, except that what is critical is never only paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// This stream has no such group, or there is no such stream: it is somewhere else, or has never begun.
    NoFleet,
    /// What would tell cannot be read.
    Unknown,
    /// No job is started.
    Down,
    /// An operator holds the fleet, and nothing critical is wrong besides.
    Paused,
    /// Something is wrong, or an alert fires.
    Degraded,
    /// At least one replica reads, nothing is wrong, and no alert fires.
    Healthy,
}

/// What players notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Players {
    /// Nothing: games start.
    Served,
    /// Some games start late, or not.
    Delayed,
    /// No game starts.
    NotServed,
    /// It cannot be known.
    NotKnown,
}

/// Who notices, and whether it can wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Impact {
    /// What players notice.
    pub(crate) players: Players,
    /// The same for people, in whole sentences.
    pub(crate) sentence: String,
    /// Until when, where that is known: Unix milliseconds of the server's clock.
    pub(crate) until_ms: Option<u64>,
}

/// What is to be said of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// How it is, in one word.
    pub(crate) health: Health,
    /// The same for people: one or two sentences, with two causes at most, the worst first.
    pub(crate) sentence: String,
    /// Who notices.
    pub(crate) impact: Impact,
    /// Everything that is wrong, the worst first; a pause is the last.
    pub(crate) problems: Vec<Problem>,
}
