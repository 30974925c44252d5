//! The keys, the group, the mirror and the replicas.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::finding::Finding;
use super::rights::LATE_NOTICE;
use crate::ops::View;
use crate::ops::backlog::COUNTED_MAX;
use crate::ops::look::Look;
use crate::ops::printable::{printable, span};
use crate::ops::replicas::{Notice, Replica};
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
    findings.extend(hosts(&snapshot));
    findings.extend(notice(&view.replicas(&look).replicas));
    findings.extend(policies(&view.replicas(&look).replicas));
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
    let mut found = format!("{} running, {} draining", counts.running, counts.draining);
    for (count, what) in [(counts.dead, "dead"), (counts.lost, "lost")] {
        if count > 0 {
            _ = write!(found, ", {count} {what}");
        }
    }
    match (counts.running, counts.stranded) {
        (0, _) => Finding::warn("replicas", found, "start a replica: startjobs worker"),
        (_, 0) => Finding::ok("replicas", found),
        (_, stranded) => {
            let found = format!("{found}; {stranded} entries with those that are gone");
            Finding::warn("replicas", found, "the others take them over by themselves; look again in some seconds")
        }
    }
}

/// Nothing where no host has said anything yet.
fn hosts(snapshot: &Snapshot) -> Option<Finding> {
    const ABOUT: &str = "hosts";
    let hosts = &snapshot.hosts;
    let counted = hosts.counted()?;
    if hosts.dead == 0 {
        return Some(Finding::ok(ABOUT, counted));
    }
    let found = format!("{counted}: {}", hosts.dead_named());
    let remedy = "start a replica there, or give the host up: startjobs runtime evict HOST";
    Some(Finding::warn(ABOUT, found, remedy))
}

/// Would the death of each be noticed at once? Nothing where no replica says.
fn notice(replicas: &[Replica]) -> Option<Finding> {
    const ABOUT: &str = "death notice";
    let alive: Vec<&Replica> = replicas.iter().filter(|replica| replica.is_alive()).collect();
    let count = |notice: Notice| alive.iter().filter(|replica| replica.disconnect_notice == Some(notice)).count();
    let [on, down, off, refused] = [Notice::On, Notice::Down, Notice::Off, Notice::Refused].map(count);
    if on + down + off + refused == 0 {
        return None;
    }
    let mut found = format!("the death of {on} of {} replicas would be noticed at once", alive.len());
    let unsaid = alive.len() - on - down - off - refused;
    for (count, why) in [
        (down, "not heard at this moment"),
        (off, "with disconnect-grace off"),
        (refused, "refused by the server"),
        (unsaid, "of an older version"),
    ] {
        if count > 0 {
            _ = write!(found, ", {count} {why}");
        }
    }
    Some(match (refused, down) {
        (0, 0) => Finding::ok(ABOUT, found),
        (0, _) => Finding::warn(ABOUT, found, "look again in some seconds; then at the logs of these replicas"),
        (_, _) => Finding::warn(ABOUT, found, LATE_NOTICE),
    })
}

/// Do all replicas follow the same rules? Nothing where they do.
fn policies(replicas: &[Replica]) -> Option<Finding> {
    let mut by_policy: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    for replica in replicas.iter().filter(|replica| replica.is_alive()) {
        by_policy.entry(replica.policy.as_deref()).or_default().push(&replica.name);
    }
    if by_policy.len() < 2 {
        return None;
    }
    let part = |(policy, names): (Option<&str>, Vec<&str>)| {
        let policy =
            policy.map_or_else(|| "without a policy".to_owned(), |digest| format!("with policy {}", printable(digest)));
        format!("{} {policy} ({})", names.len(), printable(names[0]))
    };
    let found = format!(
        "replicas follow different policies: {}",
        by_policy.into_iter().map(part).collect::<Vec<_>>().join(", ")
    );
    let remedy = "give all replicas the same policy file; until then it depends on the host which images run";
    Some(Finding::warn("policies", found, remedy))
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
