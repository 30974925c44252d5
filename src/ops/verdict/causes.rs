//! What can be wrong with a fleet. Each function answers the problem, or nothing.

use std::time::Duration;

use super::problem::{Cause, Severity, is_wrong_now};
use super::words;
use crate::ops::alerts::{Alert, next};
use crate::ops::hosts::HostView;
use crate::ops::printable::{printable, span};
use crate::ops::snapshot::Snapshot;

/// An entry that waits longer than this although replicas read is worth a word.
const WAITS_LONG: Duration = Duration::from_secs(30);
/// Names in one sentence.
const NAMED_MAX: usize = 3;

/// Everything that is wrong. An alert that fires is named once.
pub(super) fn all(snapshot: &Snapshot, alerts: &[Alert]) -> Vec<Cause> {
    let mut causes = keys(snapshot);
    causes.extend(refused(snapshot));
    if snapshot.is_unreadable {
        // Whatever else is seen may be wrong.
    } else if !snapshot.has_fleet() {
        causes.push(Cause::of(Severity::Critical, words::missing(snapshot), next::SETTINGS));
    } else {
        causes.extend(unread(snapshot, alerts));
        causes.extend(no_engine(snapshot));
        causes.extend(no_group(snapshot));
        causes.extend(slow(snapshot, alerts));
        causes.extend(gone(snapshot));
        causes.extend(dead_hosts(snapshot));
        causes.extend(sick_hosts(snapshot));
        causes.extend(full_hosts(snapshot));
        causes.extend(mirror(snapshot));
    }
    for alert in alerts.iter().filter(|alert| is_wrong_now(alert)) {
        let severity = Severity::of(alert);
        if let Some(cause) = causes.iter_mut().find(|cause| cause.problem.alert == Some(alert.name)) {
            cause.problem.severity = cause.problem.severity.min(severity);
        } else {
            let since_ms = alert.true_for_ms.map(|held| snapshot.at_ms.saturating_sub(held));
            let brief = alert.brief.as_deref().map(|brief| words::of_alert(alert, brief));
            let sentence = words::of_alert(alert, &alert.detail);
            causes.push(Cause::alert(alert.name, severity, sentence).since(since_ms).brief(brief));
        }
    }
    causes
}

/// The pause, which is on purpose: of no weight.
pub(super) fn paused(snapshot: &Snapshot) -> Option<Cause> {
    let pause = snapshot.paused.as_ref()?;
    let sentence = words::paused(snapshot, pause);
    Some(Cause::of(Severity::Info, sentence, next::RESUME).since((pause.at_ms > 0).then_some(pause.at_ms)))
}

fn keys(snapshot: &Snapshot) -> Vec<Cause> {
    let wrong = snapshot.wrong_types.iter().map(|wrong| Cause::of(Severity::Critical, printable(wrong), next::DOCTOR));
    let exhausted = snapshot.exhausted.iter().map(|stream| {
        let stream = printable(stream);
        let sentence =
            format!("the stream {stream} has used the largest possible id: Redis refuses every further entry");
        Cause::alert("StreamExhausted", Severity::Critical, sentence)
    });
    wrong.chain(exhausted).collect()
}

/// Redis answers and takes no write: no replica reads, settles or renews, and Lobby can send no job.
fn refused(snapshot: &Snapshot) -> Option<Cause> {
    let refusal = snapshot.redis.refuses_writes.as_ref()?;
    let mute = match snapshot.mute() {
        0 => String::new(),
        1 => ", so the only replica that was there cannot renew".to_owned(),
        count => format!(", so {count} replicas cannot renew"),
    };
    let sentence = format!("{}{mute}", refusal.sentence());
    Some(Cause::alert("RedisRefusesWrites", Severity::Critical, sentence).since(snapshot.replicas.renewed_ms).down())
}

fn unread(snapshot: &Snapshot, alerts: &[Alert]) -> Option<Cause> {
    let replicas = snapshot.replicas;
    // Replicas that cannot renew are silent, and may all be there.
    if replicas.running > 0 || snapshot.mute() > 0 {
        return None;
    }
    let sentence = match replicas.draining {
        0 if !snapshot.has_group => "no replica reads, and there is no consumer group".to_owned(),
        0 => "no replica reads".to_owned(),
        1 => "no replica reads: the only one drains".to_owned(),
        draining => format!("no replica reads: all {draining} drain"),
    };
    let known = alerts.iter().find(|alert| alert.name == "NoReplicas").and_then(|alert| alert.true_for_ms);
    let since_ms = known.map(|held| snapshot.at_ms.saturating_sub(held));
    Some(Cause::alert("NoReplicas", Severity::Critical, sentence).since(since_ms).down())
}

/// Replicas run, and no engine starts a game.
fn no_engine(snapshot: &Snapshot) -> Option<Cause> {
    let (replicas, hosts) = (snapshot.replicas, &snapshot.hosts);
    let cause = |sentence: String| Cause::alert("EngineDown", Severity::Critical, sentence).next(next::HOSTS).down();
    if replicas.running == 0 || snapshot.paused.is_some() {
        return None;
    }
    if hosts.dead > 0 && hosts.replicas_of_dead() >= replicas.alive {
        let sentence = format!("no engine answers: every host is dead ({})", printable(&hosts.dead_named()));
        // Since the last of them died.
        return Some(cause(sentence).since(hosts.dead_since_ms.last().copied()));
    }
    let (idle, running) = (replicas.idle, replicas.running);
    if idle < running {
        return None;
    }
    let them = if running == 1 { "the only replica takes".to_owned() } else { format!("all {running} replicas take") };
    Some(cause(format!("{them} no job: engine or state store do not answer")))
}

fn no_group(snapshot: &Snapshot) -> Option<Cause> {
    let is_missing = !snapshot.has_group && snapshot.replicas.running > 0;
    let (group, stream) = (printable(&snapshot.group), printable(&snapshot.stream));
    is_missing.then(|| Cause::of(Severity::Warning, format!("no group {group} on {stream}"), next::DOCTOR))
}

fn slow(snapshot: &Snapshot, alerts: &[Alert]) -> Vec<Cause> {
    let longer = |age: Option<u64>, limit: Duration| age.filter(|&age| u128::from(age) > limit.as_millis());
    let reads = snapshot.paused.is_none() && snapshot.replicas.running > 0;
    let waits = longer(snapshot.waiting.oldest_age_ms, WAITS_LONG).filter(|_| reads).map(|age| {
        let name = "OldestWaitingTooOld";
        let is_critical = alerts.iter().any(|alert| alert.name == name && alert.is_raised());
        let severity = if is_critical { Severity::Critical } else { Severity::Warning };
        let since_ms = Some(snapshot.at_ms.saturating_sub(age));
        Cause::alert(name, severity, words::waiting(snapshot)).since(since_ms)
    });
    let runs = longer(snapshot.in_flight.oldest_age_ms, snapshot.max_run).map(|age| {
        let id = printable(snapshot.in_flight.oldest_id.as_deref().unwrap_or_default());
        let since_ms = Some(snapshot.at_ms.saturating_sub(age));
        Cause::of(Severity::Warning, format!("entry {id} has no answer after {}", span(age)), next::IN_FLIGHT)
            .since(since_ms)
    });
    waits.into_iter().chain(runs).collect()
}

/// Replicas that ended without signing off, for as long as their records are kept: `consumer-idle`, an hour.
fn gone(snapshot: &Snapshot) -> Option<Cause> {
    let counts = snapshot.replicas;
    let lost = counts.lost - snapshot.mute().min(counts.lost);
    let all = counts.dead + lost;
    if all == 0 && counts.lost > 0 {
        return None;
    }
    if all == 0 {
        let sentence = format!("{} in flight with a consumer that is no replica", counts.stranded);
        return (counts.stranded > 0).then(|| Cause::of(Severity::Warning, sentence, next::IN_FLIGHT));
    }
    let replicas = |count: u64| if count == 1 { "1 replica".to_owned() } else { format!("{count} replicas") };
    let what = match (counts.dead, lost) {
        (0, lost) => format!("{} lost", replicas(lost)),
        (dead, 0) => format!("{} dead", replicas(dead)),
        (dead, lost) => format!("{} dead, {lost} lost", replicas(dead)),
    };
    let ago = |since_ms| span(snapshot.at_ms.saturating_sub(since_ms));
    let since = match (counts.gone_since_ms, counts.gone_last_ms) {
        (Some(first), Some(last)) if all > 1 && first < last => {
            format!(", the first since {}, the last since {}", ago(first), ago(last))
        }
        (Some(first), _) => format!(" since {}", ago(first)),
        (None, _) => String::new(),
    };
    let held = match (counts.stranded, all) {
        (0, _) => String::new(),
        (stranded, 1) => format!(", {stranded} in flight with it"),
        (stranded, _) => format!(", {stranded} in flight with them"),
    };
    let sentence = format!("{what}{since}{held}");
    let cause = Cause::alert("ReplicaLost", Severity::Warning, sentence);
    Some(cause.since(counts.gone_since_ms).until(counts.gone_until_ms))
}

/// Where no replica runs at all, no host can be alive.
fn dead_hosts(snapshot: &Snapshot) -> Option<Cause> {
    let hosts = &snapshot.hosts;
    let them = if hosts.dead == 1 { "1 host is dead" } else { &format!("{} hosts are dead", hosts.dead) };
    (hosts.dead > 0 && snapshot.replicas.running > 0).then(|| {
        let sentence = format!("{them}: {}", printable(&hosts.dead_named()));
        Cause::alert("HostDead", Severity::Critical, sentence).since(hosts.dead_since_ms.first().copied())
    })
}

/// Where all are sick, jobs start one at a time, as trials.
fn sick_hosts(snapshot: &Snapshot) -> Option<Cause> {
    let sick: Vec<&HostView> = snapshot.hosts.sick().collect();
    let named: Vec<String> = sick.iter().take(NAMED_MAX).map(|host| printable(&host.host)).collect();
    let more = sick.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let (what, all) = if sick.len() == 1 { ("the host", "is") } else { ("the hosts", "are") };
    (!sick.is_empty()).then(|| {
        let sentence = format!("{what} {}{more} {all} sick: one job at a time is tried there", named.join(", "));
        let is_all = snapshot.replicas.sick >= snapshot.replicas.running;
        let severity = if is_all { Severity::Critical } else { Severity::Warning };
        Cause::alert("EngineDown", severity, sentence).next(next::HOSTS)
    })
}

/// New games wait then. A full host beside others is no problem: they take its jobs.
fn full_hosts(snapshot: &Snapshot) -> Option<Cause> {
    let hosts = &snapshot.hosts;
    let has_jobs = snapshot.waiting.waiting.count + snapshot.in_flight.count > 0;
    let sentence = || format!("every host is full: {}", printable(&hosts.full_named()));
    // Since the last of them became full.
    let since_ms = hosts.full().filter_map(|host| host.full_since_ms).max();
    (has_jobs && hosts.all_are_full()).then(|| Cause::alert("HostFull", Severity::Warning, sentence()).since(since_ms))
}

fn mirror(snapshot: &Snapshot) -> Option<Cause> {
    let mirror = &snapshot.mirror;
    if mirror.exact != Some(false) && !mirror.foreign {
        return None;
    }
    let watermark = mirror.watermark.as_deref().unwrap_or("before the oldest entry in flight");
    Some(if let Some(id) = &mirror.id {
        let id = printable(id);
        let sentence =
            format!("the offset mirror is at {id}, the watermark is {watermark}: another program writes the offset");
        Cause::alert("ForeignOffset", Severity::Critical, sentence)
    } else {
        Cause::of(Severity::Warning, format!("there is no offset mirror, the watermark is {watermark}"), next::DOCTOR)
    })
}
