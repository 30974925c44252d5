//! The server: version, persistence, memory policy, clock, latency.

use std::time::Duration;

use tokio::time::Instant;

use super::finding::Finding;
use crate::ops::View;
use crate::ops::refusal::Refusal;
use crate::redis::RedisError;
use crate::redis::server::{Danger, dangers};

const PINGS: usize = 50;
/// A round trip longer than this slows every start.
const PING_SLOW: Duration = Duration::from_millis(50);

/// The version of the server, and whether it may lose data.
pub(super) async fn server(view: &View) -> Result<Vec<Finding>, RedisError> {
    let server = view.server().await?;
    let found = dangers(view.connection()).await?;
    let known = server.version.is_some();
    let has = |is_it: fn(&Danger) -> bool| found.iter().any(is_it);
    let mut findings: Vec<Finding> = found.iter().map(of_danger).collect();
    let mut fine = |is_fine: bool, about, text: &str| {
        if is_fine {
            findings.push(Finding::ok(about, text));
        }
    };
    fine(
        known && !has(|danger| matches!(danger, Danger::TooOld(_))),
        "version",
        server.version.as_deref().unwrap_or(""),
    );
    let is_persistent = !has(|danger| matches!(danger, Danger::NoAppendOnlyFile | Danger::AofFailing(_)));
    fine(known && is_persistent, "persistence", "append-only file on");
    let policy = server.eviction_policy.as_deref().unwrap_or("noeviction");
    fine(known && !has(|danger| matches!(danger, Danger::Evicts(_))), "eviction", policy);
    fine(!has(|danger| matches!(danger, Danger::ClockSkew(_))), "clock", "the server's clock and this machine's agree");
    if view.connection().follows_sentinels() && known && !has(|danger| matches!(danger, Danger::NoMinReplicas)) {
        findings.push(Finding::ok("min-replicas", "a master without replicas refuses writes"));
    }
    findings.extend(memory(server.used_memory, server.max_memory));
    findings.push(writes(server.refuses_writes.as_ref()));
    Ok(findings)
}

fn writes(refusal: Option<&Refusal>) -> Finding {
    const ABOUT: &str = "writes";
    match refusal {
        Some(refusal) => Finding::fail(ABOUT, refusal.sentence(), refusal.why.remedy()),
        None => Finding::ok(ABOUT, "Redis takes writes"),
    }
}

fn of_danger(danger: &Danger) -> Finding {
    let text = danger.to_string();
    // Each danger's text names its remedy after the colon.
    let (found, remedy) = text.split_once(": ").unwrap_or((&text, "look at the server"));
    match danger {
        Danger::TooOld(_) => Finding::fail("version", found, remedy),
        Danger::Cluster => Finding::fail("cluster", found, remedy),
        Danger::Evicts(_) => Finding::fail("eviction", found, remedy),
        Danger::NoAppendOnlyFile => Finding::warn("persistence", found, remedy),
        Danger::AofFailing(_) => Finding::fail("persistence", found, remedy),
        Danger::NoMinReplicas => Finding::warn("min-replicas", found, remedy),
        Danger::ClockSkew(_) => Finding::warn("clock", found, remedy),
        Danger::Unknown(_) => Finding::warn("redis", text, "allow INFO to the user"),
    }
}

fn memory(used: Option<u64>, max: Option<u64>) -> Option<Finding> {
    let (used, max) = (used?, max?);
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    Some(match max {
        0 => Finding::ok("memory", format!("{} used, no limit", mib(used))),
        max if used / 9 >= max / 10 => {
            let remedy = "raise maxmemory, or set results-retention and trim-jobs, before writes are refused";
            Finding::warn("memory", format!("{} of {} used", mib(used), mib(max)), remedy)
        }
        max => Finding::ok("memory", format!("{} of {} used", mib(used), mib(max))),
    })
}

/// Round trips, one after the other.
pub(super) async fn latency(view: &View) -> Result<Vec<Finding>, RedisError> {
    let mut taken = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let began = Instant::now();
        view.raw(&["PING"]).await?;
        taken.push(began.elapsed());
    }
    taken.sort_unstable();
    let (min, p99) = (taken[0], taken[PINGS * 99 / 100]);
    let found = format!("PING takes {min:.2?} at least, {p99:.2?} at the 99th percentile of {PINGS}");
    Ok(vec![if p99 > PING_SLOW {
        Finding::warn("latency", found, "look at SLOWLOG GET and at the network between here and the server")
    } else {
        Finding::ok("latency", found)
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::Level;

    #[test]
    fn every_danger_has_a_remedy() {
        for danger in [
            Danger::TooOld("6.0".into()),
            Danger::Cluster,
            Danger::Evicts("allkeys-lru".into()),
            Danger::NoAppendOnlyFile,
            Danger::AofFailing("err".into()),
            Danger::ClockSkew(Duration::from_secs(9)),
            Danger::Unknown("NOPERM".into()),
        ] {
            let finding = of_danger(&danger);
            assert!(finding.level > Level::Ok && !finding.remedy.is_empty(), "{finding:?}");
        }
    }

    #[test]
    fn memory_is_short_at_nine_tenths() {
        let level = |used, max| memory(Some(used), Some(max)).map(|finding| finding.level);
        assert_eq!(level(95 << 20, 100 << 20), Some(Level::Warn));
        assert_eq!(level(50 << 20, 100 << 20), Some(Level::Ok));
        assert_eq!(level(50 << 20, 0), Some(Level::Ok));
    }
}
