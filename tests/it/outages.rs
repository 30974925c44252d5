//! Redis goes away, comes back, forgets, or holds something else: nothing is lost, nothing is answered twice, and the
//! log says each trouble once.

use std::path::Path;
use std::time::Duration;

use startjobs::embedded::redis_server::RedisServer;

use crate::support::replica_log::Log;
use crate::support::world::World;

/// Two replicas that work, and a load that lasts for a while.
async fn under_load(world: &mut World) -> [usize; 2] {
    let replicas = [world.replica(&[]), world.replica(&[])];
    for replica in replicas {
        world.begun(replica).await;
    }
    more_jobs(world, "first").await;
    replicas
}

/// Jobs for some games, two for some of them, and an entry that is no job.
async fn more_jobs(world: &mut World, batch: &str) {
    for number in 0..60 {
        world.send(&format!("{batch}-{}", number % 50), "galaxy/engine:1").await;
    }
    world.send_malformed().await;
}

/// Waits until at least this many more entries than now are answered.
async fn progress(world: &mut World, more: usize) {
    let answered = |account: startjobs::lobby::accounting::Account| account.sent - account.lost.len();
    let goal = (answered(world.account().await) + more).min(world.sent.len());
    world.eventually("progress", async |world: &World| answered(world.account().await) >= goal).await;
}

/// Everything answered once, nothing pending, the mirror at the end, one container per game.
async fn ends_well(world: &mut World) {
    world.settled_under_watch().await;
    world.at_rest().await;
    let sim = world.sim_log().await;
    let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
    for outcome in outcomes {
        assert_eq!(outcome.outcome, "success", "{outcome:?}");
        assert_eq!(outcome.container_id, sim.the_only_container(&outcome.game_id), "{outcome:?}");
    }
}

/// Redis answers the test again.
async fn back(world: &mut World) {
    world.eventually("Redis answers", async |world: &World| world.try_redis(&["PING"]).await.is_ok()).await;
}

/// Every recovered, none was said more often than there were outages.
fn said_once(log: &Log, outages: usize, must: &[&str]) {
    let conditions = log.conditions();
    for (condition, &(began, ended)) in &conditions {
        assert_eq!(began, ended, "{condition} has not ended: {}", log.text());
        assert!(began <= outages, "{condition} was said {began} times for {outages} outages: {}", log.text());
    }
    for condition in must {
        assert!(conditions.contains_key(*condition), "{condition} was not said: {}", log.text());
    }
    assert!(log.warnings() <= 12 * outages, "a flood of warnings: {}", log.text());
}

/// Waits until no replica has a condition left that has not ended.
async fn conditions_over(world: &mut World, replicas: &[usize]) {
    for &replica in replicas {
        let is_over = |log: &Log| log.conditions().values().all(|(began, ended)| began == ended);
        world.logged(replica, "the end of every condition", is_over).await;
    }
}

/// Both of it, for every replica.
async fn all_said_once(world: &mut World, replicas: &[usize], outages: usize, must: &[&str]) {
    conditions_over(world, replicas).await;
    for &replica in replicas {
        said_once(&world.log(replica), outages, must);
    }
}

#[tokio::test]
async fn a_worker_that_starts_while_redis_is_down_begins_when_it_comes() {
    let mut world = World::new().await;
    world.redis.kill();
    let a = world.replica(&[]);
    world.logged(a, "that Redis is away", |log| log.conditions().contains_key("redis")).await;
    // Long enough for many attempts to connect.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.fleet.replica(a).process().ended().is_none(), "{}", world.logs());
    world.redis.start_again().expect("redis-server starts again");
    back(&mut world).await;
    more_jobs(&mut world, "first").await;
    ends_well(&mut world).await;
    all_said_once(&mut world, &[a], 1, &["redis"]).await;
}

#[tokio::test]
async fn redis_is_killed_under_load_and_comes_back_with_all_it_had_acknowledged() {
    const KILLS: usize = 3;
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let redis = RedisServer::start_with(Path::new("redis-server"), &options).expect("redis-server starts");
    let mut world = World::on(redis, &[("simulated-latency", "20ms..200ms"), ("slots", "8")]).await;
    let replicas = under_load(&mut world).await;
    let mut in_hand = Vec::new();
    for kill in 0..KILLS {
        progress(&mut world, 8).await;
        in_hand.push(world.under_way(&format!("kill-{kill}"), None).await);
        world.redis.kill();
        for replica in replicas {
            let outages = kill + 1;
            world
                .logged(replica, "that Redis is away", |log| {
                    log.conditions().get("redis").is_some_and(|&(began, _)| began >= outages)
                })
                .await;
        }
        world.redis.start_again().expect("redis-server starts again");
        back(&mut world).await;
        // Everybody has noticed, and is busy again, before the next one.
        conditions_over(&mut world, &replicas).await;
        more_jobs(&mut world, &format!("after-{kill}")).await;
    }
    ends_well(&mut world).await;
    for job in in_hand {
        world.was_under_way(job).await;
    }
    all_said_once(&mut world, &replicas, KILLS, &["redis"]).await;
}

#[tokio::test]
async fn redis_stands_still_for_four_seconds_under_load() {
    let mut world = World::with(&[("simulated-latency", "20ms..200ms"), ("slots", "8")]).await;
    let replicas = under_load(&mut world).await;
    progress(&mut world, 8).await;
    let in_hand = world.under_way("still", None).await;
    world.redis.pause();
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.redis.resume();
    back(&mut world).await;
    more_jobs(&mut world, "later").await;
    ends_well(&mut world).await;
    world.was_under_way(in_hand).await;
    all_said_once(&mut world, &replicas, 1, &["redis"]).await;
    let dead = world.lobby.all_dead().await.expect("dead letters");
    assert!(dead.iter().all(|letter| letter.reason == "malformed"), "{dead:?}");
}

#[tokio::test]
async fn every_connection_is_cut_again_and_again_under_load() {
    const CUTS: usize = 5;
    let mut world = World::with(&[("simulated-latency", "20ms..200ms"), ("slots", "8")]).await;
    let replicas = under_load(&mut world).await;
    for cut in 0..CUTS {
        progress(&mut world, 6).await;
        // Two of each replica, and both of this test.
        world
            .eventually("everybody is connected", async |world: &World| {
                let list = world.redis(&["CLIENT", "LIST", "TYPE", "normal"]).await.as_string();
                list.is_some_and(|list| list.lines().count() >= 6)
            })
            .await;
        let killed = world.redis(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        assert!(killed.as_i64().is_some_and(|count| count >= 5), "{killed:?}");
        more_jobs(&mut world, &format!("after-{cut}")).await;
    }
    ends_well(&mut world).await;
    all_said_once(&mut world, &replicas, CUTS, &[]).await;
}

#[tokio::test]
async fn the_scripts_are_forgotten_again_and_again_under_load() {
    let mut world = World::with(&[("simulated-latency", "5ms..50ms"), ("slots", "8")]).await;
    let replicas = under_load(&mut world).await;
    for batch in 0..10 {
        progress(&mut world, 5).await;
        world.redis(&["SCRIPT", "FLUSH"]).await;
        more_jobs(&mut world, &format!("after-{batch}")).await;
    }
    ends_well(&mut world).await;
    for replica in replicas {
        let log = world.log(replica);
        assert!(log.conditions().is_empty(), "{}", log.text());
    }
}

#[tokio::test]
async fn the_group_is_destroyed_again_and_again_under_load() {
    const TIMES: usize = 5;
    let mut world = World::with(&[("simulated-latency", "5ms..100ms"), ("slots", "8")]).await;
    let replicas = under_load(&mut world).await;
    let (jobs, group) = (world.settings.stream.jobs.clone(), world.settings.stream.group.clone());
    let mut in_hand = Vec::new();
    for time in 0..TIMES {
        progress(&mut world, 8).await;
        in_hand.push(world.under_way(&format!("time-{time}"), None).await);
        // A group that nobody has made again yet cannot be destroyed again.
        world
            .eventually("the group is destroyed", async |world: &World| {
                world.watch_mirror().await;
                world.redis(&["XGROUP", "DESTROY", &jobs, &group]).await.as_i64() == Some(1)
            })
            .await;
        more_jobs(&mut world, &format!("after-{time}")).await;
    }
    ends_well(&mut world).await;
    for job in in_hand {
        world.was_under_way(job).await;
    }
    all_said_once(&mut world, &replicas, TIMES, &[]).await;
    let created = |log: &Log| log.count("consumer group created");
    let by_a = created(&world.log(replicas[0]));
    assert_eq!(by_a + created(&world.log(replicas[1])), TIMES + 1, "{}", world.logs());
}

/// A fleet at rest whose jobs stream has just been deleted.
async fn without_its_jobs_stream() -> (World, [usize; 2]) {
    let mut world = World::new().await;
    let replicas = under_load(&mut world).await;
    world.settled().await;
    world.at_rest().await;
    world.redis(&["DEL", &world.settings.stream.jobs.clone()]).await;
    (world, replicas)
}

#[tokio::test]
async fn the_jobs_stream_is_deleted_while_all_is_quiet_and_begins_anew() {
    let (mut world, replicas) = without_its_jobs_stream().await;
    more_jobs(&mut world, "later").await;
    ends_well(&mut world).await;
    all_said_once(&mut world, &replicas, 1, &[]).await;
}

#[tokio::test]
async fn the_jobs_stream_is_deleted_and_stays_away_for_a_while() {
    let (mut world, replicas) = without_its_jobs_stream().await;
    world.eventually("the group is there again", async |world: &World| world.lobby.pending().await.is_ok()).await;
    more_jobs(&mut world, "later").await;
    ends_well(&mut world).await;
    all_said_once(&mut world, &replicas, 1, &[]).await;
}

#[tokio::test]
async fn a_results_key_of_another_type_holds_everything_up_and_loses_nothing() {
    let mut world = World::with(&[("simulated-latency", "5ms..50ms"), ("slots", "8")]).await;
    let replicas = under_load(&mut world).await;
    progress(&mut world, 8).await;
    let results = world.settings.stream.results.clone();
    let aside = format!("{results}:aside");
    // In one step each: a results stream that a replica makes anew in between would be lost by the test itself.
    let spoil = "redis.call('RENAME', KEYS[1], KEYS[2]) redis.call('SET', KEYS[1], 'not a stream')";
    let repair = "redis.call('DEL', KEYS[1]) redis.call('RENAME', KEYS[2], KEYS[1])";
    world.redis(&["EVAL", spoil, "2", &results, &aside]).await;
    // More jobs until both have something to settle: one alone may have taken the whole load.
    let mut batches = 0;
    while !replicas.iter().all(|&replica| world.log(replica).conditions().contains_key("settle")) {
        assert!(batches < 50, "settling is not refused\n{}", world.logs());
        more_jobs(&mut world, &format!("refused-{batches}")).await;
        batches += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Many attempts, all refused.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.redis(&["GET", &results]).await.as_string().as_deref(), Some("not a stream"));
    world.redis(&["EVAL", repair, "2", &results, &aside]).await;
    ends_well(&mut world).await;
    all_said_once(&mut world, &replicas, 1, &["settle"]).await;
    for replica in replicas {
        let log = world.log(replica);
        assert_eq!(log.conditions().len(), 1, "{}", log.text());
    }
}
