//! A replica whose engine misbehaves: what Lobby reads.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::faulty_engine::{Answer, FaultyEngine};
use crate::support::world::World;

const GAME: &str = "startjobs.test/game:1";

/// An engine on which the first `taken` starts find their host port taken, as Podman says it. Its containers are `c1`,
/// `c2` and so on, each with the port of this test's own listener.
fn with_taken_ports(taken: usize, port: u16) -> FaultyEngine {
    let (created, running, removed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    FaultyEngine::start(move |request| {
        let (made, gone) = (created.load(Ordering::SeqCst), removed.load(Ordering::SeqCst));
        let (method, path) = request.split_once(' ').unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let of_start = |id: &str| id.strip_prefix("/containers/c")?.strip_suffix("/start")?.parse::<usize>().ok();
        match (method, path) {
            ("GET", "/_ping") => Answer::status("200 OK", "OK"),
            ("GET", "/containers/json") => Answer::status("200 OK", "[]"),
            ("GET", path) if path.starts_with("/images/") => Answer::status("200 OK", r#"{"Id": "sha256:00"}"#),
            ("POST", "/containers/create") => {
                created.store(made + 1, Ordering::SeqCst);
                Answer::status("201 Created", &format!(r#"{{"Id": "c{}", "Warnings": []}}"#, made + 1))
            }
            ("DELETE", path) => {
                let id = path.strip_prefix("/containers/c").and_then(|id| id.parse().ok()).expect("an id of ours");
                removed.fetch_max(id, Ordering::SeqCst);
                Answer::status("204 No Content", "")
            }
            ("POST", path) => match of_start(path) {
                Some(id) if id <= taken => Answer::status(
                    "500 Oops",
                    r#"{"message": "rootlessport listen tcp 0.0.0.0:7777: bind: address already in use"}"#,
                ),
                Some(id) => {
                    running.store(id, Ordering::SeqCst);
                    Answer::Says("HTTP/1.1 204 No Content\r\n\r\n".to_owned())
                }
                None => Answer::status("404 Not Found", r#"{"message": "page not found"}"#),
            },
            _ if made > gone => {
                let status = if running.load(Ordering::SeqCst) == made { "running" } else { "created" };
                Answer::status("200 OK", &description(made, status, port))
            }
            _ => Answer::status("404 Not Found", r#"{"message": "No such container: rtm-g"}"#),
        }
    })
}

fn description(id: usize, status: &str, port: u16) -> String {
    format!(
        r#"{{"Id": "c{id}", "Name": "/rtm-g", "State": {{"Status": "{status}", "ExitCode": 0, "Error": ""}},
            "Config": {{"Labels": {{"rtm.game_id": "g", "rtm.owner": "o", "rtm.host": "h", "rtm.image_ref": "{GAME}"}}}},
            "NetworkSettings": {{"Ports": {{"8080/tcp": [{{"HostIp": "127.0.0.1", "HostPort": "{port}"}}]}}}}}}"#
    )
}

/// How many of these requests were made.
fn count(engine: &FaultyEngine, begins: &str) -> usize {
    engine.requests().iter().filter(|head| head.starts_with(begins)).count()
}

/// What becomes of a job on such an engine.
async fn outcome(engine: &FaultyEngine) -> (String, String, String) {
    let host = engine.host();
    // It keeps no volumes, and so no name of its own.
    let settings = [
        ("engine", "docker"),
        ("docker-host", host.as_str()),
        ("engine-host-id", "h"),
        ("retry-attempts", "2"),
        ("retry-min", "50ms"),
    ];
    let mut world = World::with(&settings).await;
    world.replica(&[]);
    let job = world.send("g", GAME).await;
    world.settled().await;
    let outcome = world.outcome(job).await;
    ["outcome", "error_code", "error_message"].map(|field| outcome.get(field).to_owned()).into()
}

#[tokio::test]
async fn a_container_whose_port_is_taken_is_replaced_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let engine = with_taken_ports(1, port);
    assert_eq!(outcome(&engine).await, ("success".to_owned(), String::new(), String::new()));
    let made = ["POST /containers/create", "DELETE /containers/c1", "POST /containers/c2/start"];
    assert_eq!(made.map(|request| count(&engine, request)), [2, 1, 1], "{:?}", engine.requests());

    // Where it is no better with another container, the job is tried again, and answered when its budget is spent.
    let engine = with_taken_ports(usize::MAX, port);
    let (outcome, code, message) = outcome(&engine).await;
    assert_eq!((outcome.as_str(), code.as_str()), ("failure", "host_port_unavailable"), "{message}");
    assert!(message.contains("address already in use"), "{message}");
    // Each attempt replaces one container; the second attempt begins with the one that the first has left.
    assert_eq!(count(&engine, "POST /containers/create"), 3, "{:?}", engine.requests());
}

/// An engine that never gets done with removing a container: it says so, or it does not answer. The game `g` ends with code 7
/// at once, and the others cannot be started.
fn that_never_removes() -> FaultyEngine {
    let created = Mutex::new(BTreeSet::new());
    FaultyEngine::start(move |request| {
        let (method, path) = request.split_once(' ').unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut created = created.lock().expect("no panic while it is held");
        // Its containers are called by their games: `rtm-g` and `g`.
        let of = |end: &str| Some(path.strip_prefix("/containers/")?.strip_suffix(end)?.trim_start_matches("rtm-"));
        match (method, path) {
            ("GET", "/_ping") => Answer::status("200 OK", "OK"),
            ("GET", "/containers/json") => Answer::status("200 OK", "[]"),
            ("GET", path) if path.starts_with("/images/") => Answer::status("200 OK", r#"{"Id": "sha256:00"}"#),
            ("POST", "/containers/create") => {
                let game = query.strip_prefix("name=rtm-").and_then(|rest| rest.get(..1)).expect("a name of ours");
                created.insert(game.to_owned());
                Answer::status("201 Created", &format!(r#"{{"Id": "{game}", "Warnings": []}}"#))
            }
            ("POST", "/containers/g/start") => Answer::Says("HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
            ("POST", "/containers/h/start" | "/containers/s/start") => {
                Answer::status("400 Bad Request", r#"{"message": "exec: \"/x\": no such file or directory"}"#)
            }
            ("DELETE", "/containers/h") => Answer::SaysAndHangs(String::new()),
            ("DELETE", _) => {
                Answer::status("409 Conflict", r#"{"message": "removal of container g is already in progress"}"#)
            }
            _ => match of("/json").filter(|game| created.contains(*game)) {
                Some(game) => {
                    let seen = description(1, if game == "g" { "exited" } else { "created" }, 1);
                    let seen = seen.replace(r#""ExitCode": 0"#, r#""ExitCode": 7"#);
                    let seen = seen.replace(r#""Id": "c1""#, &format!(r#""Id": "{game}""#));
                    let seen = seen.replace("/rtm-g", &format!("/rtm-{game}"));
                    Answer::status("200 OK", &seen.replace(r#"game_id": "g""#, &format!(r#"game_id": "{game}""#)))
                }
                None => Answer::status("404 Not Found", r#"{"message": "No such container: x"}"#),
            },
        }
    })
}

#[tokio::test]
async fn a_decided_failure_is_published_although_its_container_cannot_be_removed() {
    let engine = that_never_removes();
    let host = engine.host();
    let settings =
        [("engine", "docker"), ("docker-host", host.as_str()), ("engine-host-id", "h"), ("reconcile-interval", "1s")];
    let mut world = World::with(&settings).await;
    let replica = world.replica(&[]);
    let rows = [
        ("g", "engine_exited", "code 7"),
        ("s", "container_start_failed", "no such file"),
        ("h", "container_start_failed", "no such file"),
    ];
    let mut jobs = Vec::new();
    for (game, ..) in rows {
        jobs.push(world.send(game, GAME).await);
    }
    // The engine is given its thirty seconds to remove them.
    let began = std::time::Instant::now();
    while !world.account().await.lost.is_empty() {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "no outcome\n{}", world.logs());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for ((game, code, words), job) in rows.into_iter().zip(jobs) {
        let outcome = world.outcome(job).await;
        assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("failure", code), "{outcome:?}");
        assert!(outcome.get("error_message").contains(words), "{outcome:?}");
        let record = world.redis(&["GET", &format!("rtm:{{{game}}}:rec")]).await.as_string().expect("a record");
        let condemned = format!(r#""condemned":"{game}""#);
        assert!(record.contains(r#""state":"failed""#) && record.contains(&condemned), "{record}");
    }
    assert!(world.log(replica).conditions().is_empty(), "the engine answers: {}", world.logs());
}

/// An engine that starts containers and does not describe them afterwards, in this way. It lists them, and removes them.
fn that_describes_nothing(answer: Answer) -> (FaultyEngine, Arc<Mutex<BTreeSet<String>>>) {
    let running = Arc::new(Mutex::new(BTreeSet::<String>::new()));
    let shared = Arc::clone(&running);
    let engine = FaultyEngine::start(move |request| {
        let (method, path) = request.split_once(' ').unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let mut running = shared.lock().expect("no panic while it is held");
        match (method, path) {
            ("GET", "/_ping") => Answer::status("200 OK", "OK"),
            ("GET", "/containers/json") => {
                let listed: Vec<String> = running.iter().map(|id| listed(id)).collect();
                Answer::status("200 OK", &format!("[{}]", listed.join(",")))
            }
            ("GET", path) if path.starts_with("/images/") => Answer::status("200 OK", r#"{"Id": "sha256:00"}"#),
            ("POST", "/containers/create") => Answer::status("201 Created", r#"{"Id": "c1", "Warnings": []}"#),
            ("POST", "/containers/c1/start") => {
                running.insert("c1".to_owned());
                Answer::Says("HTTP/1.1 204 No Content\r\n\r\n".to_owned())
            }
            ("DELETE", "/containers/c1") => {
                running.clear();
                Answer::Says("HTTP/1.1 204 No Content\r\n\r\n".to_owned())
            }
            ("GET", path) if path.starts_with("/containers/") && !running.is_empty() => answer.clone(),
            _ => Answer::status("404 Not Found", r#"{"message": "No such container: x"}"#),
        }
    });
    (engine, running)
}

fn listed(id: &str) -> String {
    format!(
        r#"{{"Id": "{id}", "Names": ["/rtm-g"], "Created": 1, "State": "running", "Ports": [], "Labels": {{
            "rtm.game_id": "g", "rtm.owner": "o", "rtm.host": "h", "rtm.image_ref": "{GAME}", "rtm.fence": "1"}}}}"#
    )
}

#[tokio::test]
async fn no_container_runs_on_behind_a_record_that_says_failed() {
    let ways = [
        (Answer::Says(String::new()), "engine_unavailable"),
        (Answer::Says("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_owned()), "engine_unavailable"),
        (Answer::status("200 OK", "{}"), "internal_error"),
    ];
    let each = ways.map(|(answer, code)| async move {
        let (engine, running) = that_describes_nothing(answer.clone());
        let host = engine.host();
        let settings = [
            ("engine", "docker"),
            ("docker-host", host.as_str()),
            ("engine-host-id", "h"),
            ("retry-attempts", "2"),
            ("retry-min", "50ms"),
            ("reconcile-interval", "300ms"),
            ("reconcile-grace", "1s"),
        ];
        let mut world = World::with(&settings).await;
        world.replica(&[]);
        let job = world.send("g", GAME).await;
        world.settled().await;
        let outcome = world.outcome(job).await;
        assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("failure", code), "{answer:?}: {outcome:?}");
        let record = world.redis(&["GET", "rtm:{g}:rec"]).await.as_string().expect("a record");
        assert!(record.contains(r#""state":"failed""#), "{record}");
        world
            .eventually("nothing runs any more", async |_: &World| {
                running.lock().expect("no panic while it is held").is_empty()
            })
            .await;
    });
    futures_util::future::join_all(each).await;
}
