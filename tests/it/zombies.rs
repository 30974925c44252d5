//! A replica stands still for longer than claim idle, another takes its entry over, and then it goes on: it must not
//! publish, must not harm the other's container, and must work again.

use rustix::process::Signal;
use startjobs::stream::entry_id::EntryId;

use crate::support::world::World;

macro_rules! at_every_point {
    ($($point:ident)+) => {
        $(mod $point {
            #[tokio::test]
            async fn the_zombie_neither_publishes_nor_harms_and_then_works_again() {
                super::zombie(stringify!($point)).await;
            }
        })+
    };
}

at_every_point! {
    after_begin before_create after_create after_start after_ready before_commit before_condemn before_settle
}

fn image(point: &str) -> &'static str {
    if point == "before_condemn" { "sim/exit" } else { "galaxy/engine:1" }
}

fn code(point: &str) -> &'static str {
    match point {
        "after_start" | "after_ready" | "before_commit" => "replay_no_op",
        "before_condemn" => "engine_exited",
        _ => "",
    }
}

async fn zombie(point: &str) {
    let (mut world, job) = stopped_with_a_job(point, image(point)).await;
    let b = world.replica(&[]);
    world.settled().await;
    world.at_rest().await;
    world.logged(b, "the taken outcome", |log| log.processed() == [job.to_string()]).await;

    wakes_up(&mut world, job).await;

    let outcome = world.outcome(job).await;
    assert_eq!(outcome.get("error_code"), code(point));
    assert_eq!(outcome.get("attempt"), "2");
    let sim = world.sim_log().await;
    if point == "before_condemn" {
        assert!(sim.created("game").len() > 1 && sim.existing() == sim.running(), "{sim:?}");
    } else {
        assert_eq!(outcome.get("container_id"), sim.the_only_container("game"));
        assert_eq!(sim.created("game").len(), 1, "{sim:?}");
    }
}

/// A replica that has stopped itself at this point with the only job.
async fn stopped_with_a_job(point: &str, image: &str) -> (World, EntryId) {
    let mut world = World::new().await;
    let a = world.replica(&[("pause-at", point)]);
    let job = world.send("game", image).await;
    world.paused(a).await;
    assert!(world.account().await.outcomes.is_empty());
    (world, job)
}

/// Replica 0 goes on; both replicas work on further jobs until both have published some, and both come to rest.
async fn wakes_up(world: &mut World, taken: EntryId) {
    let (a, b, taken) = (0, 1, taken.to_string());
    let before = world.log(b).processed().len();
    world.signal(a, Signal::CONT);
    let mut games = Vec::new();
    while world.log(a).processed().is_empty() || world.log(b).processed().len() == before {
        assert!(games.len() < 500, "they do not both work\n{}", world.logs());
        for _ in 0..4 {
            let game = format!("later-{}", games.len());
            world.send(&game, "galaxy/engine:1").await;
            games.push(game);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    world.settled().await;
    world.at_rest().await;
    world
        .eventually("both replicas hold nothing", async |world: &World| {
            world.presences().await.values().all(|presence| presence.contains("\"held\":0}"))
        })
        .await;
    assert!(!world.log(a).processed().contains(&taken), "the zombie published: {}", world.logs());
    let sim = world.sim_log().await;
    for game in &games {
        sim.the_only_container(game);
    }
}

#[tokio::test]
async fn a_failure_that_the_new_owner_decided_stays_decided() {
    for point in ["after_begin", "before_create", "after_create", "after_start"] {
        let (mut world, job) = stopped_with_a_job(point, "sim/exit").await;
        world.replica(&[]);
        world.settled().await;
        wakes_up(&mut world, job).await;
        assert_eq!(world.outcome(job).await.get("error_code"), "engine_exited");
        let sim = world.sim_log().await;
        // Those of the later games, and nothing of this one.
        assert_eq!(sim.existing(), sim.running(), "{point}: {sim:?}");
        assert!(!sim.created("game").is_empty(), "{point}");
    }
}

#[tokio::test]
async fn a_zombie_does_not_touch_a_container_of_another_image_that_the_game_runs_now() {
    let (mut world, job) = stopped_with_a_job("after_create", "galaxy/engine:1").await;
    world.replica(&[]);
    world.settled().await;
    world.remove_container("game").await;
    let next = world.send("game", "galaxy/engine:2").await;
    world.settled().await;
    wakes_up(&mut world, job).await;
    let outcome = world.outcome(next).await;
    assert_eq!(outcome.get("error_code"), "");
    let sim = world.sim_log().await;
    assert_eq!(outcome.get("container_id"), sim.the_only_container("game"));
}
