//! Marks at jobs that a replica had when an operator paused the fleet: a cancelled one is answered, any other waits.

use startjobs::redis::Value;

use super::{LONG_PAUSE, ends_with, has_failed, nothing_is_left_of_attempts, was_cancelled};
use crate::support::world::World;

/// How many attempts at the games of this world began.
async fn attempts(world: &World, game: &str) -> usize {
    let record = world.redis(&["GET", &format!("rtm:{{{game}}}:rec")]).await.as_string().unwrap_or_default();
    let record: serde_json::Value = serde_json::from_str(&record).expect("a record");
    usize::try_from(record["attempt"].as_u64().expect("a number")).expect("few")
}

#[tokio::test]
async fn a_job_that_backs_off_is_cancelled_although_the_fleet_is_paused() {
    let mut world = World::with(&LONG_PAUSE).await;
    let a = world.replica(&[]);
    let (job, other) = (world.send("game", "sim/retry").await, world.send("other", "sim/retry").await);
    has_failed(&mut world, job).await;
    has_failed(&mut world, other).await;
    ends_with(&world, "pause", 0);
    let said = ends_with(&world, &format!("cancel {job} --reason enough"), 0);
    assert!(said.contains("cancelled by ann@") && said.contains(": enough"), "{said}");
    was_cancelled(&world, job).await;
    assert_eq!(attempts(&world, "other").await, 1, "nothing else was tried");
    assert_eq!(world.log(a).processed(), [job.to_string()]);
    ends_with(&world, "resume", 0);
    ends_with(&world, &format!("cancel {other}"), 0);
    world.settled().await;
    nothing_is_left_of_attempts(&mut world).await;
    ends_with(&world, "audit", 0);
}

#[tokio::test]
async fn a_job_that_is_to_be_tried_again_now_waits_for_the_end_of_the_pause() {
    let mut world = World::with(&LONG_PAUSE).await;
    world.replica(&[]);
    let job = world.send("game", "sim/retry").await;
    has_failed(&mut world, job).await;
    ends_with(&world, "pause", 0);
    let said = ends_with(&world, &format!("retry-now {job} --wait 200ms"), 75);
    assert!(
        said.contains("the fleet is paused: it is tried again, without its back-off, after `startjobs resume`"),
        "{said}"
    );
    assert_eq!(attempts(&world, "game").await, 1, "nothing starts");
    ends_with(&world, "resume", 0);
    world.eventually("it is tried again", async |world: &World| attempts(world, "game").await == 2).await;
    ends_with(&world, &format!("cancel {job}"), 0);
}

#[tokio::test]
async fn a_start_that_fails_while_the_fleet_is_paused_is_repeated_after_it() {
    // The start takes long enough for the pause to come before its failure.
    let slow = [("retry-min", "50ms"), ("retry-max", "50ms"), ("simulated-latency", "4s")];
    let mut world = World::with(&slow).await;
    let a = world.replica(&[]);
    let job = world.send("game", "sim/retry").await;
    world.held(1).await;
    let said = ends_with(&world, "pause", 0);
    assert!(said.contains("paused: 1 of 1 replica holds"), "{said}");
    assert!(!world.log(a).text().contains("start service failed"), "{}", world.logs());
    world.logged(a, "it has failed", |log| log.text().contains("start service failed")).await;
    let given_back = async |world: &World| {
        let jobs = &world.settings.stream.jobs;
        let words = ["XPENDING", jobs, "rtmanager.startjobs", "IDLE", "3000000", "-", "+", "1"];
        world.redis(&words).await.convert::<Vec<Value>>().is_ok_and(|pending| pending.len() == 1)
    };
    world.eventually("it was given back", given_back).await;
    assert_eq!(attempts(&world, "game").await, 1);
    ends_with(&world, &format!("cancel {job}"), 0);
    was_cancelled(&world, job).await;
}
