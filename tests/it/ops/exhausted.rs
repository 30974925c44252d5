//! A stream whose last id is the largest there is: everything names it, and what the runbook says makes it usable again.

use std::time::Duration;

use rustix::process::Signal;
use startjobs::lobby::accounting::Sent;

use super::{json, run, stdout, text};
use crate::support::world::World;

const LARGEST: &str = "18446744073709551615-18446744073709551615";

fn named(world: &World, stream: &str) {
    let status = run(world, &["status"]);
    let status = stdout(&status);
    let first = status.lines().next().expect("a sentence");
    let problem = format!("the stream {stream} has used the largest possible id");
    assert!(first.starts_with("Degraded: ") && first.contains(&problem), "{status}");
    let doctor = run(world, &["doctor"]);
    assert_eq!(doctor.status.code(), Some(1), "{doctor:?}");
    let doctor = stdout(&doctor);
    assert!(doctor.contains(&format!("{stream} has used")) && doctor.contains("StreamExhausted"), "{doctor}");
    let alerts = run(world, &["alerts"]);
    assert_eq!(alerts.status.code(), Some(3), "{alerts:?}");
    assert!(stdout(&alerts).contains("StreamExhausted"), "{alerts:?}");
}

#[tokio::test]
async fn a_jobs_stream_without_further_ids_is_named_and_can_be_replaced() {
    let mut world = World::new().await;
    world.replica(&[]);
    world.begun(0).await;
    assert_eq!(json(&world, &["status"])["exhausted"], serde_json::json!([]));
    let (jobs, mirror) = (world.settings.stream.jobs.clone(), world.settings.stream.offset_key.clone());
    world.redis(&["XADD", &jobs, LARGEST, "game_id", "game-1", "image_ref", "galaxy/engine:1"]).await;
    world.sent.insert(LARGEST.to_owned(), Sent::Job);
    world.settled().await;
    world.at_rest().await;
    named(&world, &jobs);
    // Also when the entry is gone: the stream remembers its last id.
    world.redis(&["XDEL", &jobs, LARGEST]).await;
    named(&world, &jobs);
    let told = text(&world, &["inspect", LARGEST]);
    assert!(told.contains("answered success"), "{told}");
    let refused = world.try_redis(&["XADD", &jobs, "*", "game_id", "g", "image_ref", "i"]).await;
    assert!(refused.is_err(), "Redis takes no entry");

    // The runbook.
    world.signal(0, Signal::TERM);
    assert!(world.ended(0, Duration::from_secs(10)).await.success());
    world.redis(&["RENAME", &jobs, &format!("{jobs}:exhausted")]).await;
    let keys = [mirror.clone(), format!("{mirror}:shadow"), format!("{jobs}:verified"), format!("{jobs}:sweep")];
    world.redis(&["DEL", &keys[0], &keys[1], &keys[2], &keys[3]]).await;
    let next = world.replica(&[]);
    world.begun(next).await;
    let job = world.send("game-2", "galaxy/engine:1").await;
    world.settled().await;
    assert_eq!(world.outcome(job).await.get("outcome"), "success");
    let at = world.redis(&["GET", &mirror]).await.as_string();
    assert_eq!(at, Some(job.to_string()), "the mirror follows the new stream");
    assert!(text(&world, &["status"]).starts_with("Healthy: "), "{}", text(&world, &["status"]));
    let doctor = text(&world, &["doctor"]);
    assert!(doctor.contains("every stream takes further entries"), "{doctor}");
}

#[tokio::test]
async fn streams_of_answers_without_further_ids_are_named_too() {
    let mut world = World::new().await;
    world.replica(&[]);
    world.begun(0).await;
    let (results, dead) = (world.settings.stream.results.clone(), world.settings.stream.dead.clone());
    for stream in [results, dead] {
        world.redis(&["XADD", &stream, LARGEST, "f", "v"]).await;
        named(&world, &stream);
    }
}

#[tokio::test]
async fn ids_ahead_of_the_servers_clock_are_warned_of() {
    let world = World::new().await;
    let jobs = &world.settings.stream.jobs;
    world.redis(&["XADD", jobs, "9999999999999-0", "game_id", "g", "image_ref", "i"]).await;
    let doctor = stdout(&run(&world, &["doctor"]));
    assert!(doctor.contains("ahead of the server's clock"), "{doctor}");
}
