//! `startjobs dev --topology sentinel`: a failover under load before the user's eyes, and nothing left behind.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;

use crate::support::dev::{assert_empty, signal, startjobs};

#[test]
fn a_failover_is_shown_and_every_job_is_accounted_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut child = startjobs()
        .env("TMPDIR", directory.path())
        .args(["dev", "--topology", "sentinel", "--replicas", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary under test runs");
    let (mut banner, mut said) = (String::new(), String::new());
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    while !banner.contains("Ctrl-C stops") {
        let read = stdout.read_line(&mut banner).expect("the banner is text");
        assert!(read > 0, "the banner breaks off: {banner}");
    }
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    while !said.contains("lost by the fleet") {
        let read = stderr.read_line(&mut said).expect("text");
        assert!(read > 0, "it ends too early: {said}");
    }
    assert!(said.contains("killing the master 127.0.0.1:") && said.contains("the fleet goes on there"), "{said}");
    assert!(said.contains(", 0 of them twice, 0 lost by the fleet"), "{said}");

    // What the banner says works as it stands there.
    let mut status = startjobs();
    for name in ["STARTJOBS_REDIS_URL", "STARTJOBS_REDIS_PASSWORD_FILE", "STARTJOBS_REDIS_SENTINEL_PASSWORD_FILE"] {
        let line = banner.lines().find_map(|line| line.trim().strip_prefix(&format!("export {name}=")));
        status.env(name, line.unwrap_or_else(|| panic!("no {name} in {banner}")));
    }
    let output = status.env("STARTJOBS_ENGINE", "simulated").args(["check", "--min-replicas", "2"]).output();
    let output = output.expect("the binary under test runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    signal(child.id(), Signal::INT);
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(0), "{said}");
    assert_empty(directory.path());
}

#[test]
fn a_topology_goes_with_neither_docker_nor_hosts() {
    for more in [["--hosts", "2"], ["--engine", "docker"]] {
        let output = startjobs().args(["dev", "--topology", "sentinel"]).args(more).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("leave out --engine and --hosts"), "{said}");
    }
}
