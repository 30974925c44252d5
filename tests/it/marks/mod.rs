//! Replicas that operators drain, and single jobs that they cancel, or let be tried again at once: one outcome whatever happens meanwhile, and no container of
//! a job that was cancelled.

// jobs that no replica has read
mod waiting;
// jobs that a replica holds
mod held;
// replicas that die with a marked job, and groups that are lost
mod taken_over;
// a mark and a start at the same time
mod races;
// while the fleet is paused
mod paused;
// one replica is to end
mod drain;
// real containers
mod docker;

use std::process::{Command, Output};

use startjobs::stream::entry_id::EntryId;

use crate::support::world::World;

/// A job that fails once waits for longer than any test.
const LONG_PAUSE: [(&str, &str); 2] = [("retry-min", "10m"), ("retry-max", "20m")];

/// Runs a command of an operator on this world's Redis.
fn operator(world: &World, line: &str) -> Output {
    let words = line.split(' ').filter(|word| !word.is_empty());
    let mut command = Command::new(env!("CARGO_BIN_EXE_startjobs"));
    command.args(words).args(["--redis-url", &world.redis.url()]).env("USER", "ann");
    command.output().expect("the binary under test runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The command ends with this code; what it printed.
fn ends_with(world: &World, line: &str, code: i32) -> String {
    let output = operator(world, line);
    assert_eq!(output.status.code(), Some(code), "{line}: {output:?}");
    stdout(&output) + &stderr(&output)
}

/// The job's one outcome says that Ann cancelled it.
async fn was_cancelled(world: &World, job: EntryId) {
    let outcome = world.outcome(job).await;
    assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("failure", "cancelled"), "{outcome:?}");
    assert!(outcome.get("error_message").starts_with("cancelled by ann@"), "{outcome:?}");
    assert_eq!((outcome.get("container_id"), outcome.get("engine_endpoint")), ("", ""), "{outcome:?}");
}

/// Waits until an attempt at this job has failed and was counted.
async fn has_failed(world: &mut World, job: EntryId) {
    let (key, id) = (format!("{}:attempts", world.settings.stream.jobs), job.to_string());
    let has_failed = async |world: &World| {
        let counted = world.redis(&["HGET", &key, &id]).await.as_string().unwrap_or_default();
        counted.split(' ').nth(1).is_some_and(|failures| failures != "0")
    };
    world.eventually("an attempt has failed", has_failed).await;
}

/// Waits until nothing is written down about any entry.
async fn nothing_is_left_of_attempts(world: &mut World) {
    let key = format!("{}:attempts", world.settings.stream.jobs);
    let is_empty = async |world: &World| world.redis(&["EXISTS", &key]).await.as_i64() == Some(0);
    world.eventually("nothing is written down about attempts", is_empty).await;
}

/// Waits until the simulated engine has no container of this game.
async fn has_no_container(world: &mut World, game: &str) {
    let name = format!("{}sim:{{rtm-{game}}}", world.settings.start.record_prefix);
    let is_gone = async |world: &World| world.redis(&["EXISTS", &name]).await.as_i64() == Some(0);
    world.eventually("the game has no container", is_gone).await;
}
