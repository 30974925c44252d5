//! Connections that are refused, that nothing answers on, or that lead to a server which cannot be used.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;

use crate::support::scrape;
use crate::support::world::{PATIENCE, World};

/// So long that every read waits when the test acts.
const LONG_BLOCK: (&str, &str) = ("block", "5m");

/// Waits until a replica's blocking read waits at the server.
async fn reads(world: &mut World) {
    world
        .eventually("a read waits", async |world: &World| {
            let info = world.redis(&["INFO", "clients"]).await.as_string().unwrap_or_default();
            info.contains("blocked_clients:1")
        })
        .await;
}

#[tokio::test]
async fn a_replica_whose_client_commands_are_refused_drains() {
    let redis = RedisServer::start_with(Path::new("redis-server"), &["--rename-command", "CLIENT", ""]);
    let mut world = World::on(redis.expect("redis-server starts"), &[LONG_BLOCK, ("drain-timeout", "30s")]).await;
    let number = world.replica(&[]);
    world.begun(number).await;
    reads(&mut world).await;
    world.signal(number, Signal::TERM);
    assert_eq!(world.ended(number, Duration::from_secs(15)).await.code(), Some(0), "{}", world.logs());
    assert!(world.presences().await.values().all(|presence| presence.contains(" left ")));
}

#[tokio::test]
async fn an_idle_replica_drains_although_nothing_answers() {
    let mut world = World::with(&[LONG_BLOCK, ("drain-timeout", "20s"), ("claim-idle", "20s")]).await;
    let number = world.replica(&[]);
    world.begun(number).await;
    reads(&mut world).await;
    world.redis.pause();
    world.signal(number, Signal::TERM);
    let status = world.ended(number, Duration::from_secs(15)).await;
    world.redis.resume();
    assert_eq!(status.code(), Some(0), "{}", world.logs());
}

/// A file of a password, and the settings that name it.
fn password_file(world: &World, password: &str) -> String {
    let path = world.directory.path().join("password");
    fs::write(&path, format!("{password}\n")).expect("a folder of ours");
    path.to_string_lossy().into_owned()
}

#[tokio::test]
async fn a_password_is_changed_without_a_restart_and_its_refusal_is_named() {
    let mut world = World::new().await;
    world.redis(&["CONFIG", "SET", "requirepass", "first-secret"]).await;
    let (path, port) = (password_file(&world, "first-secret"), scrape::free_port());
    let settings = [("redis-password-file", path.as_str()), ("http-addr", &format!("127.0.0.1:{port}"))];
    let number = world.replica(&settings);
    world.begun(number).await;

    world.redis(&["CONFIG", "SET", "requirepass", "second-secret"]).await;
    world.redis(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    let named = format!(
        "no connection to redis://:***@127.0.0.1:{}: the user name or password was refused (WRONGPASS",
        world.redis.port()
    );
    world
        .eventually("the probe names the refusal", async |_: &World| {
            scrape::get(port, "/readyz").is_ok_and(|(status, body)| status == 503 && body.contains(&named))
        })
        .await;
    world.logged(number, "the refusal", |log| log.count("redis handshake failed") > 0).await;
    assert_eq!(scrape::get(port, "/livez").expect("the replica answers").0, 200);

    // A file that is being replaced is no reason to give up.
    fs::remove_file(&path).expect("it was there");
    world
        .eventually("the probe says that the file cannot be read", async |_: &World| {
            scrape::get(port, "/readyz").is_ok_and(|(_, body)| body.contains("redis-password-file"))
        })
        .await;
    password_file(&world, "second-secret");
    world
        .eventually("it is ready", async |_: &World| {
            scrape::get(port, "/readyz").is_ok_and(|(status, _)| status == 200)
        })
        .await;
    let job = world.send("game", "galaxy/engine:1").await;
    world.settled().await;
    // The line is written after the outcome.
    world.logged(number, "its job", |log| log.processed() == [job.to_string()]).await;
    assert!(!world.logs().contains("-secret"), "{}", world.logs());
}

#[tokio::test]
async fn a_wrong_password_at_start_is_said_with_the_url_and_waited_out() {
    let mut world = World::new().await;
    world.redis(&["CONFIG", "SET", "requirepass", "the-secret"]).await;
    let path = password_file(&world, "a-mistake");
    let number = world.replica(&[("redis-password-file", &path)]);
    let named = format!(
        "no connection to redis://:***@127.0.0.1:{}: the user name or password was refused (WRONGPASS",
        world.redis.port()
    );
    world
        .logged(number, "the refusal", |log| {
            log.with("degraded").any(|line| line["err"].as_str().is_some_and(|err| err.starts_with(&named)))
        })
        .await;
    password_file(&world, "the-secret");
    world.begun(number).await;
    world.logged(number, "the end", |log| log.conditions().get("redis") == Some(&(1, 1))).await;
}

/// Ends a replica that cannot use its Redis; answers what it said.
async fn refuses(world: &mut World, number: usize) -> String {
    let status = world.ended(number, PATIENCE).await;
    assert_eq!(status.code(), Some(78), "{}", world.logs());
    world.log(number).text().to_owned()
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_a_mistake_in_the_settings() {
    let mut world = World::new().await;
    let url = format!("{}/99", world.redis.url());
    let number = world.replica(&[("redis-url", &url)]);
    let said = refuses(&mut world, number).await;
    let sentence = format!("redis-url {url}: the server has no database of this number; correct it in redis-url");
    assert!(said.contains(&sentence), "{said}");
}

#[tokio::test]
async fn a_node_of_a_cluster_is_refused() {
    let redis = RedisServer::start_with(Path::new("redis-server"), &["--cluster-enabled", "yes"]);
    let mut world = World::on(redis.expect("redis-server starts"), &[]).await;
    let url = world.redis.url();
    let number = world.replica(&[]);
    let said = refuses(&mut world, number).await;
    assert!(said.contains(&format!("{url} is a node of a Redis Cluster, which this version cannot use")), "{said}");
    let number = world.replica(&[("redis-url", &format!("{url}/1"))]);
    let said = refuses(&mut world, number).await;
    assert!(said.contains("a node of a Redis Cluster, which this version cannot use"), "{said}");
}

#[tokio::test]
async fn a_replica_that_waits_for_its_group_has_no_reader_whose_connection_could_die_meanwhile() {
    let mut world = World::new().await;
    let jobs = world.settings.stream.jobs.clone();
    world.redis(&["SET", &jobs, "x"]).await;
    let number = world.replica(&[]);
    world.logged(number, "that it waits", |log| log.conditions().contains_key("group")).await;
    let list = world.redis(&["CLIENT", "LIST", "TYPE", "normal"]).await.as_string().expect("a list");
    let of_lobby = |line: &&str| line.contains(" name=startjobs:lobby");
    assert_eq!(list.lines().filter(|line| !of_lobby(line)).count(), 1, "{list}");
    world.redis(&["DEL", &jobs]).await;
    world.begun(number).await;
    world.send("g", "galaxy/engine:1").await;
    world.settled().await;
}
