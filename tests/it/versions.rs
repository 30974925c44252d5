//! The same promises on other versions of Redis: what differs between them is in the scripts' reach.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;

use crate::support::world::World;

fn server(version: &str) -> Option<RedisServer> {
    let program = program_of(version)?;
    Some(RedisServer::start_with(&program, &[]).expect("this redis-server starts"))
}

/// The redis-server of this version, fetched by `deploy/ci/servers.sh`; on CI its absence is a failure.
pub fn program_of(version: &str) -> Option<PathBuf> {
    let program: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/redis-servers").join(version).join("redis-server");
    if program.exists() {
        return Some(program);
    }
    let advice = format!("no redis-server {version}: run deploy/ci/servers.sh, which takes it from the Python index");
    assert!(std::env::var_os("CI").is_none(), "{advice}");
    eprintln!("TEST LEFT OUT: {advice}");
    None
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
