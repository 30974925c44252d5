//! The commands for people, as processes: what they print, how they end, and that they leave nothing behind.

use std::io::BufRead;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;
use startjobs::lobby::client::Lobby;

use crate::support::dev::{Dev, assert_empty, signal, startjobs, value};
use crate::support::world::{PATIENCE, World, load};

/// Runs `startjobs send`.
fn send(url: &str, arguments: &[&str]) -> Output {
    startjobs().args(["send", "--redis-url", url]).args(arguments).output().expect("the binary under test runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("stdout is text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is text")
}

fn wait_for(what: &str, mut state: impl FnMut() -> bool) {
    let began = Instant::now();
    while !state() {
        assert!(began.elapsed() < PATIENCE, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn send_prints_the_entry_id_and_appends_one_job() {
    let redis = RedisServer::start().expect("redis-server starts");
    let output = send(&redis.url(), &["--game", " g1 ", "--image", "galaxy/engine:1"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let json = send(&redis.url(), &["--game", "g2", "--image", "galaxy/engine:1", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("--json prints JSON");

    let settings = load(&[("redis-url".to_owned(), redis.url())]);
    let lobby = Lobby::connect(&settings.redis, &settings.stream).await.expect("a connection");
    let entries = lobby.entries("runtime:start_jobs").await.expect("the stream");
    let ids: Vec<&str> = entries.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, [stdout(&output).trim_end(), json["entry_id"].as_str().unwrap_or_default()]);
    let fields: Vec<(&[u8], &[u8])> = entries[0].1.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(fields[..2], [(&b"game_id"[..], &b"g1"[..]), (b"image_ref", b"galaxy/engine:1")]);
    let requested: u64 = String::from_utf8_lossy(fields[2].1).parse().expect("a number");
    let appended: u64 = ids[0].split('-').next().and_then(|ms| ms.parse().ok()).expect("an id");
    assert!(fields[2].0 == b"requested_at_ms" && appended.abs_diff(requested) < 60_000, "{requested} {appended}");
}

#[tokio::test]
async fn send_wait_follows_its_own_job_to_success_or_failure() {
    let mut world = World::new().await;
    world.replica(&[]);
    let url = world.redis.url();
    let started = send(&url, &["--game", "g1", "--image", "galaxy/engine:1", "--wait"]);
    assert_eq!(started.status.code(), Some(0), "{started:?}\n{}", world.logs());
    let text = stdout(&started);
    assert_eq!((value(&text, "game_id"), value(&text, "outcome")), ("g1", "success"));
    assert_eq!(value(&text, "source_ref"), value(&text, "entry_id"));

    let failed = send(&url, &["--game", "g1", "--image", "galaxy/engine:2", "--wait", "--json"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let outcome: serde_json::Value = serde_json::from_slice(&failed.stdout).expect("--json prints JSON");
    assert_eq!(outcome["schema_version"], 1);
    assert_eq!(outcome["source_ref"], outcome["entry_id"]);
    assert_eq!((&outcome["outcome"], &outcome["error_code"]), (&"failure".into(), &"image_conflict".into()));
    for name in ["game_id", "container_id", "engine_endpoint", "error_message"] {
        assert!(outcome[name].is_string(), "{name}: {outcome}");
    }
    for name in ["requested_at_ms", "finished_at_ms", "attempt"] {
        assert!(outcome[name].is_u64(), "{name}: {outcome}");
    }
    assert!(stderr(&started).is_empty() && stderr(&failed).is_empty());
}

#[tokio::test]
async fn send_wait_matches_by_game_where_outcomes_name_no_entry() {
    let mut world = World::with(&[("outcome-fields", "original")]).await;
    world.replica(&[]);
    let output = send(&world.redis.url(), &["--game", "g1", "--image", "galaxy/engine:1", "--wait"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stderr(&output).contains("no source_ref") && !stdout(&output).contains("source_ref"), "{output:?}");
}

#[test]
fn send_wait_times_out_with_75_and_the_job_stays() {
    let redis = RedisServer::start().expect("redis-server starts");
    let output = send(&redis.url(), &["--game", "g1", "--image", "i", "--wait", "--timeout", "200ms"]);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    let (text, talk) = (stdout(&output), stderr(&output));
    let id = value(&text, "entry_id");
    assert!(talk.contains("stays queued") && talk.contains(&format!("XRANGE runtime:job_results {id} +")), "{talk}");
}

#[test]
fn send_without_redis_says_where_it_looked_and_exits_69() {
    let output = send("redis://:sesame@127.0.0.1:1", &["--game", "g1", "--image", "i"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let talk = stderr(&output);
    assert!(
        talk.contains("redis://:***@127.0.0.1:1") && talk.contains("refused") && !talk.contains("sesame"),
        "{talk}"
    );
    assert!(output.stdout.is_empty());

    let redis =
        RedisServer::start_with(Path::new("redis-server"), &["--requirepass", "right"]).expect("redis-server starts");
    let began = Instant::now();
    let output = send(&redis.url().replace("//", "//:wrong@"), &["--game", "g1", "--image", "i"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(stderr(&output).contains("WRONGPASS") && began.elapsed() < Duration::from_secs(4), "{output:?}");
}

#[test]
fn send_refuses_bad_settings_with_78_and_bad_usage_with_2() {
    let code = |url, arguments: &[&str]| send(url, arguments).status.code();
    assert_eq!(code("redis-cluster://h", &["--game", "g1", "--image", "i"]), Some(78));
    assert_eq!(code("redis://h", &["--game", "g1", "--image", "i", "--results-stream", ""]), Some(78));
    assert_eq!(code("redis://h", &["--game", "g1"]), Some(2));
    assert_eq!(code("redis://h", &["--game", "g1", "--image", "i", "--slots", "4"]), Some(2));
    assert_eq!(code("redis://h", &["--game", "g1", "--image", "i", "--timeout", "5"]), Some(2));
    let huge = "g".repeat(70_000);
    for (game, image, named) in [("", "i", "--game"), ("g1", "  ", "--image"), (huge.as_str(), "i", "--game")] {
        let output = send("redis://h", &["--game", game, "--image", image]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(stderr(&output).contains(named), "{output:?}");
    }
}

#[test]
fn the_demonstration_kills_a_replica_and_its_books_balance() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = startjobs()
        .env("TMPDIR", directory.path())
        // Meant for other replicas; the demonstration uses its own.
        .env("STARTJOBS_REDIS_URL", "redis://127.0.0.1:1")
        .args(["demo", "--jobs", "40", "--docker-containers", "0", "--json"])
        .output()
        .expect("the binary under test runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("--json prints JSON");
    assert_eq!((&report["schema_version"], &report["exact"]), (&1.into(), &true.into()), "{report}");
    let simulated = &report["simulated"];
    let account = &simulated["account"];
    let count = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
    let outcomes: u64 = account["outcomes"].as_object().into_iter().flat_map(|kinds| kinds.values()).map(count).sum();
    assert_eq!(count(&account["sent"]), 40, "{report}");
    assert_eq!(outcomes + count(&account["malformed"]), 40, "{report}");
    for none in ["lost", "answered_twice", "unexpected"] {
        assert_eq!(account[none], serde_json::json!([]), "{report}");
    }
    assert!(count(&simulated["killed"]["held"]) > 0 && simulated["killed"]["recovery_ms"].is_u64(), "{report}");
    assert_eq!(simulated["mirror"], simulated["last_id"], "{report}");
    assert_eq!((count(&simulated["pending"]), count(&simulated["running_at_once_max"])), (0, 1), "{report}");
    assert!(report["docker"]["left_out"].is_string(), "{report}");
    assert!(stderr(&output).contains("STARTJOBS_REDIS_URL") && stderr(&output).contains("SIGKILL"), "{output:?}");
    assert_empty(directory.path());
}

#[test]
fn without_redis_server_dev_and_demo_name_the_package_and_exit_69() {
    let programs = tempfile::tempdir().expect("a temporary directory");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let setpriv = std::env::split_paths(&path).map(|folder| folder.join("setpriv")).find(|file| file.exists());
    symlink(setpriv.expect("setpriv is installed"), programs.path().join("setpriv")).expect("a link");
    for command in ["dev", "demo"] {
        let output =
            startjobs().env("PATH", programs.path()).arg(command).output().expect("the binary under test runs");
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        assert!(stderr(&output).contains("Debian: redis-server"), "{output:?}");
    }
}

#[test]
fn dev_answers_jobs_tells_who_died_and_leaves_nothing_behind_on_sigterm() {
    let mut dev = Dev::start(2);
    let output = send(&dev.url, &["--game", "g1", "--image", "galaxy/engine:1", "--wait"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    signal(dev.pids[0], Signal::KILL);
    let mut line = String::new();
    dev.stderr.read_line(&mut line).expect("it says who died");
    assert!(line.contains(&format!("replica 0 (pid {})", dev.pids[0])), "{line}");
    let output = send(&dev.url, &["--game", "g2", "--image", "galaxy/engine:1", "--wait"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    signal(dev.child.id(), Signal::TERM);
    let status = dev.child.wait().expect("it ends");
    assert_eq!(status.code(), Some(0));
    dev.assert_gone();
}

#[test]
fn no_other_user_can_use_the_redis_of_dev_and_what_it_prints_leads_there() {
    let dev = Dev::start(1);
    let socket = Path::new(dev.socket());
    let mode = |path: &Path| path.metadata().expect("it exists").permissions().mode() & 0o777;
    assert_eq!((mode(socket), mode(socket.parent().expect("a folder"))), (0o600, 0o700));
    // The line of the banner, as pasted.
    let line = dev.banner.lines().map(str::trim).find(|line| line.starts_with("redis-cli ")).expect("it is there");
    let cli = |words: &str| {
        let output = Command::new("bash").args(["-c", words]).output().expect("bash is there");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(cli(line).trim(), "0", "{line}");
    let port = cli(&format!("redis-cli -s {} CONFIG GET port", socket.display()));
    assert_eq!(port.split_whitespace().collect::<Vec<_>>(), ["port", "0"]);
    // And the one of a job that is not answered in time.
    let nobody_starts = ["--game", "g1", "--image", "sim/slow:1h", "--wait", "--timeout", "100ms"];
    let talk = stderr(&send(&dev.url, &nobody_starts));
    let line = talk.lines().map(str::trim).find(|line| line.starts_with("redis-cli ")).expect("it is there");
    let said = Command::new("bash").args(["-c", line]).output().expect("bash is there");
    assert!(said.status.success() && said.stderr.is_empty(), "{line}: {said:?}");
    if rustix::process::getuid().is_root() {
        let other = ["--reuid=65534", "--regid=65534", "--clear-groups", "redis-cli", "-s", dev.socket(), "PING"];
        let output = Command::new("setpriv").args(other).output().expect("setpriv is there");
        assert!(String::from_utf8_lossy(&output.stderr).contains("Permission denied"), "{output:?}");
    }
}

#[test]
fn a_directory_that_holds_no_socket_is_said() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    for name in ["x".repeat(120), "a b".to_owned()] {
        let directory = parent.path().join(name);
        std::fs::create_dir(&directory).expect("a directory");
        let output = startjobs().env("TMPDIR", &directory).arg("dev").output().expect("the binary under test runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains("set TMPDIR to a shorter directory"), "{output:?}");
        assert_empty(&directory);
    }
}

#[test]
fn nothing_outlives_a_dev_that_is_killed() {
    let mut dev = Dev::start(2);
    signal(dev.child.id(), Signal::KILL);
    dev.child.wait().expect("it ends");
    wait_for("everything went with it", || dev.is_gone());
    dev.assert_gone();
}
