//! A fleet that follows a policy, while the file changes under it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use startjobs::stream::entry_id::EntryId;

use super::{SECRET, path, write};
use crate::support::scrape::{free_port, get, metric};
use crate::support::world::{FAST, World};

const CONDITION: &str = "startjobs_condition{condition=\"policy\"}";

/// A policy that allows the images of one team.
fn policy_of(team: &str) -> String {
    format!("allowed-images = [\"docker.io/{team}/*\"]\n[defaults]\nenv.TOKEN = \"{SECRET}\"\n")
}

/// As Kubernetes mounts a ConfigMap: the file is a link through `..data`, which is replaced as a whole.
fn mount_as_config_map(directory: &Path, version: &str, text: &str) {
    let folder = directory.join(version);
    fs::create_dir(&folder).expect("a folder");
    write(&folder, "policy.toml", text);
    symlink(version, directory.join("..data_tmp")).expect("a link");
    fs::rename(directory.join("..data_tmp"), directory.join("..data")).expect("renamed");
}

/// The code of a job's outcome; empty for a game that was started.
async fn answered(world: &mut World, game: &str, image: &str) -> (EntryId, String) {
    let job = world.send(game, image).await;
    world.settled().await;
    (job, world.outcome(job).await.get("error_code").to_owned())
}

async fn code(world: &mut World, game: &str, image: &str) -> String {
    answered(world, game, image).await.1
}

async fn changed(world: &mut World, times: usize) {
    world.logged(0, "policy changed", |log| log.count("policy changed") == times).await;
}

async fn in_condition(world: &mut World, began: usize, ended: usize) {
    let counts = (began, ended);
    world.logged(0, "the condition of the policy", |log| log.conditions().get("policy") == Some(&counts)).await;
}

#[tokio::test]
async fn a_policy_is_obeyed_and_read_again_when_it_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    let (folder, file) = (directory.path(), directory.path().join("policy.toml"));
    mount_as_config_map(folder, "..1", &policy_of("galaxy"));
    symlink("..data/policy.toml", &file).expect("a link");
    let (port, mut world) = (free_port(), World::new().await);
    world.replica(&[("policy-file", path(&file)), ("http-addr", &format!("127.0.0.1:{port}"))]);
    world.begun(0).await;

    assert_eq!(code(&mut world, "g1", "galaxy/engine:1").await, "");
    let (job, refused) = answered(&mut world, "g2", "nebula/engine:1").await;
    assert_eq!(refused, "image_not_allowed");
    let message = world.outcome(job).await.get("error_message").to_owned();
    assert!(message.contains("docker.io/nebula/engine:1") && message.contains("allowed-images"), "{message}");

    // The link that a ConfigMap's new version replaces. A game that runs is no start.
    mount_as_config_map(folder, "..2", &policy_of("nebula"));
    changed(&mut world, 1).await;
    assert_eq!(code(&mut world, "g2", "nebula/engine:1").await, "");
    assert_eq!(code(&mut world, "g1", "galaxy/engine:1").await, "replay_no_op");
    assert_eq!(code(&mut world, "g3", "galaxy/engine:1").await, "image_not_allowed");

    // An editor that writes beside and renames; the length is the same.
    let beside = write(folder, ".policy.toml.swp", &policy_of("quasar"));
    fs::rename(&beside, &file).expect("renamed");
    changed(&mut world, 2).await;
    assert_eq!(code(&mut world, "g4", "quasar/engine:1").await, "");

    // Broken, then gone: the policy that holds stays, and so does readiness.
    write(folder, "policy.toml", "allowed-images = [\"galaxy/*\"]\n[defaults]\nenv.TOKEN = [\"open-sesame\"]\n");
    in_condition(&mut world, 1, 0).await;
    assert!((metric(port, CONDITION) - 1.0).abs() < f64::EPSILON);
    fs::remove_file(&file).expect("removed");
    assert_eq!(code(&mut world, "g5", "quasar/engine:1").await, "");
    assert_eq!(code(&mut world, "g6", "nebula/engine:1").await, "image_not_allowed");
    assert_eq!(get(port, "/readyz").expect("an answer").0, 200);

    // Mended.
    write(folder, "policy.toml", &policy_of("pulsar"));
    changed(&mut world, 3).await;
    in_condition(&mut world, 1, 1).await;
    assert!(metric(port, CONDITION).abs() < f64::EPSILON);
    assert_eq!(code(&mut world, "g7", "pulsar/engine:1").await, "");

    // Cut to nothing, as by a full disk: it does not allow everything.
    write(folder, "policy.toml", "");
    in_condition(&mut world, 2, 1).await;
    assert_eq!(code(&mut world, "g8", "nebula/engine:1").await, "image_not_allowed");
    world.logged(0, "what is wrong", |log| log.text().contains("policy.toml is empty")).await;

    other_replicas_differ(&mut world).await;
    let text = world.log(0).text().to_owned();
    assert!(text.contains("line 1: allowed-images") && !text.contains(SECRET), "{text}");
}

/// Beside a replica without a policy.
async fn other_replicas_differ(world: &mut World) {
    world.replica(&[]);
    world.begun(1).await;
    let run = |command: &str| {
        let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
        let output = Command::new(env!("CARGO_BIN_EXE_startjobs"))
            .args([command, "--json"])
            .env_clear()
            .env("STARTJOBS_REDIS_URL", world.redis.url())
            .envs(FAST.iter().map(|&(name, value)| (variable(name), value)))
            .output()
            .expect("the binary under test runs");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    let replicas = run("replicas");
    let digests: Vec<Option<&str>> =
        replicas["replicas"].as_array().expect("a list").iter().map(|replica| replica["policy"].as_str()).collect();
    assert_eq!(digests.iter().flatten().map(|digest| digest.len()).collect::<Vec<_>>(), [12], "{digests:?}");
    let doctor = run("doctor");
    let finding = doctor["findings"].as_array().expect("a list").iter().find(|finding| finding["about"] == "policies");
    let found = finding.and_then(|finding| finding["found"].as_str()).unwrap_or_default();
    assert!(found.contains("follow different policies") && found.contains("without a policy"), "{doctor}");
}
