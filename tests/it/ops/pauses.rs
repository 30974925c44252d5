//! A pause holds one group of a stream, is refused where there is no fleet, and is understood by earlier versions, which hold
//! while its key exists.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{json, run, stderr, stdout, text};
use crate::support::world::World;

const JOBS: &str = "runtime:start_jobs";
const KEY: &str = "runtime:start_jobs:paused";
const OTHER: &str = "another.group";

async fn exists(world: &World) -> bool {
    world.redis(&["EXISTS", KEY]).await.as_string().as_deref() == Some("1")
}

/// Is every replica of the default group held?
async fn held(world: &mut World, is_held: bool) {
    world
        .eventually("the replica has looked at the pause", async |world: &World| {
            let records = world.presences().await;
            let held = |record: &String| record.contains(r#""serves":false"#);
            !records.is_empty() && records.values().all(|record| held(record) == is_held)
        })
        .await;
}

#[tokio::test]
async fn where_there_is_no_fleet_nothing_is_paused() {
    let mut world = World::new().await;
    for arguments in [&["pause"][..], &["resume"], &["pause", "--reason", "x"]] {
        let output = run(&world, arguments);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{output:?}");
        let said = stderr(&output);
        assert!(said.starts_with("startjobs: nothing was changed. There is no fleet here: the stream "), "{said}");
        assert!(said.contains(" jobs-stream"), "it names the setting: {said}");
    }
    assert!(!exists(&world).await);
    world.replica(&[]);
    world.begun(0).await;
    held(&mut world, false).await;
    for typo in [["--group", "typo"], ["--jobs-stream", "typo"]] {
        let output = run(&world, &[&["pause"], &typo[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains("rtmanager.startjobs"), "what there is instead: {output:?}");
    }
    assert!(!exists(&world).await, "the real fleet goes on");
}

#[tokio::test]
async fn a_new_fleet_can_be_held_before_its_first_replica_starts() {
    let mut world = World::new().await;
    let output = run(&world, &["pause", "--even-if-empty", "--reason", "later"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "paused\n"), "{output:?}");
    world.replica(&[]);
    world.logged(0, "it holds", |log| log.text().contains("paused by an operator")).await;
    world.send("game-1", "galaxy/engine:1").await;
    assert_eq!(run(&world, &["resume"]).status.code(), Some(0));
    world.settled().await;
}

#[tokio::test]
async fn two_groups_of_a_stream_are_held_apart() {
    let mut world = World::new().await;
    world.replica(&[]);
    world.begun(0).await;
    world.redis(&["XGROUP", "CREATE", JOBS, OTHER, "0", "MKSTREAM"]).await;
    let other = |command: &str| run(&world, &[command, "--group", OTHER]);
    assert_eq!(other("pause").status.code(), Some(0));
    assert!(exists(&world).await, "a replica of an earlier version holds: it looks no further");
    assert_eq!(json(&world, &["status"])["paused"], serde_json::Value::Null, "we are not held");
    assert_eq!(json(&world, &["status", "--group", OTHER])["paused"]["group"], OTHER);
    // Ours goes on with jobs.
    world.send("game-1", "galaxy/engine:1").await;
    world.settled().await;
    held(&mut world, false).await;

    assert_eq!(run(&world, &["pause", "--reason", "both"]).status.code(), Some(0));
    held(&mut world, true).await;
    let output = run(&world, &["resume", "--group", OTHER]);
    assert!(output.status.success() && stderr(&output).contains("has ended"), "{output:?}");
    assert_eq!(json(&world, &["status", "--group", OTHER])["paused"], serde_json::Value::Null);
    assert_eq!(json(&world, &["status"])["paused"]["reason"], "both", "ours is held still");
    run(&world, &["resume"]);
    assert!(!exists(&world).await, "the last one takes the key with it");
    held(&mut world, false).await;
}

#[tokio::test]
async fn a_pause_of_an_earlier_version_holds_every_group() {
    let mut world = World::new().await;
    world.replica(&[]);
    world.begun(0).await;
    world.redis(&["XGROUP", "CREATE", JOBS, OTHER, "0", "MKSTREAM"]).await;
    world.redis(&["HSET", KEY, "at_ms", "1790000000000", "by", "ann@h", "reason", "before"]).await;
    held(&mut world, true).await;
    for group in ["rtmanager.startjobs", OTHER] {
        let status = json(&world, &["status", "--group", group]);
        assert_eq!((&status["paused"]["by"], &status["paused"]["group"]), (&"ann@h".into(), &serde_json::Value::Null));
    }
    // Another group's own pause stays when that of all groups ends.
    world.redis(&["HSET", KEY, &format!("group:{OTHER}"), "{}"]).await;
    let output = run(&world, &["resume"]);
    assert!(stderr(&output).contains("by ann@h since 2026-") && stderr(&output).contains("every group"), "{output:?}");
    held(&mut world, false).await;
    assert!(text(&world, &["status", "--group", OTHER]).contains("aused by hand"));
}

/// Waits until the server hears the subscriptions of so many replicas.
async fn heard(world: &mut World, count: usize) {
    world
        .eventually("the server hears the replicas", async |world: &World| {
            world.presences().await.values().filter(|record| record.contains("heard_ms")).count() == count
        })
        .await;
}

#[tokio::test]
async fn every_replica_hears_of_a_pause_and_of_its_end_at_once() {
    // Renewals are due every twenty seconds: what happens sooner was told by a message.
    let mut world = World::with(&[("claim-idle", "60s")]).await;
    for _ in 0..3 {
        world.replica(&[]);
    }
    heard(&mut world, 3).await;
    let began = Instant::now();
    let output = run(&world, &["pause"]);
    assert_eq!(stdout(&output), "paused: 3 of 3 replicas hold\n", "{output:?}");
    world.send_games("held", 20).await;
    let status = json(&world, &["status"]);
    assert_eq!((&status["waiting"]["count"], &status["in_flight"]["count"]), (&20.into(), &0.into()), "{status}");
    let output = run(&world, &["resume"]);
    assert_eq!(stdout(&output), "running: 3 of 3 replicas go on\n", "{output:?}");
    world.settled().await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_fleet_that_has_just_resumed_is_not_down() {
    let mut world = World::with(&[("claim-idle", "60s")]).await;
    world.replica(&[]);
    heard(&mut world, 1).await;
    run(&world, &["pause"]);
    // The replica has run for its claim-idle, as far as its record tells, and what it says of itself is believed.
    let (name, record) = world.presences().await.pop_first().expect("a record");
    let told = record.split_once("\"started_at_ms\":").expect("a start").1;
    let started: String = told.chars().take_while(char::is_ascii_digit).collect();
    assert!(record.contains(r#""serves":false"#) && record.contains(r#""paused":true"#), "{record}");
    let record = record.replace(&started, "1000");
    world.signal(0, Signal::STOP);
    let key = format!("{JOBS}:replicas");
    world.redis(&["HSET", &key, &name, &record]).await;
    // It has not heard of the end yet: it is asleep.
    world.redis(&["DEL", KEY]).await;
    let status = text(&world, &["status"]);
    assert!(!status.contains("takes no job"), "{status}");
    // One that takes no job for another reason is.
    world.redis(&["HSET", &key, &name, &record.replace(r#","paused":true"#, "")]).await;
    assert!(text(&world, &["status"]).starts_with("Down: the only replica takes no job"));
    world.signal(0, Signal::CONT);
}

#[tokio::test]
async fn a_replica_tells_at_once_that_it_takes_jobs_again() {
    let mut world = World::with(&[("claim-idle", "60s")]).await;
    world.replica(&[]);
    heard(&mut world, 1).await;
    // Renewals are due every twenty seconds, and a lost group is made usable within a second.
    let began = Instant::now();
    world.redis(&["XGROUP", "DESTROY", JOBS, "rtmanager.startjobs"]).await;
    world.logged(0, "the group is there again", |log| log.count("consumer group created") == 2).await;
    held(&mut world, false).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    world.send("game", "galaxy/engine:1").await;
    world.settled().await;
}

#[tokio::test]
async fn a_replica_that_does_not_answer_is_named() {
    let mut world = World::with(&[("claim-idle", "60s")]).await;
    for _ in 0..2 {
        world.replica(&[]);
    }
    heard(&mut world, 2).await;
    world.signal(1, Signal::STOP);
    let output = run(&world, &["pause"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "paused: 1 of 2 replicas hold\n"));
    let said = stderr(&output);
    assert!(
        said.contains("no answer yet (version ") && said.contains("it will hold with its next renewal, within 20s"),
        "{said}"
    );
    world.signal(1, Signal::CONT);
    let output = run(&world, &["resume"]);
    assert_eq!(stdout(&output), "running: 2 of 2 replicas go on\n", "{output:?}");
}
