//! Redis is there and refuses, loads, is busy, or stands still.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use startjobs::embedded::redis_server::RedisServer;

use super::{JOBS, SLOW, Watched, begins, ends_well, said_once, send, sum, tried_slowly, under_load};
use crate::support::scrape;
use crate::support::world::{PATIENCE, World};

/// So long that back-off has come to its longest, and longer than claim idle.
const LASTS: Duration = Duration::from_secs(3);

/// After so long without a renewal a replica's presence has expired, and a trouble that nothing met since has ended.
const EXPIRED_AND_QUIET: Duration = Duration::from_secs(5);

async fn config(world: &World, name: &str, value: &str) {
    world.redis(&["CONFIG", "SET", name, value]).await;
}

/// What every refusal comes to: said, slow, bounded, and over.
async fn weathers(
    world: &mut World,
    replicas: [Watched; 2],
    begins_with: &str,
    must: &[&str],
    end: impl AsyncFnOnce(&World),
) {
    begins(world, &replicas, begins_with).await;
    tried_slowly(world, LASTS, 2.0).await;
    let held = sum(&replicas, "startjobs_held");
    // Slots, what backs off, and what waits to be settled: reading stops at that.
    assert!(held <= 2.0 * (8.0 + 32.0 + 128.0), "{held} entries in hand");
    let answered = world.lobby.answers().await.expect("Redis answers reads").0;
    end(world).await;
    send(world, "later", 20).await;
    ends_well(world, &replicas).await;
    assert!(answered < world.sent.len() as u64, "the load was over before the refusal");
    said_once(world, &replicas, must).await;
}

#[tokio::test]
async fn out_of_memory_under_noeviction_is_waited_out() {
    let mut world = World::with(SLOW).await;
    let replicas = under_load(&mut world, 300).await;
    config(&world, "maxmemory", "1").await;
    weathers(&mut world, replicas, "renew", &["renew"], async |world: &World| {
        config(world, "maxmemory", "0").await;
    })
    .await;
}

#[tokio::test]
async fn too_few_replicas_of_redis_are_waited_out() {
    let mut world = World::with(SLOW).await;
    let replicas = under_load(&mut world, 300).await;
    config(&world, "min-replicas-to-write", "1").await;
    weathers(&mut world, replicas, "renew", &["renew"], async |world: &World| {
        config(world, "min-replicas-to-write", "0").await;
    })
    .await;
}

/// A field of INFO replication.
async fn replication(world: &World, name: &str) -> String {
    let info = world.try_redis(&["INFO", "replication"]).await.ok().and_then(|info| info.as_string());
    let info = info.unwrap_or_default();
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("").trim().to_owned()
}

#[tokio::test]
async fn a_redis_that_becomes_a_replica_and_a_master_again_loses_nothing() {
    let mut world = World::with(SLOW).await;
    let second = RedisServer::start().expect("redis-server starts");
    let follow = format!("REPLICAOF 127.0.0.1 {}\r\n", world.redis.port());
    assert!(ask(second.port(), &follow).starts_with("+OK"));
    let replicas = under_load(&mut world, 300).await;
    world
        .eventually("the second follows", async |world: &World| {
            replication(world, "slave0").await.contains("state=online")
        })
        .await;
    // Nobody writes until the second has everything; then they change places.
    world.redis(&["CLIENT", "PAUSE", "10000", "WRITE"]).await;
    world
        .eventually("the second has everything", async |world: &World| {
            let offset = replication(world, "master_repl_offset").await;
            replication(world, "slave0").await.contains(&format!("offset={offset},"))
        })
        .await;
    assert!(ask(second.port(), "REPLICAOF NO ONE\r\n").starts_with("+OK"));
    world.redis(&["REPLICAOF", "127.0.0.1", &second.port().to_string()]).await;
    world.redis(&["CLIENT", "UNPAUSE"]).await;
    world
        .eventually("it follows the second", async |world: &World| {
            replication(world, "master_link_status").await == "up"
        })
        .await;
    // A sweep that is not due writes nothing and is answered. Claims are refused all the same.
    begins(&mut world, &replicas, "claim").await;
    for replica in replicas.iter().filter(|replica| replica.began("claim") > 0.5) {
        let began = std::time::Instant::now();
        while began.elapsed() < EXPIRED_AND_QUIET {
            let lasts = replica.metric("startjobs_condition{condition=\"claim\"}");
            assert!(lasts > 0.5, "claims are refused, and it says that they are not");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    weathers(&mut world, replicas, "renew", &["renew"], async |world: &World| {
        world.redis(&["REPLICAOF", "NO", "ONE"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_loads_for_seconds_is_waited_out() {
    // Every command of the append-only file takes this many microseconds to load.
    let options = ["--appendfsync", "always", "--key-load-delay", "100"];
    let redis = RedisServer::start_with(std::path::Path::new("redis-server"), &options).expect("redis-server starts");
    let mut world = World::on(redis, SLOW).await;
    world.redis(&["EVAL", "for i = 1, 30000 do redis.call('SET', 'ballast:' .. i, i) end", "0"]).await;
    let replicas = under_load(&mut world, 300).await;
    world.redis.kill();
    let port = world.redis.port();
    let watcher = std::thread::spawn(move || {
        let began = std::time::Instant::now();
        // Until it loads, then until it does not any more.
        while began.elapsed() < PATIENCE && !ask(port, "PING\r\n").starts_with("-LOADING") {
            std::thread::sleep(Duration::from_millis(20));
        }
        let loading = std::time::Instant::now();
        while began.elapsed() < PATIENCE && ask(port, "PING\r\n").starts_with("-LOADING") {
            std::thread::sleep(Duration::from_millis(20));
        }
        loading.elapsed()
    });
    world.redis.start_again().expect("redis-server starts again");
    let loaded_for = watcher.join().expect("the watcher ends");
    assert!(loaded_for > Duration::from_secs(1), "it loaded for {loaded_for:?} only");
    world.eventually("Redis answers", async |world: &World| world.try_redis(&["PING"]).await.is_ok()).await;
    assert!(!world.account().await.lost.is_empty(), "the load was over");
    send(&mut world, "later", 20).await;
    ends_well(&mut world, &replicas).await;
    said_once(&mut world, &replicas, &["redis"]).await;
}

#[tokio::test]
async fn a_redis_that_is_busy_with_somebodys_script_is_waited_out() {
    let mut world = World::with(SLOW).await;
    let replicas = under_load(&mut world, 300).await;
    config(&world, "busy-reply-threshold", "100").await;
    let port = world.redis.port();
    let busy = std::thread::spawn(move || ask(port, "EVAL \"while true do end\" 0\r\n"));
    tokio::time::sleep(LASTS).await;
    assert!(ask(port, "PING\r\n").starts_with("-BUSY"), "the script is not there");
    assert!(ask(port, "SCRIPT KILL\r\n").starts_with("+OK"));
    assert!(busy.join().expect("the script ends").starts_with('-'));
    world.eventually("Redis answers", async |world: &World| world.try_redis(&["PING"]).await.is_ok()).await;
    assert!(!world.account().await.lost.is_empty(), "the load was over");
    send(&mut world, "later", 20).await;
    ends_well(&mut world, &replicas).await;
    // Nobody could renew: it is refused where it is not a lost connection.
    let seen = said_once(&mut world, &replicas, &[]).await;
    assert!(seen.contains("redis") || seen.contains("renew"), "{seen:?}");
}

#[tokio::test]
async fn a_redis_that_stands_still_for_more_than_three_block_times_gets_new_connections() {
    let mut world = World::with(SLOW).await;
    let replicas = under_load(&mut world, 40).await;
    // While both wait in a read: a reader that is not reading has nothing to miss. Under load: see `outages`.
    ends_well(&mut world, &replicas).await;
    let readers = async |world: &World| -> Vec<String> {
        let list = world.redis(&["CLIENT", "LIST", "TYPE", "normal"]).await.as_string().unwrap_or_default();
        let reading = list.lines().filter(|line| line.contains(" cmd=xreadgroup "));
        reading.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
    };
    world.eventually("both read", async |world: &World| readers(world).await.len() == 2).await;
    let before = readers(&world).await;
    world.redis.pause();
    // BLOCK is 500 ms; the client's own limit for a read is BLOCK and 1.5 s.
    for replica in replicas {
        let not_ready = |port: u16| scrape::get(port, "/readyz").is_ok_and(|(status, _)| status == 503);
        world.eventually("it is not ready", async |_: &World| not_ready(replica.port)).await;
        let (_, why) = scrape::get(replica.port, "/readyz").expect("the replica answers");
        assert!(why.contains("redis"), "{why}");
        let (status, _) = scrape::get(replica.port, "/livez").expect("the replica answers");
        assert_eq!(status, 200, "a process that waits for Redis is not restarted for it");
    }
    tokio::time::sleep(LASTS).await;
    world.redis.resume();
    world.eventually("Redis answers", async |world: &World| world.try_redis(&["PING"]).await.is_ok()).await;
    send(&mut world, "later", 20).await;
    ends_well(&mut world, &replicas).await;
    said_once(&mut world, &replicas, &["redis"]).await;
    let others = |after: &[String]| after.iter().filter(|id| !before.contains(id)).count();
    world.eventually("both read on new connections", async |world: &World| others(&readers(world).await) == 2).await;
    assert!(readers(&world).await.iter().all(|id| !before.contains(id)), "a silent connection was kept");
    for replica in replicas {
        world
            .eventually("it is ready", async |_: &World| {
                scrape::get(replica.port, "/readyz").is_ok_and(|(status, _)| status == 200)
            })
            .await;
    }
    assert!(world.redis(&["XLEN", JOBS]).await.as_i64().is_some());
}

/// One inline command on a connection of its own; the first line of the answer, empty where there is none.
fn ask(port: u16, command: &str) -> String {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return String::new() };
    let mut answer = [0; 512];
    let asked = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.write_all(command.as_bytes()));
    let length = asked.and_then(|()| stream.read(&mut answer)).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
}
