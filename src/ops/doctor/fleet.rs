//! The keys, the group, the mirror and the replicas.

use std::time::Duration;

use super::finding::Finding;
use crate::ops::View;
use crate::ops::backlog::COUNTED_MAX;
use crate::ops::look::Look;
use crate::ops::printable::{printable, span};
use crate::ops::snapshot::Snapshot;
use crate::redis::RedisError;

/// Looks at everything that the fleet keeps in Redis.
pub(super) async fn fleet(view: &View) -> Result<Vec<Finding>, RedisError> {
    let look = view.look().await?;
    let snapshot = view.overview(COUNTED_MAX).await?.snapshot;
    let wrong = view.wrong_types(&look);
    let mut findings: Vec<Finding> = wrong
        .iter()
        .map(|wrong| Finding::fail("keys", wrong.clone(), "rename or delete that key, or name another in the settings"))
        .collect();
    if wrong.is_empty() {
        let held = look.types.values().filter(|held| *held != "none").count();
        findings.push(Finding::ok("keys", format!("{held} of {} exist, every one of its type", look.types.len())));
    }
    findings.extend(ids(&look));
    findings.push(group(&snapshot, &view.group, &view.keys.jobs));
    findings.push(lag(&snapshot));
    findings.push(mirror(&snapshot));
    findings.push(replicas(&snapshot));
    findings.extend(versions(&snapshot));
    if let Some(pause) = &snapshot.paused {
        let found = format!("the fleet is paused by {}", printable(&pause.by));
        findings.push(Finding::warn("pause", found, "startjobs resume"));
    }
    Ok(findings)
}

/// Ids further ahead than this were written by a sender and not given by Redis, or the server's clock went back.
const AHEAD_MAX: Duration = Duration::from_secs(60);

fn ids(look: &Look) -> Vec<Finding> {
    const ABOUT: &str = "ids";
    let exhausted = look.exhausted.iter().map(|stream| {
        let found = format!("{stream} has used the largest possible id: Redis refuses every further entry");
        Finding::fail(ABOUT, found, "move the stream aside: docs/runbooks.md, StreamExhausted")
    });
    let mut findings: Vec<Finding> = exhausted.collect();
    let ahead = look.id_ahead_ms();
    if findings.is_empty() {
        findings.push(if u128::from(ahead) > AHEAD_MAX.as_millis() {
            let found = format!("the last id of the jobs stream is {} ahead of the server's clock", span(ahead));
            Finding::warn(ABOUT, found, "let senders use XADD with *: ages and limits by age are wrong until then")
        } else {
            Finding::ok(ABOUT, "every stream takes further entries")
        });
    }
    findings
}

fn group(snapshot: &Snapshot, group: &str, jobs: &str) -> Finding {
    if snapshot.has_group {
        Finding::ok("group", format!("{group} on {jobs}"))
    } else {
        Finding::warn("group", format!("no group {group} on {jobs}"), "start a replica: it creates the group")
    }
}

fn lag(snapshot: &Snapshot) -> Finding {
    let waiting = snapshot.waiting.waiting.text();
    let remedy = "scale on startjobs' own count of waiting entries, not on the lag";
    match (snapshot.lag.value, snapshot.lag.agrees) {
        _ if !snapshot.has_group => Finding::ok("lag", "no group yet"),
        (None, _) => Finding::warn("lag", format!("the server does not know it; {waiting} wait"), remedy),
        (Some(lag), Some(false)) => Finding::warn("lag", format!("the server says {lag}; {waiting} wait"), remedy),
        (Some(lag), _) => Finding::ok("lag", format!("{lag}")),
    }
}

fn mirror(snapshot: &Snapshot) -> Finding {
    let mirror = &snapshot.mirror;
    let id = mirror.id.as_deref().map_or_else(|| "none".to_owned(), printable);
    let remedy = "stop the other program that writes the offset; the fleet corrects it with the next outcome";
    match mirror.exact {
        None => Finding::ok("mirror", "no group yet"),
        Some(true) if !mirror.foreign => Finding::ok("mirror", format!("{id}, the exact watermark")),
        Some(_) if mirror.id.is_none() => {
            Finding::warn("mirror", "none", "start a replica: it writes the mirror with the next outcome")
        }
        Some(_) => {
            let watermark = mirror.watermark.as_deref().unwrap_or("before the oldest entry in flight");
            Finding::fail("mirror", format!("{id}, but the watermark is {watermark}"), remedy)
        }
    }
}

fn replicas(snapshot: &Snapshot) -> Finding {
    let counts = snapshot.replicas;
    let found = format!("{} running, {} draining, {} lost", counts.running, counts.draining, counts.lost);
    match (counts.running, counts.stranded) {
        (0, _) => Finding::warn("replicas", found, "start a replica: startjobs worker"),
        (_, 0) => Finding::ok("replicas", found),
        (_, stranded) => {
            let found = format!("{found}; {stranded} entries with those that are gone");
            Finding::warn("replicas", found, "the others take them over by themselves; look again in some seconds")
        }
    }
}

fn versions(snapshot: &Snapshot) -> Option<Finding> {
    let versions: Vec<String> = snapshot.versions.iter().map(|version| printable(version)).collect();
    (versions.len() > 1).then(|| {
        let oldest = snapshot
            .in_flight
            .oldest_age_ms
            .map_or_else(String::new, |age| format!("; oldest in flight {}", span(age)));
        Finding::warn("versions", format!("replicas of {}{oldest}", versions.join(" and ")), "finish the rollout")
    })
}
