//! A fleet that starts real containers: a real redis-server, a `dockerd` of the test's own, replicas in processes of
//! their own.

// jobs by `startjobs send`, and what a game's container looks like
mod jobs;
// every failure has its own code and leaves nothing behind
mod failures;
// game engines that are never ready, or no longer
mod readiness;
// replicas that die, and replicas that stand still, at every point that touches the engine
mod deaths;
// the engine goes away and comes back
mod outages;
// pulls that hang, beside jobs whose images are there
mod hanging;
// many jobs at once
mod load;
// records say what containers do, and other fleets are left alone
mod truth;
// one process that drives several engines
mod several;
// the trace goes on in the container
mod traced;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use startjobs::stream::entry_id::EntryId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::dockerd::Dockerd;
use crate::support::world::{Entry, World};

/// Our own binary as a game engine.
const GAME: &str = "startjobs.test/game:1";
/// The same under another name, so another image to everybody who compares names.
const OTHER_GAME: &str = "startjobs.test/game:2";
/// The same, told to exit.
const EXITS: &str = "startjobs.test/exits:1";

/// How long a whole load may take on a busy machine: a start there takes a second or two.
const PATIENCE: Duration = Duration::from_secs(100);

/// An engine that has the images [`GAME`] and [`OTHER_GAME`]; none where there is no Docker.
fn docker() -> Option<Dockerd> {
    let dockerd = Dockerd::start()?;
    dockerd.import_image(GAME, binary(), &["engine"], &[]);
    let answer = dockerd.request("POST", &format!("/images/{GAME}/tag?repo=startjobs.test%2Fgame&tag=2"), b"");
    assert_eq!(answer.expect("the engine answers").0, 201);
    Some(dockerd)
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_startjobs"))
}

/// A world whose replicas use this engine. They are taken for dead later than simulated ones, because an engine at
/// work takes the processor away from everybody for a while.
async fn world(dockerd: &Dockerd, settings: &[(&str, &str)]) -> World {
    // Each world has a Redis of its own, and so is a fleet of its own.
    let fleet = uuid::Uuid::new_v4().to_string();
    let docker = [("engine", "docker"), ("fleet-id", fleet.as_str()), ("claim-idle", "1500ms")];
    World::with(&[&docker, &dockerd.settings(), settings].concat()).await
}

/// The one outcome of a job, as soon as it is there.
async fn answered(world: &mut World, job: EntryId) -> Entry {
    let job_text = job.to_string();
    let began = Instant::now();
    loop {
        let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
        if outcomes.iter().any(|outcome| outcome.source_ref.as_deref() == Some(&job_text)) {
            return world.outcome(job).await;
        }
        assert!(began.elapsed() < PATIENCE, "no outcome of {job}\n{}", world.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until everything is answered exactly once, nothing is pending, and the mirror is at the last entry.
async fn ends_well(world: &mut World) {
    world.answered_within(PATIENCE).await;
    world.settled().await;
    world.at_rest().await;
}

/// The containers that carry this game's id, whatever their names.
fn containers_of(dockerd: &Dockerd, game: &str) -> Vec<Value> {
    let mut listed = dockerd.list();
    listed.retain(|container| container["Labels"]["rtm.game_id"] == game);
    listed
}

/// The id of the game's one container, which runs.
fn the_only_container(dockerd: &Dockerd, game: &str) -> String {
    let containers = containers_of(dockerd, game);
    let [only] = containers.as_slice() else { panic!("containers of {game}: {containers:?}") };
    assert_eq!(only["State"], "running", "{only}");
    assert_eq!(only["Names"], serde_json::json!([format!("/rtm-{game}")]));
    only["Id"].as_str().expect("an id").to_owned()
}

/// How often containers of this game were created and started, by the engine's own account.
fn created_and_started(dockerd: &Dockerd, game: &str) -> (usize, usize) {
    let events = dockerd.events();
    let count = |action: &str| {
        let is_wanted =
            |event: &&Value| event["Action"] == action && event["Actor"]["Attributes"]["rtm.game_id"] == game;
        events.iter().filter(is_wanted).count()
    };
    (count("create"), count("start"))
}

/// The engine's full description of a container.
fn inspect(dockerd: &Dockerd, name_or_id: &str) -> Value {
    let answer = dockerd.request("GET", &format!("/containers/{name_or_id}/json"), b"");
    let (status, body) = answer.expect("the engine answers");
    assert_eq!(status, 200, "{name_or_id}: {body}");
    serde_json::from_str(&body).expect("a description is JSON")
}

/// Takes a container away, as an operator would.
fn remove(dockerd: &Dockerd, name_or_id: &str) {
    let answer = dockerd.request("DELETE", &format!("/containers/{name_or_id}?force=1&v=1"), b"");
    let (status, body) = answer.expect("the engine answers");
    assert_eq!(status, 204, "{name_or_id}: {body}");
}

/// Asks a game engine for its page, which names its game.
async fn assert_answers(endpoint: &str, game: &str) {
    let authority = endpoint.strip_prefix("http://").expect("an endpoint is a URL");
    let mut stream = TcpStream::connect(authority).await.expect("the endpoint accepts");
    let request = format!("GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the endpoint listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the endpoint answers in text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{endpoint}: {answer}");
    assert!(answer.ends_with(&format!("game {game}\n")), "{endpoint}: {answer}");
}
