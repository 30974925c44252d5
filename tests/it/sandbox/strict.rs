//! A fleet under the strict policy of the deployment files starts games, and a game under it is kept from all that it says.

use std::path::Path;

use serde_json::{Value, json};

use super::{READ_ONLY_FILE_SYSTEM, ask, line};
use crate::support::c_program::compile;
use crate::support::dockerd::Dockerd;
use crate::support::world::World;

const IMAGE: &str = "galaxy/engine:1";

#[tokio::test]
async fn a_game_under_the_strict_policy_runs_and_has_no_right_of_root() {
    let Some(dockerd) = Dockerd::start() else { return };
    let (_dir, program) = compile("probe", include_str!("probe.c"));
    dockerd.import_image(IMAGE, &program, &[], &[]);
    let fleet = uuid::Uuid::new_v4().to_string();
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/policy/policy.strict.toml");
    let policy = policy.to_str().expect("text");
    let docker = [("engine", "docker"), ("fleet-id", fleet.as_str()), ("policy-file", policy)];
    let mut world = World::with(&[&docker[..], &dockerd.settings()].concat()).await;
    let replica = world.replica(&[]);
    world.begun(replica).await;
    let (job, refused) = (world.send("g1", IMAGE).await, world.send("g2", "registry.example/other:1").await);
    world.settled().await;
    assert_eq!(world.outcome(refused).await.get("error_code"), "image_not_allowed");
    let outcome = world.outcome(job).await;
    assert_eq!(outcome.get("outcome"), "success", "{}", world.logs());

    let id = outcome.get("container_id");
    let (_, shown) = dockerd.request("GET", &format!("/containers/{id}/json"), b"").expect("the engine answers");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let host = &shown["HostConfig"];
    for (name, want) in [
        ("CapDrop", json!(["ALL"])),
        ("SecurityOpt", json!(["no-new-privileges"])),
        ("ReadonlyRootfs", json!(true)),
        ("Memory", json!(512 << 20)),
        ("PidsLimit", json!(256)),
        ("LogConfig", json!({"Type": "json-file", "Config": {"max-size": "10485760", "max-file": "3"}})),
        ("Privileged", json!(false)),
    ] {
        assert_eq!(host[name], want, "{name}");
    }
    assert!(host["CapAdd"].is_null() || host["CapAdd"] == json!([]), "{}", host["CapAdd"]);
    let status = ask(outcome.get("engine_endpoint"), "/read/proc/self/status").await;
    assert_eq!((line(&status, "CapBnd"), line(&status, "NoNewPrivs")), ("0000000000000000", "1"));
    assert_eq!(ask(outcome.get("engine_endpoint"), "/write/x").await, READ_ONLY_FILE_SYSTEM);
    assert_eq!(ask(outcome.get("engine_endpoint"), "/write/tmp/x").await, "written");
    world.at_rest().await;
}
