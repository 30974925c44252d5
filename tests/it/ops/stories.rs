//! One job's whole story, and one game's.

use rustix::process::Signal;

use super::{json, run, stdout, text};
use crate::support::world::{PATIENCE, World};

#[tokio::test]
async fn every_way_a_job_can_end_is_told() {
    let mut world = World::new().await;
    let waits = world.send("game-1", "galaxy/engine:1").await;
    let story = text(&world, &["inspect", &waits.to_string()]);
    assert!(
        story.starts_with(&format!("{waits}: waiting for ")) && story.contains("no replica has read it yet"),
        "{story}"
    );
    assert!(story.contains("  appended   game game-1, image galaxy/engine:1"), "{story}");

    let again = world.send("game-1", "galaxy/engine:1").await;
    let missing = world.send("game-2", "sim/missing").await;
    let malformed = world.send_malformed().await;
    world.replica(&[]);
    world.settled().await;
    world.at_rest().await;
    for (id, says) in [
        (waits, "answered success after "),
        (again, "answered success (replay_no_op) after "),
        (missing, "answered failure (image_not_found) after "),
        (malformed, "not answered: dead letter malformed"),
    ] {
        let story = text(&world, &["inspect", &id.to_string()]);
        assert!(story.starts_with(&format!("{id}: {says}")), "{story}");
    }
    let story = text(&world, &["inspect", &malformed.to_string()]);
    assert!(
        story.contains("dead letter  malformed: missing image_ref (deliveries 1, crashes 0, failures 0)"),
        "{story}"
    );

    let story = json(&world, &["inspect", &missing.to_string()]);
    assert_eq!((&story["stage"], &story["in_ledger"]), (&"settled".into(), &true.into()), "{story}");
    assert_eq!(story["outcome"]["source_ref"], missing.to_string());
    assert_eq!((&story["record"]["state"], &story["record"]["lease"]), (&"failed".into(), &serde_json::Value::Null));
    assert_eq!(story["stored"]["error_code"], "image_not_found");
    let events: Vec<&str> =
        story["moments"].as_array().expect("a list").iter().filter_map(|one| one["what"].as_str()).collect();
    assert_eq!(events, ["requested", "appended", "record", "outcome"], "{story}");

    let game = text(&world, &["inspect", "game-1"]);
    assert!(game.starts_with("game game-1: running since 2"), "{game}");
    // A replay leaves nothing behind but its outcome.
    assert!(game.contains(&format!("\n{waits}  ")) && !game.contains(&again.to_string()), "{game}");
    let game = json(&world, &["inspect", "game-1"]);
    assert_eq!(
        (&game["record"]["state"], game["jobs"].as_array().map(Vec::len)),
        (&"running".into(), Some(1)),
        "{game}"
    );
}

#[tokio::test]
async fn what_is_gone_or_never_was_is_told_too() {
    let mut world = World::new().await;
    world.replica(&[]);
    let id = world.send("game-1", "galaxy/engine:1").await;
    world.settled().await;
    world.at_rest().await;
    let (jobs, results) = (world.settings.stream.jobs.clone(), world.settings.stream.results.clone());
    world.redis(&["XTRIM", &jobs, "MAXLEN", "0"]).await;
    let story = text(&world, &["inspect", &id.to_string()]);
    assert!(story.starts_with(&format!("{id}: answered success after ")), "the outcome knows: {story}");
    world.redis(&["XTRIM", &results, "MAXLEN", "0"]).await;
    let story = text(&world, &["inspect", &id.to_string()]);
    assert!(story.starts_with(&format!("{id}: answered; its outcome was removed")), "the ledger knows: {story}");

    for nobody in ["5-5", "no-such-game", "{x}"] {
        let output = run(&world, &["inspect", nobody]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
    assert_eq!(stdout(&run(&world, &["inspect", "5-5"])), "5-5: no such entry, and no trace of one\n");
    let game = run(&world, &["inspect", "--game", "5-5"]);
    assert!(stdout(&game).starts_with("game 5-5: no record"), "{game:?}");
}

#[tokio::test]
async fn a_search_ends_at_its_bound_and_says_so() {
    let mut world = World::new().await;
    world.replica(&[]);
    let id = world.send("game-1", "galaxy/engine:1").await;
    world.settled().await;
    let results = world.settings.stream.results.clone();
    let outcome = world.outcome(id).await;
    world.redis(&["XDEL", &results, &outcome.id]).await;
    for _ in 0..5 {
        world.redis(&["XADD", &results, "*", "source_ref", "1-1"]).await;
    }
    let story = text(&world, &["inspect", &id.to_string(), "--scan", "3"]);
    assert!(story.contains("beyond the bound of the search") && story.contains("raise --scan"), "{story}");
    assert_eq!(json(&world, &["inspect", &id.to_string()])["search_is_whole"], true);
}

#[tokio::test]
async fn a_games_answers_are_told_from_its_record_and_from_beside_it() {
    let mut world = World::with(&[("claim-idle", "5s")]).await;
    let replica = world.replica(&[]);
    let missing = world.send("game-1", "sim/missing").await;
    world.settled().await;
    let started = world.send("game-1", "galaxy/engine:1").await;
    world.settled().await;
    let game = json(&world, &["inspect", "game-1"]);
    let told: Vec<_> = game["jobs"].as_array().expect("a list").iter().map(|job| &job["source_ref"]).collect();
    assert_eq!(told, [&missing.to_string(), &started.to_string()], "{game}");
    assert_eq!(
        (&game["jobs"][0]["outcome"], &game["jobs"][0]["error_code"]),
        (&"failure".into(), &"image_not_found".into())
    );
    assert_eq!((&game["jobs"][1]["outcome"], &game["jobs"][1]["error_code"]), (&"success".into(), &"".into()));
    assert_eq!(game["jobs"][1]["container_id"], game["record"]["container_id"]);
    let stored = json(&world, &["inspect", &missing.to_string()])["stored"].clone();
    assert_eq!(stored["error_code"], "image_not_found");
    assert_eq!(json(&world, &["inspect", &started.to_string()])["stored"], game["jobs"][1]);

    // An attempt that is under way, and its lease.
    world.send("game-2", "sim/slow:60s").await;
    world
        .eventually("it has begun", async |world: &World| json(world, &["inspect", "game-2"])["record"].is_object())
        .await;
    let game = json(&world, &["inspect", "game-2"]);
    let lease = &game["record"]["lease"];
    let owner = game["record"]["owner"].as_str().expect("a name");
    assert_eq!((&game["record"]["state"], &lease["holder"]), (&"starting".into(), &format!("{owner}:1").into()));
    assert!((1..=5_000).contains(&lease["left_ms"].as_u64().expect("a number")), "{game}");
    assert!(text(&world, &["inspect", "game-2"]).contains(&format!("the lease is {owner}:1's")));
    world.signal(replica, Signal::KILL);
    world.killed(replica).await;
    world
        .eventually("it has run out", async |world: &World| {
            json(world, &["inspect", "game-2"])["record"]["lease"].is_null()
        })
        .await;

    // What is no record is named.
    world.redis(&["SET", "rtm:{game-1}:rec", "{\"fence\":1}"]).await;
    let output = run(&world, &["inspect", "game-1"]);
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stderr).contains("rtm:{game-1}:rec"),
        "{output:?}"
    );
}

/// The names of those who may have died with it.
fn died(story: &serde_json::Value) -> Vec<&str> {
    let from = story["takeover"]["from"].as_array().unwrap_or_else(|| panic!("no takeover: {story}"));
    from.iter().map(|gone| gone["replica"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn who_died_with_a_job_is_known_from_its_record_or_from_the_times() {
    let mut world = World::new().await;
    // It had started the game, and died before the answer was out.
    world.replica(&[("crash-at", "after_commit")]);
    let committed = world.send("game-1", "galaxy/engine:1").await;
    world.killed(0).await;
    let first = world.presences().await.into_keys().next().expect("it was there");
    world.replica(&[]);
    world.settled().await;
    let story = json(&world, &["inspect", &committed.to_string()]);
    assert_eq!((died(&story), &story["takeover"]["is_on_record"]), (vec![first.as_str()], &true.into()), "{story}");
    let told = text(&world, &["inspect", &committed.to_string()]);
    assert!(told.contains("; its replica ") && told.contains("; it held this entry; "), "{told}");

    // Two die at once: either may have held it.
    world.signal(1, Signal::TERM);
    world.ended(1, PATIENCE).await;
    let slow = ("simulated-latency", "60s");
    let both = [world.replica(&[slow]), world.replica(&[slow])];
    for replica in both {
        world.begun(replica).await;
    }
    let either = world.send("game-2", "galaxy/engine:1").await;
    world.held(1).await;
    for replica in both {
        world.signal(replica, Signal::KILL);
        world.killed(replica).await;
    }
    world.replica(&[]);
    world.settled().await;
    let story = json(&world, &["inspect", &either.to_string()]);
    assert_eq!((died(&story).len(), &story["takeover"]["is_on_record"]), (2, &false.into()), "{story}");
    let told = text(&world, &["inspect", &either.to_string()]);
    assert!(told.contains("; one of 2 replicas that ended meanwhile may have had it before, then "), "{told}");
    // What the first one had to do with it is over.
    assert!(!died(&story).contains(&first.as_str()), "{story}");

    let calm = world.send("game-3", "galaxy/engine:1").await;
    world.settled().await;
    assert_eq!(json(&world, &["inspect", &calm.to_string()])["takeover"], serde_json::Value::Null);
}
