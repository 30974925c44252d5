//! What a container may use and do, on a real Docker Engine: as the engine shows it, and as a process inside sees it.

// what an engine refuses
mod refused;
// how a container ends
mod stopped;
// the strict policy of the deployment files
mod strict;
// the log drivers that rotate, and those that do not
mod logs;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use startjobs::engine::docker::DockerEngine;
use startjobs::engine::sandbox::{LogRotation, Mount, Ulimit};
use startjobs::engine::{ContainerSpec, Engine, Readiness, Sandbox};

use crate::docker_engine::{connect, create_and_start, spec, wait_until_ready};
use crate::support::c_program::compile;
use crate::support::dockerd::Dockerd;

const IMAGE: &str = "startjobs.test/probe:1";
const READ_ONLY_FILE_SYSTEM: &str = "errno 30";

/// An engine that has the image of the probe.
struct Rig {
    dockerd: Dockerd,
    engine: DockerEngine,
}

impl Rig {
    /// None where there is no Docker.
    fn start_with(arguments: &[&str]) -> Option<Self> {
        let dockerd = Dockerd::start_with(arguments)?;
        let (_dir, program) = compile("probe", include_str!("probe.c"));
        dockerd.import_image(IMAGE, &program, &[], &[]);
        let engine = connect(&dockerd);
        Some(Self { dockerd, engine })
    }

    /// Starts a container, waits for its answer; its id and where it answers.
    async fn run(&self, name: &str, env: &[&str], sandbox: Sandbox) -> (String, String) {
        let id = create_and_start(&self.engine, &spec_of(name, env, sandbox)).await.expect("it can be started");
        let running = self.engine.find(&id).await.expect("the engine answers").expect("it exists");
        wait_until_ready(&self.engine, &running, &Readiness::Http("/".into())).await;
        let endpoint = running.endpoint.expect("its port is published");
        (id, endpoint)
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> Value {
        let sent = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.dockerd.request(method, path, sent.as_bytes()).expect("the engine answers");
        assert!(status < 300, "{method} {path}: {status} {answer}");
        serde_json::from_str(&answer).unwrap_or_default()
    }

    fn inspect(&self, id: &str) -> Value {
        self.request("GET", &format!("/containers/{id}/json"), &Value::Null)
    }
}

fn spec_of(name: &str, env: &[&str], sandbox: Sandbox) -> ContainerSpec {
    ContainerSpec { image: IMAGE.to_owned(), sandbox, ..spec(name, env) }
}

/// What the probe answers.
async fn ask(endpoint: &str, path: &str) -> String {
    let authority = endpoint.strip_prefix("http://").expect("an endpoint is a URL");
    let mut stream = TcpStream::connect(authority).await.expect("it answers");
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers with text");
    answer.split_once("\r\n\r\n").expect("an answer has a head").1.to_owned()
}

/// A line of `/proc/self/status`.
fn line<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}

/// A limit of a control group, in either layout of its file system.
async fn limit(endpoint: &str, paths: [&str; 2]) -> String {
    let mut answer = String::new();
    for path in paths {
        answer = ask(endpoint, &format!("/read/sys/fs/cgroup/{path}")).await;
        if !answer.starts_with("errno") {
            break;
        }
    }
    answer.trim().to_owned()
}

#[tokio::test]
async fn every_limit_is_shown_by_the_engine_and_seen_inside() {
    let Some(rig) = Rig::start_with(&[]) else { return };
    let maps = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(maps.path().join("map"), "an island").expect("the directory is ours");
    std::fs::set_permissions(maps.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("it is ours");
    rig.request("POST", "/networks/create", &json!({"Name": "games"}));
    let maps_path = maps.path().to_str().expect("text").to_owned();
    let strict = Sandbox {
        memory: Some(64 << 20),
        nano_cpus: Some(500_000_000),
        pids: Some(32),
        user: Some("1000:1001".to_owned()),
        capabilities: vec!["NET_BIND_SERVICE".to_owned()],
        no_new_privileges: true,
        read_only: true,
        tmpfs: BTreeMap::from([("/scratch".to_owned(), "size=1m,mode=1777".to_owned())]),
        network: Some("games".to_owned()),
        log: Some(LogRotation { max_size: 1 << 20, files: 2 }),
        ulimits: vec![Ulimit { name: "nofile".to_owned(), soft: 64, hard: 128 }],
        runtime: Some("runc".to_owned()),
        mounts: vec![
            Mount { source: maps_path.clone(), target: "/maps".to_owned(), read_only: true },
            Mount { source: "saves".to_owned(), target: "/saves".to_owned(), read_only: false },
        ],
        gpus: None,
        stop_grace: Duration::from_secs(3),
    };
    let (id, endpoint) = rig.run("rtm-strict", &[], strict).await;
    let shown = rig.inspect(&id);
    let host = &shown["HostConfig"];
    let want = [
        ("Memory", json!(64 << 20)),
        ("NanoCpus", json!(500_000_000)),
        ("PidsLimit", json!(32)),
        ("CapDrop", json!(["ALL"])),
        ("CapAdd", json!(["NET_BIND_SERVICE"])),
        ("SecurityOpt", json!(["no-new-privileges"])),
        ("ReadonlyRootfs", json!(true)),
        ("Tmpfs", json!({"/scratch": "size=1m,mode=1777"})),
        ("NetworkMode", json!("games")),
        ("LogConfig", json!({"Type": "json-file", "Config": {"max-size": "1048576", "max-file": "2"}})),
        ("Runtime", json!("runc")),
        ("Privileged", json!(false)),
        ("RestartPolicy", json!({"Name": "no", "MaximumRetryCount": 0})),
    ];
    for (name, want) in want {
        assert_eq!(host[name], want, "{name}");
    }
    // A kernel without accounting of swap takes no limit of it.
    assert!(host["MemorySwap"] == json!(64 << 20) || host["MemorySwap"] == json!(-1), "{}", host["MemorySwap"]);
    let ulimit = &host["Ulimits"][0];
    assert_eq!((&ulimit["Name"], &ulimit["Soft"], &ulimit["Hard"]), (&json!("nofile"), &json!(64), &json!(128)));
    assert_eq!((&shown["Config"]["User"], &shown["Config"]["StopTimeout"]), (&json!("1000:1001"), &json!(3)));

    assert_eq!(ask(&endpoint, "/").await, "uid 1000 gid 1001");
    let status = ask(&endpoint, "/read/proc/self/status").await;
    assert_eq!(line(&status, "CapBnd"), "0000000000000400", "NET_BIND_SERVICE alone");
    assert_eq!((line(&status, "CapEff"), line(&status, "NoNewPrivs")), ("0000000000000000", "1"));
    let limits = ask(&endpoint, "/read/proc/self/limits").await;
    let files: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit").split_whitespace().collect();
    assert_eq!(files[3..5], ["64", "128"]);
    assert_eq!(limit(&endpoint, ["memory.max", "memory/memory.limit_in_bytes"]).await, "67108864");
    assert_eq!(limit(&endpoint, ["pids.max", "pids/pids.max"]).await, "32");
    let quota = limit(&endpoint, ["cpu.max", "cpu/cpu.cfs_quota_us"]).await;
    assert!(quota.starts_with("50000"), "half a processor: {quota}");
    assert_eq!(ask(&endpoint, "/write/x").await, READ_ONLY_FILE_SYSTEM);
    assert_eq!(ask(&endpoint, "/write/scratch/x").await, "written");
    assert_eq!(ask(&endpoint, "/read/maps/map").await, "an island");
    assert_eq!(ask(&endpoint, "/write/maps/x").await, READ_ONLY_FILE_SYSTEM);
    assert_eq!(ask(&endpoint, "/read/proc/self/mounts").await.matches(" /saves ").count(), 1);

    // What holds without a policy.
    let (id, endpoint) = rig.run("rtm-default", &[], Sandbox::default()).await;
    let host = &rig.inspect(&id)["HostConfig"];
    assert_eq!((&host["Memory"], &host["Privileged"], &host["PidsLimit"]), (&json!(0), &json!(false), &json!(4096)));
    assert_eq!(host["Binds"], Value::Null);
    let status = ask(&endpoint, "/read/proc/self/status").await;
    // CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, NET_BIND_SERVICE: bits 0, 1, 3, 5, 6, 7 and 10.
    assert_eq!((line(&status, "CapBnd"), line(&status, "NoNewPrivs")), ("00000000000004eb", "1"));
    assert_eq!(limit(&endpoint, ["pids.max", "pids/pids.max"]).await, "4096");
    assert_eq!(ask(&endpoint, "/write/x").await, "written");

    // No host refuses more processors than it has.
    let many = Sandbox { nano_cpus: Some(4_096_000_000_000), ..Sandbox::default() };
    rig.run("rtm-many", &[], many).await;
}
