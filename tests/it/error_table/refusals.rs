//! An engine that refuses, each game in its own way: what Lobby reads, and that nothing is left behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::support::faulty_engine::{Answer, FaultyEngine};
use crate::support::world::World;

/// One image for all, so that the failures may be the image's, and not the host's.
const GAME: &str = "startjobs.test/game:1";

/// The game, what refuses it, and what becomes of its job.
const ROWS: [(&str, &str, &str); 8] = [
    ("memory", "container_config_invalid", "Minimum memory limit allowed is 6MB"),
    ("network", "network_not_found", "network games not found"),
    ("program", "container_start_failed", "exec format error"),
    ("stuck", "container_name_stuck", "the name rtm-stuck is taken"),
    ("breaks", "engine_unavailable", "something new"),
    ("nameless", "internal_error", "missing field `Id`"),
    ("proxy", "internal_error", "page not found"),
    ("upgrade", "engine_unavailable", "101"),
];

/// The containers that there are, by their ids, which are `c-GAME`.
type Containers = Arc<Mutex<BTreeMap<String, usize>>>;

fn engine(containers: Containers) -> FaultyEngine {
    FaultyEngine::start(move |request| {
        let (method, path) = request.split_once(' ').unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut containers = containers.lock().expect("no panic while it is held");
        let container = |wanted: &str| Some(path.strip_prefix("/containers/")?.strip_suffix(wanted)?.to_owned());
        let message = |status: &str, text: &str| Answer::status(status, &format!(r#"{{"message": {text:?}}}"#));
        if let ("POST", "/containers/create") = (method, path) {
            let game = query.strip_prefix("name=rtm-").and_then(|rest| rest.split('&').next()).unwrap_or_default();
            return match game {
                "memory" => message("400 Bad Request", "Minimum memory limit allowed is 6MB"),
                "stuck" => message("409 Conflict", "Conflict. The container name is already in use"),
                "nameless" => Answer::status("200 OK", "{}"),
                "proxy" => Answer::status("404 Not Found", "page not found"),
                "upgrade" => {
                    Answer::Says("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".into())
                }
                game => {
                    *containers.entry(format!("c-{game}")).or_default() += 1;
                    Answer::status("201 Created", &format!(r#"{{"Id": "c-{game}", "Warnings": []}}"#))
                }
            };
        }
        match (method, container("/start"), container("/json")) {
            ("POST", Some(id), _) => match id.as_str() {
                "c-network" => message("404 Not Found", "network games not found"),
                "c-program" => {
                    message("500 Oops", "unable to start container process: exec: \"/x\": exec format error")
                }
                _ => message("500 Oops", "something new"),
            },
            ("GET", _, Some(id)) => {
                let id = id.replace("rtm-", "c-");
                if containers.contains_key(&id) {
                    return Answer::status("200 OK", &description(&id));
                }
                message("404 Not Found", "No such container: x")
            }
            ("DELETE", ..) => {
                containers.remove(path.trim_start_matches("/containers/"));
                Answer::status("204 No Content", "")
            }
            ("GET", ..) if path == "/_ping" => Answer::status("200 OK", "OK"),
            ("GET", ..) if path == "/containers/json" => Answer::status("200 OK", "[]"),
            ("GET", ..) if path.starts_with("/images/") => Answer::status("200 OK", r#"{"Id": "sha256:00"}"#),
            _ => message("404 Not Found", "page not found"),
        }
    })
}

fn description(id: &str) -> String {
    let game = id.trim_start_matches("c-");
    format!(
        r#"{{"Id": "{id}", "Name": "/rtm-{game}", "State": {{"Status": "created", "ExitCode": 0, "Error": ""}},
            "Config": {{"Labels": {{"rtm.game_id": "{game}", "rtm.owner": "o", "rtm.host": "h",
            "rtm.image_ref": "{GAME}"}}}}, "NetworkSettings": {{"Ports": {{}}}}}}"#
    )
}

#[tokio::test]
async fn what_an_engine_refuses_has_its_code_and_leaves_nothing_behind() {
    let containers = Containers::default();
    let engine = engine(Arc::clone(&containers));
    let host = engine.host();
    // It keeps no volumes, and so no name of its own.
    let settings = [
        ("engine", "docker"),
        ("docker-host", host.as_str()),
        ("engine-host-id", "h"),
        ("retry-attempts", "1"),
        ("slots", "16"),
    ];
    let mut world = World::with(&settings).await;
    let replica = world.replica(&[]);
    let mut jobs = Vec::new();
    for (game, ..) in ROWS {
        jobs.push(world.send(game, GAME).await);
    }
    world.settled().await;
    world.at_rest().await;
    for ((game, code, words), job) in ROWS.into_iter().zip(jobs) {
        let outcome = world.outcome(job).await;
        assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("failure", code), "{game}: {outcome:?}");
        assert!(outcome.get("error_message").contains(words), "{game}: {outcome:?}");
    }
    // What was made for a start that failed is gone.
    world
        .eventually("no container is left", async |_: &World| {
            containers.lock().expect("no panic while it is held").is_empty()
        })
        .await;
    assert!(world.log(replica).conditions().is_empty(), "the engine answers: {}", world.logs());
}
