//! The commands of operators, as processes, against real fleets.

// how many wait, in every situation in which the server's lag is unknown or wrong
mod backlog;
// every alert, and what the first line says meanwhile
mod verdicts;
// Redis answers and takes no write
mod refusals;
// who is held by a pause, and who is not
mod pauses;
// what is shown of a fleet that works, is held, has lost somebody, or is not there
mod fleets;
// how deaths were noticed, and whether the next one would be noticed at once
mod deaths;
// which alerts fire
mod alerts;
// the fleet on a whole terminal
mod dash;
// what the fleet has done
mod history;
// one job's whole story
mod stories;
// why a job is not being started, and what to do next
mod waits;
// single jobs in a list, and why they do not run
mod jobs;
// what happened
mod events;
// many jobs of a file
mod send_file;
// dead letters that were put back
mod requeues;
// what cannot be read
mod damaged;
// errors, empty subjects, times, narrow terminals
mod forms;
// all of it for the person who helps
mod bundle;
// limits, and what is wrong with the surroundings
mod check;
mod doctor;
// a stream that takes no entry any more
mod exhausted;
// foreign text on a terminal
mod hostile;
// the reference, completions, manual pages
mod reference;

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::world::{FAST, World};

/// Runs a command with the fleet's settings and nothing else of the environment.
fn run(world: &World, arguments: &[&str]) -> Output {
    command(world, arguments).output().expect("the binary under test runs")
}

/// The same, not started yet.
fn command(world: &World, arguments: &[&str]) -> Command {
    let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_startjobs"));
    command
        .args(arguments)
        .env_clear()
        .env("USER", "op")
        .env("STARTJOBS_REDIS_URL", world.redis.url())
        .envs(FAST.iter().map(|&(name, value)| (variable(name), value)));
    command
}

/// What a command prints; it must succeed.
fn text(world: &World, arguments: &[&str]) -> String {
    let output = run(world, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    stdout(&output)
}

/// What a command prints with `--json`.
fn json(world: &World, arguments: &[&str]) -> Value {
    let text = text(world, &[arguments, &["--json"]].concat());
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"));
    // Letters and audits have forms with versions of their own.
    let version = if matches!(arguments[0], "dead" | "audit") { 1 } else { 2 };
    assert_eq!(value["schema_version"], version, "{text}");
    value
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// The value of a line of `status`.
fn line<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}
