//! Which replica does what, and how soon.

use std::time::{Duration, Instant};

use startjobs::stream::entry_id::EntryId;

use super::{handed_over, place, place_one, processed};
use crate::other_handler::book::NOWHERE;
use crate::other_handler::hall::Hall;
use crate::support::servers;
use crate::support::world::{World, numbers};

/// So long that only a message makes a replica renew in time.
const RARE: (&str, &str) = ("claim-idle", "30s");
/// Longer than anything here may take.
const BLOCK: (&str, &str) = ("block", "30s");
/// Before a replica renews or a read ends by itself, on a machine that may be busy.
const SOON: Duration = Duration::from_secs(8);
/// A failure that counts even once ends the job.
const ONE_FAILURE: (&str, &str) = ("retry-attempts", "1");

/// From the entry to its outcome, by the server's clock.
async fn took(hall: &Hall, id: EntryId) -> Duration {
    let outcome = hall.world.outcome(id).await;
    Duration::from_millis(numbers(&outcome.id).0.saturating_sub(numbers(&id.to_string()).0))
}

async fn answered(hall: &mut Hall, id: EntryId) {
    let id = id.to_string();
    hall.eventually("it is answered", async |world: &World| !world.account().await.lost.contains(&id)).await;
}

#[tokio::test]
async fn an_idle_fleet_does_each_job_on_its_host_at_once_on_every_version() {
    for redis in servers::all() {
        let mut hall = Hall::on(redis, &[RARE, BLOCK, ONE_FAILURE]).await;
        let a = [hall.working_replica_on("a").await, hall.working_replica_on("a").await];
        let b = [hall.working_replica_on("b").await];
        place(&hall, "guest", 20, "b").await;
        let (mut slowest, mut jobs) = (Duration::ZERO, Vec::new());
        for number in 0..20 {
            let id = hall.send(&format!("guest-{number}"), "hello").await;
            answered(&mut hall, id).await;
            slowest = slowest.max(took(&hall, id).await);
            jobs.push(id.to_string());
        }
        println!("{} of 20 were handed over, the slowest took {slowest:?}", handed_over(&hall, &a));
        assert!(slowest < SOON, "{slowest:?}\n{}", hall.logs());
        assert!(handed_over(&hall, &a) >= 5, "{}", hall.logs());
        hall.at_rest().await;
        let mut done = processed(&hall, &b, 20).await;
        done.sort();
        jobs.sort();
        assert_eq!(done, jobs);
        for replica in [a[0], a[1], b[0]] {
            assert_eq!(hall.log(replica).warnings(), 0, "{}", hall.logs());
            hall.stop(replica).await;
        }
    }
}

#[tokio::test]
async fn a_busy_fleet_does_each_job_on_its_host_at_once() {
    let mut hall = Hall::new(&[RARE, BLOCK, ONE_FAILURE, ("slots", "64")]).await;
    let a = [hall.working_replica_on("a").await];
    let b = [hall.working_replica_on("b").await, hall.working_replica_on("b").await];
    place(&hall, "of-a", 150, "a").await;
    place(&hall, "of-b", 150, "b").await;
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for number in 0..150 {
        of_a.push(hall.send(&format!("of-a-{number}"), "wait 30").await);
        of_b.push(hall.send(&format!("of-b-{number}"), "wait 30").await);
        hall.send(&format!("anywhere-{number}"), "wait 30").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    hall.at_rest().await;
    let mut slowest = Duration::ZERO;
    for &id in of_a.iter().chain(&of_b) {
        slowest = slowest.max(took(&hall, id).await);
    }
    let handed = handed_over(&hall, &[a[0], b[0], b[1]]);
    println!("{handed} of 300 were handed over, the slowest took {slowest:?}");
    assert!(slowest < SOON, "{slowest:?}\n{}", hall.logs());
    assert_eq!(processed(&hall, &[a[0], b[0], b[1]], 450).await.len(), 450, "{}", hall.logs());
    let (on_a, on_b) = (processed(&hall, &a, 0).await, processed(&hall, &b, 0).await);
    assert!(of_a.iter().all(|id| on_a.contains(&id.to_string())), "{}", hall.logs());
    assert!(of_b.iter().all(|id| on_b.contains(&id.to_string())), "{}", hall.logs());
    assert!(handed >= 50, "{handed}\n{}", hall.logs());
}

#[tokio::test]
async fn a_backlog_for_one_host_is_done_there_and_stops_no_other() {
    let mut hall = Hall::new(&[ONE_FAILURE, ("slots", "4"), ("max-backing-off", "8")]).await;
    let (a, b) = (hall.working_replica_on("a").await, hall.working_replica_on("b").await);
    place(&hall, "of-b", 200, "b").await;
    for number in 0..200 {
        hall.send(&format!("of-b-{number}"), "wait 10").await;
        if number % 4 == 0 {
            hall.send(&format!("anywhere-{number}"), "hello").await;
        }
    }
    // What is pending is bounded, whatever is handed over: twice the slots and what may back off, and what the giver has.
    let mut most = 0;
    while !hall.world.account().await.lost.is_empty() {
        most = most.max(hall.pending_for(b).await.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(most <= 2 * 4 + 8 + 4, "{most}");
    hall.at_rest().await;
    assert_eq!(processed(&hall, &[a, b], 250).await.len(), 250);
    processed(&hall, &[b], 200).await;
}

#[tokio::test]
async fn a_job_whose_host_has_no_replica_waits_uncounted_and_stops_no_other() {
    let mut hall = Hall::new(&[RARE, ONE_FAILURE, ("slots", "2")]).await;
    let a = hall.working_replica_on("a").await;
    place(&hall, "far", 4, "c").await;
    let first = hall.send("far-0", "hello").await;
    for number in 1..4 {
        hall.send(&format!("far-{number}"), "hello").await;
    }
    hall.send_many("near", 20, "hello").await;
    hall.eventually("those that are near are answered", async |world: &World| world.account().await.lost.len() == 4)
        .await;
    hall.eventually("they wait", async |world: &World| world.lobby.pending().await.unwrap_or_default().len() == 4)
        .await;
    let c = hall.working_replica_on("c").await;
    let began = Instant::now();
    hall.at_rest().await;
    // One step of the back-off, the hand-over and the machine.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}\n{}", began.elapsed(), hall.logs());
    assert_eq!((hall.calls(first).await, hall.all_dead().await), (1, 0));
    assert_eq!(processed(&hall, &[c], 4).await.len(), 4, "{}", hall.logs());
    assert_eq!(hall.log(a).warnings(), 0, "{}", hall.logs());
}

#[tokio::test]
async fn replicas_that_disagree_about_a_host_do_not_hand_a_job_back_and_forth_for_ever() {
    let mut hall = Hall::new(&[RARE, ONE_FAILURE]).await;
    let both = [hall.working_replica_on("a").await, hall.working_replica_on("b").await];
    place_one(&hall, "Ada", NOWHERE).await;
    let ada = hall.send("Ada", "hello").await;
    hall.logged(both[0], "its hand-overs", |log| log.count("handed over") >= 4).await;
    hall.logged(both[1], "its hand-overs", |log| log.count("handed over") >= 4).await;
    // More would come at once.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(handed_over(&hall, &both), 8, "{}", hall.logs());
    let note = hall.world.redis(&["HGET", "runtime:start_jobs:attempts", &format!("handed:{ada}")]).await;
    assert!(note.as_string().expect("a note").starts_with("8 "));
    // They agree again, on the one that has it or on the other.
    let has_it = if hall.pending_for(both[0]).await.is_empty() { "b" } else { "a" };
    place_one(&hall, "Ada", has_it).await;
    hall.at_rest().await;
    assert_eq!((hall.calls(ada).await, handed_over(&hall, &both)), (1, 8));
    assert_eq!(hall.world.redis(&["EXISTS", "runtime:start_jobs:attempts"]).await.as_i64(), Some(0));
}

#[tokio::test]
async fn without_the_right_to_publish_the_new_owner_finds_the_entry_with_its_next_renewal() {
    let mut hall = Hall::new(&[("claim-idle", "1500ms"), ONE_FAILURE]).await;
    let words = ["ACL", "SETUSER", "narrow", "reset", "on", ">x", "~*", "&*", "+@all", "-publish"];
    hall.world.redis(&words).await;
    let url = hall.world.redis.url().replace("redis://", "redis://narrow:x@");
    hall.set("redis-url", &url);
    let (a, b) = (hall.working_replica_on("a").await, hall.working_replica_on("b").await);
    place(&hall, "guest", 20, "b").await;
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let id = hall.send(&format!("guest-{number}"), "hello").await;
        answered(&mut hall, id).await;
        slowest = slowest.max(took(&hall, id).await);
    }
    println!("{} of 20 were handed over, the slowest took {slowest:?}", handed_over(&hall, &[a]));
    hall.at_rest().await;
    assert!(handed_over(&hall, &[a]) >= 3, "{}", hall.logs());
    assert_eq!(processed(&hall, &[b], 20).await.len(), 20);
    assert_eq!((hall.log(a).warnings(), hall.log(b).warnings()), (0, 0), "{}", hall.logs());
}
