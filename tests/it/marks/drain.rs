//! One replica is drained from elsewhere: it ends as on SIGTERM, the others take over, and nothing is lost.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{LONG_PAUSE, ends_with, has_failed, nothing_is_left_of_attempts, operator, stdout};
use crate::support::world::{PATIENCE, World};

/// The consumer names of the replicas that run.
async fn running(world: &World) -> Vec<String> {
    let presences = world.presences().await;
    presences.into_iter().filter(|(_, record)| record.contains(" running ")).map(|(name, _)| name).collect()
}

/// Starts a replica; its number and its consumer name.
async fn replica(world: &mut World) -> (usize, String) {
    let before = running(world).await;
    let number = world.replica(&[]);
    let is_there = async |world: &World| running(world).await.len() > before.len();
    world.eventually("it says that it is there", is_there).await;
    if world.settings.worker.disconnect_grace.is_some() {
        let hear = async |world: &World| world.presences().await.values().all(|record| record.contains("heard_ms"));
        world.eventually("the server hears it", hear).await;
    }
    let name = running(world).await.into_iter().find(|name| !before.contains(name)).expect("a new name");
    (number, name)
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("one JSON object")
}

#[tokio::test]
async fn a_drained_replica_finishes_hands_back_and_ends_with_zero() {
    let mut world = World::with(&LONG_PAUSE).await;
    let (a, name) = replica(&mut world).await;
    let backing_off = world.send("stuck", "sim/retry:1").await;
    has_failed(&mut world, backing_off).await;
    let slow = world.send("slow", "sim/slow:1s").await;
    world.held(2).await;
    let (b, other) = replica(&mut world).await;

    let said = ends_with(&world, &format!("drain {name} --by carol --reason kernel --json"), 0);
    let said = json(&said);
    assert_eq!((&said["result"], &said["replica"]), (&"drained".into(), &name.as_str().into()), "{said}");
    assert_eq!(world.ended(a, PATIENCE).await.code(), Some(0));
    let log = world.log(a);
    let log = log.text();
    assert!(log.contains("an operator drains this replica") && log.contains("\"by\":\"carol\""), "{log}");
    assert!(log.contains("start jobs consumer stopped"), "{log}");
    // What ran was finished there, and what backed off was given back, to be tried by the other one.
    assert_eq!(world.log(a).processed(), [slow.to_string()]);
    assert_eq!(world.outcome(slow).await.get("outcome"), "success");
    world.logged(b, "it takes over what was given back", |log| log.text().contains("claimed pending entries")).await;
    let events = world.entries(&format!("{}:events", world.settings.stream.jobs)).await;
    let event = events.iter().find(|event| event.get("kind") == "replica_drains").expect("an event");
    assert_eq!((event.get("replica"), event.get("by"), event.get("text")), (name.as_str(), "carol", "kernel"));
    let key = format!("{}:attempts", world.settings.stream.jobs);
    let wish = world.redis(&["HGET", &key, &format!("drain:{name}")]).await;
    assert!(wish.is_null(), "the wish went with the replica");
    assert_eq!(running(&world).await, [other]);
    let again = ends_with(&world, &format!("drain {name}"), 1);
    assert!(again.contains("it is left already"), "{again}");
    ends_with(&world, "audit", 0);
}

#[tokio::test]
async fn an_idle_replica_is_drained_at_once_and_the_last_one_too() {
    // Reports and renewals are due every twenty seconds: what comes sooner was told by a message.
    let mut world = World::with(&[("claim-idle", "60s")]).await;
    let (a, name) = replica(&mut world).await;
    let began = Instant::now();
    ends_with(&world, &format!("drain {name}"), 0);
    assert_eq!(world.ended(a, PATIENCE).await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    nothing_is_left_of_attempts(&mut world).await;
    let none = ends_with(&world, "drain whoever", 1);
    assert!(none.contains("no replica runs here"), "{none}");
}

#[tokio::test]
async fn a_replica_that_hears_no_message_is_told_by_its_next_report() {
    let mut world = World::with(&[LONG_PAUSE[0], LONG_PAUSE[1], ("disconnect-grace", "off")]).await;
    let (a, name) = replica(&mut world).await;
    let job = world.send("game", "sim/retry").await;
    has_failed(&mut world, job).await;
    ends_with(&world, &format!("drain {name}"), 0);
    assert_eq!(world.ended(a, PATIENCE).await.code(), Some(0));
}

#[tokio::test]
async fn a_name_must_fit_one_replica_and_the_beginning_of_it_is_enough() {
    let mut world = World::new().await;
    let (a, name) = replica(&mut world).await;
    let (_, other) = replica(&mut world).await;
    let shared = name.bytes().zip(other.bytes()).take_while(|(one, two)| one == two).count();
    let unknown = ends_with(&world, "drain nobody", 1);
    assert!(unknown.contains("begins with nobody") && unknown.contains(&name), "{unknown}");
    let short = ends_with(&world, "drain abc", 2);
    assert!(short.contains("at least its first 4 characters"), "{short}");
    assert_eq!(running(&world).await.len(), 2, "nothing was drained");
    ends_with(&world, &format!("drain {}", &name[..=shared.max(4)]), 0);
    assert_eq!(world.ended(a, PATIENCE).await.code(), Some(0));
    assert_eq!(running(&world).await, [other]);
}

#[tokio::test]
async fn one_that_does_not_answer_is_named_with_its_version_and_drains_when_it_can() {
    let mut world = World::with(&[("claim-idle", "60s")]).await;
    let (a, name) = replica(&mut world).await;
    world.signal(a, Signal::STOP);
    let output = operator(&world, &format!("drain {name} --wait 300ms --json"));
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    let said = json(&stdout(&output));
    assert_eq!((&said["result"], &said["has_begun"]), (&"undecided".into(), &false.into()), "{said}");
    let sentence = said["sentence"].as_str().unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    assert!(sentence.contains("does not answer") && sentence.contains(version), "{sentence}");
    world.signal(a, Signal::CONT);
    assert_eq!(world.ended(a, PATIENCE).await.code(), Some(0));
}
