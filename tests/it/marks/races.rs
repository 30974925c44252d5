//! A job is cancelled in the moment in which replicas read and start it: it has one outcome, and no container if it was cancelled.

use futures_util::StreamExt;
use startjobs::stream::entry_id::EntryId;
use tokio::process::Command;

use super::has_no_container;
use crate::support::world::World;

const JOBS: usize = 48;
/// Commands that run side by side.
const AT_ONCE: usize = 4;

#[tokio::test]
async fn a_job_that_is_read_while_it_is_cancelled_has_one_outcome_and_no_container_if_it_was_cancelled() {
    let settings = [("slots", "2"), ("simulated-latency", "10ms..60ms"), ("simulated-errors", "0.3")];
    let mut world = World::with(&settings).await;
    world.replica(&[]);
    world.replica(&[]);
    let mut jobs = Vec::new();
    for number in 0..JOBS {
        jobs.push(world.send(&format!("game{number}"), "galaxy/engine:1").await);
    }
    let url = world.redis.url();
    // Every second job; the command says what became of it.
    let said: Vec<(EntryId, bool)> = futures_util::stream::iter(jobs.iter().copied().skip(1).step_by(2))
        .map(|job| cancel(job, &url))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    world.settled().await;
    let mut cancelled = 0;
    for (job, says_cancelled) in said {
        let outcome = world.outcome(job).await;
        let is_cancelled = outcome.get("error_code") == "cancelled";
        assert_eq!(is_cancelled, says_cancelled, "{outcome:?}");
        if is_cancelled {
            cancelled += 1;
            let game = outcome.get("game_id").to_owned();
            has_no_container(&mut world, &game).await;
        } else {
            assert_eq!(outcome.get("outcome"), "success", "{outcome:?}");
        }
    }
    println!("{cancelled} of {} were cancelled", JOBS / 2);
    world.at_rest().await;
    world.sim_log().await;
}

async fn cancel(job: EntryId, url: &str) -> (EntryId, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_startjobs"));
    let output =
        command.args(["cancel", &job.to_string(), "--redis-url", url]).output().await.expect("the binary runs");
    match output.status.code() {
        Some(0) => (job, true),
        Some(1) => (job, false),
        _ => panic!("{job}: {output:?}"),
    }
}
