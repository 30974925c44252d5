//! What an engine refuses of a sandbox, in its own words: each has its code, and names what was refused.

use startjobs::contract::error_code::ErrorCode;
use startjobs::engine::sandbox::{Gpus, Mount, Ulimit};
use startjobs::engine::{EngineError, Sandbox};

use super::{Rig, spec_of};
use crate::docker_engine::create_and_start;

/// The code and the words of the failed create or start.
async fn refused(rig: &Rig, name: &str, sandbox: Sandbox) -> (ErrorCode, String) {
    match create_and_start(&rig.engine, &spec_of(name, &[], sandbox)).await {
        Err(EngineError::Failed { code, message }) => (code, message),
        other => panic!("{name} is not refused: {other:?}"),
    }
}

#[tokio::test]
async fn what_no_engine_of_this_kind_can_give_is_a_permanent_failure_with_its_name() {
    use ErrorCode::{ContainerConfigInvalid, ContainerStartFailed, NetworkNotFound};
    let Some(rig) = Rig::start_with(&[]) else { return };
    let mount = |source: &str| Mount { source: source.to_owned(), target: "/x".to_owned(), read_only: true };
    let default = Sandbox::default;
    let rows = [
        ("runtime", Sandbox { runtime: Some("nope".into()), ..default() }, ContainerConfigInvalid, "nope"),
        ("network", Sandbox { network: Some("nope".into()), ..default() }, NetworkNotFound, "nope"),
        (
            "source",
            Sandbox { mounts: vec![mount("/no/such/source")], ..default() },
            ContainerConfigInvalid,
            "/no/such/source",
        ),
        ("volume", Sandbox { mounts: vec![mount("no/volume")], ..default() }, ContainerConfigInvalid, "no/volume"),
        ("memory", Sandbox { memory: Some(1 << 20), ..default() }, ContainerConfigInvalid, "6MB"),
        ("user", Sandbox { user: Some("nope".into()), ..default() }, ContainerStartFailed, "nope"),
        ("capability", Sandbox { capabilities: vec!["NOPE".into()], ..default() }, ContainerConfigInvalid, "NOPE"),
        (
            "tmpfs",
            Sandbox { tmpfs: [("/x".to_owned(), "nope".to_owned())].into(), ..default() },
            ContainerConfigInvalid,
            "nope",
        ),
        (
            "ulimit",
            Sandbox { ulimits: vec![Ulimit { name: "nope".into(), soft: 1, hard: 1 }], ..default() },
            ContainerConfigInvalid,
            "nope",
        ),
        (
            "files",
            Sandbox { ulimits: vec![Ulimit { name: "nofile".into(), soft: 1 << 40, hard: 1 << 40 }], ..default() },
            ContainerConfigInvalid,
            "rlimit",
        ),
        ("gpus", Sandbox { gpus: Some(Gpus::All), ..default() }, ContainerConfigInvalid, "gpu"),
    ];
    let mut wrong = Vec::new();
    for (name, sandbox, want, words) in rows {
        let (code, message) = refused(&rig, &format!("rtm-{name}"), sandbox).await;
        if code != want || !message.to_lowercase().contains(&words.to_lowercase()) {
            wrong.push(format!("{name}: {code}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
