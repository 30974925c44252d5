//! `docker volume prune` takes away the key of an engine: what docs/hosts.md says is lost by it.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::dockerd::Dockerd;
use crate::support::world::{Entry, PATIENCE, World};

const GAME: &str = "startjobs.test/game:1";

fn docker() -> Option<Dockerd> {
    let dockerd = Dockerd::start()?;
    dockerd.import_image(GAME, Path::new(super::STARTJOBS), &["engine"], &[]);
    Some(dockerd)
}

async fn world(dockerd: &Dockerd) -> World {
    let settings = [("engine", "docker"), ("claim-idle", "1500ms"), ("host-heartbeat", "2s")];
    World::with(&[&settings[..], &dockerd.settings()].concat()).await
}

/// As `docker volume prune --all`: no container uses the volumes of hosts and fleets.
fn prune(dockerd: &Dockerd) {
    let (_, body) = dockerd.request("GET", "/volumes", b"").expect("the engine answers");
    let listed: Value = serde_json::from_str(&body).expect("JSON");
    let names: Vec<&str> =
        listed["Volumes"].as_array().expect("a list").iter().filter_map(|volume| volume["Name"].as_str()).collect();
    assert!(names.contains(&"rtm-engine"), "{names:?}");
    for name in names {
        let (status, body) = dockerd.request("DELETE", &format!("/volumes/{name}"), b"").expect("the engine answers");
        assert_eq!(status, 204, "{name}: {body}");
    }
}

async fn answer(world: &mut World) -> Entry {
    let job = world.send("game", GAME).await;
    world.settled().await;
    world.outcome(job).await
}

async fn drain(world: &mut World, replica: usize) {
    world.signal(replica, Signal::TERM);
    assert_eq!(world.ended(replica, PATIENCE).await.code(), Some(0), "{}", world.logs());
}

fn containers(dockerd: &Dockerd) -> Vec<String> {
    let listed = dockerd.list();
    let running = listed.iter().filter(|one| one["State"] == "running");
    running.map(|one| one["Id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn a_host_with_a_name_of_its_own_keeps_it_and_its_games() {
    let Some(dockerd) = docker() else { return };
    let mut world = world(&dockerd).await;
    let before = world.replica(&[]);
    let started = answer(&mut world).await;
    prune(&dockerd);
    // Who runs does not notice.
    assert_eq!(answer(&mut world).await.get("error_code"), "replay_no_op");

    // The name that the host had. Until the replica that has the old key has ended, the new one waits.
    let named = world.replica(&[("engine-host-id", "default")]);
    world.logged(named, "who has the name", |log| log.text().contains("belongs to another engine")).await;
    assert_eq!(world.log(named).count("start jobs consumer started"), 0);
    drain(&mut world, before).await;
    world.begun(named).await;
    let again = answer(&mut world).await;
    assert_eq!(again.get("error_code"), "replay_no_op", "{again:?}");
    assert_eq!(containers(&dockerd), [started.get("container_id")]);
    let hosts: Vec<String> = world.redis(&["HKEYS", "rtm:hosts"]).await.convert().expect("names");
    assert_eq!(hosts, ["default"]);
}

#[tokio::test]
async fn a_host_without_one_is_a_new_host_to_which_its_games_come_with_their_next_jobs() {
    let Some(dockerd) = docker() else { return };
    let mut world = world(&dockerd).await;
    let before = world.replica(&[]);
    let started = answer(&mut world).await;
    prune(&dockerd);
    drain(&mut world, before).await;
    let renamed = world.replica(&[]);
    world.begun(renamed).await;
    let again = answer(&mut world).await;
    assert_eq!(again.get("error_code"), "replay_no_op", "{again:?}\n{}", world.logs());
    assert_eq!(containers(&dockerd), [started.get("container_id")]);
    let hosts: Vec<String> = world.redis(&["HKEYS", "rtm:hosts"]).await.convert().expect("names");
    let new = hosts.iter().find(|name| name.starts_with("h-")).unwrap_or_else(|| panic!("{hosts:?}"));
    let record = world.redis(&["GET", "rtm:{game}:rec"]).await.as_string().expect("a record");
    assert!(record.contains(&format!(r#""host":"{new}""#)), "{record}");
}
