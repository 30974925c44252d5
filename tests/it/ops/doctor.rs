//! What is wrong with the surroundings, on servers on which it is wrong.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use startjobs::embedded::redis_server::RedisServer;

use super::{json, run, stdout, text};
use crate::support::dev::startjobs;
use crate::support::dockerd::Dockerd;
use crate::support::world::World;

/// The findings about one thing, as level and text.
fn about<'a>(report: &'a Value, what: &str) -> Vec<(&'a str, &'a str)> {
    let findings = report["findings"].as_array().expect("a list");
    let of = |finding: &'a Value| (finding["level"].as_str().unwrap_or(""), finding["found"].as_str().unwrap_or(""));
    findings.iter().filter(|finding| finding["about"] == what).map(of).collect()
}

fn level(report: &Value, what: &str) -> String {
    about(report, what).into_iter().map(|(level, _)| level).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_fleet_in_order_has_no_finding_that_fails() {
    let mut world = World::new().await;
    world.replica(&[]);
    world.begun(0).await;
    world
        .eventually("its subscription is heard", async |world: &World| {
            json(world, &["replicas"])["replicas"][0]["disconnect_notice"] != "down"
        })
        .await;
    let report = text(&world, &["doctor"]);
    assert!(report.lines().all(|line| line.starts_with("ok  ")), "{report}");
    let report = json(&world, &["doctor"]);
    assert_eq!(report["level"], "ok", "{report}");
    for what in [
        "settings",
        "version",
        "persistence",
        "eviction",
        "clock",
        "memory",
        "latency",
        "rights",
        "keys",
        "ids",
        "group",
        "lag",
        "mirror",
        "replicas",
        "engine",
        "files",
    ] {
        assert_eq!(level(&report, what), "ok", "{what}: {report}");
    }
}

#[tokio::test]
async fn every_danger_is_found_with_its_remedy() {
    let options = ["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"];
    let redis = RedisServer::start_with(Path::new("redis-server"), &options).expect("redis-server starts");
    let world = World::on(redis, &[]).await;
    let streams = &world.settings.stream;
    world.redis(&["SET", &streams.results, "x"]).await;
    world.redis(&["XADD", &streams.jobs, "1-0", "f", "v"]).await;
    world.redis(&["XADD", &streams.jobs, "2-0", "f", "v"]).await;
    world.redis(&["SET", &streams.offset_key, "7-0"]).await;
    world.redis(&["XGROUP", "CREATE", &streams.jobs, &streams.group, "$"]).await;
    world.redis(&["XADD", &streams.jobs, "3-0", "f", "v"]).await;
    run(&world, &["pause"]);
    let output = run(&world, &["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let expected = [
        ("persistence", "warn"),
        ("eviction", "fail"),
        ("keys", "fail"),
        ("lag", "warn"),
        ("mirror", "fail"),
        ("replicas", "warn"),
        ("pause", "warn"),
        ("group", "ok"),
        ("rights", "ok"),
    ];
    for (what, expected) in expected {
        assert_eq!(level(&report, what), expected, "{what}: {report}");
    }
    for finding in report["findings"].as_array().expect("a list") {
        let has_remedy = finding["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty());
        assert_eq!(has_remedy, finding["level"] != "ok", "{finding}");
    }
    assert!(stdout(&run(&world, &["doctor"])).contains("-> set it to noeviction"), "the remedy is shown");
}

#[tokio::test]
async fn a_user_with_too_few_rights_is_told_what_is_missing() {
    let world = World::new().await;
    world.redis(&["ACL", "SETUSER", "weak", "on", ">pw", "~*", "+@all", "-xadd", "-xclaim"]).await;
    let url = world.redis.url().replace("redis://", "redis://weak:pw@");
    let output = run(&world, &["doctor", "--json", "--redis-url", &url]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rights = about(&report, "rights");
    assert!(rights[0].0 == "fail" && rights[0].1.contains("XADD") && rights[0].1.contains("XCLAIM"), "{rights:?}");
    assert!(!rights[0].1.contains("XREADGROUP"), "{rights:?}");
    // One that may not even ask: what can be tried is tried.
    world.redis(&["ACL", "SETUSER", "mute", "on", ">pw", "~*", "+@all", "-acl", "-evalsha"]).await;
    let url = world.redis.url().replace("redis://", "redis://mute:pw@");
    let output = run(&world, &["doctor", "--json", "--redis-url", &url]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(about(&report, "rights")[0].0, "fail", "{report}");
    assert!(about(&report, "rights")[0].1.contains("EVALSHA"), "{report}");
}

#[tokio::test]
async fn a_secret_that_others_can_read_is_a_finding() {
    let world = World::new().await;
    // Below /tmp, because a folder of the user's own may be closed to others.
    let folder = tempfile::tempdir_in("/tmp").expect("a temporary directory");
    let set_mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    let of = |settings: &[&str]| {
        let output = run(&world, &[&["doctor", "--json"], settings].concat());
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(!report.to_string().contains("sesame"), "{report}");
        let secrets: Vec<String> =
            about(&report, "secrets").into_iter().map(|(level, found)| format!("{level} {found}")).collect();
        secrets.join("\n")
    };
    assert_eq!(of(&[]), "", "there is no secret");

    let password = folder.path().join("password");
    fs::write(&password, "sesame").expect("the folder is ours");
    set_mode(&password, 0o600);
    let name = password.to_str().expect("text");
    let with_file = ["--redis-password-file", name];
    set_mode(folder.path(), 0o755);
    assert!(of(&with_file).starts_with("ok "), "{}", of(&with_file));
    set_mode(&password, 0o644);
    let found = of(&with_file);
    assert!(found.starts_with("warn ") && found.contains(name) && found.contains("mode 0644"), "{found}");
    // As deploy/redis/make-secrets.sh makes them.
    set_mode(folder.path(), 0o700);
    assert!(of(&with_file).starts_with("ok "), "{}", of(&with_file));
    set_mode(folder.path(), 0o755);

    let url = world.redis.url().replace("//", "//:sesame@");
    let found = of(&["--redis-url", &url]);
    assert!(found.starts_with("warn ") && found.contains("list of processes"), "{found}");
    let settings = folder.path().join("startjobs.toml");
    fs::write(&settings, format!("redis-url = \"{url}\"\n")).expect("the folder is ours");
    set_mode(&settings, 0o644);
    let output = startjobs().args(["doctor", "--json", "--engine", "simulated", "--config"]).arg(&settings).output();
    let report: Value = serde_json::from_slice(&output.expect("it runs").stdout).expect("JSON");
    assert_eq!(level(&report, "secrets"), "warn", "{report}");
}

#[tokio::test]
async fn what_is_away_fails_and_the_rest_is_still_looked_at() {
    let world = World::new().await;
    let nowhere = world.directory.path().join("no.sock");
    let host = format!("unix://{}", nowhere.display());
    let away = [
        "doctor",
        "--json",
        "--redis-url",
        "redis://127.0.0.1:1",
        "--timeout",
        "300ms",
        "--engine",
        "docker",
        "--docker-host",
        &host,
    ];
    let output = run(&world, &away);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        [level(&report, "redis"), level(&report, "docker"), level(&report, "files")],
        ["fail", "fail", "ok"],
        "{report}"
    );
}

#[tokio::test]
async fn a_docker_engine_is_looked_at_with_its_room_and_its_images() {
    let Some(dockerd) = Dockerd::start() else { return };
    dockerd.import_image("engine:here", Path::new(env!("CARGO_BIN_EXE_startjobs")), &["engine"], &[]);
    let world = World::new().await;
    let host = dockerd.host();
    let doctor = |image: &str| {
        let output = run(&world, &["doctor", "--json", "--engine", "docker", "--docker-host", &host, "--image", image]);
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let report = doctor("engine:here");
    assert!(about(&report, "docker")[0].1.contains(", API 1."), "{report}");
    assert_eq!([level(&report, "docker"), level(&report, "image")], ["ok", "ok"], "{report}");
    assert!(about(&report, "disk")[0].1.contains(" GiB free in "), "{report}");
    let report = doctor("engine:elsewhere");
    assert_eq!(about(&report, "image")[0].0, "warn", "{report}");
    assert!(about(&report, "image")[0].1.contains("the first start pulls it"), "{report}");

    // What a policy names and this host does not have.
    let folder = tempfile::tempdir().expect("a temporary directory");
    let policy = folder.path().join("policy.toml");
    let doctor = |text: &str| {
        fs::write(&policy, text).expect("the folder is ours");
        let policy = policy.to_str().expect("text");
        let arguments = ["doctor", "--json", "--engine", "docker", "--docker-host", &host, "--policy-file", policy];
        serde_json::from_slice::<Value>(&run(&world, &arguments).stdout).expect("JSON")
    };
    let report = doctor("[defaults]\nnetwork = \"games\"\nmounts = [{ source = \"/srv/nowhere\", target = \"/x\" }]\n");
    assert_eq!([level(&report, "networks"), level(&report, "mounts")], ["fail", "warn"], "{report}");
    assert!(about(&report, "networks")[0].1.contains("the policy wants games"), "{report}");
    dockerd.request("POST", "/networks/create", br#"{"Name": "games"}"#).expect("an answer");
    let here = folder.path().display();
    let report =
        doctor(&format!("[defaults]\nnetwork = \"games\"\nmounts = [{{ source = \"{here}\", target = \"/x\" }}]\n"));
    assert_eq!([level(&report, "networks"), level(&report, "mounts")], ["ok", "ok"], "{report}");
}
