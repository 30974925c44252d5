//! Connections that end while the process lives: a subscription that is cut is made again, and a replica that was cut off for
//! longer than the grace comes back under another name. `STARTJOBS_FLAP_SECONDS` says for how long subscriptions are cut again
//! and again; `deploy/search.sh flaps` takes a minute.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;

use super::{AT_ONCE, Crew, Crewman, Load, NEVER_READY, on_every_server, seconds};
use crate::support::proxy::{Network, Proxy};
use crate::support::scrape::{get, metric};
use crate::support::world::PATIENCE;

const FLAPPING: &str = "STARTJOBS_FLAP_SECONDS";
/// The living renew three times in that time, as they do at the defaults.
const OFTEN: (&str, &str) = ("claim-idle", "5s");

fn redis() -> RedisServer {
    RedisServer::start().expect("redis-server starts")
}

/// Nothing has happened to the living.
async fn nothing_has_happened(mut crew: Crew) {
    crew.all_heard().await;
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
    assert_eq!(crew.crashes(&[]).await, (0, Vec::new()), "{}", crew.world.logs());
}

/// The notice works: who dies now is declared dead.
async fn a_death_is_noticed(crew: &mut Crew) {
    crew.all_heard().await;
    let victim = crew.launch(&[NEVER_READY]);
    crew.all_heard().await;
    let name = crew.name(victim).await;
    let names = std::iter::once(name).collect();
    let mut number = 0;
    while crew.held_by(&names).await.is_empty() {
        assert!(number < 1_000, "it never takes anything\n{}", crew.world.logs());
        crew.world.send(&format!("last-{number}"), "galaxy/engine:1").await;
        number += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    crew.kill(&[victim]).await;
    crew.until("it is declared dead", async |crew: &Crew| {
        crew.shown().await.iter().any(|one| names.contains(&one.name) && one.state == "dead")
    })
    .await;
}

async fn all_subscriptions_are_cut_again_and_again(redis: RedisServer) {
    let mut crew = Crew::of(4, redis, &[OFTEN]).await;
    let load = Load::begin(&crew.world, "load", Duration::from_millis(20)).await;
    let mut cuts = 0;
    for interval in [1_000, 200] {
        let began = Instant::now();
        while began.elapsed() < seconds(FLAPPING, 3) {
            crew.world.redis(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
            cuts += 1;
            tokio::time::sleep(Duration::from_millis(interval)).await;
        }
    }
    let jobs = load.end(&mut crew.world).await.appended;
    println!("all subscriptions cut {cuts} times under {jobs} jobs");
    nothing_has_happened(crew).await;
}

#[tokio::test]
async fn one_subscription_flaps() {
    let mut crew = Crew::of(3, redis(), &[OFTEN]).await;
    let load = Load::begin(&crew.world, "load", Duration::from_millis(20)).await;
    let flapping = crew.living[0];
    let name = crew.name(flapping).await;
    let (began, mut cuts) = (Instant::now(), 0);
    while began.elapsed() < seconds(FLAPPING, 10) {
        if let Some(id) = crew.subscriber(&name).await {
            // It may have gone by itself in between.
            cuts += usize::from(crew.world.try_redis(&["CLIENT", "KILL", "ID", &id]).await.is_ok());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // One that is lost as soon as it is made is made again after a pause, which may last a second.
    assert!(cuts > 3, "it was cut only {cuts} times");
    let jobs = load.end(&mut crew.world).await.appended;
    println!("one subscription cut {cuts} times under {jobs} jobs");
    assert_eq!(crew.name(flapping).await, name);
    nothing_has_happened(crew).await;
}

#[tokio::test]
async fn after_all_subscriptions_were_cut_a_death_is_noticed_again() {
    let mut crew = Crew::of(3, redis(), &[OFTEN]).await;
    crew.world.redis(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    crew.until("all have subscribed again", async |crew: &Crew| {
        let shown = crew.shown().await;
        shown.iter().filter(|one| one.is_heard() && one.generation() == 2).count() == 3
    })
    .await;
    a_death_is_noticed(&mut crew).await;
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
}

/// The grace is so long that the replica is back in time on a slow machine too.
#[tokio::test]
async fn both_connections_are_cut_for_less_than_the_grace() {
    let redis = redis();
    let proxy = Proxy::start(redis.port());
    let mut crew = Crew::of(2, redis, &[OFTEN, ("disconnect-grace", "4s")]).await;
    crew.launch(&[("redis-url", &proxy.url())]);
    crew.all_heard().await;
    let load = Load::begin(&crew.world, "load", Duration::from_millis(20)).await;
    for round in 0..4 {
        if round % 2 == 1 {
            proxy.set(Network::Refused);
            tokio::time::sleep(Duration::from_millis(500)).await;
            proxy.set(Network::Healthy);
        } else {
            proxy.cut();
        }
        // Lost, and made again.
        let cut = crew.living[2];
        let port = cut.port;
        crew.until("it is ready again", async |_: &Crew| get(port, "/readyz").is_ok_and(|(status, _)| status == 200))
            .await;
        crew.all_heard().await;
    }
    load.end(&mut crew.world).await;
    nothing_has_happened(crew).await;
}

/// It answers something under the name that it has now.
async fn works(crew: &mut Crew, crewman: Crewman, prefix: &str) {
    let before = crew.world.log(crewman.number).processed().len();
    let (began, mut number) = (Instant::now(), 0);
    while crew.world.log(crewman.number).processed().len() == before {
        assert!(began.elapsed() < PATIENCE, "it does not work\n{}", crew.world.logs());
        crew.world.send(&format!("{prefix}-{number}"), "galaxy/engine:1").await;
        number += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Cuts a replica off until the others have declared it dead. One that loses its subscription first may still renew, which
/// says that it lives: it is let in, and cut off again.
async fn cut_off_until_dead(crew: &mut Crew, proxy: &Proxy, name: &str) {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "it is not declared dead\n{}", crew.world.logs());
        crew.all_heard().await;
        proxy.set(Network::Refused);
        loop {
            let shown = crew.shown().await;
            let one = shown.iter().find(|one| one.name == name).expect("its presence");
            if one.state == "dead" {
                return;
            }
            if !one.is_heard() {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "it is not declared dead\n{}", crew.world.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        proxy.set(Network::Healthy);
    }
}

/// Its process ends, and so does its name: nothing stays counted against what it held.
#[tokio::test]
async fn a_replica_that_is_declared_dead_while_it_drains_leaves_all_the_same() {
    const HELD: usize = 4;
    let redis = redis();
    let proxy = Proxy::start(redis.port());
    let mut crew = Crew::on(redis, &[("drain-timeout", "60s")]).await;
    let cut = crew.launch(&[("redis-url", &proxy.url())]);
    crew.all_heard().await;
    let name = crew.name(cut).await;
    for number in 0..HELD {
        crew.world.send(&format!("held-{number}"), "sim/slow:8s").await;
    }
    crew.world.held(HELD).await;
    crew.launch(&[]);
    crew.launch(&[]);
    crew.all_heard().await;
    crew.world.signal(cut.number, Signal::TERM);
    crew.until("it drains", async |crew: &Crew| crew.shown().await.iter().any(|one| one.state == "draining")).await;
    cut_off_until_dead(&mut crew, &proxy, &name).await;
    let one = std::iter::once(name.clone()).collect();
    crew.until("what it held is taken", async |crew: &Crew| crew.held_by(&one).await.is_empty()).await;
    proxy.set(Network::Healthy);
    crew.living.retain(|living| living.number != cut.number);
    crew.until("it has left", async |crew: &Crew| {
        crew.shown().await.iter().all(|one| one.name != name || one.state == "left")
    })
    .await;
    let end = crew.world.ended(cut.number, PATIENCE).await;
    assert_eq!(end.code(), Some(0), "{}", crew.world.logs());
    crew.ends_well().await;
}

/// A replica is cut off until the others have declared it dead and have taken what it held.
async fn a_replica_that_was_declared_dead_comes_back_under_another_name(redis: RedisServer) {
    const HELD: usize = 8;
    const ROUNDS: usize = 2;
    let proxy = Proxy::start(redis.port());
    let mut crew = Crew::on(redis, &[]).await;
    let cut = crew.launch(&[("redis-url", &proxy.url())]);
    crew.all_heard().await;
    let first = crew.name(cut).await;
    for number in 0..HELD {
        crew.world.send(&format!("held-{number}"), "sim/slow:6s").await;
    }
    crew.world.held(HELD).await;
    let others = [crew.launch(&[]), crew.launch(&[])];
    crew.all_heard().await;
    let pid = crew.world.fleet.replica(cut.number).process().id();
    let mut names = vec![first.clone()];
    for round in 0..ROUNDS {
        let name = names[round].clone();
        // In later rounds it must hold something to be missed, for longer than a job of the round before takes.
        if round > 0 {
            let one = std::iter::once(name.clone()).collect();
            let mut slow = Vec::new();
            for number in 0.. {
                slow.push(crew.world.send(&format!("held-{round}-{number}"), "sim/slow:4s").await.to_string());
                tokio::time::sleep(Duration::from_millis(30)).await;
                if crew.held_by(&one).await.iter().any(|id| slow.contains(id)) {
                    break;
                }
                assert!(number < 100, "it takes nothing\n{}", crew.world.logs());
            }
        }
        cut_off_until_dead(&mut crew, &proxy, &name).await;
        crew.until("what it held is taken", async |crew: &Crew| {
            crew.held_by(&std::iter::once(name.clone()).collect()).await.is_empty()
        })
        .await;
        let charged = crew.attempts().await;
        let charges = charged.get(&format!("charges:{name}")).map_or(0, |list| list.split(' ').count() - 1);
        if round == 0 {
            assert_eq!(charges, HELD, "a crash each: {charged:?}");
        }
        proxy.set(Network::Healthy);
        crew.until("it is back under another name", async |crew: &Crew| {
            crew.shown().await.iter().any(|one| {
                one.is_there() && one.is_heard() && one.pid() == u64::from(pid) && !names.contains(&one.name)
            })
        })
        .await;
        names.push(crew.name(cut).await);
        // Its old name has left, and what was counted against its jobs is taken back while they still run.
        let left = crew.shown().await.into_iter().find(|one| one.name == name).map(|one| one.state);
        assert!(left.is_none() || left.as_deref() == Some("left"), "{name} is {left:?}");
        let attempts = crew.attempts().await;
        let is_taken_back = |(field, counts): (&String, &String)| !field.contains(':') && counts.starts_with("0 ");
        assert!(attempts.iter().all(is_taken_back), "{attempts:?}\n{}", crew.world.logs());
        assert_eq!(crew.declared_dead(cut), round + 1);
        let withdrawn = metric(cut.port, "startjobs_crashes_withdrawn_total");
        if round == 0 {
            let all = crew.world.lobby.pending().await.expect("pending").len();
            assert!(all < HELD || (withdrawn - 8.0).abs() < 0.5, "{withdrawn} crashes were taken back");
        }
        works(&mut crew, cut, &format!("after-{round}")).await;
    }
    assert_eq!(crew.world.fleet.replica(cut.number).process().id(), pid);
    assert!(crew.world.fleet.replica(cut.number).process().ended().is_none());
    crew.ends_well().await;
    for other in others {
        assert_eq!(crew.declared_dead(other), 0);
    }
    for path in ["/livez", "/readyz"] {
        let (status, body) = get(cut.port, path).expect("it answers");
        assert_eq!(status, 200, "{path}: {body}");
    }
    let consumers = crew.consumers().await;
    assert!(names[..ROUNDS].iter().all(|name| !consumers.contains(name)), "{names:?} are still there: {consumers:?}");
    // What it held was never answered by itself.
    let processed = crew.world.log(cut.number).processed();
    let twice: Vec<&String> =
        processed.iter().filter(|id| processed.iter().filter(|one| one == id).count() > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

on_every_server! {
    all_subscriptions_are_cut_again_and_again
    a_replica_that_was_declared_dead_comes_back_under_another_name
}

/// Each replica is cut off again and again, some at the same moment, for longer than the grace: the same jobs are claimed from
/// one living replica after the other. None of it counts.
#[tokio::test]
async fn all_replicas_are_cut_off_again_and_again_for_longer_than_the_grace() {
    const REPLICAS: usize = 4;
    let seed = fastrand::u64(..1 << 32);
    println!("cut off: seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let redis = redis();
    let proxies: Vec<Proxy> = (0..REPLICAS).map(|_| Proxy::start(redis.port())).collect();
    // A job that passes through a living one's hands before it begins waits for the lease of the one before.
    let mut crew = Crew::on(redis, &[("claim-idle", "8s"), ("simulated-latency", "300ms..1500ms")]).await;
    for proxy in &proxies {
        crew.launch(&[("redis-url", &proxy.url())]);
    }
    crew.all_heard().await;
    let load = Load::begin(&crew.world, "load", Duration::from_millis(60)).await;
    let (began, mut rounds) = (Instant::now(), 0);
    let was_declared = |crew: &mut Crew| {
        let said = "declared dead while alive; goes on under another name";
        crew.living.clone().into_iter().any(|one| crew.world.log(one.number).count(said) > 0)
    };
    // Chance may leave all short of the grace for a while.
    while began.elapsed() < seconds(FLAPPING, 8) || (!was_declared(&mut crew) && began.elapsed() < PATIENCE) {
        rounds += 1;
        let mut cut: Vec<usize> = (0..REPLICAS).collect();
        random.shuffle(&mut cut);
        cut.truncate(random.usize(1..REPLICAS));
        for &number in &cut {
            proxies[number].set(Network::Refused);
        }
        tokio::time::sleep(Duration::from_millis(random.u64(200..1_500))).await;
        for &number in &cut {
            proxies[number].set(Network::Healthy);
        }
        if random.bool() {
            crew.all_heard().await;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(0..500))).await;
    }
    let jobs = load.end(&mut crew.world).await.appended;
    crew.all_heard().await;
    crew.ends_well().await;
    let declared: usize = crew.living.clone().into_iter().map(|one| crew.declared_dead(one)).sum();
    let counted = crew.crashes(&[]).await.1.len();
    println!(
        "{rounds} rounds, {jobs} jobs: {declared} times a living one was declared dead, {counted} crashes counted"
    );
    assert!(declared > 0, "none was cut off for long enough");
    assert!(crew.world.lobby.all_dead().await.expect("dead letters").is_empty());
}

/// No other replica has room: the one that comes back finds that its jobs are still its own, under the name that is spent.
#[tokio::test]
async fn a_replica_that_comes_back_before_its_jobs_are_taken_goes_on_with_them_at_once() {
    const SLOTS: usize = 8;
    let redis = redis();
    let proxy = Proxy::start(redis.port());
    let mut crew = Crew::on(redis, &[]).await;
    let cut = crew.launch(&[("redis-url", &proxy.url())]);
    crew.all_heard().await;
    for number in 0..SLOTS {
        crew.world.send(&format!("held-{number}"), "sim/slow:4s").await;
    }
    crew.world.held(SLOTS).await;
    let held: Vec<String> = crew.world.sent.keys().cloned().collect();
    crew.launch(&[]);
    crew.all_heard().await;
    for number in 0..SLOTS {
        crew.world.send(&format!("full-{number}"), "sim/slow:10s").await;
    }
    crew.world.held(2 * SLOTS).await;
    let name = crew.name(cut).await;
    cut_off_until_dead(&mut crew, &proxy, &name).await;
    proxy.set(Network::Healthy);
    let took = crew.taken_over(&held).await;
    println!("it went on with its jobs of 4 s, which were answered {took:?} after it was back");
    assert!(took < AT_ONCE, "{took:?}\n{}", crew.world.logs());
    crew.ends_well().await;
    assert_eq!(crew.declared_dead(cut), 1);
}
