//! `startjobs runtime` and what else is shown of games and hosts: on real fleets, with simulated engines and a real one.

// games: shown, stopped, started again
mod games;
// hosts: alive, dead, given up, come back
mod hosts;
// what would be changed, and what differs
mod differences;
// a real engine
mod docker;

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::world::{FAST, World};

/// Keeps records true within a moment, as events do on a Docker Engine.
const PROMPT: (&str, &str) = ("reconcile-interval", "100ms");

/// Runs a command with the fleet's settings, these further ones, and nothing else of the environment.
fn run_with(world: &World, settings: &[(&str, &str)], arguments: &[&str]) -> Output {
    let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
    Command::new(env!("CARGO_BIN_EXE_startjobs"))
        .args(arguments)
        .env_clear()
        .env("USER", "op")
        .env("STARTJOBS_REDIS_URL", world.redis.url())
        .envs(FAST.iter().chain(settings).map(|&(name, value)| (variable(name), value)))
        .output()
        .expect("the binary under test runs")
}

fn run(world: &World, arguments: &[&str]) -> Output {
    run_with(world, &[], arguments)
}

/// The exit code, and what was printed to stdout and stderr.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What a command prints; it must succeed.
fn text(world: &World, arguments: &[&str]) -> String {
    let (code, text, errors) = said(&run(world, arguments));
    assert_eq!(code, Some(0), "{arguments:?}: {text}{errors}");
    text
}

/// What a command prints with `--json`.
fn json(world: &World, arguments: &[&str]) -> Value {
    let text = text(world, &[arguments, &["--json"]].concat());
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"));
    assert_eq!(value["schema_version"], 2, "{text}");
    value
}

/// The games of a list, by id.
fn ids(list: &Value) -> Vec<&str> {
    list["games"].as_array().expect("a list").iter().map(|game| game["game_id"].as_str().expect("an id")).collect()
}

/// The record of a game, or nothing.
async fn record(world: &World, game: &str) -> Value {
    let key = format!("rtm:{{{game}}}:rec");
    let text = world.redis(&["GET", &key]).await.as_string().unwrap_or_else(|| "null".to_owned());
    serde_json::from_str(&text).expect("JSON")
}

/// Waits until a game's record says this state.
async fn says(world: &mut World, game: &str, state: &str) {
    let what = format!("the record of {game} says {state}");
    world.eventually(&what, async |world: &World| record(world, game).await["state"] == state).await;
}

/// Lets a game's container end by itself, as the simulated engine does it; answers its id.
async fn ends(world: &World, game: &str) -> String {
    let name = format!("rtm:sim:{{rtm-{game}}}");
    let container = world.redis(&["GET", &name]).await.as_string().expect("the game has a container");
    let id = container.split(' ').next().expect("split answers at least one");
    let script = concat!(
        "local ARGV = { cmsgpack.pack({ 2, 'exit', ARGV[1] }), '1' }\n",
        include_str!("../../../src/redis/scripts/coalesced_head.lua"),
        include_str!("../../../src/engine/simulated/engine.lua"),
        include_str!("../../../src/redis/scripts/coalesced_tail.lua"),
    );
    world.redis(&["EVAL", script, "2", &name, "rtm:sim:log", &format!("{id} {game}")]).await;
    id.to_owned()
}
