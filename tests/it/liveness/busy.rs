//! Replicas that leave, that an operator has paused, or whose slots are full, while others die.

use std::time::Duration;

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;

use super::{AT_ONCE, Crew, Crewman, Load, NEVER_READY};
use crate::support::world::PATIENCE;

const SLOTS: usize = 8;

/// A replica that never finishes what it holds, with all its slots busy; answers what it holds.
async fn scene(settings: &[(&str, &str)]) -> (Crew, Crewman, Vec<String>) {
    let mut crew = Crew::on(RedisServer::start().expect("redis-server starts"), settings).await;
    let victim = crew.launch(&[NEVER_READY]);
    crew.world.send_games("held", SLOTS).await;
    crew.world.held(SLOTS).await;
    let held = crew.world.sent.keys().cloned().collect();
    (crew, victim, held)
}

async fn is_dead(crew: &mut Crew, name: &str) {
    crew.until("it is declared dead", async |crew: &Crew| {
        crew.shown().await.iter().any(|one| one.name == name && one.state == "dead")
    })
    .await;
}

#[tokio::test]
async fn one_replica_drains_while_another_dies() {
    let (mut crew, victim, held) = scene(&[("drain-timeout", "25s")]).await;
    let leaving = crew.launch(&[]);
    crew.all_heard().await;
    let mut slow = Vec::new();
    for number in 0..SLOTS {
        slow.push(crew.world.send(&format!("slow-{number}"), "sim/slow:5s").await);
    }
    crew.world.held(2 * SLOTS).await;
    crew.launch(&[]);
    crew.all_heard().await;
    crew.world.signal(leaving.number, Signal::TERM);
    crew.kill(&[victim]).await;
    let took = crew.taken_over(&held).await;
    assert!(took < AT_ONCE, "{took:?}\n{}", crew.world.logs());
    let end = crew.world.ended(leaving.number, PATIENCE).await;
    assert_eq!(end.code(), Some(0), "{}", crew.world.logs());
    crew.living.retain(|one| one.number != leaving.number);
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
    for job in slow {
        assert_eq!(crew.world.outcome(job).await.get("attempt"), "1", "what drains is nobody else's");
    }
    let (_, others) = crew.crashes(&held).await;
    assert!(others.is_empty(), "{others:?}");
}

/// A draining replica dies: what it had not finished is taken over as from any other.
#[tokio::test]
async fn a_replica_that_drains_dies() {
    let (mut crew, victim, held) = scene(&[("drain-timeout", "60s")]).await;
    crew.launch(&[]);
    crew.all_heard().await;
    crew.world.signal(victim.number, Signal::TERM);
    crew.until("it drains", async |crew: &Crew| crew.shown().await.iter().any(|one| one.state == "draining")).await;
    crew.kill(&[victim]).await;
    let took = crew.taken_over(&held).await;
    assert!(took < AT_ONCE, "{took:?}\n{}", crew.world.logs());
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
}

/// A fleet that is paused claims nothing. After the pause the death is noticed, by its connection or, where that comes later
/// than claim idle, by its silence.
#[tokio::test]
async fn a_replica_dies_while_the_fleet_is_paused() {
    // A replica learns of the pause with a renewal.
    let (mut crew, victim, held) = scene(&[("claim-idle", "9s")]).await;
    crew.launch(&[]);
    crew.launch(&[]);
    crew.all_heard().await;
    let key = format!("{}:paused", crew.world.settings.stream.jobs);
    crew.world.redis(&["SET", &key, "a repair"]).await;
    let serves = serde_json::Value::Bool(false);
    crew.until("all are paused", async |crew: &Crew| {
        crew.shown().await.iter().all(|one| one.about["serves"] == serves)
    })
    .await;
    crew.kill(&[victim]).await;
    assert_eq!(crew.held_by(&crew.killed).await.len(), SLOTS, "what had begun is not given back");
    crew.world.redis(&["DEL", &key]).await;
    let took = crew.taken_over(&held).await;
    println!("taken over {took:?} after the pause");
    crew.world.settled().await;
    crew.world.at_rest().await;
    crew.only_the_killed_may_be_declared_dead().await;
    crew.one_container_a_game().await;
    crew.nothing_is_left_against_the_living().await;
    crew.none_learned_that_it_was_dead();
}

/// No replica has room: one that is full declares the dead, and takes the entries as soon as it has room.
#[tokio::test]
async fn a_replica_dies_while_all_others_are_full() {
    let (mut crew, victim, held) = scene(&[]).await;
    crew.launch(&[]);
    crew.launch(&[]);
    crew.all_heard().await;
    for number in 0..2 * SLOTS {
        crew.world.send(&format!("slow-{number}"), "sim/slow:10s").await;
    }
    crew.world.held(3 * SLOTS).await;
    let name = crew.name(victim).await;
    crew.kill(&[victim]).await;
    is_dead(&mut crew, &name).await;
    assert_eq!(crew.world.account().await.outcomes.len(), 0, "they still were full");
    assert_eq!(crew.held_by(&crew.killed).await.len(), SLOTS, "there was no room for them");
    let took = crew.taken_over(&held).await;
    println!("taken over {took:?} after it was declared dead, of starts that take 10 s");
    assert!(took < AT_ONCE, "{took:?}\n{}", crew.world.logs());
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
}

/// The same under load: what waits in the stream does not keep the entries of the dead from being taken.
#[tokio::test]
async fn a_replica_dies_while_more_waits_than_the_others_can_take() {
    let (mut crew, victim, held) = scene(&[("simulated-latency", "300ms")]).await;
    crew.launch(&[]);
    crew.all_heard().await;
    crew.world.send_games("waiting", 150).await;
    let load = Load::begin(&crew.world, "load", Duration::from_millis(30)).await;
    crew.kill(&[victim]).await;
    let took = crew.taken_over(&held).await;
    let waiting = crew.world.account().await.lost.len();
    println!("taken over {took:?} after the death, {waiting} were still waiting");
    assert!(took < AT_ONCE, "{took:?}\n{}", crew.world.logs());
    load.end(&mut crew.world).await;
    crew.ends_well().await;
    crew.none_learned_that_it_was_dead();
}
