//! No record lies for more than ten seconds, whatever happens to containers, engine and records; and what another fleet runs
//! is left alone.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::proxy::{Network, Proxy};

use super::{
    Dockerd, GAME, OTHER_GAME, World, answered, assert_answers, containers_of, docker, inspect, remove,
    the_only_container, world,
};

/// Ten seconds are promised, and a machine that runs other tests too may take three times as long.
const WITHIN: Duration = Duration::from_secs(3 * 10);

async fn record(world: &World, game: &str) -> Value {
    let text = world.redis(&["GET", &format!("rtm:{{{game}}}:rec")]).await.as_string();
    text.map_or(Value::Null, |text| serde_json::from_str(&text).expect("JSON"))
}

/// The game's record as soon as it is so.
async fn becomes(world: &mut World, game: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let record = record(world, game).await;
        if is(&record) {
            return record;
        }
        assert!(began.elapsed() < WITHIN, "{game} is not {what}: {record}\n{}", world.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn stops(world: &mut World, game: &str) -> Value {
    becomes(world, game, "stopped", |record| record["state"] == "stopped").await
}

async fn kill(world: &mut World, replica: usize) {
    world.signal(replica, Signal::KILL);
    world.killed(replica).await;
}

/// Asks the engine for something to be done to a container.
fn act(dockerd: &Dockerd, game: &str, action: &str) {
    let (status, body) = dockerd.request("POST", &format!("/containers/rtm-{game}/{action}"), b"").expect("an answer");
    assert_eq!(status, 204, "{action} {game}: {body}");
}

/// Starts games and answers when all are answered.
async fn start(world: &mut World, games: &[&str]) {
    let mut jobs = Vec::new();
    for game in games {
        jobs.push(world.send(game, GAME).await);
    }
    for job in jobs {
        assert_eq!(answered(world, job).await.get("outcome"), "success");
    }
}

/// The endpoint of the game's record, which answers that it is this game.
async fn answers(world: &World, game: &str) -> String {
    let record = record(world, game).await;
    let endpoint = record["engine_endpoint"].as_str().unwrap_or_else(|| panic!("no endpoint: {record}"));
    assert_answers(endpoint, game).await;
    endpoint.to_owned()
}

#[tokio::test]
async fn records_follow_what_happens_to_containers() {
    let Some(dockerd) = docker() else { return };
    let mut world = world(&dockerd, &[("game-events", "runtime:game_events")]).await;
    world.replica(&[]);
    start(&mut world, &["killed", "removed", "moved", "stays"]).await;
    act(&dockerd, "killed", "kill");
    let killed = stops(&mut world, "killed").await;
    assert_eq!((&killed["exit_code"], killed.get("engine_endpoint")), (&"137".into(), None), "{killed}");
    assert!(killed["ended_at_ms"].as_str().is_some_and(|ms| ms.parse::<u64>().is_ok()), "{killed}");
    remove(&dockerd, "rtm-removed");
    let removed = stops(&mut world, "removed").await;
    assert_eq!(removed.get("stopped_by"), None, "{removed}");
    // A port of its own after a restart: the dead ones' ports are free.
    let before = answers(&world, "moved").await;
    act(&dockerd, "moved", "restart?t=0");
    let is_elsewhere = |record: &Value| record["state"] == "running" && record["engine_endpoint"] != before.as_str();
    becomes(&mut world, "moved", "elsewhere", is_elsewhere).await;
    answers(&world, "moved").await;
    // What had ended runs again.
    act(&dockerd, "killed", "start");
    becomes(&mut world, "killed", "running", |record| record["state"] == "running").await;
    answers(&world, "killed").await;
    act(&dockerd, "stays", "pause");
    act(&dockerd, "stays", "unpause");
    answers(&world, "stays").await;
    let events = world.entries("runtime:game_events").await;
    let of = |game: &str| events.iter().filter(|event| event.get("game_id") == game).count();
    assert!(of("killed") == 1 && of("removed") == 1 && of("stays") == 0, "{events:?}");
    let ended = events.iter().find(|event| event.get("game_id") == "killed").expect("it was said");
    assert_eq!((ended.get("event"), ended.get("exit_code"), ended.get("host")), ("ended", "137", "default"));
    // A game whose record says that it has stopped is started anew.
    start(&mut world, &["removed"]).await;
    answers(&world, "removed").await;
}

#[tokio::test]
async fn no_record_lies_after_the_engine_was_restarted_or_killed() {
    let Some(mut dockerd) = docker() else { return };
    let mut world = world(&dockerd, &[]).await;
    world.replica(&[]);
    let games = ["a", "b", "c", "d", "e", "f"];
    for end in [Dockerd::stop as fn(&mut Dockerd), Dockerd::kill] {
        start(&mut world, &games).await;
        end(&mut dockerd);
        dockerd.restart();
        for game in games {
            let record = stops(&mut world, game).await;
            assert!(containers_of(&dockerd, game).iter().all(|container| container["State"] != "running"), "{record}");
        }
    }
    start(&mut world, &games).await;
    for game in games {
        answers(&world, game).await;
    }
}

#[tokio::test]
async fn a_lost_record_is_written_again_and_its_game_is_never_removed() {
    let Some(dockerd) = docker() else { return };
    let mut world = world(&dockerd, &[]).await;
    let replica = world.replica(&[]);
    start(&mut world, &["game", "other"]).await;
    let ids = [the_only_container(&dockerd, "game"), the_only_container(&dockerd, "other")];
    let endpoint = answers(&world, "game").await;
    // Before anything has looked: the job finds it.
    world.redis(&["DEL", "rtm:{game}:rec"]).await;
    let job = world.send("game", OTHER_GAME).await;
    let outcome = answered(&mut world, job).await;
    assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("failure", "image_conflict"), "{outcome:?}");
    let rebuilt = record(&world, "game").await;
    assert_eq!((&rebuilt["state"], &rebuilt["engine_endpoint"]), (&"running".into(), &endpoint.into()), "{rebuilt}");
    assert!(rebuilt["fence"].as_u64() > Some(1), "{rebuilt}");
    // All of Redis: the fleet is the engine's, and the games are looked for.
    world.redis(&["FLUSHALL"]).await;
    for game in ["game", "other"] {
        becomes(&mut world, game, "running", |record| record["state"] == "running").await;
    }
    assert_eq!(ids, [the_only_container(&dockerd, "game"), the_only_container(&dockerd, "other")]);
    // And by a replica that comes later.
    kill(&mut world, replica).await;
    world.redis(&["FLUSHALL"]).await;
    world.replica(&[]);
    for game in ["game", "other"] {
        becomes(&mut world, game, "running", |record| record["state"] == "running").await;
        answers(&world, game).await;
    }
    assert_eq!(ids, [the_only_container(&dockerd, "game"), the_only_container(&dockerd, "other")]);
}

#[tokio::test]
async fn two_fleets_that_share_an_engine_leave_each_other_alone() {
    let Some(dockerd) = docker() else { return };
    let eager = [("reconcile-interval", "100ms"), ("reconcile-grace", "1ms")];
    let mut one = world(&dockerd, &eager).await;
    let mut two = world(&dockerd, &eager).await;
    one.replica(&[]);
    two.replica(&[]);
    start(&mut one, &["both", "first"]).await;
    start(&mut two, &["second"]).await;
    let ids = ["both", "first", "second"].map(|game| the_only_container(&dockerd, game));
    for image in [GAME, OTHER_GAME] {
        let job = two.send("both", image).await;
        let outcome = answered(&mut two, job).await;
        assert_eq!(outcome.get("error_code"), "container_name_conflict", "{outcome:?}");
    }
    // Three looks of each fleet at the whole engine: one of them finds the game whose record is lost.
    for _ in 0..3 {
        for (world, game) in [(&mut one, "first"), (&mut two, "second")] {
            world.redis(&["DEL", &format!("rtm:{{{game}}}:rec")]).await;
            becomes(world, game, "running", |record| record["state"] == "running").await;
        }
    }
    assert_eq!(ids, ["both", "first", "second"].map(|game| the_only_container(&dockerd, game)));
    assert_eq!(record(&two, "first").await, Value::Null);
    assert_eq!(record(&one, "both").await["state"], "running");
}

#[tokio::test]
async fn a_success_that_was_not_published_is_looked_at_first() {
    let Some(dockerd) = docker() else { return };
    for (crashes, what) in [(0, "same"), (1, "moved"), (2, "gone")] {
        let mut world = world(&dockerd, &[]).await;
        let game = format!("game-{crashes}");
        let dies = world.replica(&[("allow-fault-injection", "on"), ("crash-at", "after_commit")]);
        let job = world.send(&game, GAME).await;
        world.killed(dies).await;
        let stored = record(&world, &game).await;
        let id = the_only_container(&dockerd, &game);
        match what {
            "moved" => act(&dockerd, &game, "restart?t=0"),
            "gone" => remove(&dockerd, &id),
            _ => {}
        }
        world.replica(&[]);
        let outcome = answered(&mut world, job).await;
        assert_eq!(outcome.get("outcome"), "success", "{what}: {outcome:?}");
        assert_answers(outcome.get("engine_endpoint"), &game).await;
        assert_eq!(outcome.get("container_id"), the_only_container(&dockerd, &game), "{what}");
        assert_eq!(outcome.get("container_id") == id, what != "gone", "{what}: {outcome:?}");
        assert_eq!(outcome.get("error_code"), "", "{what}: {outcome:?}");
        if what == "same" {
            assert_eq!(outcome.get("engine_endpoint"), stored["engine_endpoint"], "word for word");
        }
        let recorded = record(&world, &game).await;
        assert_eq!(recorded["engine_endpoint"], outcome.get("engine_endpoint"), "{what}");
        world.settled().await;
    }
}

#[tokio::test]
async fn a_host_that_is_cut_off_keeps_its_games_or_stops_them() {
    for (on_isolation, is_stopped) in [("keep", false), ("stop", true)] {
        let Some(dockerd) = docker() else { return };
        let mut world = world(&dockerd, &[("host-heartbeat", "2s"), ("on-isolation", on_isolation)]).await;
        let proxy = Proxy::start(world.redis.port());
        world.replica(&[("redis-url", &proxy.url())]);
        start(&mut world, &["game"]).await;
        let id = the_only_container(&dockerd, "game");
        proxy.set(Network::Refused);
        let began = Instant::now();
        let state = || inspect(&dockerd, &id)["State"]["Status"].as_str().expect("a state").to_owned();
        // What is to go on is watched for three heartbeats.
        let watched = Duration::from_secs(if is_stopped { 30 } else { 6 });
        while began.elapsed() < watched && state() == "running" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(state() != "running", is_stopped, "{on_isolation} {:?}\n{}", began.elapsed(), world.logs());
        assert_eq!(record(&world, "game").await["state"], "running", "nothing could be written");
        proxy.set(Network::Healthy);
        if is_stopped {
            stops(&mut world, "game").await;
        }
        start(&mut world, &["game"]).await;
        assert_eq!(the_only_container(&dockerd, "game") == id, !is_stopped);
    }
}

/// A container as the version before fleets had created it.
#[tokio::test]
async fn games_of_the_version_before_are_ours() {
    let Some(dockerd) = docker() else { return };
    let mut world = world(&dockerd, &[]).await;
    let replica = world.replica(&[]);
    start(&mut world, &["game"]).await;
    kill(&mut world, replica).await;
    // The same container without the fleet's label, and a record that names it.
    let seen = inspect(&dockerd, "rtm-game");
    let mut labels = seen["Config"]["Labels"].clone();
    labels.as_object_mut().expect("labels").remove("rtm.fleet");
    remove(&dockerd, "rtm-game");
    let body = serde_json::json!({
        "Image": GAME, "Env": seen["Config"]["Env"], "Labels": labels, "ExposedPorts": { "8080/tcp": {} },
        "HostConfig": { "PortBindings": { "8080/tcp": [{ "HostIp": dockerd.address(), "HostPort": "" }] } },
    });
    let created = dockerd.request("POST", "/containers/create?name=rtm-game", body.to_string().as_bytes());
    let (status, created) = created.expect("an answer");
    assert_eq!(status, 201, "{created}");
    act(&dockerd, "game", "start");
    world.redis(&["DEL", "rtm:{game}:rec", "rtm:hosts", "rtm:fleet"]).await;
    let id = the_only_container(&dockerd, "game");
    world.replica(&[("reconcile-grace", "1ms")]);
    becomes(&mut world, "game", "running", |record| record["container_id"] == id.as_str()).await;
    let job = world.send("game", GAME).await;
    let outcome = answered(&mut world, job).await;
    assert_eq!((outcome.get("error_code"), outcome.get("container_id")), ("replay_no_op", id.as_str()), "{outcome:?}");
    assert_eq!(the_only_container(&dockerd, "game"), id);
}
