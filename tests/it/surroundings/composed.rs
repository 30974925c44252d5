//! What a game reaches of a fleet of deploy/compose.yaml.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::attacker::reaches;
use super::network::{MACHINE, OTHER, serve};
use crate::deploy::{Docker, Project};
use crate::support::dockerd::Api;

/// The addresses of the machine in this network, as its administrator sees them.
fn addresses() -> Vec<String> {
    let listed = Command::new("ip").args(["-4", "-oneline", "address"]).output().expect("ip is there");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let words = listed.lines().filter_map(|line| line.split_whitespace().nth(3));
    words.filter_map(|word| word.split('/').next()).map(str::to_owned).collect()
}

/// The folder of a volume on the machine.
fn folder_of(docker: &Docker, volume: &str) -> PathBuf {
    docker.text(&["volume", "inspect", "--format", "{{.Mountpoint}}", volume]).into()
}

/// A game that has been started in a fleet of this file tries everything. Its name is g0.
pub fn no_game_reaches_engine_or_redis(project: &Project) {
    let docker = project.docker();
    let containers = docker.text(&[
        "network",
        "inspect",
        "startjobs_startjobs",
        "--format",
        "{{range .Containers}}{{.IPv4Address}} {{end}}",
    ]);
    let inside: Vec<String> =
        containers.split_whitespace().filter_map(|one| one.split('/').next()).map(str::to_owned).collect();
    assert_eq!(inside.len(), 4, "redis and three replicas, and no proxy: {containers}");
    let machine = addresses();
    assert!(machine.len() >= 4 && machine.iter().any(|one| one == MACHINE), "{machine:?}");
    let everywhere: Vec<String> = inside.iter().chain(&machine).cloned().chain([OTHER.to_owned()]).collect();
    let ports = [2375, 6379, project.redis_port(), 9100];
    let targets: Vec<(String, u16)> =
        everywhere.iter().flat_map(|address| ports.map(|port| (address.clone(), port))).collect();

    // The attack can succeed: a proxy on the gateway, as this file once had one, is reached.
    let gateway = machine.iter().find(|one| inside[0].starts_with(one.trim_end_matches('1'))).expect("its gateway");
    serve(TcpListener::bind(format!("{gateway}:4243")).expect("the network is ours"), "as it was");
    let control = (gateway.clone(), 4243);
    let reached = reaches(docker, "rtm-g0", &[targets.as_slice(), std::slice::from_ref(&control)].concat());
    assert_eq!(reached.keys().collect::<Vec<_>>(), [&control], "a game reaches what it must not");
    // Redis answers a container in its network, but grants it nothing.
    docker.text(&["run", "--detach", "--name", "neighbour", "--network", "startjobs_startjobs", "galaxy/engine:1"]);
    let reached = reaches(docker, "neighbour", &targets);
    let answers: Vec<&String> = reached.iter().filter(|((_, port), _)| *port == 6379).map(|(_, said)| said).collect();
    assert!(answers.len() == 1 && answers[0].starts_with("-NOAUTH"), "{reached:?}");
    assert!(reached.keys().all(|(_, port)| [6379, 9100].contains(port)), "{reached:?}");
    docker.text(&["rm", "--force", "neighbour"]);

    let sockets = docker.text(&["exec", "rtm-g0", "bash", "-c", "shopt -s nullglob; echo /var/run/* /run/*"]);
    assert!(!sockets.contains("docker") && !sockets.contains("engine"), "{sockets}");
    let volume = folder_of(docker, "startjobs_engine");
    only_root_and_the_replicas_enter(&volume);
    the_proxy_passes_on_what_replicas_ask(&Api::at(&volume.join("docker.sock")));
}

/// A user of the machine, even one who may enter the folders above, does not come to the socket.
fn only_root_and_the_replicas_enter(volume: &Path) {
    let mode = fs::metadata(volume).expect("it is mounted").permissions().mode();
    assert_eq!(mode & 0o7777, 0o750, "{mode:o}");
    let connects = |group: &str| {
        // With the folder as the place it is in, so that the way there does not matter.
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65533", "--regid", group, "--clear-groups", "bash", "-c", "[ -w docker.sock ]"]);
        command.current_dir(volume).status().expect("setpriv is there").success()
    };
    assert!(connects("65532"), "the group of the replicas");
    assert!(!connects("65533"), "another user");
}

fn the_proxy_passes_on_what_replicas_ask(proxy: &Api) {
    let status = |method: &str, path: &str| proxy.request(method, path, b"").expect("the proxy answers").0;
    for path in ["/_ping", "/version", "/info", "/v1.41/containers/json", "/containers/rtm-g0/json", "/volumes"] {
        assert_eq!(status("GET", path), 200, "{path}");
    }
    // The engine's own answer.
    assert_eq!(status("POST", "/containers/none/start"), 404);
    for (method, path) in [
        ("POST", "/containers/rtm-g0/exec"),
        ("POST", "/v1.41/containers/rtm-g0/exec"),
        ("POST", "/containers/rtm-g0/attach"),
        ("GET", "/containers/rtm-g0/attach/ws"),
        ("POST", "/containers/rtm-g0/update"),
        ("POST", "/containers/rtm-g0/kill"),
        ("GET", "/containers/rtm-g0/archive?path=/"),
        ("PUT", "/containers/rtm-g0/archive?path=/"),
        ("GET", "/containers/rtm-g0/export"),
        ("DELETE", "/volumes/startjobs_redis"),
        ("DELETE", "/images/galaxy/engine:1"),
        ("POST", "/build"),
        ("POST", "/commit"),
        ("GET", "/networks"),
        ("POST", "/networks/create"),
        ("POST", "/networks/startjobs_startjobs/connect"),
        ("GET", "/secrets"),
        ("POST", "/swarm/init"),
        ("GET", "/plugins"),
        ("POST", "/session"),
        ("GET", "/containers/../networks"),
        ("GET", "/images/%2e%2e/networks/x/json"),
        ("GET", "//networks"),
        ("GET", "/v1.41/../networks"),
    ] {
        assert_eq!(status(method, path), 403, "{method} {path}");
    }
}
