//! Registries that hang: pulls take no slot, so jobs whose images are there start beside them.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{GAME, answered, docker, ends_well, world};
use crate::docker_engine::game_engine;
use crate::support::dockerd::archive;
use crate::support::registry::{FakeRegistry, Fault, Image};
use crate::support::scrape;
use crate::support::world::World;

/// As many as there are slots.
const HANGING: usize = 8;
/// Jobs whose image is there.
const PRESENT: usize = 4;
/// The pulls hang until the test mends them.
const SOON: Duration = Duration::from_secs(10);
/// Much less than `drain-timeout` and than a pull may be silent.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

fn repository(number: usize) -> String {
    format!("slow/{number}")
}

#[tokio::test]
async fn a_job_whose_image_is_there_is_answered_while_eight_pulls_hang() {
    let Some(dockerd) = docker() else { return };
    let registry = FakeRegistry::start().await;
    let (_dir, program) = game_engine();
    let image = Image::of_archive(archive(&[("program", &program)]), &["/program", "engine"]);
    for number in 0..HANGING {
        registry.put(&repository(number), "1", image.clone());
        registry.fault(&repository(number), Fault::Hang);
    }
    let port = scrape::free_port();
    let (address, slots) = (format!("127.0.0.1:{port}"), HANGING.to_string());
    let limits = [("slots", &*slots), ("pull-concurrency", &*slots), ("http-addr", &address)];
    let mut world = world(&dockerd, &limits).await;
    let replica = world.replica(&[]);
    world.begun(replica).await;

    let mut waiting = Vec::new();
    for number in 0..HANGING {
        waiting.push(world.send(&format!("waits-{number}"), &registry.image(&repository(number))).await);
    }
    let outside = || scrape::metric(port, "startjobs_outside_slots");
    world.eventually("all wait for their images", async |_: &World| outside() >= 7.5).await;
    assert!(scrape::metric(port, "startjobs_in_flight").abs() < 0.5, "they take slots");

    let mut best = Duration::MAX;
    for number in 0..PRESENT {
        let sent = Instant::now();
        let job = world.send(&format!("present-{number}"), GAME).await;
        let outcome = answered(&mut world, job).await;
        assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("success", ""), "{outcome:?}");
        best = best.min(sent.elapsed());
        assert!(outside() >= 7.5, "a pull has ended");
    }
    assert!(best < SOON, "the fastest of {PRESENT} jobs beside pulls that hang took {best:?}");
    println!("beside {HANGING} pulls that hang, the fastest of {PRESENT} jobs took {best:?}");

    // The registry is well again: what waited starts too.
    (0..HANGING).for_each(|number| registry.mend(&repository(number)));
    ends_well(&mut world).await;
    for job in waiting {
        assert_eq!(world.outcome(job).await.get("outcome"), "success", "{}", world.logs());
    }
    assert!(outside().abs() < 0.5, "all have had slots again");
}

/// A host that may have two games, and three jobs that wait for images.
#[tokio::test]
async fn jobs_that_wait_for_images_take_no_place_on_a_full_host_and_go_back_when_the_replica_stops() {
    let Some(dockerd) = docker() else { return };
    let registry = FakeRegistry::start().await;
    let policy = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(policy.path(), "containers-max = 2\n").expect("written");
    let port = scrape::free_port();
    let (address, policy_file) = (format!("127.0.0.1:{port}"), policy.path().to_string_lossy().into_owned());
    let mut world = world(&dockerd, &[("policy-file", &policy_file), ("http-addr", &address)]).await;
    let replica = world.replica(&[]);
    world.begun(replica).await;
    let mut waiting = Vec::new();
    for number in 0..3 {
        registry.fault(&repository(number), Fault::Hang);
        waiting.push(world.send(&format!("waits-{number}"), &registry.image(&repository(number))).await);
    }
    let outside = || scrape::metric(port, "startjobs_outside_slots");
    world.eventually("all wait for their images", async |_: &World| outside() >= 2.5).await;
    for number in 0..2 {
        let job = world.send(&format!("present-{number}"), GAME).await;
        assert_eq!(answered(&mut world, job).await.get("outcome"), "success");
    }
    // Now the host is full, and one more waits for room.
    let more = world.send("more", GAME).await;
    world.logged(replica, "that the host is full", |log| log.conditions().contains_key("host_full")).await;
    // A job that needs no room is answered.
    let again = world.send("present-0", GAME).await;
    assert_eq!(answered(&mut world, again).await.get("error_code"), "replay_no_op");

    // What waits for images has begun nothing on the engine, and goes back at once.
    world.signal(replica, Signal::TERM);
    assert_eq!(world.ended(replica, STOPS_WITHIN).await.code(), Some(0), "{}", world.logs());
    let held: Vec<String> = world.lobby.pending().await.expect("a group").iter().map(|one| one.id.clone()).collect();
    for job in waiting.iter().chain([&more]) {
        assert!(held.contains(&job.to_string()), "{job} is not pending: {held:?}\n{}", world.logs());
    }
}
