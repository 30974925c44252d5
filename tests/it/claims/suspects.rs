//! Suspects run alone per process, but on as many processes as are empty, while ordinary jobs flow.

use std::time::{Duration, Instant};

use startjobs::stream::claim::{Aim, Swept};
use startjobs::stream::presence::About;

use super::{CLAIM_IDLE, HOUR_MS, INTERVAL, Presence, Stream, ids, on_every_server, seen};
use crate::support::sweeps::by_silence;
use crate::support::world::World;

on_every_server! {
    every_empty_replica_is_offered_a_suspect_and_each_gets_another
    one_replica_at_a_time_makes_itself_empty_and_one_keeps_serving
}

/// A suspect that anybody may claim.
async fn suspect(stream: &Stream) -> String {
    let id = stream.held("gone", HOUR_MS).await;
    stream.redis(&["HSET", super::ATTEMPTS, &id, "2 0 0"]).await;
    id
}

async fn offered(stream: &Stream, consumer: &str, aim: Aim, holds_nothing: bool) -> Swept {
    stream.due().await;
    let swept = stream.as_consumer(consumer).sweep(aim, by_silence(CLAIM_IDLE, INTERVAL, 100, holds_nothing)).await;
    swept.unwrap_or_else(|error| panic!("{error}")).swept
}

async fn every_empty_replica_is_offered_a_suspect_and_each_gets_another(stream: Stream) {
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(suspect(&stream).await);
    }
    let mut claimed = Vec::new();
    for name in ["me", "next", "third"] {
        stream.present(name, seen(0)).await;
        for aim in [Aim::Look, Aim::Take] {
            assert_eq!(offered(&stream, name, aim, true).await, Swept::Suspects, "{name}");
        }
        claimed.extend(ids(&stream.take_alone(name).await));
    }
    // After one has ended the next may follow, but not with the replica that keeps serving: the first by name.
    assert!(matches!(stream.sweep_as("me", Aim::Another).await, Swept::Done(sweep) if sweep.claimed.is_empty()));
    let Swept::Done(sweep) = stream.sweep_as("next", Aim::Another).await else { panic!("not swept") };
    claimed.extend(ids(&sweep));
    assert_eq!(claimed, all);
    assert!(ids(&stream.take_alone("third").await).is_empty());
    // An ordinary entry goes first, and no suspect with it.
    suspect(&stream).await;
    let ordinary = stream.held("gone", HOUR_MS).await;
    assert_eq!(offered(&stream, "next", Aim::Look, true).await, Swept::Found);
    let Swept::Done(sweep) = offered(&stream, "next", Aim::Take, true).await else { panic!("not swept") };
    assert_eq!(ids(&sweep), [ordinary]);
    // One that was given back lies before where the last was found.
    stream.lies("me", &all[0], HOUR_MS).await;
    assert_eq!(ids(&stream.take_alone("third").await).len(), 1);
    assert_eq!(ids(&stream.take_alone("third").await), [all[0].clone()]);
}

async fn one_replica_at_a_time_makes_itself_empty_and_one_keeps_serving(stream: Stream) {
    for _ in 0..3 {
        suspect(&stream).await;
    }
    let nothing = |swept: &Swept| matches!(swept, Swept::Done(sweep) if sweep.claimed.is_empty());
    // The only one there makes itself empty, or the suspects would wait for ever.
    assert_eq!(offered(&stream, "me", Aim::Take, false).await, Swept::Suspects);
    assert_eq!(ids(&stream.take_alone("me").await).len(), 1);
    for name in ["next", "third"] {
        stream.present(name, seen(0)).await;
    }
    assert!(nothing(&offered(&stream, "me", Aim::Take, false).await), "it keeps serving");
    assert_eq!(offered(&stream, "next", Aim::Take, false).await, Swept::Suspects);
    assert!(nothing(&offered(&stream, "third", Aim::Take, false).await), "it is not its turn");
    assert_eq!(ids(&stream.take_alone("next").await).len(), 1);
    assert_eq!(offered(&stream, "third", Aim::Take, false).await, Swept::Suspects);
    // One that does not serve is no keeper.
    let about = About { serves: Some(false), ..super::about() };
    let state = startjobs::stream::renew::ReplicaState::Running;
    stream.as_consumer("me").renew(state, &about, None, &[]).await.expect("renewed");
    assert!(nothing(&offered(&stream, "next", Aim::Another, true).await), "now `next` keeps serving");
    stream.present("me", Presence { state: "draining", ..seen(0) }).await;
    assert!(nothing(&offered(&stream, "next", Aim::Another, true).await), "one that drains is none either");
}

/// Forty-eight jobs that two processes died with, two seconds each, while others come: within a minute on 3 replicas.
#[tokio::test]
async fn suspects_run_on_all_replicas_and_ordinary_jobs_do_not_wait_for_them() {
    let mut world = World::with(&[("slots", "16"), ("janitor-interval", "200ms")]).await;
    world.create_group().await;
    let mut suspects = Vec::new();
    for number in 0..48 {
        suspects.push(world.send(&format!("s{number}"), "sim/slow:2s").await.to_string());
    }
    world.read_as("gone", "48").await;
    for id in &suspects {
        world.redis(&["HSET", super::ATTEMPTS, id, "2 0 0"]).await;
        world.redis(&["XCLAIM", super::JOBS, super::GROUP, "gone", "0", id, "IDLE", "3600000", "JUSTID"]).await;
    }
    for _ in 0..3 {
        world.replica(&[]);
    }
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    let mut number = 0;
    while world.lobby.all_outcomes().await.expect("outcomes").len() < 48 + number {
        let sent = Instant::now();
        let job = world.send(&format!("o{number}"), "galaxy/engine:1").await;
        number += 1;
        world
            .eventually("an ordinary job is answered", async |world: &World| {
                let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
                outcomes.iter().any(|outcome| outcome.source_ref.as_deref() == Some(&job.to_string()))
            })
            .await;
        slowest = slowest.max(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = began.elapsed();
    println!("48 suspects of 2 s in {took:?} beside {number} ordinary jobs, the slowest of which took {slowest:?}");
    // 32 s where each replica runs one all the time.
    assert!(took < Duration::from_secs(60), "{took:?}\n{}", world.logs());
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    world.settled().await;
    world.at_rest().await;
    assert_eq!(world.redis(&["EXISTS", super::ATTEMPTS]).await.as_i64(), Some(0));
}

#[tokio::test]
async fn a_suspect_that_its_only_replica_gave_back_is_answered_by_it() {
    let mut world = World::with(&[("retry-attempts", "3")]).await;
    world.create_group().await;
    // One comes as new and turns out to be a suspect; the other fails, backs off, and is given back for its next attempt.
    let failing = world.send("failing", "sim/retry").await;
    world.read_as("gone", "1").await;
    world
        .redis(&["XCLAIM", super::JOBS, super::GROUP, "gone", "0", &failing.to_string(), "IDLE", "3600000", "JUSTID"])
        .await;
    let fresh = world.send("fresh", "galaxy/engine:1").await;
    for id in [failing, fresh] {
        world.redis(&["HSET", super::ATTEMPTS, &id.to_string(), "2 0 0"]).await;
    }
    let replica = world.replica(&[]);
    world.settled().await;
    world.at_rest().await;
    assert_eq!(world.outcome(failing).await.get("error_code"), "simulated_error");
    assert_eq!(world.outcome(fresh).await.get("outcome"), "success");
    assert_eq!(world.log(replica).count("found entries whose delivery was lost"), 0, "{}", world.logs());
}
