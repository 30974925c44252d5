//! Whether the fleet is healthy, and if not, what is wrong: facts in, one verdict out.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::printable::{printable, span, time};
use super::snapshot::Snapshot;

/// How the fleet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// Nothing is wrong.
    Healthy,
    /// An operator holds the fleet, and nothing is wrong besides.
    Paused,
    /// Something is wrong.
    Degraded,
}

/// An entry that waits longer than this although replicas read is worth a word.
const WAITS_LONG: Duration = Duration::from_secs(30);

/// What is to be said of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// Healthy, paused or degraded.
    pub(crate) health: Health,
    /// The same for people, with every problem.
    pub(crate) sentence: String,
    /// Everything that is wrong, one sentence each.
    pub(crate) problems: Vec<String>,
}

/// What is wrong with the fleet. Pure.
pub(super) fn judge(snapshot: &Snapshot) -> Verdict {
    let mut problems: Vec<String> = snapshot.wrong_types.clone();
    problems.extend(snapshot.exhausted.iter().map(|stream| {
        format!("the stream {stream} has used the largest possible id: Redis refuses every further entry")
    }));
    problems.extend(unread(snapshot));
    problems.extend(slow(snapshot));
    problems.extend(stranded(snapshot));
    problems.extend(dead_hosts(snapshot));
    problems.extend(full_hosts(snapshot));
    problems.extend(mirror(snapshot));
    let (health, sentence) = match (problems.is_empty(), pause(snapshot)) {
        (true, None) => (Health::Healthy, "healthy".to_owned()),
        (true, Some(pause)) => (Health::Paused, pause),
        (false, pause) => {
            let all: Vec<String> = problems.iter().cloned().chain(pause).collect();
            (Health::Degraded, format!("degraded: {}", all.join("; ")))
        }
    };
    Verdict { health, sentence, problems }
}

/// Reported only if it is wrong: entries wait, the fleet is not paused, and no replica is there.
fn unread(snapshot: &Snapshot) -> Option<String> {
    let (waiting, in_flight) = (snapshot.waiting.waiting, snapshot.in_flight.count);
    if snapshot.paused.is_some() || snapshot.replicas.running > 0 || waiting.count + in_flight == 0 {
        return None;
    }
    let what = match (waiting.count, in_flight) {
        (0, in_flight) => format!("{in_flight} in flight"),
        (_, 0) => format!("{} waiting", waiting.text()),
        (_, in_flight) => format!("{} waiting, {in_flight} in flight", waiting.text()),
    };
    Some(match snapshot.replicas.draining {
        0 if !snapshot.has_group => format!("no replica reads and there is no consumer group: {what}"),
        0 => format!("no replica reads: {what}"),
        draining => format!("every replica drains ({draining}): {what}"),
    })
}

fn slow(snapshot: &Snapshot) -> Vec<String> {
    let longer = |age: Option<u64>, limit: Duration| age.filter(|&age| u128::from(age) > limit.as_millis());
    let reads = snapshot.paused.is_none() && snapshot.replicas.running > 0;
    let waits = longer(snapshot.waiting.oldest_age_ms, WAITS_LONG)
        .filter(|_| reads)
        .map(|age| format!("{} waiting, the oldest for {}", snapshot.waiting.waiting.text(), span(age)));
    let runs = longer(snapshot.in_flight.oldest_age_ms, snapshot.max_run).map(|age| {
        let id = snapshot.in_flight.oldest_id.as_deref().unwrap_or_default();
        format!("entry {id} has no answer after {}", span(age))
    });
    waits.into_iter().chain(runs).collect()
}

fn stranded(snapshot: &Snapshot) -> Option<String> {
    let (dead, lost, stranded) = (snapshot.replicas.dead, snapshot.replicas.lost, snapshot.replicas.stranded);
    let replicas = |count: u64| if count == 1 { "1 replica".to_owned() } else { format!("{count} replicas") };
    let them = if dead + lost == 1 { "it" } else { "them" };
    (stranded > 0).then(|| match (dead, lost) {
        (0, 0) => format!("{stranded} in flight with a consumer that is no replica"),
        (0, lost) => format!("{} lost, {stranded} in flight with {them}", replicas(lost)),
        (dead, 0) => format!("{} dead, {stranded} in flight with {them}", replicas(dead)),
        (dead, lost) => format!("{} dead, {lost} lost, {stranded} in flight with {them}", replicas(dead)),
    })
}

/// Where no replica runs at all, no host can be alive.
fn dead_hosts(snapshot: &Snapshot) -> Option<String> {
    let hosts = &snapshot.hosts;
    let them = if hosts.dead == 1 { "1 host is dead" } else { &format!("{} hosts are dead", hosts.dead) };
    (hosts.dead > 0 && snapshot.replicas.running > 0).then(|| format!("{them}: {}", printable(&hosts.dead_named())))
}

/// New games wait then. A full host beside others is no problem: they take its jobs.
fn full_hosts(snapshot: &Snapshot) -> Option<String> {
    let hosts = &snapshot.hosts;
    let has_jobs = snapshot.waiting.waiting.count + snapshot.in_flight.count > 0;
    (has_jobs && hosts.all_are_full()).then(|| format!("every host is full: {}", printable(&hosts.full_named())))
}

fn mirror(snapshot: &Snapshot) -> Option<String> {
    let mirror = &snapshot.mirror;
    if mirror.exact != Some(false) && !mirror.foreign {
        return None;
    }
    let watermark = mirror.watermark.as_deref().unwrap_or("before the oldest entry in flight");
    Some(match &mirror.id {
        Some(id) => {
            let id = printable(id);
            format!("the offset mirror is at {id}, the watermark is {watermark}: another program writes the offset")
        }
        None => format!("there is no offset mirror, the watermark is {watermark}"),
    })
}

fn pause(snapshot: &Snapshot) -> Option<String> {
    let pause = snapshot.paused.as_ref()?;
    let mut text = "paused".to_owned();
    if pause.at_ms > 0 {
        _ = write!(text, " since {}", time(pause.at_ms));
    }
    if !pause.by.is_empty() {
        _ = write!(text, " by {}", printable(&pause.by));
    }
    if !pause.reason.is_empty() {
        _ = write!(text, " ({})", printable(&pause.reason));
    }
    Some(format!("{text}: {} waiting", snapshot.waiting.waiting.text()))
}
