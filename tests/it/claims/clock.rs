//! The server's clock is set while replicas hold entries: none of them loses one that lives, and what a dead one held is
//! taken over.

use crate::support::clock::Clock;
use crate::support::world::World;

const SETTINGS: [(&str, &str); 3] = [("claim-idle", "2s"), ("slots", "8"), ("simulated-latency", "8s")];

/// Two replicas with eight entries each, which they have shown, and the clock of their server.
async fn both_are_full() -> (World, Clock) {
    let clock = Clock::new();
    let mut world = World::on(clock.redis("redis-server".as_ref()), &SETTINGS).await;
    for number in 0..2 {
        world.replica(&[]);
        world.begun(number).await;
    }
    world.send_games("g", 16).await;
    world
        .eventually("both have shown what they hold", async |world: &World| {
            world.presences().await.values().filter(|presence| presence.contains("\"held\":8}")).count() == 2
        })
        .await;
    (world, clock)
}

async fn attempts(world: &World) -> Vec<String> {
    let outcomes = world.entries(&world.settings.stream.results).await;
    outcomes.iter().map(|outcome| outcome.get("attempt").to_owned()).collect()
}

async fn a_step_takes_nothing_from_the_living(seconds: i64) {
    let (mut world, clock) = both_are_full().await;
    // It would sweep at once.
    let third = world.replica(&[]);
    world.begun(third).await;
    clock.step(seconds);
    let account = world.settled().await;
    assert_eq!(account.outcomes["started"], 16, "{account:?}");
    assert_eq!(attempts(&world).await, ["1"; 16]);
    for number in 0..=third {
        assert_eq!(world.log(number).count("claimed pending entries"), 0, "{}", world.logs());
    }
}

#[tokio::test]
async fn six_minutes_forward_take_nothing_from_the_living() {
    a_step_takes_nothing_from_the_living(360).await;
}

#[tokio::test]
async fn two_hours_forward_take_nothing_from_the_living() {
    a_step_takes_nothing_from_the_living(7_200).await;
}

#[tokio::test]
async fn ten_minutes_back_take_nothing_from_the_living() {
    a_step_takes_nothing_from_the_living(-600).await;
}

#[tokio::test]
async fn what_a_dead_replica_held_is_taken_over_although_the_clock_went_back() {
    let (mut world, clock) = both_are_full().await;
    world.fleet.replica(0).process().kill();
    clock.step(-600);
    // The other is full for as long as its own take.
    let third = world.replica(&[("simulated-latency", "20ms")]);
    world.settled().await;
    assert_eq!(attempts(&world).await.iter().filter(|attempt| *attempt == "2").count(), 8);
    assert!(world.log(third).count("claimed pending entries") >= 1, "{}", world.logs());
    let pending = world.lobby.pending().await.expect("a group");
    assert!(pending.is_empty(), "{pending:?}");
}
