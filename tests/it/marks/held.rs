//! Jobs that a replica holds: it is told of a mark by a message, or by the answer to its next report.

use super::{LONG_PAUSE, ends_with, has_failed, nothing_is_left_of_attempts, was_cancelled};
use crate::support::world::World;

#[tokio::test]
async fn a_job_that_backs_off_is_cancelled_at_once() {
    let mut world = World::with(&LONG_PAUSE).await;
    let a = world.replica(&[]);
    let job = world.send("game", "sim/retry").await;
    has_failed(&mut world, job).await;
    let said = ends_with(&world, &format!("cancel {job} --reason enough"), 0);
    assert!(said.contains("cancelled by ann@") && said.contains(": enough"), "{said}");
    world.settled().await;
    was_cancelled(&world, job).await;
    assert_eq!(world.outcome(job).await.get("error_code"), "cancelled");
    assert_eq!(world.sim_log().await.existing(), 0);
    world.logged(a, "who cancels it", |log| log.text().contains("an operator cancels the job")).await;
    assert!(world.lobby.all_dead().await.expect("dead letters").is_empty(), "it is no dead letter");
    nothing_is_left_of_attempts(&mut world).await;
    let record = ends_with(&world, "inspect game", 0);
    assert!(record.contains("failed") && record.contains("cancelled by ann@"), "{record}");
    ends_with(&world, "audit", 0);

    // A later job of the game is a new job.
    let next = world.send("game", "galaxy/engine:1").await;
    world.settled().await;
    assert_eq!(world.outcome(next).await.get("outcome"), "success");
}

#[tokio::test]
async fn a_replica_that_hears_no_message_is_told_by_its_next_report() {
    let mut world = World::with(&[LONG_PAUSE[0], LONG_PAUSE[1], ("disconnect-grace", "off")]).await;
    world.replica(&[]);
    let job = world.send("game", "sim/retry").await;
    has_failed(&mut world, job).await;
    ends_with(&world, &format!("cancel {job}"), 0);
    world.settled().await;
    was_cancelled(&world, job).await;
}

#[tokio::test]
async fn a_job_is_tried_again_at_once_although_its_pause_is_long() {
    let mut world = World::with(&[LONG_PAUSE[0], LONG_PAUSE[1], ("retry-attempts", "3")]).await;
    let a = world.replica(&[]);
    let job = world.send("game", "sim/retry").await;
    has_failed(&mut world, job).await;
    for attempt in 2..=3 {
        let said = ends_with(&world, &format!("retry-now {job}"), 0);
        assert!(said.contains("does not wait any longer"), "{said}");
        if attempt == 2 {
            let (key, id) = (format!("{}:attempts", world.settings.stream.jobs), job.to_string());
            let is_counted = async |world: &World| {
                let counted = world.redis(&["HGET", &key, &id]).await.as_string().unwrap_or_default();
                counted.split(' ').nth(1) == Some("2")
            };
            world.eventually("the attempt is counted", is_counted).await;
        }
    }
    // The third one has spent the budget.
    world.settled().await;
    assert_eq!(world.outcome(job).await.get("error_code"), "simulated_error");
    assert_eq!(world.log(a).text().matches("lets the job be tried again at once").count(), 2);
    nothing_is_left_of_attempts(&mut world).await;
}

#[tokio::test]
async fn a_start_under_way_is_not_cancelled_and_the_command_says_so() {
    let mut world = World::new().await;
    world.replica(&[]);
    let job = world.send("game", "sim/slow:3s").await;
    world.held(1).await;
    let said = ends_with(&world, &format!("cancel {job} --wait 100ms"), 75);
    assert!(said.contains("A start that is under way is not interrupted"), "{said}");
    let story = ends_with(&world, &format!("inspect {job}"), 0);
    assert!(story.contains("to be cancelled by ann@"), "{story}");
    let said = ends_with(&world, &format!("cancel {job}"), 1);
    assert!(said.contains("it had started before") && said.contains("runtime stop game"), "{said}");
    world.settled().await;
    assert_eq!(world.outcome(job).await.get("outcome"), "success");
    world.sim_log().await.the_only_container("game");
    nothing_is_left_of_attempts(&mut world).await;
}

#[tokio::test]
async fn a_job_behind_another_of_its_game_is_cancelled_when_its_turn_comes() {
    let mut world = World::new().await;
    world.replica(&[]);
    let first = world.send("game", "sim/slow:2s").await;
    let second = world.send("game", "sim/slow:2s").await;
    world.held(2).await;
    ends_with(&world, &format!("cancel {second}"), 0);
    world.settled().await;
    assert_eq!(world.outcome(first).await.get("outcome"), "success");
    was_cancelled(&world, second).await;
    world.sim_log().await.the_only_container("game");
}
