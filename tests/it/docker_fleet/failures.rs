//! What cannot be started: each failure has its own code, comes within its limit, and leaves no container behind.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{EXITS, Entry, GAME, World, answered, binary, docker, ends_well, inspect, world};
use crate::support::registry::FakeRegistry;

const READY_TIMEOUT: Duration = Duration::from_secs(4);
/// What the engine itself may take, with everything that a failed start entails.
const LIMIT: Duration = Duration::from_secs(15);
const BROKEN: &str = "startjobs.test/broken:1";
const SILENT: &str = "startjobs.test/silent:1";

/// Sends a job that fails with this code; its outcome and how long it took.
async fn fails(world: &mut World, game: &str, image: &str, code: &str) -> (Entry, Duration) {
    let began = Instant::now();
    let job = world.send(game, image).await;
    let outcome = answered(world, job).await;
    let took = began.elapsed();
    let words = (outcome.get("outcome"), outcome.get("error_code"));
    assert_eq!(words, ("failure", code), "{outcome:?}\n{}", world.logs());
    let empty = (outcome.get("container_id"), outcome.get("engine_endpoint"));
    assert_eq!(empty, ("", ""), "{outcome:?}");
    assert_eq!(outcome.get("attempt"), "1", "{outcome:?}");
    println!("{code}: {took:?}");
    (outcome, took)
}

fn says(outcome: &Entry, words: &str) {
    let message = outcome.get("error_message");
    assert!(message.contains(words), "{words:?} is not in {message:?}");
}

#[tokio::test]
async fn every_failure_has_its_own_code_and_leaves_no_container() {
    let Some(dockerd) = docker() else { return };
    let registry = FakeRegistry::start().await;
    dockerd.import_image(EXITS, binary(), &["engine"], &["ENV ENGINE_EXIT_CODE=7"]);
    let sleep = ["/usr/bin/sleep", "/bin/sleep"].map(Path::new).into_iter().find(|path| path.exists());
    let sleep = sleep.expect("every Linux has a sleep");
    dockerd.import_image(SILENT, sleep, &["600"], &[]);
    // The last entry point of an image counts.
    dockerd.import_image(BROKEN, sleep, &[], &[r#"ENTRYPOINT ["/nowhere"]"#]);
    let create = format!(r#"{{"Image": "{SILENT}"}}"#);
    let answer = dockerd.request("POST", "/containers/create?name=rtm-foreign", create.as_bytes());
    assert_eq!(answer.expect("the engine answers").0, 201);
    let answer = dockerd.request("POST", "/containers/rtm-foreign/start", b"");
    assert_eq!(answer.expect("the engine answers").0, 204);
    let foreign = inspect(&dockerd, "rtm-foreign");

    let ready_timeout = humantime::format_duration(READY_TIMEOUT).to_string();
    let mut world = world(&dockerd, &[("ready-timeout", &ready_timeout)]).await;
    let a = world.replica(&[]);
    world.begun(a).await;

    for (name, code) in
        [("s404/x", "image_not_found"), ("s401/x", "image_access_denied"), ("s403/x", "image_access_denied")]
    {
        let (outcome, took) = fails(&mut world, "pulled", &registry.image(name), code).await;
        assert!(took < LIMIT, "{outcome:?} took {took:?}");
    }

    let (outcome, took) = fails(&mut world, "broken", BROKEN, "container_start_failed").await;
    says(&outcome, "/nowhere");
    assert!(took < LIMIT, "{outcome:?} took {took:?}");

    let (outcome, took) = fails(&mut world, "exits", EXITS, "engine_exited").await;
    says(&outcome, "exited with code 7");
    // Its last words.
    says(&outcome, "exiting with code 7, as ENGINE_EXIT_CODE says");
    assert!(took < LIMIT, "{outcome:?} took {took:?}");

    let (outcome, took) = fails(&mut world, "silent", SILENT, "engine_not_ready").await;
    says(&outcome, &format!("within {READY_TIMEOUT:?}"));
    assert!(took >= READY_TIMEOUT && took < READY_TIMEOUT + LIMIT, "{outcome:?} took {took:?}");

    let (outcome, took) = fails(&mut world, "foreign", GAME, "container_name_conflict").await;
    says(&outcome, foreign["Id"].as_str().expect("an id"));
    assert!(took < LIMIT, "{outcome:?} took {took:?}");
    assert_eq!(inspect(&dockerd, "rtm-foreign"), foreign, "it was touched");

    ends_well(&mut world).await;
    let left = dockerd.list();
    let names: Vec<_> = left.iter().map(|container| &container["Names"][0]).collect();
    assert_eq!(names, ["/rtm-foreign"]);
    let dead = world.lobby.all_dead().await.expect("dead letters");
    assert!(dead.is_empty(), "answered failures are no dead letters: {dead:?}");

    // A game that failed is free for what works.
    let job = world.send("exits", GAME).await;
    assert_eq!(answered(&mut world, job).await.get("outcome"), "success");
    ends_well(&mut world).await;
}
