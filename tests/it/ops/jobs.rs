//! Single jobs in a list, and why they do not run.

use rustix::process::Signal;
use serde_json::Value;

use super::{json, run, stderr, text};
use crate::support::world::World;

/// The jobs of a list.
fn jobs<'a>(list: &'a Value, state: &str) -> Vec<&'a Value> {
    list["jobs"].as_array().expect("a list").iter().filter(|job| job["state"] == state).collect()
}

fn backing_off(world: &World) -> usize {
    jobs(&json(world, &["jobs", "--state", "backing_off"]), "backing_off").len()
}

/// Settings with which a job that has failed waits for longer than a test takes.
const PATIENT: &[(&str, &str)] = &[("retry-min", "60s"), ("retry-max", "90s")];

#[tokio::test]
async fn a_job_that_backs_off_says_why_and_when_it_is_tried_again_until_its_replica_is_dead() {
    let mut world = World::with(PATIENT).await;
    let replica = world.replica(&[]);
    let id = world.send("game-1", "sim/retry:1").await.to_string();
    world.eventually("it backs off", async |world: &World| backing_off(world) == 1).await;

    let list = json(&world, &["jobs", "--state", "backing_off", "--game", "ame-", "--code", "simulated_error"]);
    let job = jobs(&list, "backing_off")[0];
    assert_eq!(
        (&job["entry_id"], &job["game_id"], &job["failures"]),
        (&id.clone().into(), &"game-1".into(), &1.into())
    );
    assert!(job["image_ref"].as_str().expect("a text").ends_with("sim/retry:1"), "{job}");
    assert_eq!(job["error_message"], "simulated: sim/retry never succeeds");
    let left = job["next_in_ms"].as_u64().expect("a number");
    assert!((1..=60_000).contains(&left), "{job}");
    assert_eq!(job["next_at_ms"].as_u64(), Some(list["at_ms"].as_u64().expect("a number") + left), "{job}");
    assert!(text(&world, &["jobs"]).contains("next try in "));

    let story = text(&world, &["inspect", &id]);
    assert!(story.starts_with(&format!("{id}: backing off, appended ")), "{story}");
    assert!(
        story.contains("failed once, simulated_error: simulated: sim/retry never succeeds; next try in "),
        "{story}"
    );
    assert!(story.contains("  attempt failed  attempt 1 failed on "), "{story}");
    let game = text(&world, &["inspect", "game-1"]);
    assert!(game.contains("OPEN JOB") && game.contains(&id) && game.contains("backing_off"), "{game}");
    let status = json(&world, &["status"]);
    assert_eq!(status["backing_off"]["count"], 1, "{status}");
    assert!(status["backing_off"]["next_at_ms"].as_u64() > status["at_ms"].as_u64(), "{status}");

    world.signal(replica, Signal::KILL);
    world.killed(replica).await;
    world.eventually("what a dead replica said is not shown", async |world: &World| backing_off(world) == 0).await;
    let list = json(&world, &["jobs"]);
    let job = jobs(&list, "in_flight")[0];
    assert_eq!((&job["entry_id"], &job["replica_is_alive"]), (&id.into(), &false.into()), "{list}");
    assert_eq!(json(&world, &["status"])["backing_off"]["count"], 0);
}

#[tokio::test]
async fn a_job_in_every_state_is_found_by_what_is_known_of_it() {
    let mut world = World::new().await;
    let replica = world.replica(&[]);
    let missing = world.send("game-1", "sim/missing").await.to_string();
    world.send("game-2", "galaxy/engine:1").await;
    world.settled().await;
    world.at_rest().await;
    world.signal(replica, Signal::TERM);
    world.ended(replica, crate::support::world::PATIENCE).await;
    let held = world.send("game-3", "galaxy/engine:2").await.to_string();
    let waits = [world.send("game-4", "galaxy/engine:3").await, world.send("player-5", "galaxy/engine:3").await];
    let waits = waits.map(|id| id.to_string());
    world.read_as("someone", "1").await;

    let list = json(&world, &["jobs"]);
    let states = list["jobs"].as_array().expect("a list").iter().map(|job| {
        let text = |name: &str| job[name].as_str().expect("a text").to_owned();
        (text("entry_id"), text("state"))
    });
    let expected = [(&held, "in_flight"), (&waits[0], "waiting"), (&waits[1], "waiting"), (&missing, "failed")];
    let expected: Vec<_> = expected.map(|(id, state)| (id.clone(), state.to_owned())).into();
    assert_eq!(states.collect::<Vec<_>>(), expected, "{list}");
    assert_eq!(jobs(&list, "failed")[0]["error_code"], "image_not_found");
    assert_eq!(jobs(&list, "failed")[0]["image_ref"], "sim/missing");

    for (arguments, found) in [
        (&["--state", "waiting", "--game", "player"][..], vec![&waits[1]]),
        (&["--image", "engine:3"], vec![&waits[0], &waits[1]]),
        (&["--image", "missing"], vec![&missing]),
        (&["--code", "image_not_found"], vec![&missing]),
        (&["--code", "engine_exited"], vec![]),
        (&["--state", "in_flight,failed"], vec![&held, &missing]),
        (&["--state", "waiting", "--limit", "1"], vec![&waits[0]]),
    ] {
        let list = json(&world, &[&["jobs"], arguments].concat());
        let ids: Vec<&str> =
            list["jobs"].as_array().expect("a list").iter().filter_map(|job| job["entry_id"].as_str()).collect();
        assert_eq!(ids, found.iter().map(|id| id.as_str()).collect::<Vec<_>>(), "{arguments:?}");
    }
    let limited = run(&world, &["jobs", "--state", "waiting", "--limit", "1"]);
    assert!(stderr(&limited).contains("1 more\n  raise --limit"), "{limited:?}");
    assert_eq!(text(&world, &["jobs", "--game", "no-such"]), "no such jobs\n");
    assert_eq!(run(&world, &["jobs", "--game", " "]).status.code(), Some(2));
    // A game that has no record yet, and a job that waits.
    let game = json(&world, &["inspect", "player-5"]);
    assert_eq!(
        (&game["open_jobs"][0]["entry_id"], &game["open_jobs"][0]["state"]),
        (&waits[1].clone().into(), &"waiting".into())
    );
}

#[tokio::test]
async fn a_list_looks_at_ten_thousand_entries_and_says_so() {
    let world = World::new().await;
    let fill = "for n = 1, 20000 do redis.call('XADD', KEYS[1], '*', 'game_id', 'g' .. n, 'image_ref', 'i') end";
    world.redis(&["EVAL", fill, "1", &world.settings.stream.jobs]).await;
    let output = run(&world, &["jobs", "--json", "--limit", "3", "--timeout", "30s"]);
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&list["looked_at"], &list["jobs"].as_array().map(Vec::len)), (&10_000.into(), &Some(3)), "{list}");
    assert_eq!(list["jobs"][0]["game_id"], "g1", "the oldest first");
    assert!(stderr(&output).contains("looked at 10000 of about 20000 jobs that wait"), "{output:?}");
    // Behind the bound nothing is found, and that is said.
    let output = run(&world, &["jobs", "--game", "g20000", "--timeout", "30s"]);
    assert!(stderr(&output).contains("looked at 10000 of about 20000"), "{output:?}");
}

#[tokio::test]
async fn large_payloads_are_looked_at_and_never_answered() {
    let world = World::new().await;
    world.create_group().await;
    let fill = "for n = 1, 24 do redis.call('XADD', KEYS[1], '*', 'game_id', 'g' .. n, 'image_ref', 'i', \
        'other', string.rep('x', 1048576)) end";
    world.redis(&["EVAL", fill, "1", &world.settings.stream.jobs]).await;
    world.read_as("someone", "12").await;
    let before = net_output(&world).await;
    let list = json(&world, &["jobs", "--timeout", "30s"]);
    assert_eq!((jobs(&list, "in_flight").len(), jobs(&list, "waiting").len()), (12, 12), "{list}");
    let sent = net_output(&world).await - before;
    assert!(sent < 1_000_000, "Redis answered {sent} bytes");
}

#[tokio::test]
async fn a_story_shows_how_long_a_value_is_and_not_all_of_it() {
    let world = World::new().await;
    world.create_group().await;
    let streams = &world.settings.stream;
    let fill = "local id = redis.call('XADD', KEYS[1], '*', 'game_id', 'g', 'image_ref', 'i', 'other', string.rep('x', 1048576)) \
        for n = 1, 8 do redis.call('XADD', KEYS[2], '*', 'source_ref', n == 8 and id or 'y', 'outcome', 'failure', \
        'error_message', string.rep('\u{e9}', 524288)) end return id";
    let id = world.redis(&["EVAL", fill, "2", &streams.jobs, &streams.results]).await.as_string().expect("an id");
    world.read_as("someone", "1").await;
    world.redis(&["XACK", &streams.jobs, &streams.group, &id]).await;
    let before = net_output(&world).await;
    let story = json(&world, &["inspect", &id, "--timeout", "30s"]);
    assert_eq!(story["payload"]["game_id"], "g", "{story}");
    let message = story["outcome"]["error_message"].as_str().expect("a text");
    assert!(message.ends_with("\u{e9}\u{2026} (1048576 bytes)") && message.len() < 5_000, "{message}");
    let sent = net_output(&world).await - before;
    assert!(sent < 200_000, "Redis answered {sent} bytes");
}

/// Bytes that Redis has answered so far.
async fn net_output(world: &World) -> u64 {
    let info: String = world.redis(&["INFO", "stats"]).await.convert().expect("a text");
    let line = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).expect("the line");
    line.trim().parse().expect("a number")
}

#[tokio::test]
async fn what_is_damaged_in_the_records_of_open_jobs_hides_only_itself() {
    let mut world = World::with(PATIENT).await;
    world.replica(&[]);
    world.send("game-1", "sim/retry").await;
    world.eventually("it backs off", async |world: &World| backing_off(world) == 1).await;
    let open = format!("{}:open", world.settings.stream.jobs);
    let huge = "1 9 [".to_owned() + &"x".repeat(300_000);
    for (name, record) in
        [("ghost", "1 1 [{\"id\":\"1-1\",\"state\":\"backing_off\"}]"), ("other", "\u{1b}[31m"), ("huge", &huge)]
    {
        world.redis(&["HSET", &open, name, record]).await;
    }
    assert_eq!(backing_off(&world), 1);
    assert_eq!(json(&world, &["status"])["backing_off"]["count"], 1);
    // A key of another type is named, and the work goes on without it.
    world.redis(&["DEL", &open]).await;
    world.redis(&["SET", &open, "x"]).await;
    assert_eq!(jobs(&json(&world, &["jobs"]), "in_flight").len(), 1);
    let status = run(&world, &["status"]);
    assert!(super::stdout(&status).contains(&format!("{open} holds a string where a hash is expected")), "{status:?}");
    let works = world.send("game-2", "galaxy/engine:1").await;
    world
        .eventually("another job is answered", async |world: &World| {
            json(world, &["inspect", &works.to_string()])["stage"] == "settled"
        })
        .await;
    world.redis(&["DEL", &open]).await;
    world.eventually("it is told again", async |world: &World| backing_off(world) == 1).await;
}

#[tokio::test]
async fn a_replica_that_leaves_or_is_forgotten_leaves_no_record_of_open_jobs() {
    let mut world = World::with(&[PATIENT, &[("janitor-interval", "1s")]].concat()).await;
    let leaves = world.replica(&[]);
    world.send("game-1", "sim/retry").await;
    world.eventually("it backs off", async |world: &World| backing_off(world) == 1).await;
    let open = format!("{}:open", world.settings.stream.jobs);
    world.signal(leaves, Signal::TERM);
    world.ended(leaves, crate::support::world::PATIENCE).await;
    assert!(world.redis(&["HGETALL", &open]).await.into_list().expect("a list").is_empty());
    world.redis(&["HSET", &open, "long-gone", "1 1 []"]).await;
    world.replica(&[]);
    let is_forgotten = async |world: &World| world.redis(&["HGET", &open, "long-gone"]).await.is_null();
    world.eventually("the janitor forgets it", is_forgotten).await;
}
