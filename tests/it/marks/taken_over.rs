//! A marked job whose replica dies, at every place on its way, and a group that is lost: whoever takes it up obeys.

use futures_util::StreamExt;
use rustix::process::Signal;
use startjobs::faults::Point;

use super::{LONG_PAUSE, ends_with, has_failed, has_no_container, nothing_is_left_of_attempts, was_cancelled};
use crate::support::world::{PATIENCE, World};

/// Points that run side by side.
const AT_ONCE: usize = 3;

#[tokio::test]
async fn a_job_is_cancelled_by_whoever_takes_it_up_from_a_replica_that_died_anywhere() {
    futures_util::stream::iter(Point::ALL).for_each_concurrent(AT_ONCE, |point| dies_at(point.as_str())).await;
}

async fn dies_at(point: &str) {
    let mut world = World::new().await;
    let a = world.replica(&[("crash-at", point)]);
    let image = if point.ends_with("_condemn") { "sim/exit" } else { "galaxy/engine:1" };
    let job = world.send("game", image).await;
    world.killed(a).await;
    // An answer that was stored is the answer.
    let stored = matches!(point, "after_commit" | "before_settle");
    match point {
        "after_settle" => drop(ends_with(&world, &format!("cancel {job}"), 1)),
        _ => drop(ends_with(&world, &format!("cancel {job} --wait 0s"), 75)),
    }
    let b = world.replica(&[("reconcile-interval", "200ms"), ("reconcile-grace", "500ms")]);
    world.settled().await;
    if stored || point == "after_settle" {
        assert_eq!(world.outcome(job).await.get("outcome"), "success", "{point}");
        world.sim_log().await.the_only_container("game");
    } else {
        was_cancelled(&world, job).await;
        world.logged(b, "who cancels it", |log| log.text().contains("an operator cancels the job")).await;
        has_no_container(&mut world, "game").await;
    }
    nothing_is_left_of_attempts(&mut world).await;
    world.at_rest().await;
    let next = world.send("game", "galaxy/engine:1").await;
    world.settled().await;
    assert_eq!(world.outcome(next).await.get("outcome"), "success", "{point}");
}

#[tokio::test]
async fn a_mark_outlives_the_group() {
    let mut world = World::new().await;
    world.create_group().await;
    let first = world.send("first", "galaxy/engine:1").await;
    let job = world.send("game", "galaxy/engine:1").await;
    world.read_as("gone", "10").await;
    ends_with(&world, &format!("cancel {job} --wait 0s"), 75);
    let stream = world.settings.stream.clone();
    world.redis(&["XGROUP", "DESTROY", &stream.jobs, &stream.group]).await;
    world.replica(&[]);
    world.settled().await;
    was_cancelled(&world, job).await;
    assert_eq!(world.outcome(first).await.get("outcome"), "success");
    assert!(world.sim_log().await.created("game").is_empty());
    nothing_is_left_of_attempts(&mut world).await;
}

#[tokio::test]
async fn a_paused_fleet_keeps_a_mark_until_it_goes_on() {
    let mut world = World::with(&LONG_PAUSE).await;
    let a = world.replica(&[]);
    let job = world.send("game", "sim/retry").await;
    has_failed(&mut world, job).await;
    ends_with(&world, "pause", 0);
    let given_back = async |world: &World| {
        world.lobby.pending().await.unwrap_or_default().first().is_some_and(|entry| entry.idle_ms > 1_000_000)
    };
    world.eventually("the job is given back", given_back).await;
    // Nothing is claimed during a pause, and the replica that had it would have answered it.
    world.signal(a, Signal::TERM);
    world.ended(a, PATIENCE).await;
    let said = ends_with(&world, &format!("cancel {job} --wait 200ms"), 75);
    assert!(said.contains("not decided yet") && said.contains("after `startjobs resume`"), "{said}");
    world.replica(&[]);
    ends_with(&world, "resume", 0);
    world.settled().await;
    was_cancelled(&world, job).await;
    assert_eq!(world.sim_log().await.existing(), 0);
}
