//! Each of our keys holds something of another type for a while, and is repaired.

use std::time::Duration;

use startjobs::stream::entry_id::EntryId;

use super::{JOBS, SLOW, begins, ends_well, said_once, send, tried_slowly, under_load};
use crate::support::world::World;

const LASTS: Duration = Duration::from_secs(2);

// In one step each: what a replica would write in between would be lost by the test itself.
const SPOIL: &str = "
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end
if ARGV[1] == 'list' then redis.call('RPUSH', KEYS[1], 'x') else redis.call('SET', KEYS[1], 'x') end";
const REPAIR: &str = "
local held = redis.call('TYPE', KEYS[1]).ok
if held == ARGV[1] then redis.call('DEL', KEYS[1]) end
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[1]) end
return held";

/// The key is spoiled under load and repaired; `begins_with` and `must` are the conditions that say so.
async fn is_spoiled_and_repaired(key: &str, kind: &str, begins_with: &str, must: &[&str]) {
    let mut world = World::with(SLOW).await;
    let replicas = under_load(&mut world, 250).await;
    let aside = format!("{key}:aside");
    let in_hand = world.under_way("fault", None).await;
    world.redis(&["EVAL", SPOIL, "2", key, &aside, kind]).await;
    if must.contains(&"admit") {
        // What was delivered before is asked about, and delivered once more.
        world.redis(&["XGROUP", "SETID", JOBS, "rtmanager.startjobs", "0"]).await;
    }
    if key.ends_with(":dead") {
        // Outcomes go on until something needs the dead letters.
        world.send_malformed().await;
    }
    begins(&mut world, &replicas, begins_with).await;
    send(&mut world, "during", 20).await;
    tried_slowly(&world, LASTS, 2.0).await;
    let held = world.redis(&["EVAL", REPAIR, "2", key, &aside, kind]).await.as_string();
    assert_eq!(held.as_deref(), Some(kind), "the fleet wrote over {key}");
    send(&mut world, "later", 20).await;
    ends_well(&mut world, &replicas).await;
    world.was_under_way(in_hand).await;
    said_once(&mut world, &replicas, must).await;
}

#[tokio::test]
async fn the_results() {
    is_spoiled_and_repaired("runtime:job_results", "list", "settle", &["settle", "tidy"]).await;
}

#[tokio::test]
async fn the_dead_letters() {
    is_spoiled_and_repaired("runtime:start_jobs:dead", "string", "settle", &["settle"]).await;
}

#[tokio::test]
async fn the_offset() {
    is_spoiled_and_repaired("rtmanager:stream_offsets:startjobs", "list", "settle", &["settle", "tidy"]).await;
}

#[tokio::test]
async fn the_offsets_shadow() {
    is_spoiled_and_repaired("rtmanager:stream_offsets:startjobs:shadow", "list", "settle", &["settle", "tidy"]).await;
}

#[tokio::test]
async fn the_list_of_ledgers() {
    is_spoiled_and_repaired("runtime:start_jobs:ledgers", "string", "tidy", &["tidy"]).await;
}

#[tokio::test]
async fn the_ledgers_bucket() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis();
    // Of the hour of entries that are appended now; at the turn of the hour the next one's is as good.
    let into_hour = now % 3_600_000;
    let hour = now / 3_600_000 + u128::from(into_hour > 3_590_000);
    if into_hour > 3_590_000 {
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    let key = format!("runtime:start_jobs:ledger:{hour}");
    is_spoiled_and_repaired(&key, "string", "settle", &["settle", "admit"]).await;
}

#[tokio::test]
async fn the_attempts() {
    is_spoiled_and_repaired("runtime:start_jobs:attempts", "string", "admit", &["admit"]).await;
}

#[tokio::test]
async fn the_sweep() {
    is_spoiled_and_repaired("runtime:start_jobs:sweep", "string", "tidy", &["tidy"]).await;
}

#[tokio::test]
async fn the_replicas() {
    is_spoiled_and_repaired("runtime:start_jobs:replicas", "string", "renew", &["renew", "tidy"]).await;
}

#[tokio::test]
async fn the_verified_id() {
    is_spoiled_and_repaired("runtime:start_jobs:verified", "list", "tidy", &["tidy"]).await;
}

#[tokio::test]
async fn the_jobs() {
    let mut world = World::with(SLOW).await;
    let replicas = under_load(&mut world, 250).await;
    world.redis(&["EVAL", SPOIL, "2", JOBS, "aside", "string"]).await;
    begins(&mut world, &replicas, "group").await;
    tried_slowly(&world, LASTS, 2.0).await;
    assert_eq!(world.redis(&["GET", JOBS]).await.as_string().as_deref(), Some("x"), "the fleet wrote over the key");
    world.redis(&["EVAL", REPAIR, "2", JOBS, "aside", "string"]).await;
    send(&mut world, "later", 20).await;
    ends_well(&mut world, &replicas).await;
    said_once(&mut world, &replicas, &["group"]).await;
}

/// A game's key holds up that game's job alone, and is the same afterwards.
async fn holds_up_one_game(world: &mut World, key: &str, spoil: &[&str]) {
    let spoil = [&[spoil[0], key], &spoil[1..]].concat();
    world.redis(&spoil).await;
    let held = async |world: &World| world.redis(&["DUMP", key]).await;
    let before = held(world).await;
    let spoiled: EntryId = world.send("spoiled", "galaxy/engine:1").await;
    let replicas = under_load(world, 60).await;
    world.eventually("all others are answered", async |world: &World| world.account().await.lost.len() == 1).await;
    assert_eq!(world.account().await.lost, [spoiled.to_string()]);
    tried_slowly(world, LASTS, 2.0).await;
    let retries = super::sum(&replicas, "startjobs_retries_total{counted=\"no\"}");
    assert!(retries >= 2.0, "{retries} retries stand in the counters");
    // Said once by whoever holds it, and not again at each retry.
    let said: usize =
        replicas.iter().map(|replica| world.log(replica.number).count("start waits for a key to be repaired")).sum();
    assert_eq!(said, 1, "{}", world.logs());
    let pending = world.lobby.pending().await.expect("a group");
    assert_eq!((pending.len(), pending[0].deliveries), (1, 1), "{pending:?}");
    assert!(pending[0].idle_ms < 600, "it is not renewed: {pending:?}");
    assert_eq!(held(world).await, before, "{key} was written over");
    world.redis(&["DEL", key]).await;
    ends_well(world, &replicas).await;
    said_once(world, &replicas, &[]).await;
}

#[tokio::test]
async fn the_record_of_one_game_holds_up_that_game_alone() {
    for spoil in [&["RPUSH", "x"][..], &["HSET", "fence", "1"], &["SET", "{\"fence\":1"]] {
        let mut world = World::with(SLOW).await;
        holds_up_one_game(&mut world, "rtm:{spoiled}:rec", spoil).await;
    }
}

#[tokio::test]
async fn the_answers_of_one_game_hold_up_that_game_alone() {
    let mut world = World::with(SLOW).await;
    // They are asked once the record is another job's.
    let first = world.replica(&[]);
    world.send("spoiled", "galaxy/engine:1").await;
    world.settled().await;
    world.signal(first, rustix::process::Signal::TERM);
    world.ended(first, crate::support::world::PATIENCE).await;
    holds_up_one_game(&mut world, "rtm:{spoiled}:res", &["RPUSH", "x"]).await;
}

#[tokio::test]
async fn whatever_the_pause_key_holds_the_fleet_is_paused_until_it_is_gone() {
    let mut world = World::with(SLOW).await;
    let replicas = under_load(&mut world, 100).await;
    world.redis(&["SET", "runtime:start_jobs:paused", "x"]).await;
    world.eventually("both pause", async |_: &World| super::sum(&replicas, "startjobs_paused") > 1.5).await;
    world.redis(&["DEL", "runtime:start_jobs:paused"]).await;
    ends_well(&mut world, &replicas).await;
    assert!(said_once(&mut world, &replicas, &[]).await.is_empty());
}
