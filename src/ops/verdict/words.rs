//! The verdict in sentences, for people.

use super::form::{Health, Impact, Players};
use super::problem::{Problem, Severity};
use crate::ops::alerts::{Alert, Raised, State};
use crate::ops::printable::{printable, span, time};
use crate::ops::snapshot::Snapshot;
use crate::stream::pause::Pause;

/// Causes that the first sentence names.
const CAUSES_MAX: usize = 2;
/// From this age of the oldest waiting job on players notice, in milliseconds.
const NOTICED_MS: u64 = 60_000;

/// The fleet in one or two sentences.
pub(super) fn sentence(health: Health, snapshot: &Snapshot, problems: &[Problem], alerts: &[Alert]) -> String {
    let causes = causes(problems);
    match health {
        Health::NoFleet => no_fleet(snapshot),
        Health::Unknown => format!("Not known: {causes}."),
        Health::Down => format!("Down: {causes}. {}.{}", capital(&waiting(snapshot)), paused_too(snapshot)),
        Health::Degraded => format!("Degraded: {causes}.{}", paused_too(snapshot)),
        Health::Paused => {
            let also = if problems.is_empty() { String::new() } else { format!(" Besides: {causes}.") };
            let paused = snapshot.paused.as_ref().map(|pause| paused(snapshot, pause)).unwrap_or_default();
            format!("{}. {}.{also}", capital(&paused), capital(&waiting(snapshot)))
        }
        Health::Healthy => healthy(snapshot, alerts),
    }
}

/// Two causes at most, and how many more there are.
fn causes(problems: &[Problem]) -> String {
    let named = |problem: &Problem| problem.brief.clone().unwrap_or_else(|| problem.sentence.clone());
    let named: Vec<String> = problems.iter().take(CAUSES_MAX).map(named).collect();
    match problems.len() - named.len() {
        0 => named.join("; "),
        more => format!("{}; and {more} more", named.join("; ")),
    }
}

fn healthy(snapshot: &Snapshot, alerts: &[Alert]) -> String {
    let soon: Vec<String> = alerts
        .iter()
        .filter(|alert| is_coming(alert))
        .take(CAUSES_MAX)
        .map(|alert| fires(&Raised::of(alert)))
        .collect();
    if !soon.is_empty() {
        return format!("Healthy so far: {}.", soon.join("; "));
    }
    let running = snapshot.replicas.running;
    let read = if running == 1 { "1 replica reads".to_owned() } else { format!("{running} replicas read") };
    format!("Healthy: {read}, {}.", waiting(snapshot))
}

/// Is it known when it fires, or does it matter? Servers that never know the lag would be about to fire for ever.
fn is_coming(alert: &Alert) -> bool {
    alert.state == State::Pending && (alert.true_for_ms.is_some() || alert.severity != "info")
}

fn fires(alert: &Raised) -> String {
    match alert.true_for_ms {
        Some(held) => format!("{} fires in {}", alert.name, span(alert.for_ms.saturating_sub(held))),
        None => format!("{} fires within {}", alert.name, span(alert.for_ms)),
    }
}

/// `nothing waits`, or `12 jobs wait, the oldest for 3.1s`.
pub(super) fn waiting(snapshot: &Snapshot) -> String {
    let waiting = snapshot.waiting.waiting;
    let oldest =
        snapshot.waiting.oldest_age_ms.map_or_else(String::new, |age| format!(", the oldest for {}", span(age)));
    match (waiting.count, waiting.exact) {
        (0, true) => "nothing waits".to_owned(),
        (1, true) => format!("1 job waits{}", oldest.replace(", the oldest", "")),
        (count, true) => format!("{count} jobs wait{oldest}"),
        (count, false) => format!("at least {count} jobs wait{oldest}"),
    }
}

/// `paused by ann@h 3m ago (2026-11-29T17:00:00.000Z): engine upgrade`
pub(super) fn paused(snapshot: &Snapshot, pause: &Pause) -> String {
    let by = if pause.by.is_empty() { " by hand".to_owned() } else { format!(" by {}", printable(&pause.by)) };
    let since = match pause.at_ms {
        0 => String::new(),
        at_ms => format!(" {} ago ({})", span(snapshot.at_ms.saturating_sub(at_ms)), time(at_ms)),
    };
    let reason = if pause.reason.is_empty() { String::new() } else { format!(": {}", printable(&pause.reason)) };
    format!("paused{by}{since}{reason}")
}

fn paused_too(snapshot: &Snapshot) -> String {
    let told = |pause: &Pause| {
        let by = if pause.by.is_empty() { String::new() } else { format!(" by {}", printable(&pause.by)) };
        let reason = if pause.reason.is_empty() { String::new() } else { format!(" ({})", printable(&pause.reason)) };
        format!(" The fleet is also paused{by}{reason}.")
    };
    snapshot.paused.as_ref().map(told).unwrap_or_default()
}

/// What was looked for, what there is instead, and which setting to look at.
fn no_fleet(snapshot: &Snapshot) -> String {
    let elsewhere = snapshot.elsewhere.first().map(|first| {
        let group = first.groups.first().map(|group| printable(group)).unwrap_or_default();
        format!(" This database has {} with the group {group}.", printable(&first.stream))
    });
    let settings = match (snapshot.has_stream, snapshot.other_groups.is_empty()) {
        (true, true) => "Start a replica: `startjobs worker`",
        (true, false) => "Check the setting group",
        (false, _) if elsewhere.is_some() => "Check the setting jobs-stream",
        (false, _) => "Check the settings jobs-stream and redis-url, or start a replica",
    };
    format!("There is no fleet here: {}.{} {settings}.", missing(snapshot), elsewhere.unwrap_or_default())
}

/// What there is not, where there is no fleet.
pub(super) fn missing(snapshot: &Snapshot) -> String {
    let (stream, group) = (printable(&snapshot.stream), printable(&snapshot.group));
    match (snapshot.has_stream, snapshot.other_groups.as_slice()) {
        (false, _) => format!("the stream {stream} does not exist"),
        (true, []) => format!("the stream {stream} has no group, and {}", waiting(snapshot)),
        (true, groups) => {
            let named: Vec<String> = groups.iter().take(CAUSES_MAX).map(|group| printable(group)).collect();
            format!("the stream {stream} has no group {group}, only {}", named.join(", "))
        }
    }
}

/// Who notices.
pub(super) fn impact(health: Health, snapshot: &Snapshot, problems: &[Problem]) -> Impact {
    let is_critical = problems.iter().any(|problem| problem.severity == Severity::Critical);
    let is_late = snapshot.waiting.oldest_age_ms.is_some_and(|age| age > NOTICED_MS);
    let in_hand = snapshot.waiting.waiting.count + snapshot.in_flight.count;
    let has_no_room = in_hand > 0 && snapshot.hosts.all_are_full();
    let waiting = capital(&waiting(snapshot));
    // Without its group it is not known what was in flight.
    let kept =
        if snapshot.has_group { " Nothing is lost: the first replica that can start games goes on." } else { "" };
    let unsent =
        if snapshot.redis.refuses_writes.is_some() { " Redis takes no new jobs from Lobby either." } else { "" };
    let mut until_ms = None;
    let (players, sentence) = match health {
        Health::Unknown => (Players::NotKnown, "Whether games start is not known.".to_owned()),
        Health::NoFleet => (Players::NotServed, "No game starts from this stream.".to_owned()),
        Health::Down => (Players::NotServed, format!("Players see games that do not start.{unsent}{kept}")),
        _ if snapshot.paused.is_some() => {
            (Players::NotServed, format!("On purpose: no new game starts until the pause ends. {waiting}."))
        }
        _ if has_no_room => {
            let jobs = if in_hand == 1 { "1 job has" } else { &format!("{in_hand} jobs have") };
            (Players::Delayed, format!("New games wait for room on a host: {jobs} no answer yet."))
        }
        _ if is_critical || is_late => (Players::Delayed, format!("Players may notice. {waiting}.")),
        _ if backs_off_long(snapshot) => {
            until_ms = snapshot.backing_off.next_at_ms.filter(|next| *next > snapshot.at_ms);
            let left = until_ms.map(|next| format!(", the first in {}", span(next - snapshot.at_ms)));
            let games = if snapshot.backing_off.count == 1 { "A game starts" } else { "Some games start" };
            let left = left.unwrap_or_default();
            (
                Players::Delayed,
                format!("{games} late: {} for the next try{left}.", jobs_wait(snapshot.backing_off.count)),
            )
        }
        Health::Healthy | Health::Degraded | Health::Paused => {
            (Players::Served, format!("Players are served. {waiting}. No critical alert fires."))
        }
    };
    Impact { players, sentence, until_ms }
}

/// Some job backs off, and one that a replica holds is older than players wait.
fn backs_off_long(snapshot: &Snapshot) -> bool {
    snapshot.backing_off.count > 0 && snapshot.in_flight.oldest_age_ms.is_some_and(|age| age > NOTICED_MS)
}

fn jobs_wait(count: u64) -> String {
    if count == 1 { "1 job waits".to_owned() } else { format!("{count} jobs wait") }
}

/// An alert that fires, as a cause: its summary, and what was seen.
pub(super) fn of_alert(alert: &Alert, detail: &str) -> String {
    let summary = if alert.summary.starts_with("Redis") { alert.summary.to_owned() } else { small(alert.summary) };
    if detail.is_empty() { summary } else { format!("{summary} ({})", printable(detail)) }
}

fn small(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
