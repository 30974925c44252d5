//! Entries of any size: they hold up neither Redis nor the fleet, and what a replica holds of them is bounded.

use std::path::Path;

use startjobs::embedded::redis_server::RedisServer;
use startjobs::lobby::accounting::Sent;

use crate::support::world::{PATIENCE, World};

const JOBS: &str = "runtime:start_jobs";
const GROUP: &str = "rtmanager.startjobs";
const MIB: usize = 1024 * 1024;

async fn send_with_blob(world: &mut World, game: &str, image: &str, bytes: usize) -> String {
    let blob = "x".repeat(bytes);
    let fields = [("game_id", game), ("image_ref", image), ("blob", blob.as_str())];
    world.send_fields(&fields, Sent::Job).await.to_string()
}

/// The most memory that a process has had, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

#[tokio::test]
async fn many_large_entries_are_answered_and_little_of_them_is_held() {
    let mut world = World::with(&[("slots", "64"), ("max-held-bytes", "8MiB")]).await;
    for number in 0..120 {
        let bytes = if number % 3 == 0 { MIB } else { 100 };
        send_with_blob(&mut world, &format!("g{number}"), "galaxy/engine:1", bytes).await;
    }
    let replicas = [world.replica(&[]), world.replica(&[])];
    world.settled().await;
    world.at_rest().await;
    for replica in replicas {
        let peak = peak_mib(world.fleet.replica(replica).process().id());
        assert!(peak < 96, "replica {replica} had {peak} MiB; 40 entries of 1 MiB were sent");
    }
}

#[tokio::test]
async fn no_more_is_read_than_may_be_held() {
    let mut world = World::with(&[("slots", "64"), ("max-held-bytes", "1MiB"), ("claim-idle", "5s")]).await;
    for number in 0..20 {
        send_with_blob(&mut world, &format!("g{number}"), "sim/slow:1500ms", 300 * 1024).await;
    }
    world.replica(&[]);
    // Of each entry 64 KiB are kept, so seventeen reach the limit.
    world
        .eventually("it holds what it may", async |world: &World| {
            world.lobby.pending().await.unwrap_or_default().len() >= 15
        })
        .await;
    let held = world.lobby.pending().await.expect("pending").len();
    assert!(held < 20, "{held} entries of 64 KiB are held; 1 MiB was allowed");
    world.settled().await;
}

#[tokio::test]
async fn an_entry_that_never_arrives_is_answered_from_its_job_and_holds_nobody_up() {
    // This server cuts every connection that is to get more than this at once.
    let options = ["--client-output-buffer-limit", "normal", "262144", "0", "0"];
    let redis = RedisServer::start_with(Path::new("redis-server"), &options).expect("redis-server starts");
    let mut world = World::on(redis, &[]).await;
    let blob = "x".repeat(MIB);
    let large = send_with_blob(&mut world, "large", "galaxy/engine:1", MIB).await;
    let unusable = world.send_fields(&[("game_id", "no-image"), ("blob", &blob)], Sent::Malformed).await;
    for number in 0..10 {
        world.send(&format!("small-{number}"), "galaxy/engine:1").await;
    }
    world.replica(&[]);
    world
        .eventually("the small ones are answered", async |world: &World| {
            world.lobby.all_outcomes().await.unwrap_or_default().iter().filter(|o| o.game_id != "large").count() == 10
        })
        .await;
    world.settled().await;
    world.at_rest().await;
    let outcome = world.outcome(large.parse().expect("an id")).await;
    assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("failure", "job_too_large"));
    let dead = world.entries(&world.settings.stream.dead).await;
    let letter = |id: &str| dead.iter().find(|letter| letter.get("source_ref") == id).expect("a dead letter");
    assert_eq!(letter(&large).get("reason"), "job_too_large");
    assert_eq!(letter(&unusable.to_string()).get("reason"), "malformed");
    // The fields of the job, and nothing of the rest.
    assert_eq!(
        letter(&large).pairs[9..].iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["game_id", "image_ref"]
    );
    assert!(letter(&large).get("detail").contains("left in the jobs stream"), "{:?}", letter(&large).get("detail"));
}

#[tokio::test]
async fn an_entry_that_has_killed_too_many_is_condemned_without_being_read() {
    let mut world = World::new().await;
    world.create_group().await;
    let blob = "x".repeat(MIB);
    let fields = [("game_id", "killer"), ("image_ref", "galaxy/engine:1"), ("requested_at_ms", "5"), ("blob", &blob)];
    let id = world.send_fields(&fields, Sent::Job).await;
    world.read_as("dead", "1").await;
    world.redis(&["HSET", &format!("{JOBS}:attempts"), &id.to_string(), "9 0 0"]).await;
    world.redis(&["XCLAIM", JOBS, GROUP, "dead", "0", &id.to_string(), "IDLE", "3600000", "JUSTID"]).await;
    // Whoever read it whole would lose its connection, and would answer another code.
    world.redis(&["CONFIG", "SET", "client-output-buffer-limit", "normal 262144 0 0"]).await;
    world.replica(&[]);
    world.settled().await;
    let outcome = world.outcome(id).await;
    assert_eq!((outcome.get("error_code"), outcome.get("game_id")), ("poison", "killer"));
    let dead = world.entries(&world.settings.stream.dead).await;
    let kept: Vec<(&str, &str)> =
        dead[0].pairs[9..].iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(kept, [("game_id", "killer"), ("image_ref", "galaxy/engine:1"), ("requested_at_ms", "5")]);
}

#[tokio::test]
async fn a_drain_waits_for_no_entry_that_does_not_arrive() {
    let options = ["--client-output-buffer-limit", "normal", "262144", "0", "0"];
    let redis = RedisServer::start_with(Path::new("redis-server"), &options).expect("redis-server starts");
    // So long that the entry is still being read when the replica is told to stop.
    let mut world = World::on(redis, &[("claim-idle", "20s"), ("drain-timeout", "20s")]).await;
    let id = send_with_blob(&mut world, "large", "galaxy/engine:1", MIB).await;
    let replica = world.replica(&[]);
    world.logged(replica, "the entry is found", |log| log.count("found entries whose delivery was lost") == 1).await;
    let began = std::time::Instant::now();
    world.signal(replica, rustix::process::Signal::TERM);
    let status = world.ended(replica, PATIENCE).await;
    assert_eq!(status.code(), Some(0), "{}", world.logs());
    assert!(began.elapsed().as_secs() < 10, "it waited {:?}", began.elapsed());
    let reply = world.redis(&["XPENDING", JOBS, GROUP, "-", "+", "10"]).await;
    let pending: Vec<(String, String, u64, u64)> = reply.convert().expect("pending entries");
    let [(pending_id, _, idle_ms, _)] = pending.as_slice() else { panic!("{pending:?}") };
    assert_eq!(*pending_id, id);
    assert!(*idle_ms >= 3_600_000, "it was not given back: {pending:?}");
}
