//! A private dockerd: what happens to containers is in the records, the lists and the audit within seconds.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::{ids, record, run_with, said, says};
use crate::support::dockerd::Dockerd;
use crate::support::world::{PATIENCE, World};

const GAME: &str = "startjobs.test/game:1";
/// Within this time a record says what has happened on the engine, on a machine that may be busy.
const TRUE_WITHIN: Duration = Duration::from_secs(20);

struct Stage {
    world: World,
    dockerd: Dockerd,
}

impl Stage {
    async fn new() -> Option<Self> {
        let dockerd = Dockerd::start()?;
        dockerd.import_image(GAME, Path::new(env!("CARGO_BIN_EXE_startjobs")), &["engine"], &[]);
        let docker = [("engine", "docker"), ("claim-idle", "1500ms")];
        let world = World::with(&[&docker[..], &dockerd.settings()].concat()).await;
        Some(Self { world, dockerd })
    }

    /// The exit code of a command, and what it prints.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        said(&run_with(&self.world, &[&[("engine", "docker")][..], &self.dockerd.settings()].concat(), arguments))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (code, text, errors) = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{code:?} {error}: {text}{errors}"))
    }

    fn post(&self, path: &str) {
        let (status, body) = self.dockerd.request("POST", path, b"").expect("the engine answers");
        assert_eq!(status, 204, "{path}: {body}");
    }

    async fn container(&self, game: &str) -> String {
        record(&self.world, game).await["container_id"].as_str().expect("an id").to_owned()
    }
}

#[tokio::test]
async fn what_happens_to_containers_is_seen_within_seconds() {
    let Some(mut stage) = Stage::new().await else { return };
    let replica = stage.world.replica(&[]);
    for game in ["killed", "restarted", "stopped"] {
        stage.world.send(game, GAME).await;
    }
    stage.world.settled().await;
    let list = stage.json(&["runtime", "list"]);
    assert_eq!(ids(&list), ["killed", "restarted", "stopped"], "{list}");
    let before = list["games"][1]["engine_endpoint"].clone();

    // Killed: stopped, with its exit code.
    let killed = stage.container("killed").await;
    stage.post(&format!("/containers/{killed}/kill"));
    let began = Instant::now();
    says(&mut stage.world, "killed", "stopped").await;
    assert!(began.elapsed() < TRUE_WITHIN, "{:?}", began.elapsed());
    let stopped = stage.json(&["runtime", "list", "--state", "stopped"]);
    assert_eq!((ids(&stopped), &stopped["games"][0]["exit_code"]), (vec!["killed"], &137.into()), "{stopped}");
    assert!(stage.run(&["inspect", "killed"]).1.contains("exit code 137"));

    // Restarted: the endpoint is the new one.
    let restarted = stage.container("restarted").await;
    stage.post(&format!("/containers/{restarted}/restart?t=1"));
    let port = |stage: &Stage| {
        let (_, body) = stage.dockerd.request("GET", &format!("/containers/{restarted}/json"), b"").expect("an answer");
        let found: Value = serde_json::from_str(&body).expect("JSON");
        found["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostPort"].as_str().unwrap_or_default().to_owned()
    };
    let now_at = format!("http://{}:{}", stage.dockerd.address(), port(&stage));
    assert_ne!(before, now_at.as_str(), "the engine publishes another port");
    let began = Instant::now();
    let what = "the record has the new endpoint";
    stage
        .world
        .eventually(what, async |world: &World| {
            let record = record(world, "restarted").await;
            record["state"] == "running" && record["engine_endpoint"] == now_at.as_str()
        })
        .await;
    assert!(began.elapsed() < TRUE_WITHIN, "{:?}", began.elapsed());

    // Stopped by an operator: removed.
    let (code, told, errors) = stage.run(&["runtime", "stop", "stopped", "--yes", "--by", "ann"]);
    assert_eq!(code, Some(0), "{told}{errors}");
    let left = stage.dockerd.list();
    assert!(left.iter().all(|container| container["Labels"]["rtm.game_id"] != "stopped"), "{left:?}");
    let (code, report, errors) = stage.run(&["audit"]);
    assert_eq!(code, Some(0), "{report}{errors}");
    let same = stage.json(&["runtime", "reconcile", "--dry-run"])["hosts"][0].clone();
    assert_eq!((&same["containers"], &same["changes"]), (&2.into(), &Value::Array(vec![])), "{same}");

    // Without replicas no one corrects a record, and audit and doctor tell.
    stage.world.signal(replica, Signal::TERM);
    stage.world.ended(replica, PATIENCE).await;
    stage.post(&format!("/containers/{restarted}/kill"));
    let found = stage.json(&["runtime", "reconcile", "--dry-run"])["hosts"][0].clone();
    assert_eq!((&found["changes"][0]["change"], &found["changes"][0]["exit_code"]), (&"ended".into(), &137.into()));
    let (code, report, errors) = stage.run(&["audit"]);
    assert_eq!(code, Some(3), "{report}{errors}");
    assert!(report.contains("record_differs") && report.contains("does not run, and its record says so"), "{report}");
    let doctor = stage.run(&["doctor"]).1;
    assert!(doctor.contains("1 differ from their records"), "{doctor}");
}
