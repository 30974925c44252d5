//! What the fleet has done by minute and by hour, against what its replicas have done.

use rustix::process::Signal;
use serde_json::Value;

use super::{json, line, run, stderr, text};
use crate::support::servers;
use crate::support::world::{PATIENCE, World};

const MINUTES: &str = "runtime:start_jobs:history:m";
const HOURS: &str = "runtime:start_jobs:history:h";

/// Waits until a replica has looked at the stream: what is sent from then on counts.
async fn looked(world: &mut World) {
    world
        .eventually("the stream was looked at", async |world: &World| {
            world.redis(&["HEXISTS", MINUTES, "look"]).await.convert::<u64>().expect("a number") == 1
        })
        .await;
}

/// The next report looks again, as if the last look were long ago.
async fn looks_again(world: &World) {
    let script = "redis.call('HSET', KEYS[1], 'look', (string.gsub(redis.call('HGET', KEYS[1], 'look'), '^%d+', '0')))";
    world.redis(&["EVAL", script, "1", MINUTES]).await;
}

/// Every replica drains.
async fn drained(world: &mut World, replicas: usize) {
    for number in 0..replicas {
        world.signal(number, Signal::TERM);
        assert!(world.ended(number, PATIENCE).await.success());
    }
}

fn numbers(total: &Value, names: &[&str]) -> Vec<Option<u64>> {
    names.iter().map(|name| total.pointer(name).and_then(Value::as_u64)).collect()
}

#[tokio::test]
async fn everything_that_two_replicas_have_done_is_counted_once_on_every_version() {
    for redis in servers::all() {
        let mut world = World::on(redis, &[]).await;
        for number in 0..2 {
            world.replica(&[]);
            world.begun(number).await;
        }
        looked(&mut world).await;
        world.send_games("a", 40).await;
        world.settled().await;
        world.send("a1", "galaxy/engine:1").await;
        world.send("a2", "galaxy/engine:2").await;
        world.send_malformed().await;
        world.settled().await;
        looks_again(&world).await;
        drained(&mut world, 2).await;
        let has_counter =
            world.redis(&["XINFO", "STREAM", "runtime:start_jobs"]).await.convert::<Vec<startjobs::redis::Value>>();
        let has_counter =
            has_counter.expect("fields").iter().any(|field| field.as_string().as_deref() == Some("entries-added"));
        for range in ["1h", "24h", "30d"] {
            let timeline = json(&world, &["history", "--range", range]);
            let names = [
                "/sent",
                "/started",
                "/replayed",
                "/failed/image_conflict",
                "/dead/malformed",
                "/claimed",
                "/max_in_flight",
            ];
            let counted = numbers(&timeline["total"], &names);
            assert_eq!(counted[0], has_counter.then_some(43), "{timeline}");
            assert_eq!(counted[1..6], [40, 1, 1, 1, 0].map(Some), "{timeline}");
            assert!(counted[6].is_some(), "{timeline}");
            let (p50, p99) = (timeline["total"]["p50_ms"].as_u64(), timeline["total"]["p99_ms"].as_u64());
            assert!(p50 > Some(1) && p50 <= p99 && p99 < Some(30_000), "{timeline}");
        }
        let shown = text(&world, &["history"]);
        assert!(shown.lines().all(|line| line.chars().count() <= 60), "{shown}");
        assert!(shown.contains("nothing recorded") && line(&shown, "started  ") == "40", "{shown}");
    }
}

#[tokio::test]
async fn a_slot_of_another_day_of_a_later_version_or_with_junk_is_hidden_and_then_used_again() {
    let mut world = World::new().await;
    world.create_group().await;
    let minute = world.now_ms().await / 60_000;
    let (day, month) = (24 * 60, 30 * 24);
    // The minute may end meanwhile: the next one has the same.
    for at in [minute, minute + 1] {
        let old = format!("1 {} started=99 sent=99", at - 2 * day);
        world.redis(&["HSET", MINUTES, &(at % day).to_string(), &old]).await;
    }
    let hour = minute / 60;
    for (at, value) in [(hour, "2 later"), (hour + 1, "\u{1b}[31m \u{fffd}"), (hour - 1, "1 x"), (hour - 2, "[]")] {
        let value = if value == "2 later" { format!("2 {at} started=99") } else { value.to_owned() };
        world.redis(&["HSET", HOURS, &(at % month).to_string(), &value]).await;
    }
    let good = format!("1 {} started=5 something_else=7", hour - 3);
    world.redis(&["HSET", HOURS, &((hour - 3) % month).to_string(), &good]).await;
    assert_eq!(numbers(&json(&world, &["history", "--range", "30d"])["total"], &["/started"]), [Some(5)]);
    assert!(json(&world, &["history", "--range", "24h"])["total"].is_null());

    world.replica(&[]);
    world.begun(0).await;
    world.send_games("b", 3).await;
    world.settled().await;
    drained(&mut world, 1).await;
    for (range, started) in [("1h", 3), ("24h", 3), ("30d", 8)] {
        assert_eq!(numbers(&json(&world, &["history", "--range", range])["total"], &["/started"]), [Some(started)]);
    }
    let slots: u64 = world.redis(&["HLEN", MINUTES]).await.convert().expect("a number");
    assert!(slots <= 4, "{slots} fields: two slots, the look, and perhaps a third minute");
}

#[tokio::test]
async fn a_key_that_holds_something_else_stops_the_history_and_no_job() {
    let mut world = World::new().await;
    world.redis(&["SET", HOURS, "x"]).await;
    world.replica(&[]);
    world.send_games("c", 3).await;
    world.settled().await;
    drained(&mut world, 1).await;
    let refused = run(&world, &["history", "--range", "30d"]);
    assert_eq!(refused.status.code(), Some(69));
    assert!(stderr(&refused).contains("runtime:start_jobs:history:h holds a string"), "{}", stderr(&refused));
    let nothing = run(&world, &["history"]);
    assert_eq!(nothing.status.code(), Some(0));
    assert!(stderr(&nothing).contains("nothing is recorded since "), "{}", stderr(&nothing));
}
