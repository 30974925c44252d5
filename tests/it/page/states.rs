//! States of the fleet in which something is wrong or missing.

use rustix::process::Signal;

use super::{SCREENS, get, says, served};
use crate::support::world::World;

#[tokio::test]
async fn while_redis_is_away_the_last_numbers_stay_with_their_time() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    world.send_malformed().await;
    world.settled().await;
    says(&address, "/", "Dead letters 1 ").await;
    world.redis.kill();
    let away = says(&address, "/", "Down: Redis has not answered").await;
    assert!(
        away.body.contains("<body class=\"stale\"") && away.words().contains("Dead letters 1 "),
        "{}",
        away.words()
    );
    assert!(away.words().contains("Do not restart replicas") && away.body.contains("/runbooks#redisdown"));
    for path in SCREENS {
        let answer = get(&address, path).await;
        assert!(
            answer.status == 200 && answer.words().contains("Redis has not answered"),
            "{path}: {}",
            answer.words()
        );
    }
    assert!(get(&address, "/jobs/1-1").await.words().contains("Redis did not answer this"));
    world.redis.start_again().expect("redis-server starts again");
    let back = says(&address, "/", "In flight").await;
    drop(back);
    world
        .eventually("it is seen again", async |_: &World| {
            !get(&address, "/").await.body.contains("<body class=\"stale\"")
        })
        .await;
}

#[tokio::test]
async fn before_redis_was_ever_there_nothing_is_called_healthy() {
    let mut world = World::new().await;
    world.redis.kill();
    let number = world.replica(&[super::SERVED]);
    let address = super::address_of(&mut world, number).await;
    for path in SCREENS {
        let answer = get(&address, path).await;
        let words = answer.words();
        assert!(answer.status == 200 && !words.to_lowercase().contains("healthy"), "{path}: {words}");
        assert!(words.contains("Redis has not answered"), "{path}: {words}");
    }
    assert!(get(&address, "/").await.words().contains("Not seen yet"));
    world.redis.start_again().expect("redis-server starts again");
    says(&address, "/", "Waiting").await;
}

#[tokio::test]
async fn a_pause_is_told_with_who_and_why() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    let key = format!("{}:paused", world.settings.stream.jobs);
    world.redis(&["HSET", &key, "at_ms", "1795000000000", "by", "ann@ops", "reason", "INC-42"]).await;
    let paused = says(&address, "/", "Paused").await;
    assert!(paused.words().contains("ann@ops") && paused.words().contains("INC-42"), "{}", paused.words());
    assert!(paused.body.contains("t-hold"), "{}", paused.body);
    let system = get(&address, "/system").await;
    assert!(system.words().contains("startjobs resume") && system.words().contains("INC-42"), "{}", system.words());
}

#[tokio::test]
async fn a_replica_that_was_killed_is_named_with_its_host_and_runbook() {
    let mut world = World::with(&[("simulated-latency", "5s")]).await;
    let address = served(&mut world, &[]).await;
    let other = world.replica(&[]);
    world.begun(other).await;
    says(&address, "/replicas", "2 running").await;
    world.signal(other, Signal::KILL);
    world.killed(other).await;
    let lost = says(&address, "/replicas", "1 running, 0 draining, 1 lost").await;
    assert!(lost.words().contains("was lost") && lost.body.contains("/runbooks#replicalost"), "{}", lost.words());
    let overview = says(&address, "/", "1 replica lost").await;
    assert!(!overview.body.contains("verdict t-ok"), "{}", overview.words());
}
