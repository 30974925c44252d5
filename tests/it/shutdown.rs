//! Replicas that are told to stop: they finish, give back, leave, and are in time.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::counted::Counted;
use crate::support::world::{PATIENCE, World};

/// So long that nothing in these tests is claimed because it lay idle.
const LONG_IDLE: &[(&str, &str)] = &[("claim-idle", "20s"), ("drain-timeout", "10s")];

/// Far less than the replica would wait for by itself: it stops at once, on a machine that may be busy.
const SOON: Duration = Duration::from_secs(8);

/// The group's consumers.
async fn consumers(world: &World) -> Vec<String> {
    let words = ["XINFO", "CONSUMERS", &world.settings.stream.jobs, &world.settings.stream.group];
    let Ok(list) = world.try_redis(&words).await else {
        return Vec::new();
    };
    let list: Vec<Vec<startjobs::redis::Value>> = list.convert().expect("consumers");
    list.into_iter().filter_map(|fields| fields.get(1).and_then(startjobs::redis::Value::as_string)).collect()
}

/// No crash was counted since this has listened.
async fn no_crash(counted: &Counted, world: &World) {
    assert_eq!(counted.crashes(world).await, [] as [String; 0]);
}

/// Waits until this many entries are pending.
async fn pending(world: &mut World, count: usize) {
    world
        .eventually("entries are taken", async |world: &World| {
            world.lobby.pending().await.is_ok_and(|pending| pending.len() == count)
        })
        .await;
}

/// One job that runs for a while, and nine of the same game that wait for it, all with the only replica there is.
async fn one_runs_and_nine_wait(world: &mut World, slow: &str) -> usize {
    let a = world.replica(&[]);
    world.begun(a).await;
    for _ in 0..10 {
        world.send("game", slow).await;
    }
    pending(world, 10).await;
    let running = "\"in_flight\":1,\"held\":10}";
    world
        .eventually("one runs", async |world: &World| {
            // The presence is written at renewals only; the container says sooner that the start is under way.
            world.presences().await.values().any(|presence| presence.contains(running))
                || world.sim_log().await.existing() == 1
        })
        .await;
    a
}

async fn stops_under_load(signal: Signal) {
    let mut world =
        World::with(&[("simulated-latency", "20ms..150ms"), ("slots", "8"), ("drain-timeout", "20s")]).await;
    let (a, b) = (world.replica(&[]), world.replica(&[]));
    world.begun(a).await;
    world.begun(b).await;
    for number in 0..200 {
        world.send(&format!("game-{}", number % 120), "galaxy/engine:1").await;
    }
    world.logged(a, "some outcomes", |log| log.processed().len() > 2).await;
    let counted = Counted::of(&world);
    let in_hand = world.under_way("load", Some(a)).await;
    world.signal(a, signal);
    let status = world.ended(a, Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0), "{}", world.logs());
    assert_eq!(world.log(a).count("start jobs consumer stopped"), 1);
    // What it gave back is taken by the other, and the claim of the last entry removes its consumer.
    world
        .eventually("the consumer of the stopped replica is gone", async |world: &World| {
            consumers(world).await.len() == 1
        })
        .await;
    world.settled_under_watch().await;
    world.at_rest().await;
    world.was_under_way(in_hand).await;
    no_crash(&counted, &world).await;
    let sim = world.sim_log().await;
    let games = 120 + world.sent.len() - 200;
    assert_eq!((sim.existing(), sim.running()), (games, games));
    world.signal(b, signal);
    assert_eq!(world.ended(b, Duration::from_secs(20)).await.code(), Some(0));
    assert!(consumers(&world).await.is_empty());
}

#[tokio::test]
async fn sigterm_under_load_ends_with_0_in_time_and_loses_nothing() {
    stops_under_load(Signal::TERM).await;
}

#[tokio::test]
async fn sigint_under_load_ends_with_0_in_time_and_loses_nothing() {
    stops_under_load(Signal::INT).await;
}

#[tokio::test]
async fn sighup_under_load_ends_with_0_in_time_and_loses_nothing() {
    stops_under_load(Signal::HUP).await;
}

#[tokio::test]
async fn what_is_given_back_is_taken_at_once_and_counts_as_no_crash() {
    let mut world = World::with(LONG_IDLE).await;
    let a = one_runs_and_nine_wait(&mut world, "sim/slow:5s").await;
    let of_a = consumers(&world).await.remove(0);
    let counted = Counted::of(&world);
    let b = world.replica(&[]);
    world.begun(b).await;
    world.signal(a, Signal::TERM);
    let asked = Instant::now();
    world
        .eventually("the nine are with the other replica while one runs", async |world: &World| {
            let pending = world.lobby.pending().await.expect("a group");
            let of_others = pending.iter().filter(|entry| entry.consumer != of_a).count();
            (of_others, pending.len()) == (9, 10)
        })
        .await;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}, and claim idle is 20 s");
    assert_eq!(world.ended(a, PATIENCE).await.code(), Some(0));
    assert_eq!(world.log(a).processed().len(), 1, "{}", world.logs());

    let account = world.settled().await;
    world.at_rest().await;
    assert_eq!(account.outcomes["started"], 1, "{account:?}");
    assert_eq!(account.outcomes["replay_no_op"], 9, "{account:?}");
    no_crash(&counted, &world).await;
    assert_eq!(consumers(&world).await.len(), 1);
    world.sim_log().await.the_only_container("game");
}

async fn second_signal(signal: Signal, code: i32) {
    let mut world = World::with(&[]).await;
    let a = one_runs_and_nine_wait(&mut world, "sim/slow:3s").await;
    world.signal(a, signal);
    world
        .eventually("it drains", async |world: &World| {
            world.presences().await.values().any(|presence| presence.contains(" draining "))
        })
        .await;
    world.signal(a, signal);
    let status = world.ended(a, PATIENCE).await;
    assert_eq!(status.code(), Some(code), "{}", world.logs());
    assert_eq!(world.log(a).processed().len(), 0, "it has waited for the one that runs\n{}", world.logs());
    world.replica(&[]);
    world.settled().await;
    world.at_rest().await;
    world.sim_log().await.the_only_container("game");
}

#[tokio::test]
async fn a_second_sigterm_ends_it_at_once_with_143() {
    second_signal(Signal::TERM, 143).await;
}

#[tokio::test]
async fn a_second_sigint_ends_it_at_once_with_130() {
    second_signal(Signal::INT, 130).await;
}

#[tokio::test]
async fn a_second_sighup_ends_it_at_once_with_129() {
    second_signal(Signal::HUP, 129).await;
}

#[tokio::test]
async fn a_worker_under_nohup_outlives_its_terminal() {
    let mut world = World::new().await;
    let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
    let mut worker = std::process::Command::new("nohup")
        .args([env!("CARGO_BIN_EXE_startjobs"), "worker"])
        .envs(crate::support::world::FAST.iter().map(|&(name, value)| (variable(name), value)))
        .env("STARTJOBS_REDIS_URL", world.redis.url())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("nohup (coreutils) runs");
    let pid = rustix::process::Pid::from_child(&worker);
    world.send("game-1", "galaxy/engine:1").await;
    world.settled().await;
    rustix::process::kill_process(pid, Signal::HUP).expect("it is there");
    world.send("game-2", "galaxy/engine:1").await;
    world.settled().await;
    // A drain would end it: it is idle.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        assert_eq!(worker.try_wait().expect("a child"), None, "it has ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rustix::process::kill_process(pid, Signal::TERM).expect("it is there");
    assert_eq!(worker.wait().expect("a child").code(), Some(0));
}

#[tokio::test]
async fn a_start_that_outlasts_the_drain_deadline_is_finished_by_another_replica() {
    let mut world = World::with(&[("claim-idle", "20s"), ("drain-timeout", "1s")]).await;
    let a = world.replica(&[]);
    world.begun(a).await;
    let job = world.send("game", "sim/slow:6s").await;
    world.eventually("it runs", async |world: &World| world.sim_log().await.existing() == 1).await;
    let counted = Counted::of(&world);
    world.signal(a, Signal::TERM);
    let status = world.ended(a, PATIENCE).await;
    assert_eq!(status.code(), Some(1), "{}", world.logs());
    assert_eq!(world.log(a).count("start jobs consumer stopped with entries in hand"), 1);

    let b = world.replica(&[]);
    world.begun(b).await;
    let began = Instant::now();
    world.settled().await;
    world.at_rest().await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "it took {took:?}, and claim idle is 20 s");
    let outcome = world.outcome(job).await;
    assert_eq!((outcome.get("error_code"), outcome.get("attempt")), ("", "2"));
    no_crash(&counted, &world).await;
    world.sim_log().await.the_only_container("game");
}

#[tokio::test]
async fn an_idle_replica_ends_at_once_and_leaves_no_consumer() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut world = World::with(&[("block", "30s")]).await;
        let a = world.replica(&[]);
        world.begun(a).await;
        world.send("game", "galaxy/engine:1").await;
        world.settled().await;
        assert_eq!(consumers(&world).await.len(), 1);
        world.signal(a, signal);
        let status = world.ended(a, SOON).await;
        assert_eq!(status.code(), Some(0), "{}", world.logs());
        assert!(consumers(&world).await.is_empty());
        let presences = world.presences().await;
        assert!(presences.values().all(|presence| presence.contains(" left ")), "{presences:?}");
    }
}

#[tokio::test]
async fn a_replica_that_waits_for_redis_ends_when_it_is_told() {
    let mut world = World::new().await;
    world.redis.kill();
    let a = world.replica(&[]);
    world.logged(a, "that Redis is away", |log| log.conditions().contains_key("redis")).await;
    world.signal(a, Signal::TERM);
    assert_eq!(world.ended(a, SOON).await.code(), Some(0), "{}", world.logs());
}
