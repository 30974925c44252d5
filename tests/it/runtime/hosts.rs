//! Several hosts, each with a simulated engine of its own: alive, dead, given up, come back.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{PROMPT, ids, json, record, run, said, says, text};
use crate::support::world::World;

const IMAGE: &str = "galaxy/engine:1";
/// As short as the setting may be.
const HEARTBEAT: (&str, &str) = ("host-heartbeat", "1s");

/// A world with two hosts, and games that were started on the second one.
async fn two_hosts(games: &[&str]) -> (World, usize) {
    let mut world = World::with(&[PROMPT, HEARTBEAT]).await;
    let there = world.replica(&[("engine-host-id", "there")]);
    world.begun(there).await;
    for game in games {
        world.send(game, IMAGE).await;
    }
    world.settled().await;
    let here = world.replica(&[("engine-host-id", "here")]);
    world.begun(here).await;
    world
        .eventually("both hosts are alive", async |world: &World| {
            standings(world) == [("here".to_owned(), "alive".to_owned()), ("there".to_owned(), "alive".to_owned())]
        })
        .await;
    (world, there)
}

fn standings(world: &World) -> Vec<(String, String)> {
    let hosts = json(world, &["runtime", "hosts"]);
    let text = |host: &Value, name: &str| host[name].as_str().expect("text").to_owned();
    hosts["hosts"].as_array().expect("a list").iter().map(|host| (text(host, "host"), text(host, "standing"))).collect()
}

/// Kills the replica of the host, and waits until the host counts as dead.
async fn dies(world: &mut World, replica: usize) {
    world.signal(replica, Signal::KILL);
    world.killed(replica).await;
    world
        .eventually("the host is dead", async |world: &World| {
            standings(world).contains(&("there".to_owned(), "dead".to_owned()))
        })
        .await;
}

/// The log of the simulated engine of a host, as pairs of what happened and to which game.
async fn events(world: &World, host: &str) -> Vec<(String, String)> {
    let entries = world.entries(&format!("rtm:sim@{host}:log")).await;
    let pair = |(event, container): (String, String)| {
        (event, container.split_once(' ').expect("an id and a game").1.to_owned())
    };
    entries.into_iter().flat_map(|entry| entry.pairs).map(pair).collect()
}

#[tokio::test]
async fn a_dead_host_is_shown_everywhere_and_can_be_given_up() {
    let (mut world, there) = two_hosts(&["a", "b"]).await;
    let (code, _, errors) = said(&run(&world, &["runtime", "evict", "there", "--yes"]));
    assert_eq!(code, Some(1), "{errors}");
    assert!(
        errors.contains("host there is alive, last heard of ") && errors.contains("nothing was changed"),
        "{errors}"
    );
    assert_eq!(said(&run(&world, &["runtime", "evict", "never", "--yes"])).0, Some(1));
    assert_eq!(ids(&json(&world, &["runtime", "list", "--host", "there"])), ["a", "b"]);

    dies(&mut world, there).await;
    let hosts = json(&world, &["runtime", "hosts"]);
    assert_eq!((&hosts["hosts"][0]["host"], &hosts["hosts"][0]["games"]), (&"there".into(), &2.into()), "{hosts}");
    let [dead, alive] = [&hosts["hosts"][0], &hosts["hosts"][1]];
    assert_eq!((&dead["replicas"], &alive["replicas"], &alive["slots"]), (&0.into(), &1.into(), &64.into()), "{hosts}");
    let status = text(&world, &["status"]);
    assert!(status.starts_with("Degraded: ") && status.contains("1 host is dead: there (last heard "), "{status}");
    assert!(status.contains("\nthere  dead      "), "{status}");
    let status = json(&world, &["status"]);
    assert_eq!((&status["hosts"]["alive"], &status["hosts"]["dead"]), (&1.into(), &1.into()), "{status}");
    assert!(text(&world, &["replicas"]).lines().next().expect("headings").contains("ENGINE HOST"));
    let alerts: Value =
        serde_json::from_slice(&run(&world, &["alerts", "--json"]).stdout).expect("JSON, whatever the exit code");
    let alert = alerts["alerts"].as_array().expect("a list").iter().find(|alert| alert["name"] == "HostDead");
    assert_eq!(alert.expect("the alert")["state"], "pending", "{alerts}");
    let doctor: Value = serde_json::from_slice(&run(&world, &["doctor", "--json"]).stdout).expect("JSON");
    let findings = doctor["findings"].as_array().expect("a list");
    assert!(findings.iter().any(|finding| finding["about"] == "hosts" && finding["level"] == "warn"), "{doctor}");
    assert!(text(&world, &["runtime", "show", "a"]).contains("host there: dead, heard of "));

    let evicted = text(&world, &["runtime", "evict", "there", "--yes", "--by", "ann"]);
    assert_eq!(evicted, "stopped 2 games of host there; host there is forgotten\n");
    assert_eq!(standings(&world), [("here".to_owned(), "alive".to_owned())]);
    for game in ["a", "b"] {
        let record = record(&world, game).await;
        assert_eq!((&record["state"], &record["stopped_by"]), (&"stopped".into(), &"ann".into()), "{record}");
        assert_eq!(record.get("condemned"), None, "nothing binds it to that host: {record}");
    }
    assert_eq!(ids(&json(&world, &["runtime", "list", "--host", "there"])), [""; 0]);
    assert_eq!(said(&run(&world, &["runtime", "evict", "there", "--yes"])).0, Some(1), "nothing is left to do");

    // A new job starts the game on the other host.
    let job = world.send("a", IMAGE).await;
    world.settled().await;
    assert_eq!(world.outcome(job).await.get("outcome"), "success");
    assert_eq!(record(&world, "a").await["host"], "here");

    // The host comes back, and removes what was stopped meanwhile.
    world.replica(&[("engine-host-id", "there")]);
    world
        .eventually("the containers of that time are removed", async |world: &World| {
            let events = events(world, "there").await;
            ["a", "b"].iter().all(|game| events.iter().any(|(event, of)| event == "remove" && of == game))
        })
        .await;
    assert_eq!(record(&world, "a").await["state"], "running", "the other host's game is left alone");
    let removed = events(&world, "here").await.iter().filter(|(event, _)| event == "remove").count();
    assert_eq!(removed, 0);
}

#[tokio::test]
async fn a_living_host_is_emptied_by_force_and_lobby_is_told() {
    let events_of = ("game-events", "runtime:game_events");
    let mut world = World::with(&[PROMPT, HEARTBEAT, events_of]).await;
    world.replica(&[("engine-host-id", "there")]);
    for number in 0..30 {
        world.send(&format!("g{number}"), IMAGE).await;
    }
    world.settled().await;
    let evicted = text(&world, &["runtime", "evict", "there", "--yes", "--force"]);
    assert_eq!(evicted, "stopped 30 games of host there, which is alive and removes the containers\n");
    world
        .eventually("every container is removed", async |world: &World| {
            let events = events(world, "there").await;
            events.iter().filter(|(event, _)| event == "remove").count() == 30
        })
        .await;
    world
        .eventually("Lobby is told of every end", async |world: &World| {
            let told = world.entries("runtime:game_events").await;
            let games: std::collections::BTreeSet<&str> = told.iter().map(|entry| entry.get("game_id")).collect();
            games.len() == 30 && told.iter().all(|entry| entry.get("stopped_by").starts_with("op@"))
        })
        .await;
    assert_eq!(standings(&world), [("there".to_owned(), "alive".to_owned())], "it is not forgotten");
    for number in 0..30 {
        assert_eq!(record(&world, &format!("g{number}")).await.get("condemned"), None);
    }
}

#[tokio::test]
async fn lobby_is_told_of_the_games_of_a_host_that_is_given_up() {
    let (mut world, there) = two_hosts(&["a"]).await;
    dies(&mut world, there).await;
    let (code, told, errors) = said(&super::run_with(
        &world,
        &[("game-events", "runtime:game_events")],
        &["runtime", "evict", "there", "--yes", "--by", "ann"],
    ));
    assert_eq!(code, Some(0), "{told}{errors}");
    let told = world.entries("runtime:game_events").await;
    assert!(!told.is_empty(), "it is said at least once");
    for entry in told {
        assert_eq!((entry.get("event"), entry.get("game_id"), entry.get("stopped_by")), ("ended", "a", "ann"));
    }
}

#[tokio::test]
async fn a_game_of_a_dead_host_is_stopped_and_its_container_goes_when_the_host_comes_back() {
    let (mut world, there) = two_hosts(&["a"]).await;
    dies(&mut world, there).await;
    let began = std::time::Instant::now();
    let (code, told, errors) = said(&run(&world, &["runtime", "stop", "a", "--yes"]));
    assert_eq!(code, Some(75), "{told}{errors}");
    assert_eq!(told, "a is stopped; host there is not alive, and removes its container when it comes back\n");
    assert!(began.elapsed() < Duration::from_secs(10), "nothing is waited for");
    world.replica(&[("engine-host-id", "there")]);
    world
        .eventually("the container is removed", async |world: &World| {
            events(world, "there").await.iter().any(|(event, _)| event == "remove")
        })
        .await;
    says(&mut world, "a", "stopped").await;
}
