//! How the fleet is, and if it is not well, what is wrong and what to do next: facts and alerts in, one verdict out.

// what is said of a fleet
mod form;
// one thing that is wrong
mod problem;
// what can be wrong, one function each
mod causes;
// the verdict in sentences
mod words;
// what may never be said
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use self::form::{Health, Impact, Players, Verdict};
use self::problem::Cause;
pub(crate) use self::problem::{Problem, Severity};
use super::alerts::Alert;
use super::snapshot::Snapshot;

/// What is to be said of the fleet. Pure.
pub(super) fn judge(snapshot: &Snapshot, alerts: &[Alert]) -> Verdict {
    let mut causes = causes::all(snapshot, alerts);
    // Stable: among equals the order in which they are looked for.
    causes.sort_by_key(|cause| (!cause.is_down, cause.problem.severity));
    let health = health(snapshot, &causes);
    let mut problems: Vec<Problem> = causes.into_iter().map(|cause| cause.problem).collect();
    let sentence = words::sentence(health, snapshot, &problems, alerts);
    let impact = words::impact(health, snapshot, &problems);
    // On purpose, and still something that has to end.
    problems.extend(causes::paused(snapshot).map(|cause| cause.problem));
    Verdict { health, sentence, impact, problems }
}

fn health(snapshot: &Snapshot, causes: &[Cause]) -> Health {
    let is_critical = causes.iter().any(|cause| cause.problem.severity == Severity::Critical);
    if snapshot.is_unreadable {
        Health::Unknown
    } else if !snapshot.has_fleet() {
        Health::NoFleet
    } else if causes.iter().any(|cause| cause.is_down) {
        Health::Down
    } else if snapshot.paused.is_some() && !is_critical {
        Health::Paused
    } else if causes.is_empty() {
        Health::Healthy
    } else {
        Health::Degraded
    }
}
