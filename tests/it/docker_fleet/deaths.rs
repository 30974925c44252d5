//! A replica dies by SIGKILL, or stands still past claim idle, at every point that touches the engine; another
//! finishes: one container, one outcome.

use futures_util::StreamExt;
use rustix::process::Signal;
use startjobs::stream::entry_id::EntryId;

use super::{
    Dockerd, EXITS, GAME, PATIENCE, World, answered, assert_answers, binary, containers_of, created_and_started,
    docker, ends_well, the_only_container, world,
};

/// Points tried at the same time, each with a redis-server and replicas of its own, on the same engine.
const AT_ONCE: usize = 3;

const DIES_AT: [&str; 9] = [
    "after_begin",
    "before_create",
    "after_create",
    "after_start",
    "after_ready",
    "before_commit",
    "after_commit",
    "before_condemn",
    "after_condemn",
];

const STANDS_STILL_AT: [&str; 5] = ["after_begin", "before_create", "after_create", "after_start", "before_commit"];

/// What the job is answered with by the replica that takes it over.
fn code(point: &str) -> &'static str {
    match point {
        // The container is found running.
        "after_start" | "after_ready" | "before_commit" => "replay_no_op",
        "before_condemn" | "after_condemn" => "engine_exited",
        // It starts the container, or the first one's answer had been stored.
        _ => "",
    }
}

#[tokio::test]
async fn a_replica_that_dies_at_any_point_leaves_one_container_and_one_outcome() {
    let Some(dockerd) = docker() else { return };
    dockerd.import_image(EXITS, binary(), &["engine"], &["ENV ENGINE_EXIT_CODE=7"]);
    futures_util::stream::iter(DIES_AT).for_each_concurrent(AT_ONCE, |point| dies(&dockerd, point)).await;
}

async fn dies(dockerd: &Dockerd, point: &str) {
    println!("dies at {point}");
    let mut world = world(dockerd, &[]).await;
    let game = format!("dies-{point}");
    let condemns = point.ends_with("_condemn");
    let a = world.replica(&[("crash-at", point)]);
    let job = world.send(&game, if condemns { EXITS } else { GAME }).await;
    world.killed(a).await;
    assert!(world.log(a).text().contains(&format!("dying at {point}\n")), "{}", world.logs());
    assert!(world.account().await.outcomes.is_empty(), "{point}");

    world.replica(&[]);
    ends_well(&mut world).await;
    let outcome = world.outcome(job).await;
    assert_eq!(outcome.get("error_code"), code(point), "{point}: {outcome:?}\n{}", world.logs());
    assert_eq!(outcome.get("attempt"), "2", "{point}: {outcome:?}");
    if condemns {
        assert_eq!(containers_of(dockerd, &game), Vec::<super::Value>::new(), "{point}");
    } else {
        runs_once(dockerd, &game, &outcome).await;
    }
}

/// The game has the outcome's container and never had another.
async fn runs_once(dockerd: &Dockerd, game: &str, outcome: &super::Entry) {
    assert_eq!(outcome.get("container_id"), the_only_container(dockerd, game), "{game}");
    assert_answers(outcome.get("engine_endpoint"), game).await;
    assert_eq!(created_and_started(dockerd, game), (1, 1), "{game}");
}

#[tokio::test]
async fn a_replica_that_stands_still_and_wakes_up_neither_publishes_nor_harms() {
    let Some(dockerd) = docker() else { return };
    futures_util::stream::iter(STANDS_STILL_AT)
        .for_each_concurrent(AT_ONCE, |point| stands_still(&dockerd, point))
        .await;
}

async fn stands_still(dockerd: &Dockerd, point: &str) {
    println!("stands still at {point}");
    let (mut world, game, job) = stopped_with_a_job(dockerd, point, GAME).await;
    let b = world.replica(&[]);
    ends_well(&mut world).await;
    world.logged(b, "the outcome alone", |log| log.processed() == [job.to_string()]).await;

    wakes_up_and_ends(&mut world, point).await;

    ends_well(&mut world).await;
    let outcome = world.outcome(job).await;
    assert_eq!(outcome.get("error_code"), code(point), "{point}: {outcome:?}\n{}", world.logs());
    runs_once(dockerd, &game, &outcome).await;
    let again = world.send(&game, GAME).await;
    let again = answered(&mut world, again).await;
    assert_eq!(again.get("error_code"), "replay_no_op", "{point}: {again:?}");
    assert_eq!(again.get("container_id"), outcome.get("container_id"), "{point}");
}

/// A replica that has stopped itself at this point with the only job.
async fn stopped_with_a_job(dockerd: &Dockerd, point: &str, image: &str) -> (World, String, EntryId) {
    let mut world = world(dockerd, &[]).await;
    let game = format!("still-{point}-{}", if image == GAME { "runs" } else { "exits" });
    let a = world.replica(&[("pause-at", point)]);
    let job = world.send(&game, image).await;
    world.paused(a).await;
    assert!(world.account().await.outcomes.is_empty(), "{point}");
    (world, game, job)
}

/// The replica that stood still goes on with its attempt and, told to, ends with it.
async fn wakes_up_and_ends(world: &mut World, point: &str) {
    let zombie = 0;
    world.signal(zombie, Signal::CONT);
    world.signal(zombie, Signal::TERM);
    let status = world.ended(zombie, PATIENCE).await;
    assert_eq!(status.code(), Some(0), "{point}: {}", world.logs());
    assert_eq!(world.log(zombie).processed(), Vec::<String>::new(), "{point}: the zombie published");
}

#[tokio::test]
async fn a_failure_that_was_decided_meanwhile_is_not_undone_by_a_container() {
    let Some(dockerd) = docker() else { return };
    dockerd.import_image(EXITS, binary(), &["engine"], &["ENV ENGINE_EXIT_CODE=7"]);
    let points = ["after_begin", "before_create", "after_create", "after_start"];
    futures_util::stream::iter(points).for_each_concurrent(AT_ONCE, |point| is_decided(&dockerd, point)).await;
}

async fn is_decided(dockerd: &Dockerd, point: &str) {
    println!("stands still at {point}");
    let (mut world, game, job) = stopped_with_a_job(dockerd, point, EXITS).await;
    world.replica(&[]);
    ends_well(&mut world).await;
    wakes_up_and_ends(&mut world, point).await;
    ends_well(&mut world).await;
    assert_eq!(world.outcome(job).await.get("error_code"), "engine_exited", "{point}");
    assert_eq!(containers_of(dockerd, &game), Vec::<super::Value>::new(), "{point}");
}
