//! What the replicas of a host would change, and what differs between records and containers.

use rustix::process::Signal;
use serde_json::Value;

use super::{PROMPT, ends, json, run, said, text};
use crate::support::world::{PATIENCE, World};

/// Everything in Redis, as it is stored.
async fn everything(world: &World) -> Vec<(String, String)> {
    let mut keys: Vec<String> = world.redis(&["KEYS", "*"]).await.convert().expect("names");
    keys.sort();
    let mut all = Vec::new();
    for key in keys {
        // A checksum over the value.
        let dump = "return redis.sha1hex(redis.call('DUMP', KEYS[1]))";
        all.push((key.clone(), world.redis(&["EVAL", dump, "1", &key]).await.as_string().expect("a text")));
    }
    all
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_changed_and_changes_nothing() {
    let mut world = World::with(&[PROMPT]).await;
    let (code, _, errors) = said(&run(&world, &["runtime", "reconcile", "--dry-run"]));
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("no replica has worked with this engine"), "{errors}");
    assert_eq!(everything(&world).await, [], "not even a mark");
    let (code, _, errors) = said(&run(&world, &["runtime", "reconcile"]));
    assert_eq!(code, Some(2));
    assert!(errors.contains("give --dry-run"), "{errors}");

    let replica = world.replica(&[]);
    for game in ["ended", "runs"] {
        world.send(game, "galaxy/engine:1").await;
    }
    world.settled().await;
    world.at_rest().await;
    world.signal(replica, Signal::TERM);
    world.ended(replica, PATIENCE).await;
    let same = json(&world, &["runtime", "reconcile", "--dry-run"])["hosts"][0].clone();
    assert_eq!(
        (&same["host"], &same["containers"], &same["changes"]),
        (&"default".into(), &2.into(), &Value::Array(vec![]))
    );

    let container = ends(&world, "ended").await;
    let before = everything(&world).await;
    let found = json(&world, &["runtime", "reconcile", "--dry-run"])["hosts"][0].clone();
    let change = &found["changes"][0];
    assert_eq!(
        (&change["change"], &change["game_id"], &change["container_id"], change["exit_code"].is_i64()),
        (&"ended".into(), &"ended".into(), &container.into(), true),
        "{found}"
    );
    assert_eq!(found["changes"].as_array().map(Vec::len), Some(1));
    let shown = text(&world, &["runtime", "reconcile", "--dry-run"]);
    assert!(shown.contains("2 containers looked at, 1 would be changed\n\nCHANGE  GAME "), "{shown}");
    assert_eq!(everything(&world).await, before);

    let doctor: Value = serde_json::from_slice(&run(&world, &["doctor", "--json"]).stdout).expect("JSON");
    let records = doctor["findings"].as_array().expect("a list").iter().find(|finding| finding["about"] == "records");
    let records = records.expect("records are compared");
    assert_eq!(records["level"], "warn", "{records}");
    assert!(records["found"].as_str().expect("text").ends_with("and 1 differ from their records"), "{records}");
    assert_eq!(everything(&world).await, before, "doctor changes nothing either");

    world.redis(&["HSET", "rtm:sim:marks", "rtm-fleet-other", r#"{"rtm.fleet":"other"}"#]).await;
    let doctor: Value = serde_json::from_slice(&run(&world, &["doctor", "--json"]).stdout).expect("JSON");
    let fleets = doctor["findings"].as_array().expect("a list").iter().find(|finding| finding["about"] == "fleets");
    assert!(fleets.is_some_and(|fleets| fleets["level"] == "warn"), "{doctor}");
}
