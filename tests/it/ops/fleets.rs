//! What is shown of a fleet that works, is held, has lost somebody, or is not there.

use rustix::process::Signal;

use super::{json, line, run, stderr, stdout, text};
use crate::support::world::{PATIENCE, World};

/// Starts that do not end while a test looks.
const SLOW: (&str, &str) = ("simulated-latency", "60s");

#[tokio::test]
async fn a_fleet_that_works_is_healthy() {
    let mut world = World::new().await;
    for number in 0..2 {
        world.replica(&[]);
        world.begun(number).await;
    }
    for number in 0..10 {
        world.send(&format!("game-{number}"), "galaxy/engine:1").await;
    }
    world.send_malformed().await;
    world.settled().await;
    world.at_rest().await;
    let status = text(&world, &["status"]);
    assert!(status.starts_with("Healthy so far: DeadLettersGrowing fires in "), "{status}");
    assert!(status.contains("\nPlayers are served. Nothing waits. No critical alert fires.\n"), "{status}");
    for (name, value) in
        [("waiting", "0"), ("in flight", "0"), ("dead letters", "1"), ("engine", "simulated"), ("paused", "no")]
    {
        assert_eq!(line(&status, name), value, "{status}");
    }
    assert_eq!(line(&status, "replicas"), "2 alive, 128 slots");
    assert!(line(&status, "mirror").ends_with(", the exact watermark"), "{status}");
    assert!(line(&status, "redis").ends_with(", append-only file on, noeviction"), "{status}");

    let status = json(&world, &["status"]);
    assert_eq!((&status["health"], &status["outcomes"]), (&"healthy".into(), &10.into()), "{status}");
    assert_eq!((&status["mirror"]["exact"], &status["paused"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!(
        status["waiting"],
        serde_json::json!({"count": 0, "exact": true, "oldest_id": null, "oldest_age_ms": null})
    );

    let replicas = text(&world, &["replicas"]);
    assert!(replicas.starts_with("NAME  ") && replicas.lines().count() == 3, "{replicas}");
    assert!(replicas.lines().skip(1).all(|line| line.contains("  running  64 ")), "{replicas}");
    let replicas = json(&world, &["replicas"]);
    let replica = &replicas["replicas"][0];
    assert_eq!((&replica["state"], &replica["version"]), (&"running".into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(replica["pid"].is_u64() && replica["up_ms"].is_u64() && replica["host"].is_string(), "{replica}");

    let output = run(&world, &["pending"]);
    assert_eq!((stdout(&output).lines().count(), stderr(&output).as_str()), (1, ""), "{output:?}");
    world.signal(0, Signal::TERM);
    world.ended(0, std::time::Duration::from_secs(10)).await;
    let left = json(&world, &["replicas"]);
    let states: Vec<&str> =
        left["replicas"].as_array().expect("a list").iter().filter_map(|one| one["state"].as_str()).collect();
    assert_eq!(states, ["running", "left"], "{left}");
}

#[tokio::test]
async fn a_backlog_without_replicas_is_said_first() {
    let mut world = World::new().await;
    let status = text(&world, &["status"]);
    assert!(status.starts_with("There is no fleet here: the stream runtime:start_jobs does not exist. "), "{status}");
    for words in [&["replicas"][..], &["jobs"], &["pending"], &["history"], &["dead", "list"]] {
        let refused = run(&world, words);
        assert_eq!((refused.status.code(), stdout(&refused).as_str()), (Some(1), ""), "{words:?}");
        let expected =
            "startjobs: There is no fleet here: the stream runtime:start_jobs does not exist\n  Check the settings";
        assert!(stderr(&refused).starts_with(expected), "{words:?}: {refused:?}");
    }
    for number in 0..12 {
        world.send(&format!("game-{number}"), "galaxy/engine:1").await;
    }
    let status = text(&world, &["status"]);
    let expected =
        "There is no fleet here: the stream runtime:start_jobs has no group, and 12 jobs wait, the oldest for ";
    assert!(status.starts_with(expected), "{status}");
    assert_eq!(json(&world, &["status"])["impact"]["players"], "not_served");
    assert!(line(&status, "waiting").starts_with("12, the oldest for "), "{status}");
    assert_eq!(json(&world, &["pending"])["total"], 0);
    // Only the sender has been there: what it sent can be looked at.
    assert_eq!(json(&world, &["jobs"])["jobs"].as_array().map(Vec::len), Some(12));
    assert_eq!(stderr(&run(&world, &["replicas"])), "startjobs: no replica has been here\n");
    world.replica(&[]);
    world.settled().await;
    world.at_rest().await;
    let status = text(&world, &["status"]);
    assert!(status.starts_with("Healthy: 1 replica reads, nothing waits.\n"), "{status}");
}

#[tokio::test]
async fn a_killed_replica_is_lost_and_what_it_held_is_named() {
    let mut world = World::new().await;
    world.replica(&[SLOW]);
    world.begun(0).await;
    let id = world.send("game-1", "galaxy/engine:1").await;
    world
        .eventually("the entry is pending", async |world: &World| {
            world.lobby.pending().await.is_ok_and(|pending| pending.len() == 1)
        })
        .await;
    let pending = text(&world, &["pending"]);
    assert!(pending.contains(&format!("\n{id}  game-1  ")), "{pending}");
    world.signal(0, Signal::KILL);
    world.killed(0).await;
    world
        .eventually("the presence expires", async |world: &World| {
            json(world, &["replicas"])["replicas"][0]["state"] == "lost"
        })
        .await;
    let status = text(&world, &["status"]);
    assert!(status.starts_with("Down: no replica reads; 1 replica lost since "), "{status}");
    assert!(
        status.lines().next().is_some_and(|line| line.ends_with(", 1 in flight with it. Nothing waits.")),
        "{status}"
    );
    assert!(status.contains("\n  next: startjobs worker\n  read: docs/runbooks.md#noreplicas\n"), "{status}");
    assert_eq!(line(&status, "replicas"), "0 alive, 1 lost");
    let pending = json(&world, &["pending"]);
    let held = &pending["pending"][0];
    assert_eq!(
        (&held["id"], &held["game_id"], &held["deliveries"]),
        (&id.to_string().into(), &"game-1".into(), &1.into())
    );
    let story = text(&world, &["inspect", &id.to_string()]);
    assert!(story.starts_with(&format!("{id}: in flight for ")) && story.contains("delivery 1"), "{story}");
    assert!(story.contains("; its replica "), "nobody has taken over: {story}");
    assert!(story.contains(" was lost; it waits for a replica: none reads\n  next: startjobs worker\n"), "{story}");

    world.replica(&[]);
    world.settled().await;
    let story = json(&world, &["inspect", &id.to_string()]);
    assert_eq!((&story["stage"], &story["outcome"]["attempt"]), (&"settled".into(), &2.into()), "{story}");
    assert_eq!(story["takeover"]["from"][0]["replica"], held["replica"], "{story}");
    assert_ne!(story["takeover"]["to"], held["replica"], "{story}");
}

#[tokio::test]
async fn a_replica_is_judged_by_its_own_settings() {
    let mut world = World::new().await;
    // The commands here run with a claim-idle of 600ms, after which this one would be lost most of the time.
    world.replica(&[("claim-idle", "9s"), ("max-run", "7m")]);
    world.begun(0).await;
    let mut seen = serde_json::Value::Null;
    let began = std::time::Instant::now();
    while seen["last_seen_ago_ms"].as_u64().is_none_or(|ago| ago < 1_000) {
        assert!(began.elapsed() < PATIENCE, "it renews every three seconds: {seen}");
        seen = json(&world, &["replicas"])["replicas"][0].clone();
        assert!(seen.is_null() || seen["state"] == "running", "{seen}");
    }
    assert_eq!((&seen["claim_idle_ms"], &seen["max_run_ms"]), (&9_000.into(), &420_000.into()), "{seen}");
    let audit = run(&world, &["audit", "--json"]);
    let audit: serde_json::Value = serde_json::from_slice(&audit.stdout).expect("JSON");
    assert_eq!(audit["live_replicas"], 1, "{audit}");
    // Records of older versions do not say.
    let record = format!("{} running {{\"host\":\"old\"}}", u64::MAX / 2);
    world.redis(&["HSET", &format!("{}:replicas", world.settings.stream.jobs), "old", &record]).await;
    let old = json(&world, &["replicas"])["replicas"][0].clone();
    assert_eq!((&old["state"], &old["claim_idle_ms"]), (&"running".into(), &600.into()), "{old}");
}

#[tokio::test]
async fn a_paused_fleet_neither_reads_nor_is_degraded() {
    let mut world = World::new().await;
    world.replica(&[]);
    world.begun(0).await;
    let output = run(&world, &["pause", "--reason", "upgrade"]);
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(0), "paused: 1 of 1 replica holds\n"),
        "{output:?}"
    );
    let again = run(&world, &["pause", "--reason", "another"]);
    assert!(stderr(&again).contains("paused before") && stderr(&again).contains("(upgrade)"), "{again:?}");
    for number in 0..3 {
        world.send(&format!("game-{number}"), "galaxy/engine:1").await;
    }
    tokio::time::sleep(world.settings.worker.claim_idle).await;
    let status = text(&world, &["status"]);
    assert!(status.starts_with("Paused by op@") && status.contains(" ago (2"), "{status}");
    assert!(status.contains("): upgrade. 3 jobs wait, the oldest for "), "{status}");
    assert_eq!(line(&status, "\npaused".trim_start()), line(&status, "paused"), "{status}");
    let status = json(&world, &["status"]);
    assert_eq!((&status["health"], &status["paused"]["reason"]), (&"paused".into(), &"upgrade".into()), "{status}");
    let problems = status["problems"].as_array().expect("a list");
    assert_eq!((problems.len(), &problems[0]["next"]["command"]), (1, &"startjobs resume".into()), "{status}");
    assert_eq!((&problems[0]["severity"], &problems[0]["since_ms"]), (&"info".into(), &status["paused"]["at_ms"]));

    let output = run(&world, &["resume"]);
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(0), "running: 1 of 1 replica goes on\n"),
        "{output:?}"
    );
    world.settled().await;
    assert!(stderr(&run(&world, &["resume"])).contains("was not paused"));
    // Set by hand, as anything: a pause of which nothing is known.
    world.redis(&["SET", &format!("{}:paused", world.settings.stream.jobs), "1"]).await;
    assert!(text(&world, &["status"]).starts_with("Paused by hand. Nothing waits.\n"));
}

#[tokio::test]
async fn an_offset_that_somebody_else_writes_is_said() {
    let mut world = World::new().await;
    world.replica(&[]);
    world.send("game-1", "galaxy/engine:1").await;
    world.settled().await;
    world.at_rest().await;
    world.redis(&["SET", &world.settings.stream.offset_key.clone(), "5-0"]).await;
    let status = text(&world, &["status"]);
    assert!(status.starts_with("Degraded: the offset mirror is at 5-0, the watermark is "), "{status}");
    assert_eq!(json(&world, &["status"])["mirror"]["foreign"], true);
}

#[tokio::test]
async fn watching_goes_on_until_nobody_reads_any_more() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let world = World::new().await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_startjobs"))
        .args(["status", "--watch", "100ms", "--json", "--redis-url", &world.redis.url()])
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary under test runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for _ in 0..3 {
        let line = lines.next().expect("another line").expect("text");
        let shown: serde_json::Value = serde_json::from_str(&line).expect("one JSON object a line");
        assert_eq!(shown["health"], "no_fleet");
    }
    drop(lines);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
