//! Which alerts fire, seen from a terminal.

use serde_json::Value;

use super::{line, run, stdout, text};
use crate::support::world::World;

/// The alerts, with the code that the command ends with.
fn alerts(world: &World) -> (Option<i32>, Value) {
    let output = run(world, &["alerts", "--json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(shown["schema_version"], 2, "{shown}");
    (output.status.code(), shown)
}

fn of<'a>(shown: &'a Value, name: &str) -> &'a Value {
    let all = shown["alerts"].as_array().expect("a list");
    all.iter().find(|alert| alert["name"] == name).unwrap_or_else(|| panic!("no {name} in {shown}"))
}

fn state(shown: &Value, name: &str) -> String {
    of(shown, name)["state"].as_str().expect("a state").to_owned()
}

async fn now_ms(world: &World) -> u64 {
    let now: Vec<String> = world.redis(&["TIME"]).await.convert().expect("two numbers");
    now[0].parse::<u64>().expect("seconds") * 1_000
}

#[tokio::test]
async fn a_fleet_that_works_raises_nothing_and_one_that_is_not_there_is_missed() {
    let mut world = World::new().await;
    let (code, shown) = alerts(&world);
    assert_eq!((code, state(&shown, "NoReplicas").as_str()), (Some(3), "pending"), "{shown}");
    assert_eq!(of(&shown, "NoReplicas")["true_for_ms"], Value::Null, "nobody was ever here: {shown}");
    let raised = shown["alerts"].as_array().expect("a list").iter().filter(|alert| alert["state"] != "quiet");
    assert_eq!(raised.count(), 1, "without replicas there are no metrics: {shown}");

    world.replica(&[]);
    world.begun(0).await;
    world.send("game-1", "galaxy/engine:1").await;
    world.settled().await;
    world.at_rest().await;
    let (code, shown) = alerts(&world);
    assert_eq!((code, &shown["sentence"]), (Some(0), &"no alert fires, as far as Redis shows".into()), "{shown}");
    for name in ["ClaimStorm", "EngineDown", "ForeignOffset", "OrphansFound"] {
        assert_eq!(state(&shown, name), "unknown", "{shown}");
    }
    assert!(!text(&world, &["status"]).contains("\nalerts "), "there is nothing to point at");
}

#[tokio::test]
async fn what_redis_holds_is_held_against_the_limits_of_the_alerts() {
    let mut world = World::new().await;
    let (jobs, dead) = (world.settings.stream.jobs.clone(), world.settings.stream.dead.clone());
    let now = now_ms(&world).await;
    let id = |ago_ms: u64, number: u64| format!("{}-{number}", now - ago_ms);
    // One slot, which is taken for long; what waits behind it has waited for five minutes.
    for number in 0..130 {
        let (game, image) = (format!("game-{number}"), if number == 0 { "sim/slow:10m" } else { "galaxy/engine:1" });
        world.redis(&["XADD", &jobs, &id(300_000, number), "game_id", &game, "image_ref", image]).await;
    }
    for (ago_ms, reason) in
        [(1_000_000, "poison"), (200_000, "malformed"), (190_000, "malformed"), (9_000, "entry_lost")]
    {
        world.redis(&["XADD", &dead, &id(ago_ms, 0), "source_ref", "1-1", "reason", reason]).await;
    }
    world.replica(&[("slots", "1"), ("start-concurrency", "1")]);
    world.begun(0).await;
    world
        .eventually("its slot is taken", async |world: &World| {
            world.lobby.pending().await.is_ok_and(|all| all.len() == 1)
        })
        .await;
    world
        .eventually("it says so", async |world: &World| {
            super::json(world, &["replicas"])["replicas"][0]["in_flight"] == 1
        })
        .await;

    let (code, shown) = alerts(&world);
    assert_eq!(code, Some(3), "{shown}");
    for (name, expected) in [
        ("OldestWaitingTooOld", "firing"),
        ("DeadLettersGrowing", "firing"),
        ("EntriesLost", "pending"),
        ("BacklogGrowing", "unknown"),
        ("WorkerStuck", "quiet"),
        ("MirrorHeldBack", "quiet"),
        ("NoReplicas", "quiet"),
        ("ReplicaLost", "quiet"),
        ("RedisDown", "quiet"),
        ("RestartLoop", "quiet"),
    ] {
        assert_eq!(state(&shown, name), expected, "{name} in {shown}");
    }
    let oldest = of(&shown, "OldestWaitingTooOld");
    assert!(oldest["value"].as_f64() >= Some(300.0) && oldest["true_for_ms"].as_u64() >= Some(240_000), "{oldest}");
    assert_eq!(
        (&oldest["limit"], &oldest["for_ms"], &oldest["severity"]),
        (&60.0.into(), &120_000.into(), &"critical".into())
    );
    assert_eq!(of(&shown, "DeadLettersGrowing")["value"], 3.0, "the old one is beyond the window");
    assert_eq!(of(&shown, "DeadLettersGrowing")["detail"], "in 15 minutes: 2 malformed, 1 entry_lost");
    assert_eq!(of(&shown, "BacklogGrowing")["value"], 129.0);
    let sentence = shown["sentence"].as_str().expect("text");
    assert!(sentence.starts_with("firing: OldestWaitingTooOld, DeadLettersGrowing; about to fire: "), "{sentence}");

    let output = run(&world, &["alerts"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let row = said.lines().find(|line| line.starts_with("OldestWaitingTooOld  firing ")).expect("a row");
    assert!(row.contains("  > 60 for 2m  ") && row.ends_with("docs/runbooks.md#oldestwaitingtooold"), "{row}");
    assert!(said.contains("Not to be known from Redis alone:\n") && said.contains("(startjobs_backlog)"), "{said}");
    let status = text(&world, &["status"]);
    let pointer = line(&status, "alerts");
    assert!(pointer.starts_with("OldestWaitingTooOld, DeadLettersGrowing, EntriesLost in "), "{pointer}");
    assert!(pointer.ends_with(": see `startjobs alerts`"), "{pointer}");

    // What an operator holds back is left alone; what another client does is not.
    run(&world, &["pause"]);
    world.redis(&["SET", &world.settings.stream.offset_key.clone(), "5-0"]).await;
    world.redis(&["XDEL", &jobs, &id(300_000, 70)]).await;
    let (_, shown) = alerts(&world);
    for (name, expected) in [
        ("OldestWaitingTooOld", "quiet"),
        ("BacklogGrowing", "quiet"),
        ("ForeignOffset", "pending"),
        ("LagUnknown", "pending"),
    ] {
        assert_eq!(state(&shown, name), expected, "{name} in {shown}");
    }
    assert_eq!(of(&shown, "LagUnknown")["true_for_ms"], Value::Null, "since when is not known: {shown}");
}
