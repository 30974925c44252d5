//! What to do next about an alert or a problem: one step, as a screen of the page and as a command.

use serde::Serialize;

/// One step. Everything may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Next {
    /// What a button says.
    pub(crate) label: Option<&'static str>,
    /// The screen of the page that the button opens, as a path.
    pub(crate) route: Option<&'static str>,
    /// The same in a terminal.
    pub(crate) command: Option<&'static str>,
}

impl Next {
    /// A screen, and the command that shows the same.
    pub(crate) const fn new(label: &'static str, route: &'static str, command: &'static str) -> Self {
        Self { label: Some(label), route: Some(route), command: Some(command) }
    }
}

/// Which replicas there are.
pub(crate) const REPLICAS: Next = Next::new("See the replicas", "/replicas", "startjobs replicas");
/// Which hosts there are.
pub(crate) const HOSTS: Next = Next::new("See the hosts", "/replicas", "startjobs runtime hosts");
/// What is held.
pub(crate) const IN_FLIGHT: Next = Next::new("See the jobs in flight", "/jobs?state=in_flight", "startjobs pending");
/// What waits.
pub(crate) const WAITING: Next =
    Next::new("See the waiting jobs", "/jobs?state=waiting", "startjobs status --watch 1s");
/// What was given up.
pub(crate) const DEAD_LETTERS: Next = Next::new("See the dead letters", "/dead", "startjobs dead list");
/// The surroundings.
pub(crate) const DOCTOR: Next = Next::new("See what is wrong", "/system", "startjobs doctor");
/// The settings.
pub(crate) const SETTINGS: Next = Next::new("See the settings", "/system", "startjobs config show");
/// The end of a pause.
pub(crate) const RESUME: Next = Next::new("Resume", "/system", "startjobs resume");
/// A replica more.
pub(crate) const START: Next = Next::new("See the replicas", "/replicas", "startjobs worker");

/// The next step of the alert of this name.
pub(crate) fn of(alert: &str) -> Next {
    match alert {
        "NoReplicas" => START,
        "ReplicaLost" | "RestartLoop" | "DisconnectNoticeOff" | "DeclaredDeadAlive" | "WorkerStuck" => REPLICAS,
        "BacklogGrowing" | "OldestWaitingTooOld" => WAITING,
        "DeadLettersGrowing" | "EntriesLost" => DEAD_LETTERS,
        "ClaimStorm" | "MirrorHeldBack" => IN_FLIGHT,
        "HostDead" | "HostFull" => HOSTS,
        _ => DOCTOR,
    }
}
