//! The image: built by deploy/image.sh on a private dockerd, and run.

use std::process::Command;
use std::time::{Duration, Instant};

use startjobs::embedded::redis_server::RedisServer;

use super::docker::Docker;
use super::{STARTJOBS, shown};
use crate::support::dockerd::Dockerd;
use crate::support::scrape::free_port;
use crate::support::world::PATIENCE;

const IMAGE: &str = "startjobs:test";

#[test]
fn the_image_is_built_becomes_healthy_works_and_drains() {
    let Some(dockerd) = Dockerd::start() else { return };
    let Some(docker) = Docker::of(&dockerd) else { return };
    docker.build(&dockerd, IMAGE);

    let config = docker.inspect(IMAGE)["Config"].clone();
    assert_eq!((&config["User"], &config["StopSignal"]), (&"65532:65532".into(), &"SIGTERM".into()));
    assert_eq!(config["Entrypoint"], serde_json::json!(["/startjobs"]));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(config["Labels"]["org.opencontainers.image.version"], version);
    let said = docker.text(&["run", "--rm", "--network", "none", IMAGE, "--version"]);
    assert_eq!(said, format!("startjobs {}", startjobs::version::LONG));

    let redis = RedisServer::start().expect("redis-server starts");
    let url = redis.url();
    let http = format!("127.0.0.1:{}", free_port());
    let settings = [
        format!("STARTJOBS_REDIS_URL={url}"),
        format!("STARTJOBS_HTTP_ADDR={http}"),
        "STARTJOBS_ENGINE=simulated".to_owned(),
        "STARTJOBS_STRICT=on".to_owned(),
    ];
    let mut arguments = vec!["run", "--detach", "--name", "replica", "--network", "host", "--read-only"];
    arguments.extend(["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--health-interval", "500ms"]);
    arguments.extend(settings.iter().flat_map(|setting| ["--env", setting]));
    arguments.push(IMAGE);
    docker.text(&arguments);
    let logs = || shown(&docker.output(&["logs", "replica"]));
    await_health(&docker, &logs);

    let sent = Command::new(STARTJOBS)
        .args(["send", "--redis-url", &url, "--game", "g1", "--image", "galaxy/engine:1", "--wait"])
        .output()
        .expect("the binary under test runs");
    assert!(sent.status.success(), "{}\n{}", shown(&sent), logs());

    let began = Instant::now();
    docker.text(&["stop", "--time", "45", "replica"]);
    let state = docker.inspect("replica")["State"].clone();
    assert_eq!(state["ExitCode"], 0, "{state}\n{}", logs());
    assert!(began.elapsed() < Duration::from_secs(20), "SIGTERM drains, and nothing was under way");
    assert!(logs().contains("start jobs consumer stopped"), "{}", logs());
}

fn await_health(docker: &Docker, logs: &dyn Fn() -> String) {
    let began = Instant::now();
    loop {
        let state = docker.inspect("replica")["State"].clone();
        if state["Health"]["Status"] == "healthy" {
            return;
        }
        assert!(began.elapsed() < PATIENCE && state["Running"] == true, "never healthy: {state}\n{}", logs());
        std::thread::sleep(Duration::from_millis(100));
    }
}
