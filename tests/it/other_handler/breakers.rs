//! An engine that is down for one replica, and a store that refuses all of them: nothing is counted against any job.

use super::book::CLOSED;
use super::hall::Hall;
use crate::support::world::World;

/// A failure that counts even once ends the job.
const ONE_FAILURE: (&str, &str) = ("retry-attempts", "1");

#[tokio::test]
async fn a_replica_without_its_engine_gives_back_and_another_answers() {
    let mut hall = Hall::new(&[ONE_FAILURE, ("claim-idle", "20s")]).await;
    let a = hall.working_replica().await;
    let engine_down = hall.replicas[a].engine_down.clone();
    std::fs::write(&engine_down, "").expect("written");
    hall.send_many("guest", 20, "hello").await;
    hall.logged(a, "that its engine is down", |log| log.conditions().get("engine") == Some(&(1, 0))).await;
    let b = hall.working_replica().await;
    hall.at_rest().await;
    hall.logged(b, "all outcomes", |log| log.processed().len() == 20).await;
    assert_eq!(hall.log(a).processed(), Vec::<String>::new());
    hall.stop(b).await;

    std::fs::remove_file(&engine_down).expect("removed");
    hall.logged(a, "that its engine is up", |log| log.conditions().get("engine") == Some(&(1, 1))).await;
    hall.send_many("later", 20, "hello").await;
    hall.at_rest().await;
    assert_eq!(hall.all_dead().await, 0);
    hall.stop(a).await;
}

#[tokio::test]
async fn a_replica_waits_for_its_engine_before_it_takes_anything() {
    let mut hall = Hall::new(&[ONE_FAILURE]).await;
    hall.send_many("guest", 5, "hello").await;
    let engine_down = hall.world.directory.path().join("engine-0-down");
    std::fs::write(&engine_down, "").expect("written");
    let a = hall.replica();
    hall.logged(a, "that its engine is down", |log| log.conditions().get("engine") == Some(&(1, 0))).await;
    assert_eq!(hall.log(a).count("start jobs consumer started"), 0);
    std::fs::remove_file(&engine_down).expect("removed");
    hall.at_rest().await;
    hall.stop(a).await;
}

#[tokio::test]
async fn a_store_that_refuses_opens_the_breaker_and_closes_it_when_it_is_well() {
    let mut hall = Hall::new(&[ONE_FAILURE, ("slots", "8")]).await;
    let replicas = [hall.working_replica().await, hall.working_replica().await];
    hall.world.redis(&["SET", CLOSED, "1"]).await;
    hall.send_many("guest", 60, "hello").await;
    for replica in replicas {
        hall.logged(replica, "that the store refuses", |log| log.conditions().get("store") == Some(&(1, 0))).await;
    }
    // What was read before the breaker opened stays in hand; nothing more is read.
    let pending = hall.world.lobby.pending().await.expect("a group").len();
    assert!((1..=16).contains(&pending), "{pending} are pending");
    assert_eq!(hall.world.lobby.answers().await.expect("counts"), (0, 0));
    hall.world.redis(&["DEL", CLOSED]).await;
    for replica in replicas {
        hall.logged(replica, "that the store is well", |log| log.conditions().get("store") == Some(&(1, 1))).await;
    }
    hall.at_rest().await;
    hall.eventually("both work", async |world: &World| {
        world.presences().await.values().all(|presence| presence.contains("\"serves\":true"))
    })
    .await;
    assert_eq!(hall.all_dead().await, 0);
    for replica in replicas {
        hall.stop(replica).await;
    }
}
