//! Whatever the network does, every replica works again within seconds of its end: seeded sequences of slow, held, cut,
//! half-open and refused connections. `deploy/search.sh network` runs many more of them.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::proxy::{Network, Proxy};
use crate::support::scrape;
use crate::support::world::World;

/// Sequences in an ordinary run, and in a search.
const SEEDS: u64 = 5;
const SEEDS_OF_SEARCH: u64 = 50;
/// Sequences at the same time.
const LANES: u64 = 2;
const REPLICAS: usize = 3;
/// From the end of a sequence until every replica works. A machine that runs other tests beside this one is given more:
/// a replica that is wedged never works again.
const WORKS_WITHIN: Duration = Duration::from_secs(5);
const WORKS_WITHIN_AT_LAST: Duration = Duration::from_secs(20);

/// One replica, and where it is asked.
#[derive(Debug, Clone, Copy)]
struct Asked {
    number: usize,
    port: u16,
}

/// What the network does next, and for how long.
fn draw(random: &mut fastrand::Rng) -> (Network, Duration) {
    let network = match random.u8(0..8) {
        0 => Network::Healthy,
        1 => Network::Slow(Duration::from_millis(random.u64(20..400))),
        2 | 3 => Network::HeldAfterHandshake,
        4 | 5 => Network::Held,
        6 => Network::HalfOpen,
        _ => Network::Refused,
    };
    let limit = if matches!(network, Network::Held | Network::HeldAfterHandshake) { 3_500 } else { 1_500 };
    (network, Duration::from_millis(random.u64(100..limit)))
}

/// Runs one sequence; answers how long the replicas took to work again.
async fn sequence(seed: u64, limit: Duration) -> Duration {
    println!("network: seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new().await;
    let proxy = Proxy::start(world.redis.port());
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        let port = scrape::free_port();
        let number = world.replica(&[("redis-url", &proxy.url()), ("http-addr", &format!("127.0.0.1:{port}"))]);
        replicas.push(Asked { number, port });
    }
    for replica in &replicas {
        world.begun(replica.number).await;
    }
    for phase in 0..random.usize(3..8) {
        let (network, lasts) = draw(&mut random);
        println!("network: seed {seed}: {network:?} for {lasts:?}");
        proxy.set(network);
        if random.u8(0..4) == 0 {
            proxy.cut();
        }
        let began = Instant::now();
        while began.elapsed() < lasts {
            world.send(&format!("seed-{seed}-{phase}"), "galaxy/engine:1").await;
            tokio::time::sleep(Duration::from_millis(random.u64(20..200))).await;
        }
    }
    proxy.set(Network::Healthy);
    let took = all_work(&mut world, &replicas, seed, limit).await;
    world.settled().await;
    for replica in &replicas {
        world.signal(replica.number, Signal::TERM);
    }
    for replica in replicas {
        let status = world.ended(replica.number, Duration::from_secs(10)).await;
        assert_eq!(status.code(), Some(0), "seed {seed}\n{}", world.logs());
    }
    took
}

/// Waits until every replica is ready, has renewed, and has answered a job that was sent since now.
async fn all_work(world: &mut World, replicas: &[Asked], seed: u64, limit: Duration) -> Duration {
    let (began, since) = (Instant::now(), server_ms(world).await);
    let processed = |world: &mut World, replica: Asked| world.log(replica.number).processed().len();
    let before: Vec<usize> = replicas.iter().map(|&replica| processed(world, replica)).collect();
    loop {
        for number in 0..REPLICAS {
            world.send(&format!("seed-{seed}-fresh-{number}"), "galaxy/engine:1").await;
        }
        let presences = world.presences().await;
        let renewed = presences.values().filter(|presence| last_seen(presence) > since).count();
        let mut wrong = Vec::new();
        for (&replica, &before) in replicas.iter().zip(&before) {
            match scrape::get(replica.port, "/readyz") {
                Ok((200, _)) => {}
                answer => wrong.push(format!("replica {} is not ready: {answer:?}", replica.number)),
            }
            if processed(world, replica) == before {
                wrong.push(format!("replica {} has answered nothing", replica.number));
            }
            let live = scrape::get(replica.port, "/livez");
            assert!(matches!(live, Ok((200, _))), "seed {seed}: {live:?}\n{}", world.logs());
        }
        if renewed < replicas.len() {
            wrong.push(format!("{renewed} replicas have renewed"));
        }
        if wrong.is_empty() {
            return began.elapsed();
        }
        assert!(began.elapsed() < limit, "seed {seed}: after {:?}: {wrong:#?}\n{}", began.elapsed(), troubles(world));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the replicas said besides their jobs.
fn troubles(world: &mut World) -> String {
    let mut text = String::new();
    for number in 0..REPLICAS {
        let log = world.log(number);
        let lines = log.text().lines().filter(|line| !line.contains("start job processed"));
        text.extend(lines.flat_map(|line| ["\n", line]));
        text.push('\n');
    }
    text
}

/// The server's clock, which presences are written by.
async fn server_ms(world: &World) -> u64 {
    let (seconds, micros): (u64, u64) = world.redis(&["TIME"]).await.convert().expect("two numbers");
    seconds * 1_000 + micros / 1_000
}

fn last_seen(presence: &str) -> u64 {
    presence.split(' ').next().and_then(|seen| seen.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn every_replica_works_within_seconds_of_a_network_that_is_healthy_again() {
    let is_search = std::env::var("STARTJOBS_SEARCH").is_ok_and(|search| search == "network");
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seeds, limit) = if is_search { (SEEDS_OF_SEARCH, WORKS_WITHIN) } else { (SEEDS, WORKS_WITHIN_AT_LAST) };
    let first = number("STARTJOBS_SEED").unwrap_or(1);
    let last = first + number("STARTJOBS_SEEDS").unwrap_or(seeds);
    let lanes = (0..LANES).map(|lane| async move {
        let mut worst = Duration::ZERO;
        for seed in (first..last).filter(|seed| seed % LANES == lane) {
            let took = sequence(seed, limit).await;
            println!("network: seed {seed}: every replica worked after {took:?}");
            worst = worst.max(took);
        }
        worst
    });
    let worst = futures_util::future::join_all(lanes).await.into_iter().max();
    println!("network: {} sequences, the slowest recovery took {worst:?}", last - first);
}
