//! The same promises on other versions of Redis, and on Valkey: what differs between them is in the scripts' reach.

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;

use crate::support::servers;
use crate::support::world::World;

fn server(version: &str) -> Option<RedisServer> {
    servers::fetched(version).map(|program| RedisServer::start_with(&program, &[]).expect("this redis-server starts"))
}

/// A fleet under load: a kill, a lost group, a deleted consumer, a deleted payload, forgotten scripts, a hand-back.
async fn holds_its_promises(redis: RedisServer) {
    let mut world =
        World::on(redis, &[("simulated-latency", "20ms..60ms"), ("slots", "8"), ("janitor-interval", "200ms")]).await;
    for _ in 0..3 {
        world.replica(&[]);
    }
    for number in 0..60 {
        world.send(&format!("a{number}"), "galaxy/engine:1").await;
    }
    world.send_malformed().await;
    world.send("a1", "galaxy/engine:2").await;
    world.eventually("work is held", async |w: &World| w.lobby.pending().await.unwrap_or_default().len() > 8).await;
    world.fleet.replica(0).process().kill();
    world.redis(&["SCRIPT", "FLUSH"]).await;
    for number in 0..30 {
        world.send(&format!("b{number}"), "galaxy/engine:1").await;
    }
    world.redis(&["XGROUP", "DESTROY", "runtime:start_jobs", "rtmanager.startjobs"]).await;
    world.settled().await;

    world.at_rest().await;
    for number in 0..20 {
        world.send(&format!("c{number}"), "sim/slow:400ms").await;
    }
    world.eventually("work is held", async |w: &World| !w.lobby.pending().await.unwrap_or_default().is_empty()).await;
    let holder = world.lobby.pending().await.expect("pending").remove(0).consumer;
    world.redis(&["XGROUP", "DELCONSUMER", "runtime:start_jobs", "rtmanager.startjobs", &holder]).await;
    world.fleet.replica(1).process().signal(Signal::TERM);
    world.settled().await;
    world.at_rest().await;

    // A payload that goes while its holder is dead: a dead letter and no outcome, and the mirror moves on.
    let id = world.send("gone", "galaxy/engine:1").await.to_string();
    world.settled().await;
    let lost =
        world.lobby.append_fields(&[("game_id", "lost"), ("image_ref", "sim/slow:60s")]).await.expect("appended");
    world
        .eventually("it is held", async |w: &World| {
            w.lobby.pending().await.unwrap_or_default().iter().any(|pending| pending.id == lost.to_string())
        })
        .await;
    for replica in world.fleet.replicas() {
        replica.process().kill();
    }
    world.redis(&["XDEL", "runtime:start_jobs", &lost.to_string()]).await;
    world.replica(&[]);
    world
        .eventually("it is a dead letter", async |w: &World| {
            let dead = w.lobby.all_dead().await.unwrap_or_default();
            dead.iter().any(|letter| letter.source_ref == lost.to_string() && letter.reason == "entry_lost")
        })
        .await;
    world
        .eventually("nothing is pending", async |w: &World| w.lobby.pending().await.unwrap_or_default().is_empty())
        .await;
    let answered = world.lobby.all_outcomes().await.expect("outcomes");
    assert!(answered.iter().all(|outcome| outcome.source_ref.as_deref() != Some(&lost.to_string())));
    assert!(answered.iter().any(|outcome| outcome.source_ref.as_deref() == Some(&id)));
}

#[tokio::test]
async fn redis_6_2_is_served() {
    if let Some(redis) = server("6.2") {
        holds_its_promises(redis).await;
    }
}

#[tokio::test]
async fn redis_8_2_is_served() {
    if let Some(redis) = server("8.2") {
        holds_its_promises(redis).await;
    }
}

async fn is_served(name: &str) {
    if let Some(program) = servers::newer(name) {
        holds_its_promises(RedisServer::start_with(&program, &[]).expect("this server starts")).await;
    }
}

#[tokio::test]
async fn redis_8_6_is_served() {
    is_served("redis-8.6").await;
}

#[tokio::test]
async fn valkey_8_1_is_served() {
    is_served("valkey-8.1").await;
}

#[tokio::test]
async fn valkey_9_1_is_served() {
    is_served("valkey-9.1").await;
}
