//! A server that stands still, restarts or fails over closes or delays every connection at once, which says nothing about the
//! living: none of them is declared dead.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use startjobs::embedded::redis_server::RedisServer;
use startjobs::lobby::accounting::Sent;

use super::{Crew, Load, server};
use crate::support::proxy::Proxy;

/// Where claim idle may be what recovers: after a restart no subscription tells anything about those who died meanwhile.
const SHORT: (&str, &str) = ("claim-idle", "4s");

/// Waits until the server answers.
async fn back(crew: &mut Crew) {
    crew.until("Redis answers", async |crew: &Crew| crew.world.try_redis(&["PING"]).await.is_ok()).await;
}

/// Every subscription is cut, or one, and then the server stands still for so long.
async fn stands_still(redis: RedisServer, by: impl Fn(u64) -> Vec<String>, cases: &[(bool, u64, u64)]) {
    let mut crew = Crew::of(4, redis, &[("claim-idle", "5s")]).await;
    let load = Load::begin(&crew.world, "load", Duration::from_millis(20)).await;
    for &(cuts_all, after_ms, lasts_ms) in cases {
        crew.all_heard().await;
        let cut: Vec<String> = if cuts_all {
            vec!["TYPE".to_owned(), "pubsub".to_owned()]
        } else {
            let list = crew.world.redis(&["CLIENT", "LIST", "TYPE", "pubsub"]).await.as_string().expect("a list");
            let id = list.split(' ').next().and_then(|word| word.strip_prefix("id=")).expect("a subscriber");
            vec!["ID".to_owned(), id.to_owned()]
        };
        let words: Vec<&str> = ["CLIENT", "KILL"].into_iter().chain(cut.iter().map(String::as_str)).collect();
        crew.world.redis(&words).await;
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        let words = by(lasts_ms);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // The client's patience may end first; the server has read it.
        drop(crew.world.try_redis(&words).await);
        back(&mut crew).await;
    }
    load.end(&mut crew.world).await;
    crew.all_heard().await;
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
    assert_eq!(crew.crashes(&[]).await, (0, Vec::new()), "{}", crew.world.logs());
}

async fn pauses(redis: RedisServer, times: usize) {
    let pause = |ms: u64| vec!["CLIENT".to_owned(), "PAUSE".to_owned(), ms.to_string(), "ALL".to_owned()];
    let cases =
        [(true, 0, 500), (false, 20, 2_500), (true, 100, 1_500), (false, 0, 600), (true, 20, 2_500), (false, 100, 400)];
    stands_still(redis, pause, &cases[..times]).await;
}

async fn sleeps(redis: RedisServer) {
    let sleep = |ms: u64| vec!["DEBUG".to_owned(), "SLEEP".to_owned(), format!("{}.{:03}", ms / 1_000, ms % 1_000)];
    let cases = [(true, 0, 400), (false, 20, 3_000), (true, 100, 1_000), (false, 0, 1_000), (true, 20, 600)];
    stands_still(redis, sleep, &cases).await;
}

#[tokio::test]
async fn subscriptions_are_cut_and_then_all_clients_are_paused() {
    pauses(RedisServer::start().expect("redis-server starts"), 6).await;
}

#[tokio::test]
async fn subscriptions_are_cut_and_then_all_clients_are_paused_on_6_2() {
    if let Some(redis) = server("6.2") {
        pauses(redis, 3).await;
    }
}

#[tokio::test]
async fn subscriptions_are_cut_and_then_all_clients_are_paused_on_8_2() {
    if let Some(redis) = server("8.2") {
        pauses(redis, 3).await;
    }
}

#[tokio::test]
async fn subscriptions_are_cut_and_then_the_server_sleeps() {
    let options = ["--enable-debug-command", "yes"];
    sleeps(RedisServer::start_with(Path::new("redis-server"), &options).expect("redis-server starts")).await;
}

/// Those that the test killed are declared dead, or found silent: at the end no other is.
async fn the_living_were_never_declared_dead(crew: &mut Crew) {
    crew.world.settled().await;
    crew.world.at_rest().await;
    crew.all_heard().await;
    crew.only_the_killed_may_be_declared_dead().await;
    crew.one_container_a_game().await;
    crew.nothing_is_left_against_the_living().await;
    crew.none_learned_that_it_was_dead();
    assert!(crew.world.lobby.all_dead().await.expect("dead letters").is_empty());
}

#[tokio::test]
async fn redis_is_killed_and_restarted_while_replicas_are_killed() {
    const ROUNDS: usize = 4;
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let redis = RedisServer::start_with(Path::new("redis-server"), &options).expect("redis-server starts");
    let mut crew = Crew::of(5, redis, &[SHORT]).await;
    let load = Load::begin(&crew.world, "load", Duration::from_millis(15)).await;
    for round in 0..ROUNDS {
        crew.all_heard().await;
        let victim = crew.living[0];
        // Before, after, and both at one moment.
        match round % 3 {
            0 => {
                crew.kill(&[victim]).await;
                crew.world.redis.kill();
            }
            1 => {
                crew.will_die(victim).await;
                crew.world.redis.kill();
                crew.world.fleet.replica(victim.number).process().kill();
            }
            _ => crew.world.redis.kill(),
        }
        tokio::time::sleep(Duration::from_millis([0, 300, 1_500][round % 3])).await;
        crew.world.redis.start_again().expect("redis-server starts again");
        back(&mut crew).await;
        crew.launch(&[]);
    }
    let loaded = load.end(&mut crew.world).await;
    println!("{ROUNDS} restarts, {} killed, {loaded:?}", crew.killed.len());
    assert!(loaded.lost.is_empty(), "Redis writes through");
    the_living_were_never_declared_dead(&mut crew).await;
}

/// One command over a connection of its own; answers the first line of the reply.
fn ask(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("redis-server answers");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
    stream.write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
    let mut reply = vec![0; 4096];
    let count = stream.read(&mut reply).expect("a reply");
    String::from_utf8_lossy(&reply[..count]).into_owned()
}

/// The second server takes over while replicas are killed. What it has not received is lost with the first: the books are of
/// what survives.
#[tokio::test]
async fn a_failover_while_replicas_are_killed() {
    let first = RedisServer::start().expect("redis-server starts");
    let primary = first.port();
    let proxy = Proxy::start(primary);
    let options = ["--replicaof", "127.0.0.1", &primary.to_string()];
    let second = RedisServer::start_with(Path::new("redis-server"), &options).expect("redis-server starts");
    let port = second.port();
    let mut crew = Crew::of(4, first, &[SHORT, ("redis-url", &proxy.url())]).await;
    crew.until("the second server follows", async |_: &Crew| {
        ask(port, "INFO replication").contains("master_link_status:up")
    })
    .await;
    let load = Load::begin(&crew.world, "load", Duration::from_millis(15)).await;
    crew.until("there is work", async |crew: &Crew| {
        crew.world.lobby.pending().await.is_ok_and(|list| !list.is_empty())
    })
    .await;
    let victims = [crew.living[0], crew.living[1]];
    crew.kill(&victims[..1]).await;
    crew.will_die(victims[1]).await;
    crew.world.redis.kill();
    crew.world.fleet.replica(victims[1].number).process().kill();
    assert!(ask(port, "REPLICAOF NO ONE").starts_with("+OK"));
    proxy.lead_to(port);
    back(&mut crew).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let loaded = load.end(&mut crew.world).await;
    println!("a failover with two killed: {} jobs, {} of them lost by Redis", loaded.appended, loaded.lost.len());
    // A replica may still answer a job that it had read before Redis lost it. By the time that all others are answered it has.
    crew.until("all are answered", async |crew: &Crew| crew.world.account().await.lost.is_empty()).await;
    let answered = crew.world.lobby.all_outcomes().await.expect("outcomes");
    let answered = answered.into_iter().filter_map(|outcome| outcome.source_ref);
    let lost = answered.filter(|id| loaded.lost.contains(id)).map(|id| (id, Sent::Job));
    crew.world.sent.extend(lost);
    the_living_were_never_declared_dead(&mut crew).await;
    drop(second);
}
