//! What happened to the fleet and to single jobs, as far as it is kept.

use rustix::process::Signal;

use super::{json, text};
use crate::support::world::{Entry, PATIENCE, World};

async fn events(world: &World) -> Vec<Entry> {
    world.entries(&format!("{}:events", world.settings.stream.jobs)).await
}

async fn kinds(world: &World) -> Vec<String> {
    events(world).await.iter().map(|event| event.get("kind").to_owned()).collect()
}

#[tokio::test]
async fn failures_lives_and_what_operators_do_are_told_and_successes_are_not() {
    let mut world = World::with(&[("retry-attempts", "2")]).await;
    let replica = world.replica(&[]);
    let id = world.send("game-1", "sim/retry").await;
    world.send_games("fine-", 20).await;
    world.settled().await;
    let has = async |world: &World, kind: &str| kinds(world).await.iter().any(|one| one == kind);
    world.eventually("the dead letter is told", async |world: &World| has(world, "dead_letter").await).await;

    text(&world, &["pause", "--reason", "INC-42"]);
    text(&world, &["resume"]);
    text(&world, &["dead", "requeue", "--all", "--yes"]);
    world.signal(replica, Signal::TERM);
    world.ended(replica, PATIENCE).await;
    let told = events(&world).await;
    let kinds = kinds(&world).await;
    let count = |kind: &str| kinds.iter().filter(|one| *one == kind).count();
    for kind in ["replica_started", "attempt_failed", "dead_letter", "paused", "resumed", "requeued", "replica_left"] {
        assert!(count(kind) >= 1, "no {kind} in {kinds:?}");
    }
    let failed = told.iter().find(|event| event.get("kind") == "attempt_failed").expect("it has failed");
    assert_eq!((failed.get("job"), failed.get("game_id")), (id.to_string().as_str(), "game-1"));
    assert_eq!((failed.get("code"), failed.get("attempt")), ("simulated_error", "1"));
    assert!(failed.get("pause_ms").parse::<u64>().is_ok() && !failed.get("replica").is_empty(), "{failed:?}");
    let at: u64 = failed.get("at_ms").parse().expect("a time");
    assert!((id.ms..=crate::support::world::numbers(&failed.id).0).contains(&at), "{failed:?}");
    let paused = told.iter().find(|event| event.get("kind") == "paused").expect("it was paused");
    assert!(paused.get("by").starts_with("op@") && paused.get("text") == "INC-42", "{paused:?}");
    let of_games: Vec<&Entry> = told.iter().filter(|event| event.names().contains(&"game_id")).collect();
    assert!(of_games.iter().all(|event| event.get("game_id") == "game-1"), "{of_games:?}");

    // The story of the job has them too, after it was answered.
    let story = json(&world, &["inspect", &id.to_string()]);
    let whats: Vec<&str> =
        story["moments"].as_array().expect("a list").iter().filter_map(|moment| moment["what"].as_str()).collect();
    assert!(whats.contains(&"attempt failed") && whats.contains(&"requeued"), "{whats:?}");
    assert_eq!(story["events"]["is_whole"], true, "{story}");
}

#[tokio::test]
async fn a_flood_of_failures_is_told_in_part_and_counted_as_a_whole() {
    const JOBS: usize = 600;
    let settings = [
        ("retry-min", "60s"),
        ("retry-max", "90s"),
        ("max-backing-off", "1000"),
        ("claim-idle", "9s"),
        ("slots", "200"),
    ];
    let mut world = World::with(&settings).await;
    for number in 0..JOBS {
        world.send(&format!("game-{number}"), "sim/retry").await;
    }
    world.replica(&[]);
    let told = async |world: &World| -> u64 {
        let count = |event: &Entry| match event.get("kind") {
            "attempt_failed" => 1,
            "left_out" => event.get("count").parse().expect("a number"),
            _ => 0,
        };
        events(world).await.iter().map(count).sum()
    };
    world.eventually("every failure is told or counted", async |world: &World| told(world).await >= JOBS as u64).await;
    let told = events(&world).await;
    assert!(told.iter().any(|event| event.get("kind") == "left_out"), "nothing was left out: {}", told.len());
    assert!(told.len() < JOBS, "{} events", told.len());
    let status = json(&world, &["status"]);
    assert_eq!(status["backing_off"]["count"], JOBS, "{status}");
    let list = json(&world, &["jobs", "--state", "backing_off", "--limit", "1000"]);
    assert_eq!(list["jobs"].as_array().map(Vec::len), Some(100), "a replica tells of its first hundred");
}

#[tokio::test]
async fn the_events_are_bounded_and_a_story_says_from_when_on_they_are_kept() {
    let mut world = World::with(&[("retry-min", "60s"), ("retry-max", "90s")]).await;
    let id = world.send("game-1", "sim/retry").await;
    let key = format!("{}:events", world.settings.stream.jobs);
    let fill =
        "for n = 1, 12000 do redis.call('XADD', KEYS[1], '*', 'kind', 'dances', 'text', string.rep('x', 2000)) end";
    world.redis(&["EVAL", fill, "1", &key]).await;
    world.replica(&[]);
    world
        .eventually("it has failed", async |world: &World| {
            json(world, &["inspect", &id.to_string()])["standstill"]["backs_off"] == true
        })
        .await;
    let length: u64 = world.redis(&["XLEN", &key]).await.convert().expect("a number");
    assert!((10_000..10_200).contains(&length), "{length}");
    let story = json(&world, &["inspect", &id.to_string()]);
    assert_eq!((&story["events"]["is_whole"], &story["failures"]), (&false.into(), &1.into()), "{story}");
    assert!(text(&world, &["inspect", &id.to_string()]).contains("\nAttempts that failed are kept from 2"));
    // Any other type of key is no reason to say nothing.
    world.redis(&["DEL", &key]).await;
    world.redis(&["SET", &key, "x"]).await;
    assert!(text(&world, &["inspect", &id.to_string()]).contains("backing off"));
}

#[tokio::test]
async fn deaths_and_who_took_over_are_told() {
    let mut world = World::new().await;
    let dies = world.replica(&[]);
    world.send("game-1", "sim/slow:60s").await;
    world.held(1).await;
    world.replica(&[]);
    let consumer = world.lobby.pending().await.expect("the list")[0].consumer.clone();
    world.begun(1).await;
    world.signal(dies, Signal::KILL);
    world.killed(dies).await;
    let is_told = async |world: &World| {
        let told = events(world).await;
        let of = |kind: &str| told.iter().any(|event| event.get("kind") == kind && event.get("subject") == consumer);
        of("claimed")
    };
    world.eventually("the claim is told", is_told).await;
}
