//! The page in a real browser: every screen in light and dark, wide and narrow, judged by axe; and what people do on it, clicked.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::deploy::{debian, left_out};
use crate::page::{get, hostile, says, served};
use crate::support::world::World;

const TOKEN: &str = "a token of the test's own";
/// Text that tries to be markup, and turns the direction of writing.
const EVIL: &str = "<b onclick=x>\u{202e}evil\"'&lt;";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The browser, what drives it and what judges in it. None where they are not to be had, which is said aloud.
fn browser() -> Option<Command> {
    let chromium = debian("chromium", "chromium")?;
    let mut node = debian("node", "nodejs")?;
    let made = Command::new(root().join("deploy/ci/browser.sh")).output().expect("the script runs");
    if !made.status.success() {
        left_out(&format!("deploy/ci/browser.sh: {}", String::from_utf8_lossy(&made.stderr)));
        return None;
    }
    node.arg(root().join("tests/it/browser/drive.mjs")).arg(root().join("target/browser"));
    node.arg(chromium.get_program());
    Some(node)
}

/// Drives it; what it read. It may find nothing wrong.
async fn drive(mut node: Command, asked: Value) -> Value {
    let drive = move || {
        let mut node = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node runs");
        let mut stdin = node.stdin.take().expect("it is piped");
        stdin.write_all(asked.to_string().as_bytes()).expect("it reads");
        drop(stdin);
        let output = node.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).expect("one object")
    };
    let answer = spawn_blocking(drive).await.expect("it does not panic");
    let problems = answer["problems"].as_array().expect("a list");
    let problems: Vec<&str> = problems.iter().filter_map(Value::as_str).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    answer["said"].clone()
}

/// For those who want to see them: the folder must exist.
fn pictures() -> Option<String> {
    std::env::var("STARTJOBS_TEST_PICTURES").ok()
}

/// A fleet with something in every state, whose page lets those act who have the token; where it is served.
async fn fleet() -> (World, String) {
    let mut world = World::with(&[("retry-min", "10m"), ("retry-max", "10m")]).await;
    let token = world.directory.path().join("token");
    std::fs::write(&token, TOKEN).expect("written");
    let address = served(&mut world, &[("admin-token-file", token.to_str().expect("text"))]).await;
    world.send_games("ran", 12).await;
    world.send(EVIL, "galaxy/engine:1").await;
    for _ in 0..12 {
        world.send_malformed().await;
    }
    world.send("gone", "sim/missing").await;
    world.settled().await;
    world.send("backing-off", "sim/retry").await;
    world.send("slow", "sim/slow:10m").await;
    says(&address, "/jobs", "backing-off").await;
    (world, format!("http://{address}"))
}

#[tokio::test]
async fn every_screen_is_readable_for_all_in_light_and_dark_wide_and_narrow() {
    let Some(node) = browser() else { return };
    let (world, base) = fleet().await;
    let outcomes = world.entries(&world.settings.stream.results).await;
    let id =
        outcomes.iter().find(|outcome| outcome.get("game_id") == "gone").expect("it was answered").get("source_ref");
    let dead = world.entries(&world.settings.stream.dead).await;
    let malformed = dead.first().expect("a dead letter").get("source_ref").to_owned();
    let screens = [
        ("overview", "/".to_owned()),
        ("day", "/?range=24h&times=utc".to_owned()),
        ("jobs", "/jobs".to_owned()),
        ("nothing-found", "/jobs?q=no-such-game".to_owned()),
        ("job", format!("/jobs/{id}")),
        ("malformed", format!("/jobs/{malformed}")),
        ("no-job", "/jobs/1-1".to_owned()),
        ("game", "/games/ran3".to_owned()),
        ("dead", "/dead".to_owned()),
        ("replicas", "/replicas".to_owned()),
        ("system", "/system".to_owned()),
        ("runbooks", "/runbooks".to_owned()),
    ];
    let looks: Vec<Value> = screens.iter().map(|(name, path)| json!({ "name": name, "path": path })).collect();
    drive(node, json!({ "base": base, "looks": looks, "pictures": pictures() })).await;
}

#[tokio::test]
async fn what_others_wrote_runs_nothing_in_a_browser_and_breaks_no_screen() {
    let Some(node) = browser() else { return };
    let mut world = World::new().await;
    let (address, paths) = hostile::fleet(&mut world).await;
    let looks = paths.iter().filter(|path| *path != "/runbooks").enumerate();
    let looks: Vec<Value> =
        looks.map(|(number, path)| json!({ "name": format!("hostile-{number}"), "path": path })).collect();
    let base = format!("http://{address}");
    drive(node, json!({ "base": base, "looks": looks, "sizes": [0, 3], "pictures": pictures() })).await;
}

/// Steps of a person who says the token first.
fn with_session(steps: &Value) -> Value {
    let enter = json!([
        { "open": "/system" },
        { "fill": "Your name", "with": "ann" },
        { "fill": "^Token", "with": TOKEN },
        { "click": "Act on this page" },
        { "see": "ann" },
    ]);
    let steps = [&enter, steps].map(|steps| steps.as_array().expect("a list").clone());
    Value::Array(steps.concat())
}

/// What people do, each in a window of its own.
fn walks() -> Value {
    json!({
        "search": [
            { "open": "/jobs" },
            { "fill": "Part of a game", "with": "backing" },
            { "press": "Enter" },
            { "see": "backing-off" },
            { "read": "found" },
            { "click": "backing-off", "role": "link" },
            { "see": "next try" },
            { "judge": "the story that was found" },
            // An answered success is found by the whole name of its game.
            { "open": "/jobs" },
            { "fill": "Part of a game", "with": "ran11" },
            { "press": "Enter" },
            { "click": "The story of game", "role": "link" },
            { "see": "success" },
            { "judge": "the game that was found" },
        ],
        "plain search": [
            { "open": "/jobs" },
            { "fill": "Part of a game", "with": "backing" },
            { "click": "Search" },
            { "click": "backing-off", "role": "link" },
            { "see": "next try|tries again|back-off|Backing off" },
        ],
        "requeue": with_session(&json!([
            { "open": "/dead" },
            { "check": "choose" },
            { "click": "Requeue" },
            { "see": "Put 1 dead letter back\\?" },
            { "judge": "the question before a requeue" },
            { "click": "Put 1 dead letter back" },
            { "see": "1 of 1 dead letter" },
            { "judge": "what came of a requeue" },
        ])),
        "plain remove": with_session(&json!([
            { "open": "/dead" },
            { "check": "choose" },
            { "click": "Remove" },
            { "see": "Remove 1 dead letter for good\\?" },
            { "click": "Remove 1 dead letter for good" },
            { "see": "1 of 1 dead letter" },
        ])),
        // What one tab does the other one shows without being loaded again.
        "zz pause": with_session(&json!([
            { "tab": 1, "open": "/" },
            { "tab": 1, "see": "Healthy|Degraded" },
            { "open": "/system" },
            { "click": "Pause" },
            { "fill": "Why", "with": "a test of the page" },
            { "judge": "the question before a pause" },
            { "click": "Pause the fleet" },
            { "see": "The fleet is paused" },
            { "tab": 1, "see": "ann@page paused the fleet" },
            { "tab": 1, "judge": "a paused fleet" },
            { "open": "/system" },
            { "click": "Resume" },
            { "click": "Resume the fleet" },
            { "see": "The fleet goes on" },
            { "tab": 1, "see": "ann@page resumed the fleet" },
        ])),
        // The job that backs off is tried again, fails again, and is cancelled.
        "x retry and cancel": with_session(&json!([
            { "open": "/jobs?q=backing" },
            { "click": "backing-off", "role": "link" },
            { "judge": "a job with buttons" },
            { "click": "Try it again now" },
            { "see": "Try this job again now\\?" },
            { "judge": "the question before a retry" },
            { "click": "Try it again" },
            { "see": "does not wait any longer" },
            { "judge": "what came of a retry" },
            { "open": "/jobs?q=backing" },
            { "click": "backing-off", "role": "link" },
            { "click": "Cancel it" },
            { "see": "Cancel this job\\?" },
            { "judge": "the question before a cancel" },
            { "fill": "Why", "with": "a test of cancelling" },
            { "click": "Cancel the job" },
            { "see": "^Cancelled\\." },
            { "judge": "what came of a cancel" },
            { "click": "Its story", "role": "link" },
            { "see": "Answered: failure" },
            { "read": "cancelled" },
        ])),
    })
}

/// What people do that others see on their lists. `other` is how they know the replica that does not serve the page.
fn walks_of_two(other: &str) -> Value {
    json!({
        // What is put back comes again, because it is no job: the list says so and moves nothing.
        "zzz newer": with_session(&json!([
            { "tab": 1, "open": "/dead" },
            { "tab": 1, "see": "Live, seen" },
            { "open": "/dead" },
            { "check": "choose" },
            { "click": "Requeue" },
            { "click": "Put 1 dead letter back" },
            { "see": "1 of 1 dead letter" },
            { "tab": 1, "see": "1 newer: show" },
            { "tab": 1, "see": "not here any more" },
            { "tab": 1, "judge": "a list with newer rows" },
            { "tab": 1, "click": "1 newer: show", "role": "link" },
            { "tab": 1, "gone": "not here any more" },
        ])),
        "zzzz drain": with_session(&json!([
            { "open": "/replicas" },
            { "judge": "replicas with buttons" },
            { "click": format!("Drain.*{other}") },
            { "see": "Drain this replica\\?" },
            { "see": "1 replica is left, with" },
            { "judge": "the question before a drain" },
            { "fill": "Why", "with": "a test of draining" },
            { "click": "Drain the replica" },
            { "see": "It drains|It has left" },
            { "judge": "what came of a drain" },
            { "open": "/replicas" },
            { "see": "1 running" },
        ])),
    })
}

#[tokio::test]
async fn jobs_are_found_requeued_and_removed_and_the_fleet_is_paused_by_clicks() {
    let Some(node) = browser() else { return };
    let (mut world, base) = fleet().await;
    let first: Vec<String> = world.presences().await.into_keys().collect();
    let other = world.replica(&[]);
    world.begun(other).await;
    let mut names = world.presences().await.into_keys();
    let name = names.find(|name| !first.contains(name)).expect("it is present");
    let short = &name[name.len() - 36..][..8];
    let dead_before = world.entries(&world.settings.stream.dead).await.len();
    let mut walks = walks();
    let more = walks_of_two(short).as_object().expect("walks").clone();
    walks.as_object_mut().expect("walks").extend(more);
    let said = drive(node, json!({ "base": base, "walks": walks, "pictures": pictures() })).await;
    let found = said["found"].as_str().expect("it was read");
    assert!(found.contains("backing-off") && !found.contains("gone"), "{found}");
    let cancelled = said["cancelled"].as_str().expect("it was read");
    for words in ["ann@page asked to cancel the job", "a test of cancelling", "ann@page had the job tried again"] {
        assert!(cancelled.contains(words), "{words}: {cancelled}");
    }
    // One was removed; the other one came back, because it is no job.
    let dead_after = world.entries(&world.settings.stream.dead).await.len();
    assert_eq!(dead_after + 1, dead_before);
    let base = base.trim_start_matches("http://");
    assert!(!get(base, "/").await.words().contains("Paused"), "the fleet goes on");
}
