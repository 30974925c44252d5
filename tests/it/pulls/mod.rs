//! Images that arrive from a registry of the test's own, on real engines: once a host, when the policy says so, with the
//! right credentials, and not while the registry wants to be left alone.

// several replicas of a host, and several hosts
mod hosts;
// pull-policy and the limits of pulls
mod policies;
// a registry that asks for a pause
mod pauses;
// who we are to a registry
mod credentials;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::docker_engine::game_engine;
use crate::support::dockerd::{Dockerd, archive};
use crate::support::registry::{FakeRegistry, Image};
use crate::support::world::{FAST, World};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Engines, a registry on this machine, and a fleet.
struct Stage {
    world: World,
    registry: FakeRegistry,
    dockerds: Vec<Dockerd>,
    fleet: String,
}

impl Stage {
    /// No replica runs yet; none where there is no Docker.
    async fn new(hosts: usize) -> Option<Self> {
        let mut dockerds = Vec::new();
        for _ in 0..hosts {
            dockerds.push(Dockerd::start()?);
        }
        let fleet = uuid::Uuid::new_v4().to_string();
        let settings =
            [("engine", "docker"), ("fleet-id", fleet.as_str()), ("claim-idle", "1500ms"), ("host-heartbeat", "3s")];
        let world = World::with(&settings).await;
        Some(Self { world, registry: FakeRegistry::start().await, dockerds, fleet })
    }

    /// Starts a replica beside the engine of this host, as soon as it works.
    async fn replica(&mut self, host: usize, settings: &[(&str, &str)]) -> usize {
        let name = name_of(host);
        let own = [("engine-host-id", name.as_str())];
        let replica = self.world.replica(&[&self.dockerds[host].settings(), &own[..], settings].concat());
        self.world.begun(replica).await;
        replica
    }

    /// What a command with the fleet's settings says. The registry is asked meanwhile, so it must not wait for the command.
    async fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.command(arguments);
        let run = move || command.output().expect("the binary under test runs");
        said(&tokio::task::spawn_blocking(run).await.expect("no panic"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let settings = [("engine", "docker"), ("fleet-id", self.fleet.as_str())];
        let mut command = Command::new(env!("CARGO_BIN_EXE_startjobs"));
        command
            .args(arguments)
            .env_clear()
            .env("USER", "op")
            .env("STARTJOBS_REDIS_URL", self.world.redis.url())
            .envs(FAST.iter().chain(&settings).map(|&(name, value)| (variable(name), value)));
        command
    }

    /// What a command prints with `--json`, whatever its exit code.
    async fn json(&self, arguments: &[&str]) -> Value {
        let (code, text, errors) = self.run(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{code:?} {error}: {text}{errors}"))
    }

    /// What the board of a host says of an image.
    async fn board(&self, host: usize, image: &str) -> Value {
        let text = self.world.redis(&["HGET", &format!("rtm:pulls:{}", name_of(host)), image]).await.as_string();
        text.map_or(Value::Null, |text| serde_json::from_str(&text).expect("JSON"))
    }

    /// Waits until the board of a host says that an image is being pulled.
    async fn pulling(&mut self, host: usize, image: &str) -> Value {
        let began = Instant::now();
        loop {
            let line = self.board(host, image).await;
            if line["state"] == "pulling" && line["layers"].as_u64() > Some(0) {
                return line;
            }
            assert!(began.elapsed() < PATIENCE, "{image} is not pulled: {line}\n{}", self.world.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until so many hosts say that they are alive.
    async fn hosts_alive(&mut self, count: usize) {
        let began = Instant::now();
        loop {
            let hosts = self.json(&["runtime", "hosts"]).await;
            let hosts = hosts["hosts"].as_array().expect("a list");
            if hosts.iter().filter(|host| host["standing"] == "alive").count() == count {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{hosts:?}\n{}", self.world.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until everything that was sent is answered.
    async fn answered(&mut self) {
        self.world.answered_within(PATIENCE).await;
    }
}

fn variable(name: &str) -> String {
    format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"))
}

/// The exit code, and what was printed to stdout and stderr.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn name_of(host: usize) -> String {
    format!("host-{host}")
}

/// Images that run, each with a layer of its own.
struct Games {
    _directory: tempfile::TempDir,
    program: std::path::PathBuf,
}

impl Games {
    fn new() -> Self {
        let (directory, program) = game_engine();
        Self { _directory: directory, program }
    }

    fn image(&self, mark: &str) -> Image {
        let marked = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(marked.path(), mark).expect("it is ours");
        Image::of_archive(archive(&[("engine", &self.program), ("mark", marked.path())]), &["/engine"])
    }
}
