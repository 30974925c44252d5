//! deploy/compose.yaml as a user brings it up, on a private dockerd in a network of its own, with its rules of iptables: jobs are
//! answered, a game that attacks reaches nothing of the fleet, the fleet is scaled, a replica is killed, everything drains.
//!
//! No registry is reached. The images of others are made of this machine's programs under the names that the file uses:
//! redis-server with what its health check calls, and haproxy with the configuration that is shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::docker::Docker;
use super::tools::{debian, passes};
use super::{STARTJOBS, root, shown, temporary, text_of};
use crate::support::dockerd::Dockerd;
use crate::support::scrape::free_port;
use crate::support::world::PATIENCE;
use crate::surroundings::{Surroundings, attacker, no_game_reaches_engine_or_redis};

/// A project that is up, gone when it is dropped.
pub struct Project {
    program: PathBuf,
    docker: Docker,
    folder: tempfile::TempDir,
    redis_port: u16,
    bridge: String,
}

impl Project {
    /// Writes the file as this test can bring it up; nothing of the replicas' part is changed but addresses.
    fn new(program: PathBuf, dockerd: &Dockerd, docker: Docker) -> Self {
        let folder = temporary();
        passes(Command::new(root().join("deploy/redis/make-secrets.sh")).arg(folder.path().join("secrets")));
        // Nobody else has a bridge of this number, so nobody else has a network of it; what is there is of a killed test.
        let number: u32 = dockerd.bridge().trim_start_matches(char::is_alphabetic).parse().expect("a number");
        let bridge = format!("sjdc{number}");
        drop(Command::new("ip").args(["link", "delete", &bridge]).output());
        let network = format!("10.{}.{}.", 120 + number / 256, number % 256);
        let text = text_of("deploy/compose.yaml").replace("172.31.253.", &network);
        let mut file: Value = serde_saphyr::from_str(&text).expect("YAML");
        let redis_port = free_port();

        // What compose 1.29 of Debian does not know yet, and only monitoring needs.
        let top = file.as_object_mut().expect("a map");
        top.remove("name");
        top.remove("configs");
        for name in ["prometheus", "grafana"] {
            file["services"].as_object_mut().expect("a map").remove(name);
        }
        file["services"]["redis"]["ports"] = json!([format!("127.0.0.1:{redis_port}:6379")]);
        for service in ["docker-proxy", "worker"] {
            for volume in file["services"][service]["volumes"].as_array_mut().expect("a list") {
                let text = volume.as_str().expect("text");
                let text = text.replacen("./", &format!("{}/deploy/", root().display()), 1);
                *volume = text.replacen("/var/run/docker.sock", dockerd.host().trim_start_matches("unix://"), 1).into();
            }
        }
        file["networks"]["startjobs"]["driver_opts"] = json!({ "com.docker.network.bridge.name": bridge });
        fs::write(folder.path().join("compose.json"), file.to_string()).expect("the folder is ours");

        let image = |service: &str| file["services"][service]["image"].as_str().expect("an image").to_owned();
        let programs = ["redis-server", "redis-cli", "sh", "grep"].map(|name| (format!("bin/{name}"), found(name)));
        let programs: Vec<(&str, &Path)> =
            programs.iter().map(|(name, program)| (name.as_str(), program.as_path())).collect();
        dockerd.import_programs(&image("redis"), &programs, &["ENV PATH=/bin", "WORKDIR /data"]);
        dockerd.import_programs(&image("docker-proxy"), &[("bin/haproxy", &found("haproxy"))], &["ENV PATH=/bin"]);
        attacker::import(dockerd, "galaxy/engine:1");
        docker.build(dockerd, "startjobs:local");
        Self { program, docker, folder, redis_port, bridge }
    }

    fn compose(&self, words: &[&str]) -> Output {
        let file = self.folder.path().join("compose.json");
        let mut command = Command::new(&self.program);
        self.docker.prepared(command.args(["--project-name", "startjobs", "--file"]).arg(file).args(words))
    }

    fn composes(&self, words: &[&str]) {
        let output = self.compose(words);
        assert!(output.status.success(), "{words:?}: {}\n{}", shown(&output), self.logs());
    }

    /// The engine as its operator sees it.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The port at which Redis is published on the machine.
    pub fn redis_port(&self) -> u16 {
        self.redis_port
    }

    /// A command of an operator, who comes through the published port.
    fn operator(&self, words: &[&str]) -> Output {
        let password = self.folder.path().join("secrets/operator-password");
        Command::new(STARTJOBS)
            .args(words)
            .env_clear()
            .env("STARTJOBS_REDIS_URL", format!("redis://operator@127.0.0.1:{}", self.redis_port))
            .env("STARTJOBS_REDIS_PASSWORD_FILE", password)
            .env("DOCKER_HOST", self.docker.host())
            .output()
            .expect("the binary under test runs")
    }

    pub fn operates(&self, words: &[&str]) -> String {
        let output = self.operator(words);
        assert!(output.status.success(), "{words:?}: {}\n{}", shown(&output), self.logs());
        String::from_utf8(output.stdout).expect("text")
    }

    fn workers(&self) -> Vec<String> {
        let ids = self.docker.text(&["ps", "--all", "--quiet", "--filter", "label=com.docker.compose.service=worker"]);
        ids.lines().map(str::to_owned).collect()
    }

    fn send(&self, games: std::ops::Range<usize>) {
        for number in games {
            self.operates(&["send", "--game", &format!("g{number}"), "--image", "galaxy/engine:1"]);
        }
    }

    /// Waits until so many jobs are answered.
    fn answered(&self, count: usize) {
        let began = Instant::now();
        loop {
            let status: Value = serde_json::from_str(&self.operates(&["status", "--json"])).expect("JSON");
            if status["outcomes"] == count && status["in_flight"]["count"] == 0 {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "never {count}: {status}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn logs(&self) -> String {
        shown(&self.compose(&["logs", "--no-color", "--tail", "20"]))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        drop(self.compose(&["kill"]));
        // The games are on the engine and not in the project.
        drop(self.compose(&["down", "--volumes", "--timeout", "1"]));
        drop(Command::new("ip").args(["link", "delete", &self.bridge]).output());
    }
}

/// Where a program of this machine is, whatever a link is called.
pub fn found(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let program = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    fs::canonicalize(program.unwrap_or_else(|| panic!("{name} is installed"))).expect("it is there")
}

#[test]
fn the_compose_file_brings_up_a_fleet_that_games_cannot_attack_and_that_scales_survives_a_kill_and_drains() {
    let needed = [("iptables", "iptables"), ("unshare", "util-linux"), ("haproxy", "haproxy")];
    if needed.iter().any(|(program, package)| debian(program, package).is_none()) {
        return;
    }
    let Some(_around) = Surroundings::enter() else { return };
    let Some(dockerd) = Dockerd::start_with(&["--iptables=true"]) else { return };
    let Some(docker) = Docker::of(&dockerd) else { return };
    let Some(compose) = debian("docker-compose", "docker-compose") else { return };
    let project = Project::new(compose.get_program().into(), &dockerd, docker);
    project.composes(&["up", "--detach"]);
    project.operates(&["check", "--min-replicas", "3", "--wait", "30s"]);
    let outcome = project.operates(&["send", "--game", "g0", "--image", "galaxy/engine:1", "--wait"]);
    assert!(outcome.contains("outcome          success") && outcome.contains("http://10."), "{outcome}");
    let doctor = project.operates(&["doctor"]);
    assert!(!doctor.contains("fail "), "{doctor}");
    no_game_reaches_engine_or_redis(&project);

    project.composes(&["up", "--detach", "--scale", "worker=4"]);
    project.operates(&["check", "--min-replicas", "4", "--wait", "30s"]);
    project.send(1..8);
    project.docker.text(&["kill", "--signal", "KILL", &project.workers()[0]]);
    project.send(8..15);
    project.answered(15);
    let audit = project.operates(&["audit"]);
    assert!(audit.contains("No violation") && audit.contains("live containers           15"), "{audit}");

    project.composes(&["stop", "--timeout", "45", "worker"]);
    let ends: Vec<i64> = project
        .workers()
        .iter()
        .map(|id| project.docker.inspect(id)["State"]["ExitCode"].as_i64().expect("a number"))
        .collect();
    let drained = ends.iter().filter(|&&code| code == 0).count();
    assert_eq!((ends.len(), drained), (4, 3), "{ends:?}\n{}", project.logs());
    let replicas: Value = serde_json::from_str(&project.operates(&["replicas", "--json"])).expect("JSON");
    let left = replicas["replicas"].as_array().expect("a list").iter().filter(|one| one["state"] == "left").count();
    assert_eq!(left, 3, "{replicas}");
}
