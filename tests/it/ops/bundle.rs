//! `doctor --bundle`: everything for the person who helps, and no secret.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use startjobs::embedded::redis_server::RedisServer;

use crate::support::world::World;

/// What must never be in it.
const PLANTED: [&str; 5] =
    ["pw-of-url-7421", "pw-of-file-7421", "env-of-policy-7421", "payload-7421", "url-of-words-7421"];

fn bundle(file: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_startjobs"));
    command.args(["doctor", "--bundle", file.to_str().expect("text")]).args(arguments).env_clear().env("USER", "op");
    let output = command.output().expect("the binary under test runs");
    (output.status.code().expect("it ends"), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The parts by name, as tar itself reads them.
fn parts(file: &Path) -> Vec<(String, String)> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let status = Command::new("tar").arg("-xf").arg(file).arg("-C").arg(directory.path()).status();
    assert!(status.expect("tar is there").success());
    let folder = std::fs::read_dir(directory.path().join("startjobs-bundle")).expect("the folder");
    let mut parts: Vec<(String, String)> = folder
        .flatten()
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path()).expect("text");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect();
    parts.sort();
    parts
}

#[tokio::test]
async fn a_bundle_has_everything_but_secrets() {
    let redis = RedisServer::start_with(Path::new("redis-server"), &["--requirepass", PLANTED[0]]).expect("it starts");
    let url = redis.url().replace("//", &format!("//:{}@", PLANTED[0]));
    let world = World::on(redis, &[("redis-url", &url)]).await;
    let streams = world.settings.stream.clone();
    let detail = format!("engine_error: redis://:{}@h:1 said {}", PLANTED[4], PLANTED[0]);
    let letter = [
        "XADD",
        &streams.dead,
        "*",
        "source_ref",
        "1-1",
        "reason",
        "poison",
        "detail",
        &detail,
        "deliveries",
        "3",
        "crashes",
        "2",
        "failures",
        "0",
        "dead_at_ms",
        "17",
        "consumer",
        "w",
        "outcome_id",
        "2-1",
        "game_id",
        "game-1",
        "image_ref",
        "i",
        "token",
        PLANTED[3],
    ];
    world.redis(&letter).await;

    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("password"), format!("{}\n", PLANTED[0])).expect("written");
    let policy = format!("[defaults]\nenv = {{ TOKEN = \"{}\" }}\n", PLANTED[2]);
    std::fs::write(path("policy.toml"), policy).expect("written");
    let text = |name: &str| path(name).to_str().expect("text").to_owned();
    let file = path("bundle.tar");
    let arguments = ["--redis-url", &url, "--engine", "simulated", "--policy-file", &text("policy.toml")];
    let (code, said) = bundle(&file, &arguments);
    assert_eq!(code, 0, "{said}");
    let parts_found = parts(&file);
    let names: Vec<&str> = parts_found.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "README.txt",
        "alerts.json",
        "dead-letters.json",
        "doctor.json",
        "hosts.json",
        "metrics.txt",
        "pending.json",
        "redis-info.txt",
        "replicas.json",
        "settings.json",
        "status.json",
        "version.txt",
    ];
    assert_eq!(names, expected);
    for (name, text) in &parts_found {
        for planted in PLANTED {
            assert!(!text.contains(planted), "{name} has {planted}: {text}");
        }
        if Path::new(name).extension().is_some_and(|kind| kind == "json") {
            let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
            assert!(value["error"].is_null(), "{name}: {text}");
        }
    }
    let part = |name: &str| &parts_found.iter().find(|part| part.0 == name).expect("it is there").1;
    let letters: Value = serde_json::from_str(part("dead-letters.json")).expect("JSON");
    let letter = &letters["newest"][0];
    assert_eq!(
        (&letter["source_ref"], &letter["deliveries"], &letter["game"]),
        (&"1-1".into(), &3.into(), &"game-1".into())
    );
    assert_eq!(letter["original"]["fields"], 3, "{letter}");
    assert!(part("redis-info.txt").contains("redis_version:"), "{}", part("redis-info.txt"));
    assert!(part("settings.json").contains("redis://***@"), "{}", part("settings.json"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("it is there").permissions());
    assert_eq!(mode & 0o777, 0o600);

    // It overwrites nothing.
    let (code, said) = bundle(&file, &arguments);
    assert_eq!(code, 1, "{said}");

    // With the password in a file.
    let bare = url.replace(&format!(":{}@", PLANTED[0]), "");
    let file = path("second.tar");
    let (code, said) =
        bundle(&file, &["--redis-url", &bare, "--redis-password-file", &text("password"), "--engine", "simulated"]);
    assert_eq!(code, 0, "{said}");
    assert!(parts(&file).iter().all(|(_, text)| !text.contains(PLANTED[0])));
}

#[test]
fn without_redis_there_is_a_bundle_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("bundle.tar");
    let url = format!("redis://:{}@127.0.0.1:1", PLANTED[0]);
    let (code, said) = bundle(&file, &["--redis-url", &url, "--engine", "simulated", "--timeout", "200ms"]);
    assert_eq!(code, 0, "{said}");
    let parts = parts(&file);
    let doctor = parts.iter().find(|part| part.0 == "doctor.json").expect("it is there");
    assert!(doctor.1.contains("no connection to redis://***@127.0.0.1:1"), "{}", doctor.1);
    assert!(parts.iter().all(|(_, text)| !text.contains(PLANTED[0])));
}
