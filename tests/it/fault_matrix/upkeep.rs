//! The server that a worker meets when it starts, and what is tidied behind the work.

use std::path::Path;

use startjobs::embedded::redis_server::RedisServer;

use super::{JOBS, send, watched};
use crate::support::world::{PATIENCE, World};

/// `strict` refuses this server and names what is wrong; without it that is only a warning.
async fn endangers(options: &[&str], names: &str) {
    let redis = RedisServer::start_with(Path::new("redis-server"), options).expect("redis-server starts");
    let mut world = World::on(redis, &[]).await;
    let strict = world.replica(&[("strict", "on")]);
    let status = world.ended(strict, PATIENCE).await;
    assert_eq!(status.code(), Some(78), "{}", world.logs());
    assert!(world.log(strict).text().contains(names), "it does not say {names}: {}", world.logs());
    assert_eq!(world.log(strict).count("start jobs consumer started"), 0);
    let lenient = world.replica(&[]);
    world.begun(lenient).await;
    let log = world.log(lenient);
    let warning = log.with("Redis may lose data").next().expect("a warning");
    assert_eq!(warning["level"], "WARN");
    assert!(warning["danger"].as_str().is_some_and(|danger| danger.contains(names)), "{warning}");
    send(&mut world, "g", 3).await;
    world.settled().await;
}

#[tokio::test]
async fn strict_refuses_a_server_without_an_append_only_file() {
    endangers(&["--appendonly", "no"], "appendonly yes").await;
}

#[tokio::test]
async fn strict_refuses_a_server_that_evicts() {
    endangers(&["--maxmemory-policy", "allkeys-lru"], "allkeys-lru").await;
}

#[tokio::test]
async fn strict_serves_a_server_that_endangers_nothing() {
    let mut world = World::with(&[("strict", "on")]).await;
    let replica = world.replica(&[]);
    world.begun(replica).await;
    assert_eq!(world.log(replica).warnings(), 0, "{}", world.logs());
}

/// Calls of a command since the server started.
async fn calls(world: &World, command: &str) -> Option<String> {
    let info = world.redis(&["INFO", "commandstats"]).await.as_string().unwrap_or_default();
    info.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).map(str::to_owned)
}

#[tokio::test]
async fn a_ledger_bucket_to_which_nothing_is_added_any_more_is_unlinked() {
    let settings = [
        ("ledger-ttl", "2s"),
        ("janitor-interval", "100ms"),
        ("claim-idle", "600ms"),
        ("max-run", "1s"),
        ("drain-timeout", "1s"),
    ];
    let mut world = World::with(&settings).await;
    // An old hour's bucket that was last added to an hour ago.
    let old = format!("{JOBS}:ledger:1");
    world.redis(&["SADD", &old, "3600000-0", "3600001-0"]).await;
    let ledgers = format!("{JOBS}:ledgers");
    world.redis(&["ZADD", &ledgers, "3600001", &old]).await;
    let replica = watched(&mut world, &[]).await;
    send(&mut world, "g", 20).await;
    world.settled().await;
    world
        .eventually("the old bucket is gone", async |world: &World| {
            world.redis(&["EXISTS", &old]).await.as_i64() == Some(0)
        })
        .await;
    world.at_rest().await;
    let there: Vec<String> = world.redis(&["ZRANGE", &ledgers, "0", "-1"]).await.convert().expect("buckets");
    assert!(!there.contains(&old) && !there.is_empty(), "{there:?}");
    // That of this hour goes when nothing was added for ledger-ttl.
    world
        .eventually("no bucket is left", async |world: &World| {
            world.redis(&["EXISTS", &ledgers]).await.as_i64() == Some(0)
        })
        .await;
    for bucket in there {
        assert_eq!(world.redis(&["EXISTS", &bucket]).await.as_i64(), Some(0));
    }
    assert!(calls(&world, "unlink").await.is_some(), "not by UNLINK");
    assert_eq!(calls(&world, "expire").await, None);
    // And nobody answers anything again for it.
    assert!((replica.metric("startjobs_outcomes_total{outcome=\"success\",error_code=\"\"}") - 20.0).abs() < 0.5);
    assert!(world.account().await.is_exact());
}

#[tokio::test]
async fn outcomes_go_when_their_retention_is_over_and_not_before() {
    let mut world = World::with(&[("janitor-interval", "100ms"), ("results-retention", "2s")]).await;
    // Trimming goes by whole nodes.
    world.redis(&["CONFIG", "SET", "stream-node-max-entries", "1"]).await;
    let replica = world.replica(&[]);
    world.begun(replica).await;
    send(&mut world, "g", 20).await;
    world
        .eventually("all are there", async |world: &World| {
            world.lobby.answers().await.is_ok_and(|(outcomes, _)| outcomes == 20)
        })
        .await;
    world.at_rest().await;
    world
        .eventually("they go", async |world: &World| {
            world.lobby.answers().await.is_ok_and(|(outcomes, _)| outcomes <= 1)
        })
        .await;
    let now: (u64, u64) = world.redis(&["TIME"]).await.convert().expect("a time");
    let oldest = world
        .sent
        .keys()
        .filter_map(|id| id.parse::<startjobs::stream::entry_id::EntryId>().ok())
        .map(|id| id.ms)
        .min();
    let age = (now.0 * 1_000 + now.1 / 1_000).saturating_sub(oldest.expect("sent"));
    assert!(age >= 2_000, "the first went after {age} ms");
    // What was answered stays answered.
    send(&mut world, "later", 5).await;
    world.at_rest().await;
    let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
    assert!(outcomes.iter().all(|outcome| outcome.game_id.starts_with("later")) && outcomes.len() <= 5, "{outcomes:?}");
}
