//! A pause holds one group of a stream, is refused where there is no fleet, and is understood by earlier versions, which hold
//! while its key exists.

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
