//! Everything at once: a network that fails, replicas that are killed and stopped, a Redis that dies, stalls, refuses and
//! forgets, large entries, and jobs that kill their process. Afterwards every replica is ready within seconds and the
//! account is exact. `deploy/search.sh mixed` runs three seeds of ten minutes.

// the clock, the faults' counts and the sender's books
mod stage;
// jobs of every shape
mod sender;
// replicas and their supervisor
mod processes;
// what Redis does
mod servers;
// what has to be true afterwards
mod peace;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;
use startjobs::lobby::client::Lobby;

use crate::support::proxy::{Network, Proxy};
use crate::support::world::World;
use processes::Supervisor;
use servers::Disturber;
use stage::{Stage, ms};

const CLAIM_IDLE: Duration = Duration::from_secs(2);
const DRAIN: Duration = Duration::from_secs(5);
/// From peace until every replica is ready. A machine that runs other tests beside this one is given more: a replica that
/// is wedged is never ready again.
const READY_WITHIN: Duration = Duration::from_secs(5);
const READY_WITHIN_AT_LAST: Duration = Duration::from_secs(20);
/// How long faults go on, in an ordinary run and in a search.
const LASTS: Duration = Duration::from_secs(25);
const LASTS_IN_SEARCH: Duration = Duration::from_secs(600);
const SEEDS_IN_SEARCH: u64 = 3;
/// Who the replicas are; what this test does itself it does as another user.
const FLEET_USER: &str = "fleet";

const SETTINGS: &[(&str, &str)] = &[
    ("claim-idle", "2s"),
    ("slots", "8"),
    ("simulated-latency", "5ms..300ms"),
    ("simulated-errors", "0.03"),
    ("janitor-interval", "500ms"),
    ("drain-timeout", "5s"),
    ("max-held-bytes", "8MiB"),
    ("reconcile-interval", "2s"),
    ("reconcile-grace", "10s"),
    // Replicas are killed more often here than a job without guilt can bear anywhere else.
    ("crash-budget", "6"),
];

/// What the network before some replicas does next, and for how long.
fn draw(random: &mut fastrand::Rng) -> (Network, Duration) {
    let network = match random.u8(0..12) {
        0..4 => Network::Healthy,
        4 | 5 => Network::Slow(ms(random, 20..400)),
        6 => Network::HeldAfterHandshake,
        7 | 8 => Network::Held,
        9 | 10 => Network::HalfOpen,
        _ => Network::Refused,
    };
    let limit = match network {
        Network::Healthy => 6_000,
        Network::Held | Network::HeldAfterHandshake => 3_500,
        Network::Slow(_) | Network::HalfOpen | Network::Refused => 2_000,
    };
    (network, ms(random, 100..limit))
}

async fn network(stage: &Stage, name: &str, proxy: &Proxy, mut random: fastrand::Rng) {
    while !stage.is_over() {
        let (network, lasts) = draw(&mut random);
        if network != Network::Healthy {
            let kind = format!("network {}", format!("{network:?}").split('(').next().unwrap_or_default());
            stage.fault(&kind, format_args!("{network:?} before {name} for {lasts:?}"));
        }
        proxy.set(network);
        if random.u8(0..4) == 0 {
            stage.fault("network cut", format_args!("before {name}"));
            proxy.cut();
        }
        stage.sleep(lasts).await;
    }
    proxy.set(Network::Healthy);
}

/// Runs one seed; answers how long the replicas took to be ready.
async fn run(seed: u64, lasts: Duration, limit: Duration) -> Duration {
    println!("mixed: seed {seed}: STARTJOBS_SEED={seed}");
    let user = ["--user", FLEET_USER, "on", ">fleet", "~*", "&*", "+@all"];
    let options = [&["--appendfsync", "always", "--busy-reply-threshold", "100"], &user[..]].concat();
    let redis = RedisServer::start_with(Path::new("redis-server"), &options).expect("redis-server starts");
    let mut world = World::on(redis, SETTINGS).await;
    let outcome = AssertUnwindSafe(soak(&mut world, seed, lasts, limit)).catch_unwind().await;
    outcome.unwrap_or_else(|panic| {
        keep(&mut world, seed);
        std::panic::resume_unwind(panic)
    })
}

async fn soak(world: &mut World, seed: u64, lasts: Duration, limit: Duration) -> Duration {
    let sender = Lobby::connect(&world.settings.redis, &world.settings.stream).await.expect("a connection");
    let mut random = fastrand::Rng::with_seed(seed);
    let stage = Stage::new(seed, lasts);
    let proxies = [Proxy::start(world.redis.port()), Proxy::start(world.redis.port())];
    // Two replicas share a network, one has one of its own, one has none before it.
    let urls = [proxies[0].url(), proxies[0].url(), proxies[1].url(), world.redis.url()];
    let login = format!("redis://{FLEET_USER}:fleet@");
    let urls = urls.map(|url| url.replacen("redis://", &login, 1)).to_vec();
    let World { fleet, redis, lobby, settings, .. } = &mut *world;
    let streams = &settings.stream;
    let mut supervisor = Supervisor::new(fleet, urls, random.fork());
    let disturber = Disturber { stage: &stage, redis, lobby, streams, random: random.fork() };
    let (tried_again, (), (), (), ()) = tokio::join!(
        sender::send(&stage, &sender, &streams.jobs, random.fork()),
        network(&stage, "replicas 1 and 2", &proxies[0], random.fork()),
        network(&stage, "replica 3", &proxies[1], random.fork()),
        supervisor.run(&stage),
        disturber.run(),
    );
    let took = peace::ready(&stage, &mut supervisor, limit).await;
    let took = took.max(peace::settled(&stage, &mut supervisor, lobby, limit).await);
    let took = took.max(peace::ready(&stage, &mut supervisor, limit).await);
    let living: Vec<usize> = supervisor.seats.iter().map(|seat| seat.number).collect();
    peace::judged(&stage, world).await;
    for &number in &living {
        world.signal(number, Signal::TERM);
    }
    for number in living {
        let status = world.ended(number, DRAIN + Duration::from_secs(10)).await;
        assert_eq!(status.code(), Some(0), "seed {seed}: replica {number}");
    }
    peace::summary(&stage, took, tried_again);
    took
}

/// After a failure: the logs stay, and the data of Redis, for a person who searches.
fn keep(world: &mut World, seed: u64) {
    if !is_search() {
        println!("{}", world.logs());
        return;
    }
    world.directory.disable_cleanup(true);
    let from = world.redis.directory().to_owned();
    let copied = Command::new("cp").arg("-r").arg(&from).arg(world.directory.path().join("redis")).status();
    println!("mixed: seed {seed}: logs and data stay in {} ({copied:?})", world.directory.path().display());
}

fn is_search() -> bool {
    std::env::var("STARTJOBS_SEARCH").is_ok_and(|search| search == "mixed")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// On a thread of its own, which the processes of this run end with: what blocks it holds up no other run.
fn on_a_thread(seed: u64, lasts: Duration, limit: Duration) -> JoinHandle<Duration> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(run(seed, lasts, limit))
    })
}

#[test]
fn after_everything_at_once_every_replica_is_ready_and_the_account_is_exact() {
    let first = number("STARTJOBS_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let (seeds, lasts, limit) =
        if is_search() { (SEEDS_IN_SEARCH, LASTS_IN_SEARCH, READY_WITHIN) } else { (1, LASTS, READY_WITHIN_AT_LAST) };
    let seeds = number("STARTJOBS_SEEDS").unwrap_or(seeds);
    let runs: Vec<JoinHandle<Duration>> = (first..first + seeds).map(|seed| on_a_thread(seed, lasts, limit)).collect();
    let ends: Vec<Option<Duration>> = runs.into_iter().map(|run| run.join().ok()).collect();
    println!("mixed: {seeds} seeds of {lasts:?}: replicas were ready after {ends:?}");
    assert!(ends.iter().all(Option::is_some), "a seed failed: see above");
}
