//! The fleet's streams as gauges: what they say, and that old numbers are not served as new ones.

use super::{SERVED, address_of, get, sample, sampled};
use crate::support::world::World;

#[tokio::test]
async fn the_gauges_follow_the_streams_and_go_when_they_cannot_be_seen() {
    let mut world = World::with(&[("simulated-latency", "120s"), ("slots", "2")]).await;
    // Pending entries of a consumer that is no replica hold the mirror too; none of that here.
    world.replica(&[SERVED]);
    world.begun(0).await;
    let address = address_of(&mut world, 0).await;
    for number in 0..7 {
        world.send(&format!("game-{number}"), "galaxy/engine:1").await;
    }
    let exposition = sampled(&address, "startjobs_backlog", |value| value.to_bits() == 5_f64.to_bits()).await;
    let value = |name: &str| sample(&exposition, name).unwrap_or_else(|| panic!("{name} in\n{exposition}"));
    for (name, expected) in [
        ("startjobs_backlog_exact", 1.0),
        ("startjobs_pending", 2.0),
        ("startjobs_dead_letter_entries", 0.0),
        ("startjobs_replicas", 1.0),
        ("startjobs_stream_lag_known", 1.0),
        ("startjobs_stream_lag", 5.0),
        ("startjobs_in_flight", 2.0),
        ("startjobs_slots", 2.0),
    ] {
        assert!((value(name) - expected).abs() < f64::EPSILON, "{name} is {}", value(name));
    }
    for name in ["startjobs_oldest_waiting_seconds", "startjobs_oldest_pending_seconds"] {
        assert!((0.0..60.0).contains(&value(name)), "{name} is {}", value(name));
    }
    let age = |at: f64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        now.as_secs_f64() - at
    };
    assert!(age(value("startjobs_group_sample_timestamp_seconds")) < 15.0);
    // The mirror is held by what is pending; the gauge grows while it is.
    sampled(&address, "startjobs_mirror_held_seconds", |held| held > 0.5).await;

    world.redis.pause();
    let failed = "startjobs_group_samples_total{result=\"failed\"}";
    let exposition = sampled(&address, failed, |failed| failed >= 1.0).await;
    let seen = sample(&exposition, "startjobs_group_sample_timestamp_seconds").expect("a time");
    // Numbers that nobody has seen for long are gone, and the time says since when.
    let began = std::time::Instant::now();
    loop {
        let exposition = get(&address, "/metrics").await.body;
        let at = sample(&exposition, "startjobs_group_sample_timestamp_seconds").expect("a time");
        assert!((at - seen).abs() < f64::EPSILON, "no look can have succeeded");
        if sample(&exposition, "startjobs_backlog").is_none() {
            assert!(age(at) > 15.0, "gone after {} s", age(at));
            assert!(!exposition.contains("startjobs_replicas"), "{exposition}");
            break;
        }
        assert!(began.elapsed() < crate::support::world::PATIENCE, "old numbers are still served");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    world.redis.resume();
    sampled(&address, "startjobs_backlog", |backlog| backlog >= 5.0).await;
}

#[tokio::test]
async fn without_an_address_nothing_is_looked_at() {
    let mut world = World::new().await;
    world.replica(&[]);
    world.begun(0).await;
    world.send("game-1", "galaxy/engine:1").await;
    world.settled().await;
    let clients = world.redis(&["CLIENT", "LIST"]).await.as_string().unwrap_or_default();
    assert!(clients.contains("name=startjobs:") && !clients.contains("startjobs:observe"), "{clients}");
}
