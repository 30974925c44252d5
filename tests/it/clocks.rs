//! Clocks that are set while the fleet works, and clocks that are wrong: nothing is lost, nothing is answered twice, and
//! nobody is condemned for what a clock says.

use std::time::{Duration, Instant, SystemTime};

use startjobs::embedded::fleet::{Fleet, FleetOptions};
use startjobs::lobby::accounting::Sent;
use startjobs::stream::entry_id::EntryId;

use crate::support::clock::Clock;
use crate::support::servers;
use crate::support::world::{FAST, PATIENCE, World};

const ATTEMPTS: &str = "runtime:start_jobs:attempts";

/// A world whose redis-server goes by a clock of its own.
async fn with_a_clock(settings: &[(&str, &str)]) -> (World, Clock) {
    let clock = Clock::new();
    (World::on(clock.redis("redis-server".as_ref()), settings).await, clock)
}

/// Appends a job that was requested so long ago, by a clock that is right.
async fn requested(world: &mut World, game: &str, image: &str, ago: Duration) -> EntryId {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let requested_at_ms = now.saturating_sub(ago).as_millis().to_string();
    let fields = [("game_id", game), ("image_ref", image), ("requested_at_ms", requested_at_ms.as_str())];
    world.send_fields(&fields, Sent::Job).await
}

/// How often the start service has failed with an entry, and how often a process died with it.
async fn attempts(world: &World, id: EntryId) -> (u64, u64) {
    let text = world.redis(&["HGET", ATTEMPTS, &id.to_string()]).await.as_string().unwrap_or_default();
    let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or(0));
    let crashes = numbers.next().unwrap_or(0);
    (numbers.next().unwrap_or(0), crashes)
}

#[tokio::test]
async fn six_minutes_forward_condemn_nothing() {
    // What would condemn is far away, except by the clock.
    let settings = [("retry-attempts", "12"), ("retry-max-age", "5m"), ("start-deadline", "5m"), ("slots", "2")];
    let (mut world, clock) = with_a_clock(&settings).await;
    let failing = requested(&mut world, "failing", "sim/retry", Duration::ZERO).await;
    // Some are under way at the step, and some have not been read.
    let mut jobs = Vec::new();
    for number in 0..16 {
        jobs.push(requested(&mut world, &format!("game-{number}"), "sim/slow:300ms", Duration::ZERO).await);
    }
    for _ in 0..2 {
        world.replica(&[]);
    }
    world.eventually("it has failed", async |world: &World| attempts(world, failing).await.0 >= 2).await;
    assert!(!world.account().await.lost.is_empty(), "the load was over before the step");
    let before = attempts(&world, failing).await.0;
    clock.step(360);
    world.eventually("it fails on", async |world: &World| attempts(world, failing).await.0 >= before + 2).await;
    world.settled().await;
    world.at_rest().await;
    let dead = world.lobby.all_dead().await.expect("dead letters");
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert_eq!((dead[0].source_ref.as_str(), dead[0].reason.as_str()), (&*failing.to_string(), "retries_exhausted"));
    let letters = world.entries(&world.settings.stream.dead).await;
    assert_eq!(letters[0].get("failures"), "12", "it was given up for its failures, not for its age");
    for job in jobs {
        assert_eq!(world.outcome(job).await.get("outcome"), "success");
    }
    assert_eq!(world.redis(&["EXISTS", ATTEMPTS]).await.as_i64(), Some(0), "what is settled is not remembered");
}

#[tokio::test]
async fn a_failing_job_is_given_up_when_replicas_have_had_it_for_long_enough() {
    let settings = [("retry-attempts", "1000"), ("retry-max-age", "2s"), ("retry-max", "100ms")];
    let (mut world, clock) = with_a_clock(&settings).await;
    let failing = world.send("failing", "sim/retry").await;
    let first = world.replica(&[]);
    world.eventually("it has failed", async |world: &World| attempts(world, failing).await.0 >= 3).await;
    // What one process has seen counts for the next, and going back gives nothing away.
    world.fleet.replica(first).process().kill();
    let seen = world.redis(&["HGET", ATTEMPTS, &format!("age:{failing}")]).await.as_string().expect("it is told");
    assert!(seen.parse::<u64>().is_ok_and(|ms| ms > 0 && ms < 2_000), "{seen}");
    clock.step(-3);
    world.replica(&[]);
    world.settled().await;
    world.at_rest().await;
    let letters = world.entries(&world.settings.stream.dead).await;
    assert_eq!(letters[0].get("reason"), "retries_exhausted");
    let failures: u64 = letters[0].get("failures").parse().expect("a number");
    assert!((4..100).contains(&failures), "{failures}");
}

/// A replica whose own clock is wrong by so many seconds.
async fn a_wrong_clock_decides_nothing(seconds: i64) {
    let mut world = World::with(&[]).await;
    let clock = Clock::new();
    clock.step(seconds);
    let url = world.redis.url();
    let own = [("redis-url", url.as_str()), ("start-deadline", "1m")];
    let settings = FAST.iter().chain(&own);
    let mut fleet = Fleet::new(FleetOptions {
        program: clock.replica_program(),
        directory: world.directory.path().to_owned(),
        settings: settings.map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
    });
    let replica = fleet.start(&[]).expect("it runs");
    let late = requested(&mut world, "late", "galaxy/engine:1", Duration::from_secs(120)).await;
    let fresh = requested(&mut world, "fresh", "galaxy/engine:1", Duration::from_secs(5)).await;
    world.settled().await;
    assert_eq!(world.outcome(late).await.get("error_code"), "start_deadline_exceeded");
    let outcome = world.outcome(fresh).await;
    assert_eq!(outcome.get("outcome"), "success");
    // It really has that clock.
    let finished: i64 = outcome.get("finished_at_ms").parse().expect("a number");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
    let off = finished / 1_000 - i64::try_from(now).expect("not so late") / 1_000;
    let log = fleet.replica(replica).log();
    assert!((off - seconds).abs() < i64::try_from(PATIENCE.as_secs()).expect("few") * 2, "{off} s off\n{log}");
}

#[tokio::test]
async fn a_replica_whose_clock_is_an_hour_ahead_starts_what_is_fresh_and_refuses_what_is_late() {
    a_wrong_clock_decides_nothing(3_600).await;
}

#[tokio::test]
async fn a_replica_whose_clock_is_an_hour_behind_starts_what_is_fresh_and_refuses_what_is_late() {
    a_wrong_clock_decides_nothing(-3_600).await;
}

/// Living replicas under load, and the server's clock is set again and again.
async fn answers_across_steps(version: Option<&str>) {
    let program = match version {
        None => "redis-server".into(),
        Some(version) => match servers::fetched(version) {
            Some(program) => program,
            None => return,
        },
    };
    let clock = Clock::new();
    let settings = [("simulated-latency", "200ms..400ms"), ("slots", "8"), ("janitor-interval", "200ms")];
    let mut world = World::on(clock.redis(&program), &settings).await;
    for _ in 0..2 {
        let replica = world.replica(&[]);
        world.begun(replica).await;
    }
    for (round, seconds) in [-600, 360, 3_600, -120, 600].into_iter().enumerate() {
        world.send_games(&format!("before-{round}-"), 40).await;
        assert!(!world.account().await.lost.is_empty(), "the load was over before the step");
        clock.step(seconds);
        world.send_games(&format!("after-{round}-"), 10).await;
        world.settled().await;
    }
    world.at_rest().await;
    let sim = world.sim_log().await;
    for outcome in world.lobby.all_outcomes().await.expect("outcomes") {
        assert_eq!(outcome.outcome, "success", "{outcome:?}");
        assert_eq!(outcome.container_id, sim.the_only_container(&outcome.game_id), "{outcome:?}");
    }
    let dead = world.lobby.all_dead().await.expect("dead letters");
    assert!(dead.is_empty(), "{dead:?}");
}

#[tokio::test]
async fn the_fleet_answers_across_steps_of_the_servers_clock() {
    answers_across_steps(None).await;
}

#[tokio::test]
async fn the_fleet_answers_across_steps_of_the_servers_clock_on_6_2() {
    answers_across_steps(Some("6.2")).await;
}

#[tokio::test]
async fn the_fleet_answers_across_steps_of_the_servers_clock_on_8_2() {
    answers_across_steps(Some("8.2")).await;
}

/// A replica is dead while the server's clock goes back: what it had is taken over as after any other death.
async fn a_death_before_the_clock_goes_back(seconds: i64) {
    let (mut world, clock) = with_a_clock(&[("slots", "4")]).await;
    let dead = world.replica(&[("simulated-latency", "60s")]);
    world.begun(dead).await;
    world.send_games("held-", 4).await;
    world.held(4).await;
    world.fleet.replica(dead).process().kill();
    clock.step(-seconds);
    let other = world.replica(&[]);
    world.begun(other).await;
    world.send_games("later-", 4).await;
    let stepped = Instant::now();
    world.settled().await;
    println!("taken over {:?} after {seconds} s back (claim idle 600 ms)", stepped.elapsed());
    world.at_rest().await;
    let dead = world.lobby.all_dead().await.expect("dead letters");
    assert!(dead.is_empty(), "{dead:?}");
}

#[tokio::test]
async fn entries_of_a_dead_replica_are_taken_over_although_the_servers_clock_has_gone_back_ten_minutes() {
    a_death_before_the_clock_goes_back(600).await;
}

#[tokio::test]
async fn entries_of_a_dead_replica_are_taken_over_although_the_servers_clock_has_gone_back_two_minutes() {
    a_death_before_the_clock_goes_back(120).await;
}
