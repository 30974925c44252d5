//! A job that is not being started says why, and names one command.

use serde_json::Value;

use super::{json, run, stderr, text};
use crate::support::world::World;

/// What `inspect` says of a job: as JSON, and its first lines.
fn told(world: &World, id: &str) -> (Value, String) {
    (json(world, &["inspect", id]), text(world, &["inspect", id]))
}

/// For what it waits, and the next step, which both forms name.
fn waits(world: &World, id: &str) -> (String, String) {
    let (story, shown) = told(world, id);
    let word = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{story}")).to_owned();
    let (reason, next) = (word(&story["waits"]["waits_for"]), word(&story["next"]["command"]));
    assert!(shown.contains(&format!("\n  next: {next}\n")), "{shown}");
    (reason, next)
}

fn is_one(told: &(String, String), reason: &str, next: &str) {
    assert_eq!((told.0.as_str(), told.1.as_str()), (reason, next));
}

#[tokio::test]
async fn a_job_that_no_replica_has_read_says_for_what_it_waits() {
    let mut world = World::new().await;
    world.create_group().await;
    let first = world.send("game-1", "sim/slow:10m").await.to_string();
    is_one(&waits(&world, &first), "replica", "startjobs worker");
    assert!(told(&world, &first).1.contains("no replica has read it yet; it waits for a replica: none reads\n"));

    // One slot, which is taken.
    world.replica(&[("slots", "1"), ("start-concurrency", "1")]);
    world.begun(0).await;
    world.held(1).await;
    assert_eq!(json(&world, &["inspect", &first])["waits"], Value::Null, "it is being started");
    let mut last = String::new();
    for number in 2..6 {
        last = world.send(&format!("game-{number}"), "galaxy/engine:1").await.to_string();
    }
    is_one(&waits(&world, &last), "turn", "startjobs replicas");
    let (story, shown) = told(&world, &last);
    assert_eq!((&story["waits"]["ahead"], &story["waits"]["ahead_exact"]), (&3.into(), &true.into()), "{story}");
    assert!(shown.contains("it waits for its turn: 3 jobs are before it"), "{shown}");

    run(&world, &["pause", "--reason", "upgrade"]);
    is_one(&waits(&world, &last), "resume", "startjobs resume");
    let (_, shown) = told(&world, &last);
    assert!(shown.contains("it waits for the end of the pause, which began by op@"), "{shown}");
    assert!(shown.contains("): upgrade\n"), "{shown}");
    let refused = run(&world, &["retry-now", &last]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        stderr(&refused).contains("no replica has read it yet: it waits for the end of the pause, which began by op@"),
        "{refused:?}"
    );
    assert!(stderr(&refused).contains("; a retry changes nothing\n"), "{refused:?}");
}

#[tokio::test]
async fn a_job_that_backs_off_or_has_failed_names_the_next_step() {
    let mut world = World::with(&[("retry-min", "60s"), ("retry-max", "90s"), ("retry-attempts", "2")]).await;
    world.replica(&[]);
    let id = world.send("game-1", "sim/retry:1").await.to_string();
    world
        .eventually("it backs off", async |world: &World| {
            json(world, &["inspect", &id])["waits"]["waits_for"] == "next_try"
        })
        .await;
    let next = format!("startjobs retry-now {id}");
    is_one(&waits(&world, &id), "next_try", &next);
    let status = text(&world, &["status"]);
    assert!(super::line(&status, "in flight").starts_with("0, 1 backing off (next in "), "{status}");

    // The command does what it says: the last attempt fails as well.
    assert_eq!(run(&world, &["retry-now", &id]).status.code(), Some(0));
    world.settled().await;
    let (story, shown) = told(&world, &id);
    assert_eq!(story["waits"], Value::Null, "{story}");
    let letter = story["dead_letter"]["dead_letter_id"].as_str().expect("a dead letter").to_owned();
    assert_eq!(story["next"]["command"], format!("startjobs dead requeue {letter}"), "{story}");
    assert!(shown.contains("\n  read: docs/dead-letters.md\n"), "{shown}");

    let failed = world.send("game-2", "sim/missing").await.to_string();
    let malformed = world.send_malformed().await.to_string();
    let well = world.send("game-3", "galaxy/engine:1").await.to_string();
    world.settled().await;
    let (story, shown) = told(&world, &failed);
    assert_eq!(story["next"], serde_json::json!({"command": null, "runbook": "docs/runbooks.md#error-codes"}));
    assert!(shown.contains("\n  read: docs/runbooks.md#error-codes\n"), "{shown}");
    let step = json(&world, &["inspect", &malformed])["next"]["command"].as_str().expect("a command").to_owned();
    assert!(step.starts_with("startjobs dead show "), "what is no job stays none: {step}");
    assert_eq!(json(&world, &["inspect", &well])["next"], Value::Null);
    assert!(json(&world, &["inspect", "game-3"])["record"]["fence"].is_u64());
}
