//! deploy/firewall on a machine whose games reach too much without it.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use super::attacker::{self, reaches};
use super::network::{CREDENTIALS, MACHINE, METADATA, METADATA_6, OTHER, Surroundings, relay, serve};
use crate::deploy::{Docker, debian};
use crate::support::dockerd::Dockerd;
use crate::support::registry::FakeRegistry;

const IMAGE: &str = "galaxy/engine:1";
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/firewall/startjobs-games.nft");

fn nft(words: &[&str]) {
    let output = Command::new("/usr/sbin/nft").args(words).output().expect("nft is there");
    assert!(output.status.success(), "nft {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A registry of the other machine; its image.
fn registry(around: &Surroundings) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let registry = FakeRegistry::start().await;
            tell.send(registry.image("ok/x")).expect("the test waits for it");
            std::future::pending::<()>().await;
        });
    });
    let image = told.recv().expect("it starts");
    let (address, name) = image.split_once('/').expect("an address and a name");
    relay(around.there(|| TcpListener::bind((OTHER, 5000)).expect("the network is ours")), address.to_owned());
    format!("{OTHER}:5000/{name}")
}

/// What a reader of outcomes on the other machine gets from a published port.
fn read_from_outside(around: &Surroundings, port: &str) -> bool {
    let port = port.to_owned();
    around.there(move || {
        let url = format!("exec 3<>/dev/tcp/{MACHINE}/{port}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3");
        let output = Command::new("timeout").args(["5", "bash", "-c", &url]).output().expect("bash is there");
        String::from_utf8_lossy(&output.stdout).starts_with("HTTP/1.")
    })
}

#[test]
fn the_shipped_rules_keep_games_from_metadata_and_from_their_machine_and_from_nothing_else() {
    if [("nft", "nftables"), ("iptables", "iptables")].iter().any(|(name, package)| debian(name, package).is_none()) {
        return;
    }
    let Some(around) = Surroundings::enter() else { return };
    let insecure = format!("--insecure-registry={OTHER}:5000");
    let arguments =
        ["--iptables=true", "--ip6tables=true", "--experimental", "--ipv6", "--fixed-cidr-v6=fd78::/64", &insecure];
    let Some(dockerd) = Dockerd::start_with(&arguments) else { return };
    let Some(docker) = Docker::of(&dockerd) else { return };
    attacker::import(&dockerd, IMAGE);
    around.serve_metadata();
    let image = registry(&around);
    // The machine's own services, on every address it has.
    serve(TcpListener::bind("[::]:22").expect("the network is ours"), "the-machine");
    let gateway = docker.text(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]);
    let published = format!("{MACHINE}::8080");
    docker.text(&["run", "--detach", "--name", "game", "--publish", &published, IMAGE]);
    let port = docker.text(&["port", "game", "8080"]).rsplit(':').next().expect("a port").to_owned();

    let target = |address: &str, port: u16| (address.to_owned(), port);
    let closed = [
        target(METADATA, 80),
        target(METADATA_6, 80),
        target(MACHINE, 22),
        target(&gateway, 22),
        target("fd77::1", 22),
    ];
    let open = [target(OTHER, 80), target("fd77::2", 80)];
    let all = [closed.as_slice(), &open].concat();

    // Without the rules everything is reached, the credentials of the machine among it.
    let before = reaches(&docker, "game", &all);
    assert_eq!(before.len(), all.len(), "{before:?}");
    assert_eq!(before[&closed[0]], CREDENTIALS);
    assert_eq!(before[&closed[1]], CREDENTIALS);

    // Loading them twice is loading them once. This engine's bridge has a name of its own.
    nft(&["--file", RULES]);
    nft(&["--file", RULES]);
    nft(&["add", "element", "inet", "startjobs_games", "bridges", &format!("{{ {} }}", dockerd.bridge())]);
    let after = reaches(&docker, "game", &all);
    assert_eq!(after.keys().collect::<Vec<_>>(), open.iter().collect::<Vec<_>>(), "{after:?}");
    assert!(read_from_outside(&around, &port), "a published game is read");
    docker.text(&["pull", &image]);

    // An operator's own network is closed as the file says.
    nft(&["add", "element", "inet", "startjobs_games", "closed4", "{ 10.77.0.0/16 }"]);
    let closer = reaches(&docker, "game", &all);
    assert_eq!(closer.keys().collect::<Vec<_>>(), [&open[1]], "{closer:?}");
    assert!(read_from_outside(&around, &port), "answers of games pass");

    nft(&["delete", "table", "inet", "startjobs_games"]);
    assert_eq!(reaches(&docker, "game", &all), before, "the rules are gone as a whole");
}

#[test]
fn systemd_takes_the_unit_of_the_rules() {
    let Some(mut verify) = debian("systemd-analyze", "systemd") else { return };
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/firewall/startjobs-firewall.service");
    let output = verify.args(["verify", "--man=no"]).arg(&unit).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("startjobs-firewall"), "{said}");
}
