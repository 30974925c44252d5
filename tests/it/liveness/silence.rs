//! What no connection tells: a process that stands still, and one behind a proxy that keeps its connection to Redis. Others
//! take over after claim idle, as they do where the notice is off.

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;

use super::{AT_ONCE, Crew, Crewman, NEVER_READY, whole};
use crate::support::proxy::{Network, Proxy};
use crate::support::scrape::metric;

const SLOTS: usize = 8;
const SHORT: (&str, &str) = ("claim-idle", "3s");
const OFF: (&str, &str) = ("disconnect-grace", "off");

fn redis() -> RedisServer {
    RedisServer::start().expect("redis-server starts")
}

/// A replica that holds eight jobs that it never finishes, and two others; answers what it holds.
async fn scene(
    settings: &[(&str, &str)],
    victim: &[(&str, &str)],
    others: &[(&str, &str)],
) -> (Crew, Crewman, Vec<String>) {
    let mut crew = Crew::on(redis(), settings).await;
    let victim = crew.launch(victim);
    crew.world.send_games("held", SLOTS).await;
    crew.world.held(SLOTS).await;
    let held = crew.world.sent.keys().cloned().collect();
    for _ in 0..2 {
        let other = crew.launch(others);
        crew.world.begun(other.number).await;
    }
    (crew, victim, held)
}

/// How many deaths the living have noticed, by this sign.
fn noticed(crew: &Crew, by: &str) -> usize {
    let name = format!("startjobs_deaths_noticed_total{{by=\"{by}\"}}");
    crew.living.iter().map(|one| whole(metric(one.port, &name))).sum()
}

/// It was found dead by its silence, and not by its connection.
async fn found_silent(crew: &mut Crew, name: &str, held: &[String]) {
    let took = crew.taken_over(held).await;
    println!("taken over after {took:?}, claim idle 3 s");
    assert_eq!((noticed(crew, "silence"), noticed(crew, "disconnect")), (1, 0), "{}", crew.world.logs());
    let shown = crew.shown().await;
    let one = shown.iter().find(|one| one.name == name).expect("its presence");
    assert!(one.state != "dead" && one.about["lost_ms"].is_u64(), "{one:?}");
    let (counted, others) = crew.crashes(held).await;
    assert_eq!((counted, others), (held.len(), Vec::new()));
}

#[tokio::test]
async fn a_replica_that_is_stopped_is_found_by_its_silence_and_works_on() {
    let (mut crew, victim, held) = scene(&[SHORT], &[NEVER_READY], &[]).await;
    crew.all_heard().await;
    let name = crew.name(victim).await;
    crew.living.retain(|one| one.number != victim.number);
    crew.world.signal(victim.number, Signal::STOP);
    crew.world.paused(victim.number).await;
    found_silent(&mut crew, &name, &held).await;
    crew.world.signal(victim.number, Signal::CONT);
    // It takes part again, under the same name: it was not declared dead.
    crew.until("it renews again", async |crew: &Crew| {
        crew.shown().await.iter().any(|one| one.name == name && one.is_heard() && one.about["lost_ms"].is_null())
    })
    .await;
    crew.living.push(victim);
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
}

#[tokio::test]
async fn a_replica_behind_a_proxy_that_keeps_its_connection_is_found_by_its_silence() {
    let redis = redis();
    let proxy = Proxy::start(redis.port());
    let mut crew = Crew::on(redis, &[SHORT]).await;
    let victim = crew.launch(&[NEVER_READY, ("redis-url", &proxy.url())]);
    crew.world.send_games("held", SLOTS).await;
    crew.world.held(SLOTS).await;
    let held: Vec<String> = crew.world.sent.keys().cloned().collect();
    for _ in 0..2 {
        crew.launch(&[]);
    }
    crew.all_heard().await;
    let name = crew.will_die(victim).await;
    // It is not declared dead.
    crew.killed.clear();
    proxy.set(Network::HalfOpen);
    crew.world.fleet.replica(victim.number).process().kill();
    found_silent(&mut crew, &name, &held).await;
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
}

async fn channels(crew: &Crew) -> Vec<String> {
    crew.world.redis(&["PUBSUB", "CHANNELS"]).await.convert().expect("channels")
}

#[tokio::test]
async fn where_the_notice_is_off_nothing_is_subscribed_and_claim_idle_recovers() {
    let (mut crew, victim, held) = scene(&[SHORT, OFF], &[NEVER_READY], &[]).await;
    assert_eq!(channels(&crew).await, [] as [String; 0]);
    let name = crew.will_die(victim).await;
    crew.killed.clear();
    crew.world.fleet.replica(victim.number).process().kill();
    found_silent(&mut crew, &name, &held).await;
    assert_eq!(channels(&crew).await, [] as [String; 0]);
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
}

/// A version that knows nothing of the notice is one that has it off.
#[tokio::test]
async fn a_replica_without_the_notice_among_others_is_found_by_its_silence() {
    let (mut crew, victim, held) = scene(&[SHORT], &[NEVER_READY, OFF], &[]).await;
    crew.until("the two others are subscribed", async |crew: &Crew| channels(crew).await.len() == 2).await;
    let name = crew.will_die(victim).await;
    crew.killed.clear();
    crew.world.fleet.replica(victim.number).process().kill();
    found_silent(&mut crew, &name, &held).await;
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
}

#[tokio::test]
async fn one_replica_with_the_notice_is_enough_among_others_without() {
    let (mut crew, victim, held) = scene(&[], &[NEVER_READY], &[OFF]).await;
    crew.launch(&[]);
    let heard = [victim, crew.living[3]].map(|one| u64::from(crew.world.fleet.replica(one.number).process().id()));
    crew.heard(&heard.into()).await;
    crew.kill(&[victim]).await;
    let took = crew.taken_over(&held).await;
    println!("noticed by one of three: {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    crew.ends_well().await;
    assert_eq!((noticed(&crew, "silence"), noticed(&crew, "disconnect")), (0, 1), "{}", crew.world.logs());
    crew.none_learned_that_it_was_dead();
}
