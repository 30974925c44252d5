//! Redis goes away for longer than claim idle, and whole fleets are killed at random moments: no living replica loses an
//! entry, and no innocent job is condemned. `STARTJOBS_SEEDS` says how many storms there are, `STARTJOBS_SEED` with which seed the first
//! begins; `deploy/search.sh kills` runs 200.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};

use crate::support::world::{PATIENCE, World};

/// Redis is away for longer than claim idle, and a replica starts so long after it is back.
async fn outage(starts_after: Duration) {
    let mut world = World::with(&[("claim-idle", "2s"), ("slots", "8"), ("simulated-latency", "12s")]).await;
    for number in 0..2 {
        world.replica(&[]);
        world.begun(number).await;
    }
    world.send_games("g", 16).await;
    world.held(16).await;
    // A renewal that has heard of all of them.
    world
        .eventually("both have shown what they hold", async |world: &World| {
            world.presences().await.values().filter(|presence| presence.contains("\"held\":8}")).count() == 2
        })
        .await;
    world.redis.kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let early = starts_after.is_zero().then(|| world.replica(&[]));
    world.redis.start_again().expect("redis-server starts again");
    tokio::time::sleep(starts_after).await;
    let new = early.unwrap_or_else(|| world.replica(&[]));
    world.begun(new).await;
    let account = world.settled().await;
    world.at_rest().await;
    assert_eq!(account.outcomes["started"], 16, "{account:?}");
    for outcome in world.entries(&world.settings.stream.results).await {
        assert_eq!(outcome.get("attempt"), "1", "{outcome:?}");
    }
    for number in 0..=new {
        assert_eq!(world.log(number).count("claimed pending entries"), 0, "{}", world.logs());
    }
}

#[tokio::test]
async fn a_replica_that_starts_after_an_outage_takes_nothing_from_the_living() {
    let cases = [0, 200, 1_000].map(|ms| outage(Duration::from_millis(ms)));
    futures_util::future::join_all(cases).await;
}

/// What a storm came to.
#[derive(Debug, Default)]
struct Damage {
    condemned: Vec<String>,
    deaths: usize,
}

/// A fleet works on jobs of 700 ms, and all of it or a share is killed at random moments and started again. Every fourth
/// storm has a job that kills its process itself.
async fn storm(seed: u64) -> Damage {
    let mut random = fastrand::Rng::with_seed(seed);
    let began = Instant::now();
    let mut world = World::with(&[("slots", "8"), ("simulated-latency", "700ms"), ("sweep-interval", "50ms")]).await;
    let poison = match seed % 4 {
        0 => Some(world.send("poison", "sim/abort").await.to_string()),
        _ => None,
    };
    let replicas = random.usize(2..=4);
    world.send_games("g", random.usize(8..=40)).await;
    let mut living: Vec<usize> = (0..replicas).map(|_| world.replica(&[])).collect();
    let mut deaths = 0;
    for _ in 0..random.usize(3..=8) {
        tokio::time::sleep(Duration::from_millis(random.u64(50..1_500))).await;
        let share = if random.bool() { living.len() } else { random.usize(1..=living.len()) };
        random.shuffle(&mut living);
        let mut dead: Vec<usize> = living.drain(..share).collect();
        for &number in &dead {
            world.fleet.replica(number).process().kill();
        }
        dead.extend(living.extract_if(.., |&mut number| world.fleet.replica(number).process().ended().is_some()));
        deaths += dead.len();
        if random.bool() {
            tokio::time::sleep(Duration::from_millis(random.u64(0..1_000))).await;
        }
        living.extend(dead.iter().map(|_| world.replica(&[])));
    }
    // What a supervisor does until everything is answered.
    while !world.account().await.lost.is_empty() {
        let ended: Vec<usize> =
            living.extract_if(.., |&mut number| world.fleet.replica(number).process().ended().is_some()).collect();
        deaths += ended.len();
        living.extend(ended.iter().map(|_| world.replica(&[])));
        assert!(
            began.elapsed() < 4 * PATIENCE,
            "storm {seed} never ended: {:?}\n{}",
            world.account().await,
            world.logs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let account = world.settled().await;
    let mut condemned: Vec<String> =
        world.lobby.all_dead().await.expect("dead letters").into_iter().map(|letter| letter.source_ref).collect();
    if let Some(poison) = poison {
        assert!(condemned.contains(&poison), "storm {seed}: the job that kills was not condemned: {account:?}");
        condemned.retain(|id| *id != poison);
    }
    Damage { condemned, deaths }
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn no_innocent_job_is_condemned_by_kill_storms_over_the_whole_fleet() {
    let otherwise = if std::env::var_os("STARTJOBS_SEARCH").is_some() { 200 } else { 16 };
    let (first, storms) =
        (from_environment("STARTJOBS_SEED", fastrand::u64(..1 << 32)), from_environment("STARTJOBS_SEEDS", otherwise));
    println!("{storms} storms from seed {first} on");
    let began = Instant::now();
    let damages: Vec<(u64, Damage)> = stream::iter(first..first + storms)
        .map(|seed| async move { (seed, storm(seed).await) })
        .buffer_unordered(4)
        .inspect(|(seed, damage)| println!("storm {seed}: {damage:?}"))
        .collect()
        .await;
    let deaths: usize = damages.iter().map(|(_, damage)| damage.deaths).sum();
    let innocents: usize = damages.iter().map(|(_, damage)| damage.condemned.len()).sum();
    println!("{storms} storms, {deaths} deaths, {innocents} innocents condemned, {:?}", began.elapsed());
    assert_eq!(innocents, 0, "{damages:?}");
}
