//! Replicas that are killed, stopped and told to end, and a Redis that is killed: each job is still done and answered once.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;

use super::hall::Hall;
use crate::support::replica_log::Log;
use crate::support::world::{PATIENCE, World, numbers};

/// Claim idle, a sweep and the handler's own lease are about 1.3 s together; the rest is for a slow machine.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_job_that_kills_its_process_runs_alone_and_is_given_up_and_all_others_are_answered() {
    let mut hall = Hall::new(&[("crash-budget", "2"), ("slots", "16")]).await;
    let mut living = [hall.working_replica().await, hall.working_replica().await];
    hall.send_many("before", 20, "wait 20").await;
    let killer = hall.send("Ada", "abort").await;
    hall.send_many("after", 20, "wait 20").await;
    let (began, mut deaths) = (Instant::now(), 0);
    while !hall.world.account().await.lost.is_empty() {
        assert!(began.elapsed() < PATIENCE, "still without an answer\n{}", hall.logs());
        for replica in &mut living {
            if let Some(status) = hall.replicas[*replica].process.ended() {
                assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{}", hall.logs());
                deaths += 1;
                assert!(deaths <= 3, "the job is not given up\n{}", hall.logs());
                *replica = hall.replica();
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    hall.at_rest().await;
    let error = "poison: the process died 3 times while it worked on this job";
    assert_eq!(hall.said(killer).await, ["Ada", "refused", "", error]);
    let (letter, outcome) = (hall.dead(killer).await, hall.world.outcome(killer).await);
    let said = ["reason", "crashes", "detail", "outcome_id"].map(|field| letter.get(field));
    // The whole payload has killed processes often enough: the fields that the handler names are all that is read of it.
    let detail = format!("{error}; kept the fields of the job alone; the whole entry is left in the jobs stream");
    assert_eq!(said, ["poison", "3", &detail, &outcome.id]);
    assert_eq!((letter.get("name"), letter.get("wish")), ("Ada", "abort"));
    assert_eq!((deaths, hall.calls(killer).await, hall.all_dead().await), (3, 3, 1));
    let alone: usize = (0..hall.replicas.len()).map(|number| hall.log(number).count("suspect runs alone")).sum();
    assert!(alone >= 1, "{}", hall.logs());
}

#[tokio::test]
async fn what_a_killed_replica_had_in_hand_is_answered_by_the_others() {
    let mut hall = Hall::new(&[("slots", "4")]).await;
    for _ in 0..3 {
        hall.working_replica().await;
    }
    hall.send_many("guest", 60, "wait 50").await;
    let in_hand = hall.freeze_with_work(0).await;
    hall.replicas[0].process.kill();
    let killed_at = hall.world.now_ms().await;
    hall.at_rest().await;
    let mut last = 0;
    for id in &in_hand {
        let outcome = hall.world.outcome(id.parse().expect("an id")).await;
        last = last.max(numbers(&outcome.id).0);
    }
    let took = Duration::from_millis(last.saturating_sub(killed_at));
    println!("{} entries were taken over and answered within {took:?}", in_hand.len());
    assert!(took < TAKEN_OVER_WITHIN, "{took:?}\n{}", hall.logs());
}

#[tokio::test]
async fn a_replica_that_is_stopped_and_goes_on_publishes_nothing_twice_and_works_again() {
    let mut hall = Hall::new(&[]).await;
    let a = hall.working_replica().await;
    let ada = hall.send("Ada", "wait 100").await;
    hall.send_many("guest", 5, "wait 100").await;
    let in_hand = hall.freeze_with_work(a).await;
    assert!(in_hand.contains(&ada.to_string()), "{in_hand:?}");
    let b = hall.working_replica().await;
    hall.at_rest().await;
    let before = hall.world.lobby.all_outcomes().await.expect("outcomes").len();
    hall.replicas[a].process.signal(Signal::CONT);
    hall.stop(b).await;
    // Only the one that was stopped is left.
    hall.send_many("later", 20, "hello").await;
    hall.at_rest().await;
    hall.eventually("the replica holds nothing", async |world: &World| {
        world.presences().await.values().all(|presence| presence.contains("\"held\":0}"))
    })
    .await;
    hall.at_rest().await;
    assert_eq!(hall.world.lobby.all_outcomes().await.expect("outcomes").len(), before + 20);
    assert!(hall.log(a).processed().iter().all(|id| !in_hand.contains(id)), "{}", hall.logs());
    hall.stop(a).await;
}

#[tokio::test]
async fn sigterm_finishes_what_runs_gives_back_what_waits_and_leaves_nothing_behind() {
    // So long that nothing is claimed because it lay idle.
    let mut hall = Hall::new(&[("claim-idle", "20s")]).await;
    let a = hall.working_replica().await;
    let runs = hall.send("Ada", "wait 500").await;
    for _ in 0..5 {
        hall.send("Ada", "hello").await;
    }
    hall.eventually("one runs and five wait", async |world: &World| {
        let pending = world.lobby.pending().await.unwrap_or_default();
        pending.len() == 6 && world.redis(&["EXISTS", super::book::CALLS]).await.convert::<u64>() == Ok(1)
    })
    .await;
    hall.stop(a).await;
    assert_eq!(hall.log(a).processed(), [runs.to_string()]);
    assert_eq!(hall.log(a).count("start jobs consumer stopped"), 1);
    let b = hall.working_replica().await;
    hall.at_rest().await;
    // The claim of its last entry has removed the first one's consumer.
    hall.logged(b, "all outcomes", |log| log.processed().len() == 5).await;
    assert_eq!(hall.consumers().await, 1);
    hall.stop(b).await;
    assert_eq!(hall.consumers().await, 0);
    assert!(hall.world.lobby.pending().await.expect("a group").is_empty());
}

#[tokio::test]
async fn redis_that_is_killed_and_comes_back_under_load_loses_and_doubles_nothing() {
    let redis = RedisServer::start_with(Path::new("redis-server"), &["--appendfsync", "always"]);
    let mut hall = Hall::on(redis.expect("redis-server starts"), &[("slots", "8")]).await;
    for _ in 0..3 {
        hall.working_replica().await;
    }
    for round in 1..=3 {
        hall.send_many(&format!("round-{round}"), 60, "wait 30").await;
        let last = hall.under_way(&format!("last-{round}"), "wait 700").await;
        hall.world.redis.kill();
        // First for long enough to be seen by all; then it is back at once.
        for number in 0..3 {
            let is_away = |log: &Log| log.conditions().contains_key("redis");
            hall.logged(number, "that Redis is away", is_away).await;
        }
        hall.world.redis.start_again().expect("redis-server starts again");
        hall.eventually("Redis answers", async |world: &World| world.try_redis(&["PING"]).await.is_ok()).await;
        assert!(hall.world.account().await.lost.contains(&last.to_string()), "it was killed under load");
    }
    hall.at_rest().await;
    assert_eq!(hall.all_dead().await, 0);
    for number in 0..3 {
        let is_over = |log: &Log| log.conditions().values().all(|(began, ended)| began == ended);
        hall.logged(number, "the end of every condition", is_over).await;
        hall.stop(number).await;
    }
}
