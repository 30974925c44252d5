//! A server that postpones what its clients ask: CLIENT PAUSE and FAILOVER, with replicas that stop and that claim. No
//! server ends by what a replica sends meanwhile, and no reply reaches another command.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;

use crate::support::servers::fetched;
use crate::support::world::{PATIENCE, World};

/// What makes the server postpone commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    Write,
    All,
    Failover,
}

/// How long a pause lasts: longer than a replica takes to stop.
const LASTS: Duration = Duration::from_secs(5);
const LASTS_MS: &str = "5000";
/// BLOCK is 500 ms: the next read is postponed by then.
const UNTIL_POSTPONED: Duration = Duration::from_millis(1_200);

/// Waits until the server answers again, which is after the pause.
async fn over(world: &mut World) {
    world
        .eventually("the pause is over", async |world: &World| world.try_redis(&["SET", "x", "1"]).await.is_ok())
        .await;
    assert!(!world.redis.has_ended(), "the server has ended");
}

/// A second server that follows the first, and stands still: a failover to it waits for it, and writes wait meanwhile.
async fn stalled_follower(world: &mut World, program: &Path) -> RedisServer {
    let primary = world.redis.port().to_string();
    let options = ["--replicaof", "127.0.0.1", &primary];
    let follower = RedisServer::start_with(program, &options).expect("a second redis-server starts");
    world
        .eventually("it follows", async |world: &World| {
            let info = world.redis(&["INFO", "replication"]).await.as_string().unwrap_or_default();
            info.contains("state=online")
        })
        .await;
    follower.pause();
    world.redis(&["SET", "x", "2"]).await;
    follower
}

async fn begin(world: &mut World, pause: Pause, program: &Path) -> Option<RedisServer> {
    match pause {
        Pause::Write => drop(world.redis(&["CLIENT", "PAUSE", LASTS_MS, "WRITE"]).await),
        Pause::All => drop(world.redis(&["CLIENT", "PAUSE", LASTS_MS, "ALL"]).await),
        Pause::Failover => {
            let follower = stalled_follower(world, program).await;
            let port = follower.port().to_string();
            world.redis(&["FAILOVER", "TO", "127.0.0.1", &port, "TIMEOUT", LASTS_MS]).await;
            return Some(follower);
        }
    }
    None
}

/// An idle replica is stopped and a second one goes on, for each way of pausing.
async fn stops_while_paused(program: &Path) {
    for pause in [Pause::Write, Pause::All, Pause::Failover] {
        let redis = RedisServer::start_with(program, &[]).expect("this redis-server starts");
        let mut world = World::on(redis, &[]).await;
        let (a, b) = (world.replica(&[]), world.replica(&[]));
        world.begun(a).await;
        world.begun(b).await;
        world.send_games("before", 4).await;
        world.settled().await;
        let follower = begin(&mut world, pause, program).await;
        tokio::time::sleep(UNTIL_POSTPONED).await;
        world.signal(a, Signal::TERM);
        let status = world.ended(a, LASTS).await;
        assert_eq!(status.code(), Some(0), "{pause:?}\n{}", world.logs());
        over(&mut world).await;
        world.send_games("after", 8).await;
        world.settled().await;
        goes_on(&mut world, b, pause).await;
        drop(follower);
    }
}

/// The replica has understood every reply, and stops.
async fn goes_on(world: &mut World, number: usize, pause: impl std::fmt::Debug) {
    let text = world.log(number).text().to_owned();
    assert!(!text.contains("unexpected reply"), "{pause:?}: {text}");
    world.signal(number, Signal::TERM);
    let status = world.ended(number, PATIENCE).await;
    assert_eq!(status.code(), Some(0), "{pause:?}\n{}", world.logs());
    assert!(!world.redis.has_ended(), "the server has ended");
}

/// A replica dies with entries again and again, and those that look for them make their reads return while writes are
/// held up for short times.
async fn claims_while_paused(program: &Path) {
    let redis = RedisServer::start_with(program, &[]).expect("this redis-server starts");
    let mut world = World::on(redis, &[("slots", "8"), ("crash-budget", "20")]).await;
    let survivor = world.replica(&[]);
    world.begun(survivor).await;
    for round in 0..3 {
        let victim = world.replica(&[]);
        world.begun(victim).await;
        for number in 0..12 {
            world.send(&format!("game-{round}-{number}"), "sim/slow:300ms").await;
        }
        world
            .eventually("work is held", async |w: &World| w.lobby.pending().await.is_ok_and(|held| held.len() > 8))
            .await;
        world.fleet.replica(victim).process().kill();
        while !world.account().await.lost.is_empty() {
            let pause = if fastrand::bool() { "WRITE" } else { "ALL" };
            world.redis(&["CLIENT", "PAUSE", &fastrand::u32(20..300).to_string(), pause]).await;
            over(&mut world).await;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..100))).await;
        }
    }
    world.settled().await;
    let claimed = world.log(survivor).count("claimed pending entries");
    assert!(claimed > 0, "nothing was claimed while writes were held up");
    goes_on(&mut world, survivor, "claims").await;
}

#[tokio::test]
async fn a_replica_stops_while_redis_is_paused() {
    stops_while_paused(Path::new("redis-server")).await;
}

#[tokio::test]
async fn a_replica_stops_while_redis_6_2_is_paused() {
    if let Some(program) = fetched("6.2") {
        stops_while_paused(&program).await;
    }
}

#[tokio::test]
async fn a_replica_stops_while_redis_8_2_is_paused() {
    if let Some(program) = fetched("8.2") {
        stops_while_paused(&program).await;
    }
}

#[tokio::test]
async fn replicas_claim_while_redis_is_paused_again_and_again() {
    claims_while_paused(Path::new("redis-server")).await;
}

#[tokio::test]
async fn replicas_claim_while_redis_6_2_is_paused_again_and_again() {
    if let Some(program) = fetched("6.2") {
        claims_while_paused(&program).await;
    }
}

#[tokio::test]
async fn replicas_claim_while_redis_8_2_is_paused_again_and_again() {
    if let Some(program) = fetched("8.2") {
        claims_while_paused(&program).await;
    }
}
