//! Givers and new owners that die, stop and drain: no job is lost, none is done twice.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;

use super::{handed_over, place, place_one, processed};
use crate::other_handler::hall::Hall;
use crate::support::world::{PATIENCE, World};

const ATTEMPTS: &str = "runtime:start_jobs:attempts";

#[tokio::test]
async fn a_giver_that_is_killed_at_any_moment_loses_nothing() {
    let mut hall = Hall::new(&[("slots", "8")]).await;
    let mut a = hall.working_replica_on("a").await;
    let b = [hall.working_replica_on("b").await, hall.working_replica_on("b").await];
    let mut sent = 0;
    for round in 0..6_u64 {
        // Until the giver has something in hand, or has just handed something over.
        let began = Instant::now();
        loop {
            let prefix = format!("guest-{sent}");
            place(&hall, &prefix, 20, "b").await;
            hall.send_many(&prefix, 20, "wait 20").await;
            sent += 20;
            let is_so = match round % 2 {
                0 => handed_over(&hall, &[a]) > 0,
                _ => !hall.pending_for(a).await.is_empty(),
            };
            if is_so {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "the giver never has anything\n{}", hall.logs());
        }
        hall.replicas[a].process.kill();
        a = hall.working_replica_on("a").await;
    }
    hall.at_rest().await;
    assert_eq!(processed(&hall, &b, sent).await.len(), sent, "{}", hall.logs());
    assert_eq!(hall.all_dead().await, 0);
}

#[tokio::test]
async fn the_death_of_the_new_owner_counts_once_and_another_of_its_host_answers() {
    let mut hall = Hall::new(&[]).await;
    let (a, first) = (hall.working_replica_on("a").await, hall.working_replica_on("b").await);
    // Until it is the one on the other host that has read it.
    let mut number = 0;
    let job = loop {
        let name = format!("Ada-{number}");
        number += 1;
        place_one(&hall, &name, "b").await;
        let before = handed_over(&hall, &[a]);
        let job = hall.send(&name, "wait 1500").await;
        hall.eventually("it is begun", async |world: &World| {
            world.redis(&["HEXISTS", "greet:calls", &job.to_string()]).await.as_i64() == Some(1)
        })
        .await;
        if handed_over(&hall, &[a]) > before {
            break job;
        }
    };
    hall.replicas[first].process.kill();
    hall.logged(a, "its claim", |log| log.count("claimed pending entries") > 0).await;
    let crashes = hall.world.redis(&["HGET", ATTEMPTS, &job.to_string()]).await.as_string();
    assert_eq!(crashes.as_deref(), Some("1 0 0"), "{}", hall.logs());
    let second = hall.working_replica_on("b").await;
    hall.at_rest().await;
    hall.logged(second, "the job", |log| log.processed().contains(&job.to_string())).await;
    let of_it = |line: &&serde_json::Value| line["stream_entry_id"] == job.to_string();
    // A line of the log may come after the outcome.
    hall.logged(a, "both hand-overs", |log| log.with("handed over").filter(of_it).count() == 2).await;
    assert_eq!((hall.calls(job).await, hall.all_dead().await), (2, 0));
    let fields: Vec<String> = hall.world.redis(&["HKEYS", ATTEMPTS]).await.convert().expect("names");
    assert!(fields.iter().all(|field| field.starts_with("charges:")), "{fields:?}");
}

#[tokio::test]
async fn a_new_owner_that_is_stopped_and_goes_on_answers_nothing_twice() {
    let mut hall = Hall::new(&[("slots", "8")]).await;
    let (_, first) = (hall.working_replica_on("a").await, hall.working_replica_on("b").await);
    place(&hall, "before", 20, "b").await;
    place(&hall, "after", 20, "b").await;
    hall.send_many("before", 20, "wait 100").await;
    let in_hand = hall.freeze_with_work(first).await;
    hall.send_many("after", 20, "hello").await;
    let second = hall.working_replica_on("b").await;
    hall.at_rest().await;
    hall.replicas[first].process.signal(Signal::CONT);
    place(&hall, "later", 20, "b").await;
    hall.send_many("later", 20, "hello").await;
    hall.at_rest().await;
    hall.eventually("no replica holds anything", async |world: &World| {
        let records = world.presences().await;
        let running: Vec<&String> = records.values().filter(|record| record.contains(" running ")).collect();
        running.len() == 3 && running.iter().all(|record| record.contains("\"held\":0}"))
    })
    .await;
    hall.at_rest().await;
    assert!(hall.log(first).processed().iter().all(|id| !in_hand.contains(id)), "{}", hall.logs());
    processed(&hall, &[second], 20).await;
}

#[tokio::test]
async fn a_replica_that_drains_gives_back_what_is_handed_to_it() {
    let mut hall = Hall::new(&[("slots", "4")]).await;
    let (a, first) = (hall.working_replica_on("a").await, hall.working_replica_on("b").await);
    place(&hall, "guest", 60, "b").await;
    hall.send_many("guest", 60, "wait 50").await;
    hall.logged(a, "a hand-over", |log| log.count("handed over") > 0).await;
    hall.stop(first).await;
    let second = hall.working_replica_on("b").await;
    // The giver drains too, with jobs that it cannot do.
    let third = hall.working_replica_on("a").await;
    hall.stop(a).await;
    hall.at_rest().await;
    assert_eq!(processed(&hall, &[first, second], 60).await.len(), 60, "{}", hall.logs());
    hall.stop(second).await;
    hall.stop(third).await;
    assert!(hall.world.lobby.pending().await.expect("a group").is_empty());
}

#[tokio::test]
async fn a_job_that_kills_the_replicas_of_its_host_runs_alone_there_and_is_given_up() {
    let mut hall = Hall::new(&[("crash-budget", "2"), ("slots", "16")]).await;
    // By name any of them may be the one that keeps serving.
    let mut living = [("a", hall.working_replica_on("a").await), ("b", hall.working_replica_on("b").await)];
    place_one(&hall, "Ada", "b").await;
    place(&hall, "guest", 40, "b").await;
    hall.send_many("before", 20, "wait 20").await;
    let killer = hall.send("Ada", "abort").await;
    hall.send_many("guest", 40, "wait 20").await;
    let (began, mut deaths) = (Instant::now(), 0);
    while !hall.world.account().await.lost.is_empty() {
        assert!(began.elapsed() < PATIENCE, "still without an answer\n{}", hall.logs());
        for (host, replica) in &mut living {
            if hall.replicas[*replica].process.ended().is_some() {
                assert_eq!(*host, "b", "{}", hall.logs());
                deaths += 1;
                assert!(deaths <= 3, "the job is not given up\n{}", hall.logs());
                *replica = hall.replica_on(Some(host));
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("given up after {:?}, handed over {} times", began.elapsed(), handed_over(&hall, &[0]));
    hall.at_rest().await;
    let error = "poison: the process died 3 times while it worked on this job";
    assert_eq!(hall.said(killer).await, ["Ada", "refused", "", error]);
    assert_eq!((deaths, hall.calls(killer).await, hall.all_dead().await), (3, 3, 1));
}

#[tokio::test]
async fn redis_that_is_killed_and_comes_back_under_load_loses_and_doubles_nothing() {
    let redis = RedisServer::start_with(Path::new("redis-server"), &["--appendfsync", "always"]);
    let mut hall = Hall::on(redis.expect("redis-server starts"), &[("slots", "8")]).await;
    let a = hall.working_replica_on("a").await;
    let b = [hall.working_replica_on("b").await, hall.working_replica_on("b").await];
    for round in 1..=3 {
        let prefix = format!("round-{round}");
        place(&hall, &prefix, 80, "b").await;
        hall.send_many(&prefix, 80, "wait 20").await;
        let before = handed_over(&hall, &[a]);
        place(&hall, &format!("more-{round}"), 200, "b").await;
        let mut number = 0;
        while handed_over(&hall, &[a]) == before {
            assert!(number < 200, "nothing is handed over\n{}", hall.logs());
            hall.send(&format!("more-{round}-{number}"), "wait 20").await;
            number += 1;
        }
        hall.world.redis.kill();
        hall.world.redis.start_again().expect("redis-server starts again");
        hall.eventually("Redis answers", async |world: &World| world.try_redis(&["PING"]).await.is_ok()).await;
    }
    hall.at_rest().await;
    assert_eq!(processed(&hall, &b, hall.world.sent.len()).await.len(), hall.world.sent.len(), "{}", hall.logs());
    assert_eq!(hall.all_dead().await, 0);
}
