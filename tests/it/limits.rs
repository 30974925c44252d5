//! What ends an entry's stay with a replica: `max-run`, `retry-max-age`, `ledger-ttl`, a game that is placed on another host.

use std::time::{Duration, Instant};

use startjobs::stream::entry_id::EntryId;

use crate::support::counted::Counted;
use crate::support::world::{PATIENCE, World};

const JOBS: &str = "runtime:start_jobs";
const GROUP: &str = "rtmanager.startjobs";

/// Waits until a game has a record, and answers it.
async fn record(world: &mut World, game: &str) -> String {
    let key = format!("{}{{{game}}}:rec", world.settings.start.record_prefix);
    world
        .eventually("the attempt is on record", async |world: &World| !world.redis(&["GET", &key]).await.is_null())
        .await;
    world.redis(&["GET", &key]).await.as_string().expect("a record")
}

#[tokio::test]
async fn what_runs_longer_than_max_run_is_taken_over_from_a_replica_that_lives_and_answered_once() {
    let mut world = World::new().await;
    let counted = Counted::of(&world);
    let a = world.replica(&[("max-run", "700ms")]);
    world.begun(a).await;
    let job = world.send("game", "sim/slow:4s").await;
    record(&mut world, "game").await;
    let of_a = world.lobby.pending().await.expect("a group").remove(0).consumer;
    let b = world.replica(&[]);
    world
        .eventually("another replica has taken it over", async |world: &World| {
            world.lobby.pending().await.is_ok_and(|all| all.iter().any(|entry| entry.consumer != of_a))
        })
        .await;
    assert!(world.fleet.replica(a).process().ended().is_none(), "nobody died\n{}", world.logs());
    world.settled().await;
    world.at_rest().await;
    let outcome = world.outcome(job).await;
    assert_eq!((outcome.get("outcome"), outcome.get("attempt")), ("success", "2"), "{outcome:?}");
    assert_eq!(outcome.get("container_id"), world.sim_log().await.the_only_container("game"));
    world.logged(b, "its claim", |log| log.text().contains("claimed pending entries")).await;
    // The first attempt ends too, fenced, and its replica goes on working.
    world.signal(b, rustix::process::Signal::TERM);
    world.ended(b, PATIENCE).await;
    world.send("next", "galaxy/engine:1").await;
    world.settled().await;
    // Its owner lives: that it ran too long is no crash.
    assert_eq!(counted.crashes(&world).await, [] as [String; 0], "{}", world.logs());
}

#[tokio::test]
async fn a_job_is_tried_again_for_retry_max_age_and_no_longer() {
    let mut world = World::with(&[("retry-attempts", "1000"), ("retry-max-age", "1s")]).await;
    world.replica(&[]);
    let job = world.send("game", "sim/retry").await;
    let account = world.settled().await;
    world.at_rest().await;
    assert_eq!(account.outcomes.get("simulated_error"), Some(&1), "{account:?}");
    let letter = world.entries(&world.settings.stream.dead).await.remove(0);
    assert_eq!((letter.get("source_ref"), letter.get("reason")), (job.to_string().as_str(), "retries_exhausted"));
    let failures: u64 = letter.get("failures").parse().expect("a number");
    assert!((2..1_000).contains(&failures), "{failures} failures: the age ended it, not the count");
    let lasted = crate::support::world::numbers(&letter.id).0 - job.ms;
    assert!(lasted >= 1_000, "given up after {lasted} ms");

    // The same job is still tried after that time where the limit is higher.
    let mut world = World::with(&[("retry-attempts", "1000"), ("retry-max-age", "1h")]).await;
    world.replica(&[]);
    world.send("game", "sim/retry").await;
    let began = Instant::now();
    let failures = world.settings.stream.jobs.clone() + ":attempts";
    world
        .eventually("more failures after that time", async |world: &World| {
            let counts: Vec<String> = world.redis(&["HVALS", &failures]).await.convert().expect("counts");
            let failed = counts.first().and_then(|counts| counts.split(' ').nth(1)?.parse::<u64>().ok());
            began.elapsed() > Duration::from_millis(1_500) && failed > Some(2)
        })
        .await;
    assert_eq!(world.lobby.answers().await.expect("streams"), (0, 0));
}

#[tokio::test]
async fn an_orphan_older_than_the_ledger_is_not_put_back_and_a_younger_one_is() {
    let settings = [("ledger-ttl", "30s"), ("max-run", "20s"), ("janitor-interval", "50ms")];
    let mut world = World::with(&settings).await;
    world.create_group().await;
    let now = world.now_ms().await;
    let mut jobs = Vec::new();
    for (age_ms, game) in [(60_000, "old"), (40_000, "old-too"), (5_000, "young")] {
        let id = format!("{}-0", now - age_ms);
        world.redis(&["XADD", JOBS, &id, "game_id", game, "image_ref", "galaxy/engine:1"]).await;
        jobs.push(id);
    }
    // Read by a consumer that an operator then deleted; the janitor has verified nothing so far.
    world.read_as("gone", "3").await;
    world.redis(&["XGROUP", "DELCONSUMER", JOBS, GROUP, "gone"]).await;
    world.redis(&["SET", &format!("{JOBS}:verified"), "0-0"]).await;
    world.replica(&[]);
    let verified = format!("{JOBS}:verified");
    world
        .eventually("the walk has passed all of them", async |world: &World| {
            world.redis(&["GET", &verified]).await.as_string().as_ref() == jobs.last()
        })
        .await;
    let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
    let sources: Vec<&str> = outcomes.iter().filter_map(|outcome| outcome.source_ref.as_deref()).collect();
    assert_eq!(sources, [jobs[2].as_str()], "{}", world.logs());
    assert!(world.lobby.all_dead().await.expect("dead letters").is_empty());
}

/// Who has the entry.
async fn owner(world: &World, job: EntryId) -> Option<String> {
    let pending = world.lobby.pending().await.expect("a group");
    pending.into_iter().find(|entry| entry.id == job.to_string()).map(|entry| entry.consumer)
}

#[tokio::test]
async fn a_game_placed_on_a_host_that_died_is_started_on_another_one() {
    let mut world = World::with(&[("host-heartbeat", "1s")]).await;
    let east = world.replica(&[("engine-host-id", "east")]);
    world.begun(east).await;
    let job = world.send("game", "sim/slow:3s").await;
    let begun = record(&mut world, "game").await;
    assert!(begun.contains(r#""host":"east""#), "{begun}");
    world.fleet.replica(east).process().kill();
    world.replica(&[("engine-host-id", "west")]);
    let other = world.send("other", "galaxy/engine:1").await;
    world.settled().await;
    world.at_rest().await;
    let outcome = world.outcome(job).await;
    assert_eq!(outcome.get("outcome"), "success", "{outcome:?}");
    assert_eq!(world.outcome(other).await.get("outcome"), "success", "others go on");
    let placed = record(&mut world, "game").await;
    assert!(placed.contains(r#""host":"west""#) && placed.contains(outcome.get("container_id")), "{placed}");
    assert!(world.lobby.all_dead().await.expect("dead letters").is_empty(), "no budget was spent");
    // What the dead host comes back to: its next job goes where the game runs.
    let east = world.replica(&[("engine-host-id", "east")]);
    world.begun(east).await;
    let next = world.send("game", "sim/slow:3s").await;
    world.settled().await;
    let again = world.outcome(next).await;
    assert_eq!((again.get("error_code"), again.get("container_id")), ("replay_no_op", outcome.get("container_id")));
}

#[tokio::test]
async fn a_game_placed_on_a_host_that_was_never_heard_of_is_answered_host_unavailable_when_the_budget_is_spent() {
    let mut world = World::with(&[("retry-attempts", "3")]).await;
    let east = world.replica(&[("engine-host-id", "east")]);
    world.begun(east).await;
    let job = world.send("game", "sim/slow:60s").await;
    record(&mut world, "game").await;
    world.fleet.replica(east).process().kill();
    // As a version leaves it that does not say which hosts there are.
    world.redis(&["HDEL", "rtm:hosts", "east"]).await;
    world.replica(&[("engine-host-id", "west")]);
    world.settled().await;
    world.at_rest().await;
    let outcome = world.outcome(job).await;
    assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("failure", "host_unavailable"), "{outcome:?}");
    let message = outcome.get("error_message");
    assert!(message.contains("east") && message.contains("startjobs runtime evict"), "{message}");
    let letter = world.entries(&world.settings.stream.dead).await.remove(0);
    assert_eq!((letter.get("reason"), letter.get("failures")), ("retries_exhausted", "3"), "{letter:?}");
}

#[tokio::test]
async fn a_host_that_has_just_come_is_looked_for_before_its_game_fails() {
    // A host says every ten seconds that it is there, and hears of the others then.
    let mut world = World::with(&[("retry-attempts", "1"), ("host-heartbeat", "60s")]).await;
    let east = world.replica(&[("engine-host-id", "east"), ("slots", "1")]);
    world.begun(east).await;
    let first = world.send("game", "galaxy/engine:1").await;
    world.settled().await;
    assert_eq!(world.outcome(first).await.get("outcome"), "success");
    // The only slot of the host is taken, so the other one reads the next job of the game.
    world.send("other", "sim/slow:6s").await;
    world.held(1).await;
    let line = world.redis(&["HGET", "rtm:hosts", "east"]).await.as_string().expect("a line");
    world.redis(&["HDEL", "rtm:hosts", "east"]).await;
    let west = world.replica(&[("engine-host-id", "west")]);
    world.begun(west).await;
    world.redis(&["HSET", "rtm:hosts", "east", &line]).await;
    let again = world.send("game", "galaxy/engine:1").await;
    world.logged(west, "it hands the job over", |log| log.text().contains("handed over")).await;
    world.settled().await;
    let outcome = world.outcome(again).await;
    assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("success", "replay_no_op"), "{outcome:?}");
}

#[tokio::test]
async fn a_game_placed_on_another_host_starts_as_soon_as_a_replica_serves_that_host_again() {
    let mut world = World::with(&[("host-heartbeat", "30s")]).await;
    let east = world.replica(&[("engine-host-id", "east")]);
    world.begun(east).await;
    let job = world.send("game", "sim/slow:1s").await;
    record(&mut world, "game").await;
    let before = owner(&world, job).await;
    world.fleet.replica(east).process().kill();
    let west = world.replica(&[("engine-host-id", "west")]);
    world
        .eventually("the other host's replica has it", async |world: &World| {
            let now = owner(world, job).await;
            now.is_some() && now != before
        })
        .await;
    world.replica(&[("engine-host-id", "east")]);
    world.settled().await;
    let outcome = world.outcome(job).await;
    assert_eq!(outcome.get("outcome"), "success", "{outcome:?}\n{}", world.logs());
    let placed = record(&mut world, "game").await;
    assert!(placed.contains(r#""host":"east""#) && placed.contains(outcome.get("container_id")), "{placed}");
    assert!(world.log(west).processed().is_empty(), "{}", world.logs());
}
