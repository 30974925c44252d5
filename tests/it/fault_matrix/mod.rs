//! The fault matrix: what Redis, its operators and the jobs themselves can do to a fleet, each on a real redis-server.
//! Whatever it is, nothing is lost and nothing answered twice, nobody is condemned for it, nothing is tried more than
//! ten times a second, the log says it once when it begins and once when it ends, and a counter moves.

// Redis refuses, is busy, loads, or stands still
mod refusals;
// a key of ours holds something else
mod wrong_types;
// the streams and the group are trimmed, flushed, moved back
mod streams;
// back-off, suspects, budgets, an engine that is down for one replica
mod budgets;
// the server a worker meets when it starts, and what is tidied
mod upkeep;

use std::collections::BTreeSet;
use std::time::Duration;

use startjobs::redis::Value;

use crate::support::replica_log::Log;
use crate::support::scrape::{free_port, metric};
use crate::support::world::World;

const JOBS: &str = "runtime:start_jobs";
const GROUP: &str = "rtmanager.startjobs";
const ATTEMPTS: &str = "runtime:start_jobs:attempts";

/// So slow and so narrow that a load lasts for seconds.
const SLOW: &[(&str, &str)] = &[("simulated-latency", "20ms..200ms"), ("slots", "8"), ("janitor-interval", "200ms")];

/// A replica and where its metrics are.
#[derive(Debug, Clone, Copy)]
struct Watched {
    number: usize,
    port: u16,
}

impl Watched {
    fn metric(self, name: &str) -> f64 {
        metric(self.port, name)
    }

    /// How often this degraded, by the counter.
    fn began(self, condition: &str) -> f64 {
        self.metric(&format!("startjobs_conditions_total{{condition=\"{condition}\"}}"))
    }
}

/// Starts a replica with metrics and waits until it works.
async fn watched(world: &mut World, settings: &[(&str, &str)]) -> Watched {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let all: Vec<(&str, &str)> =
        [("http-addr", address.as_str())].into_iter().chain(settings.iter().copied()).collect();
    let number = world.replica(&all);
    world.begun(number).await;
    Watched { number, port }
}

/// Two replicas at work, with so many jobs before them.
async fn under_load(world: &mut World, jobs: usize) -> [Watched; 2] {
    let replicas = [watched(world, &[]).await, watched(world, &[]).await];
    send(world, "first", jobs).await;
    world
        .eventually("outcomes", async |world: &World| world.account().await.outcomes.values().sum::<usize>() > 8)
        .await;
    replicas
}

async fn send(world: &mut World, batch: &str, jobs: usize) {
    for number in 0..jobs {
        world.send(&format!("{batch}-{number}"), "galaxy/engine:1").await;
    }
}

/// The sum of a metric over replicas.
fn sum(replicas: &[Watched], name: &str) -> f64 {
    replicas.iter().map(|replica| replica.metric(name)).sum()
}

/// Everything answered once and by a container that runs, the mirror at the end, no crash or failure counted.
async fn ends_well(world: &mut World, replicas: &[Watched]) {
    world.settled_under_watch().await;
    world.at_rest().await;
    let sim = world.sim_log().await;
    for outcome in world.lobby.all_outcomes().await.expect("outcomes") {
        assert_eq!(outcome.outcome, "success", "{outcome:?}");
        assert_eq!(outcome.container_id, sim.the_only_container(&outcome.game_id), "{outcome:?}");
    }
    no_crash(replicas);
    let failures = sum(replicas, "startjobs_retries_total{counted=\"yes\"}");
    assert!(failures < 0.5, "{failures} failures were counted");
    let dead = world.lobby.all_dead().await.expect("dead letters");
    assert!(dead.iter().all(|letter| letter.reason == "malformed"), "{dead:?}");
}

/// No crash was counted: the counter stays when an entry is settled and its counts go.
fn no_crash(replicas: &[Watched]) {
    let counted = sum(replicas, "startjobs_crashes_counted_total");
    assert!(counted < 0.5, "{counted} crashes were counted, and nobody died");
}

/// Every condition has ended, was said once, was met at most ten times a second, and stands in the counters; these at
/// least were there. Answers which there were.
async fn said_once(world: &mut World, replicas: &[Watched], must: &[&str]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for replica in replicas {
        let over = |log: &Log| log.conditions().values().all(|(began, ended)| began == ended);
        world.logged(replica.number, "the end of every condition", over).await;
        let log = world.log(replica.number);
        for (condition, (began, _)) in log.conditions() {
            assert_eq!(began, 1, "{condition} was said {began} times: {}", log.text());
            assert!((replica.began(&condition) - 1.0).abs() < 0.5, "{condition} does not stand in the counters");
            let now = replica.metric(&format!("startjobs_condition{{condition=\"{condition}\"}}"));
            assert!(now.abs() < 0.5, "{condition} still stands in the gauges");
            seen.insert(condition);
        }
        for line in log.with("recovered") {
            let (times, lasted) = (line["times"].as_f64(), line["lasted_s"].as_f64());
            let (times, lasted) = (times.expect("a number"), lasted.expect("a number"));
            // A few calls are under way when it begins.
            assert!(times <= 10.0 * lasted + 6.0, "tried {times} times in {lasted} s: {line}");
        }
        assert!(log.warnings() <= 20, "a flood of warnings: {}", log.text());
    }
    for condition in must {
        assert!(seen.contains(*condition), "{condition} was not said but {seen:?}\n{}", world.logs());
    }
    seen
}

/// Waits until the counters of some replica say that this has begun.
async fn begins(world: &mut World, replicas: &[Watched], condition: &str) {
    let name = format!("startjobs_conditions_total{{condition=\"{condition}\"}}");
    world.eventually(&format!("{condition} begins"), async |_: &World| sum(replicas, &name) > 0.5).await;
}

/// What Redis was asked for in a while, by command: calls that failed or were refused.
async fn failed_calls(world: &World, lasts: Duration) -> Vec<(String, f64)> {
    world.redis(&["CONFIG", "RESETSTAT"]).await;
    tokio::time::sleep(lasts).await;
    let info = world.redis(&["INFO", "commandstats"]).await.as_string().unwrap_or_default();
    let number = |line: &str, name: &str| -> f64 {
        let value = line.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|text| text.trim().parse().ok()).unwrap_or(0.0)
    };
    let calls = |line: &str| {
        let (command, rest) = line.trim().strip_prefix("cmdstat_")?.split_once(':')?;
        let failed = number(rest, "failed_calls") + number(rest, "rejected_calls");
        (failed > 0.0).then(|| (command.to_owned(), failed / lasts.as_secs_f64()))
    };
    info.lines().filter_map(calls).collect()
}

/// No operation of a replica is tried more than ten times a second. What stands for one operation is counted as such;
/// of the scripts a replica has several, and each entry in hand tries its own start again, by its own back-off.
async fn tried_slowly(world: &World, lasts: Duration, replicas: f64) {
    let failed = failed_calls(world, lasts).await;
    println!("failed calls a second: {failed:?}");
    let rate = |name: &str| failed.iter().find(|(command, _)| command == name).map_or(0.0, |(_, rate)| *rate);
    // A first try is no retry: one for each slot at most, where each entry came alone.
    let most = 10.0 * replicas + 8.0 * replicas / lasts.as_secs_f64();
    for command in ["xreadgroup", "hmget", "smismember"] {
        assert!(rate(command) <= most, "{command}: {} a second for {replicas} replicas", rate(command));
    }
    // A start that may not write fails with its MSET.
    let scripts = rate("evalsha") - rate("mset");
    assert!(scripts <= 3.0 * 10.0 * replicas, "scripts: {scripts} a second for {replicas} replicas");
}

/// The entries that are pending in the group and not given back.
async fn in_hand(world: &World) -> Vec<startjobs::lobby::client::Pending> {
    let pending = world.lobby.pending().await.unwrap_or_default();
    pending.into_iter().filter(|entry| entry.idle_ms < 3_600_000).collect()
}

/// A field of XINFO GROUPS.
async fn group_field(world: &World, name: &str) -> Option<String> {
    let groups: Vec<Vec<Value>> = world.redis(&["XINFO", "GROUPS", JOBS]).await.convert().ok()?;
    let fields = groups.into_iter().next()?;
    let at = fields.iter().position(|field| field.as_string().as_deref() == Some(name))?;
    fields.get(at + 1)?.as_string()
}
