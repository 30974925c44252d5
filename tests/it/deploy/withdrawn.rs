//! Each right of the replicas' user is withdrawn for a moment while jobs are under way, one after the other. Those that a
//! replica asks for again only after minutes are in `notice`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use startjobs::embedded::redis_server::RedisServer;

use super::rights::{TEMPLATE, rules};
use super::text_of;
use crate::support::counted::Counted;
use crate::support::scrape::{free_port, get};
use crate::support::servers;
use crate::support::world::{PATIENCE, World};

const LEDGERS: &str = "runtime:start_jobs:ledgers";
const OLD_BUCKET: &str = "runtime:start_jobs:ledger:1";

/// Rights that are used when a replica connects.
const CONNECTING: &[&str] = &["+auth", "+client|id", "+client|setname", "+hello", "+info", "+ping", "+select"];

/// Rights that nothing asks for in this test: AUTH cannot be refused to who has not logged in, HELLO and SELECT are for other
/// settings, PING is for idle connections, PUBLISH is for jobs of other hosts (`handover` withdraws it), the offset of the original worker is taken over only where no other replica is
/// there, and XINFO STREAM stands in where another right is missing. ZSCORE is for hosts whose number of games is limited. With HSETNX and HVALS the simulated engine keeps its key and
/// the fleet's name, once.
const COLD: &[&str] = &[
    "+auth",
    "+hello",
    "+hsetnx",
    "+hvals",
    "+ping",
    "+publish",
    "+select",
    "+xgroup|setid",
    "+xinfo|stream",
    "+zscore",
];

/// Rights that only the death notice needs.
pub(super) const OF_THE_NOTICE: [&str; 3] = ["&runtime:start_jobs:alive:*", "+pubsub|numsub", "+subscribe"];

/// What the replicas' user may, as rules.
pub(super) fn rights() -> BTreeSet<String> {
    let simulated = text_of(TEMPLATE);
    let simulated = simulated.lines().find_map(|line| line.strip_prefix("#simulated ")).expect("a line of its own");
    let simulated = simulated.split(' ').map(str::to_owned);
    rules("startjobs").into_iter().filter(|rule| rule.starts_with(['+', '~', '&'])).chain(simulated).collect()
}

/// Gives the user these rights and no others.
pub(super) async fn grant(world: &World, rights: impl Iterator<Item = &String>) {
    let words = ["ACL", "SETUSER", "startjobs", "on", ">x", "resetkeys", "resetchannels", "-@all"];
    world.redis(&words.into_iter().chain(rights.map(String::as_str)).collect::<Vec<_>>()).await;
}

/// Has the user been refused something since the log was cleared?
pub(super) async fn is_refused(world: &World) -> bool {
    world.redis(&["ACL", "LOG", "1"]).await.into_list().is_ok_and(|entries| !entries.is_empty())
}

/// What has to be there for this right to be used soon.
async fn provoke(world: &mut World, right: &str) {
    match right {
        "+unlink" | "+zrem" => {
            world.redis(&["SADD", OLD_BUCKET, "1-1"]).await;
            world.redis(&["ZADD", LEDGERS, "1", OLD_BUCKET]).await;
        }
        "+xgroup|delconsumer" => {
            world.redis(&["XGROUP", "CREATECONSUMER", "runtime:start_jobs", "rtmanager.startjobs", "idle"]).await;
        }
        "+script|load" => {
            world.redis(&["SCRIPT", "FLUSH"]).await;
        }
        // Two jobs next to each other whose owner is not there any more: they are claimed as a run.
        "+xautoclaim" => {
            let pair = [world.send("run-0", "sim/slow:2s").await, world.send("run-1", "sim/slow:2s").await];
            let pair = pair.map(|id| id.to_string());
            let are_in_hand = async |world: &World| {
                let pending = pending(world).await;
                pair.iter().all(|id| pending.contains(id))
            };
            world.eventually("both are in hand", are_in_hand).await;
            let claim = ["XCLAIM", "runtime:start_jobs", "rtmanager.startjobs", "gone", "0", &pair[0], &pair[1]];
            world.redis(&claim.into_iter().chain(["IDLE", "3600000", "JUSTID"]).collect::<Vec<_>>()).await;
        }
        right if CONNECTING.contains(&right) => {
            world.redis(&["CLIENT", "KILL", "USER", "startjobs"]).await;
        }
        _ => {}
    }
}

/// The ids of what is in hand, in order.
async fn pending(world: &World) -> Vec<String> {
    world.lobby.pending().await.unwrap_or_default().into_iter().map(|entry| entry.id).collect()
}

async fn in_hand(world: &World) -> bool {
    !pending(world).await.is_empty()
}

/// One right is withdrawn until something is refused for the lack of it, while jobs come and are in hand.
async fn withdraw(world: &mut World, number: usize, right: &str, all: &BTreeSet<String>, metrics: u16) {
    world.send(&format!("slow-{number}"), "sim/slow:2s").await;
    world.send_malformed().await;
    world.eventually("work is in hand", async |world: &World| in_hand(world).await).await;
    world.redis(&["ACL", "LOG", "RESET"]).await;
    grant(world, all.iter().filter(|one| *one != right)).await;
    provoke(world, right).await;
    // For each right images that are new, and games whose engine exits.
    let image = format!("galaxy/engine:{number}");
    let (began, mut sent, mut slow) = (Instant::now(), 0, 0);
    while !is_refused(world).await {
        if COLD.contains(&right) && began.elapsed() > Duration::from_millis(50) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "nothing asks for {right}\n{}", world.logs());
        if sent < 12 {
            // Every game is there twice.
            let image = if sent < 2 { "sim/exit" } else { &image };
            world.send(&format!("game-{number}-{}", sent / 2), image).await;
            sent += 1;
        }
        if began.elapsed().as_secs() > slow {
            slow += 1;
            world.send(&format!("slow-{number}-{slow}"), "sim/slow:2s").await;
            // The two may have been settled, or claimed one by one, before.
            if right == "+xautoclaim" {
                provoke(world, right).await;
            }
        }
        drop(get(metrics, "/metrics"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(in_hand(world).await, "nothing was in hand when the lack of {right} was felt");
    grant(world, all.iter()).await;
}

async fn each_right_is_withdrawn_under_load(program: &Path, is_old: bool) {
    let redis = RedisServer::start_with(program, &[]).expect("this redis-server starts");
    let url = redis.url().replace("redis://", "redis://startjobs:x@");
    let mut world = World::on(
        redis,
        &[
            ("claim-idle", "6s"),
            ("slots", "16"),
            ("trim-jobs", "on"),
            ("results-retention", "1h"),
            ("janitor-interval", "100ms"),
            ("reconcile-interval", "200ms"),
            ("retry-attempts", "100"),
            ("consumer-idle", "6s"),
            // The ledger's index is told of a bucket every 64th of this.
            ("max-run", "1m"),
            ("ledger-ttl", "2m"),
        ],
    )
    .await;
    let all = rights();
    grant(&world, all.iter()).await;
    let counted = Counted::of(&world);
    let metrics = free_port();
    let address = format!("127.0.0.1:{metrics}");
    for more in [&[("http-addr", address.as_str())][..], &[], &[]] {
        let number = world.replica(&[&[("redis-url", url.as_str())], more].concat());
        world.begun(number).await;
    }
    let began = Instant::now();
    let others = all.iter().filter(|right| !OF_THE_NOTICE.contains(&right.as_str()));
    for (number, right) in others.enumerate() {
        withdraw(&mut world, number, right, &all, metrics).await;
    }
    println!("{} rights in {:?}", all.len(), began.elapsed());
    let account = world.settled().await;
    world.at_rest().await;
    let kinds: Vec<&str> = account.outcomes.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["engine_exited", "replay_no_op", "started"], "{account:?}");
    assert_eq!(counted.crashes(&world).await, Vec::<String>::new());
    // 6.2 does not say before the first write that a later one will be refused.
    if !is_old {
        world.sim_log().await;
    }
    world
        .eventually("the old bucket is dropped", async |world: &World| {
            world.redis(&["EXISTS", OLD_BUCKET]).await.as_i64() == Some(0)
        })
        .await;
}

#[tokio::test]
async fn a_right_that_is_withdrawn_for_a_moment_doubles_and_loses_nothing_on_7_0() {
    each_right_is_withdrawn_under_load(Path::new("redis-server"), false).await;
}

#[tokio::test]
async fn a_right_that_is_withdrawn_for_a_moment_doubles_and_loses_nothing_on_6_2() {
    if let Some(program) = servers::fetched("6.2") {
        each_right_is_withdrawn_under_load(&program, true).await;
    }
}

#[tokio::test]
async fn a_right_that_is_withdrawn_for_a_moment_doubles_and_loses_nothing_on_8_2() {
    if let Some(program) = servers::fetched("8.2") {
        each_right_is_withdrawn_under_load(&program, false).await;
    }
}
