//! What a failover loses, and what keeps it from losing more.

use std::time::Duration;

use startjobs::embedded::sentinels::SentinelOptions;
use startjobs::lobby::accounting::Sent;

use super::Rig;
use crate::support::scrape::{free_port, get};

/// More than the kernel keeps of a connection whose other end does not read.
const FILLER_BYTES: usize = 24 << 20;

#[tokio::test]
async fn what_only_the_dead_master_had_is_told_apart_from_what_the_fleet_lost() {
    let mut rig = Rig::with(&SentinelOptions { replicas: 1, ..SentinelOptions::new() }, &[]).await;
    rig.replicas(2).await;
    for number in 0..20 {
        rig.world.send(&format!("kept-{number}"), "galaxy/engine:1").await;
    }
    rig.world.settled().await;
    let master = rig.master().await.expect("a master");
    rig.world.redis(&["WAIT", "1", "5000"]).await;
    let replica = rig.sentinels.server_ports().into_iter().find(|port| *port != master).expect("a replica");
    rig.sentinels.server_at(replica).expect("one of the servers").pause();
    // What the kernel has for the replica it gets all the same; what stands behind this does not leave the master.
    let filler = "x".repeat(FILLER_BYTES);
    rig.world.redis(&["SET", "filler", &filler]).await;
    let mut lost = Vec::new();
    for number in 0..20 {
        lost.push(rig.world.send(&format!("lost-{number}"), "galaxy/engine:1").await.to_string());
    }
    let before = rig.world.sent.len();
    // Some are answered before the master dies, and those outcomes die with it.
    let results = rig.world.settings.stream.results.clone();
    rig.world
        .eventually("some are answered", async |world| {
            world.try_redis(&["XLEN", &results]).await.is_ok_and(|reply| reply.as_i64() > Some(25))
        })
        .await;
    rig.sentinels.server_at(master).expect("one of the servers").kill();
    rig.sentinels.server_at(replica).expect("one of the servers").resume();
    rig.failed_over(master).await;
    rig.noticed(1).await;
    let there = rig.surviving().await;
    assert!(lost.iter().all(|id| !there.contains(id)), "nothing was lost, so nothing was tested");
    assert_eq!(rig.world.sent.values().filter(|kind| **kind == Sent::Job).count(), before);
    let (missing, report) = rig.exact().await;
    assert_eq!(missing, lost.len());
    assert!(report.counts.absent_from_history <= 20, "{}", report.table());
    println!("{} of {missing} lost jobs were answered all the same", report.counts.absent_from_history);
}

#[tokio::test]
async fn an_isolated_master_starts_nothing_once_its_replicas_are_silent() {
    let server = ["min-replicas-to-write 1", "min-replicas-max-lag 1"].map(str::to_owned).to_vec();
    // The sentinels stand still with the replicas: the master is alone with the fleet.
    let mut rig = Rig::with(&SentinelOptions { server, ..SentinelOptions::new() }, &[]).await;
    let port = free_port();
    let replica = rig.world.replica(&[("http-addr", &format!("127.0.0.1:{port}"))]);
    rig.world.begun(replica).await;
    rig.begin_load();
    rig.under_load(20).await;
    let master = rig.master().await.expect("a master");
    for number in 0..3 {
        rig.sentinels.sentinel(number).pause();
    }
    let replicas: Vec<u16> = rig.sentinels.server_ports().into_iter().filter(|port| *port != master).collect();
    for port in &replicas {
        rig.sentinels.server_at(*port).expect("one of the servers").pause();
    }
    let refuses = async |world: &crate::support::world::World| {
        world.try_redis(&["SET", "alone", "1"]).await.is_err_and(|error| error.text.contains("NOREPLICAS"))
    };
    rig.world.eventually("the master refuses writes", refuses).await;
    // What had begun before ends first. The time that passes after that is what is tested.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = engine_calls(port);
    assert!(before > 0, "no call of the engine is counted");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(engine_calls(port), before, "the engine was called on behalf of a master that is alone");
    for port in &replicas {
        rig.sentinels.server_at(*port).expect("one of the servers").resume();
    }
    for number in 0..3 {
        rig.sentinels.sentinel(number).resume();
    }
    rig.world
        .eventually("writes are taken again", async |world| world.try_redis(&["SET", "alone", "2"]).await.is_ok())
        .await;
    rig.under_load(50).await;
    rig.end_load().await;
    rig.exact().await;
}

#[tokio::test]
async fn a_settle_waits_for_replicas_of_redis_and_tells_when_they_are_too_few() {
    let mut rig =
        Rig::with(&SentinelOptions { replicas: 1, ..SentinelOptions::new() }, &[("settle-wait-replicas", "1")]).await;
    rig.replicas(1).await;
    rig.world.send_games("with", 40).await;
    rig.world.settled().await;
    assert_eq!(rig.world.log(0).count(TOO_FEW), 0, "{}", rig.world.logs());
    let master = rig.master().await.expect("a master");
    let replica = rig.sentinels.server_ports().into_iter().find(|port| *port != master).expect("a replica");
    rig.sentinels.server_at(replica).expect("one of the servers").pause();
    rig.world.send_games("without", 40).await;
    rig.world.settled().await;
    rig.world.logged(0, "too few", |log| log.count(TOO_FEW) == 1).await;
    rig.sentinels.server_at(replica).expect("one of the servers").resume();
    rig.world
        .eventually("the replica follows again", async |world| {
            world.try_redis(&["WAIT", "1", "100"]).await.is_ok_and(|reply| reply.as_i64() == Some(1))
        })
        .await;
    rig.world.send_games("again", 10).await;
    rig.world.settled().await;
    rig.world.logged(0, "enough", |log| log.count("enough replicas of Redis confirm outcomes again") == 1).await;
    rig.exact().await;
}

/// How often the engine was called to create or start something.
fn engine_calls(port: u16) -> u64 {
    let (_, text) = get(port, "/metrics").expect("the replica answers");
    let is_counted = |line: &&str| {
        line.starts_with("startjobs_engine_request_duration_seconds_count")
            && (line.contains("operation=\"create\"") || line.contains("operation=\"start\""))
    };
    let counts = text.lines().filter(is_counted).map(|line| line.rsplit(' ').next().and_then(|word| word.parse().ok()));
    counts.map(|count: Option<u64>| count.expect("a number")).sum()
}

/// What a replica logs when outcomes are on too few replicas of Redis.
const TOO_FEW: &str = "too few replicas of Redis confirm outcomes";
