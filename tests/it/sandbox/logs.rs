//! A log is rotated where the engine's own driver can, and containers start whatever the driver is.

use serde_json::{Value, json};
use startjobs::engine::Sandbox;
use startjobs::engine::sandbox::LogRotation;

use super::{IMAGE, Rig};

#[tokio::test]
async fn a_driver_that_takes_no_options_gets_none() {
    let driver = ["--log-driver", "gelf", "--log-opt", "gelf-address=udp://127.0.0.1:9"];
    let Some(rig) = Rig::start_with(&driver) else { return };
    // With options no container could be created.
    let body = json!({"Image": IMAGE, "HostConfig": {"LogConfig": {"Config": {"max-size": "1m"}}}}).to_string();
    let refused = rig.dockerd.request("POST", "/containers/create", body.as_bytes()).expect("it answers");
    assert!(refused.0 == 400 && refused.1.contains("unknown log opt"), "{refused:?}");
    let (id, _) = rig.run("rtm-gelf", &[], Sandbox::default()).await;
    let shown = &rig.inspect(&id)["HostConfig"]["LogConfig"];
    assert_eq!((&shown["Type"], &shown["Config"]["max-size"]), (&json!("gelf"), &Value::Null));
}

#[tokio::test]
async fn the_other_driver_that_rotates_gets_its_options() {
    let Some(rig) = Rig::start_with(&["--log-driver", "local"]) else { return };
    let one_file = Sandbox { log: Some(LogRotation { max_size: 65536, files: 1 }), ..Sandbox::default() };
    for (name, sandbox, want) in [
        ("rtm-several", Sandbox::default(), json!({"max-size": "10485760", "max-file": "3"})),
        ("rtm-one", one_file, json!({"max-size": "65536", "max-file": "1", "compress": "false"})),
        ("rtm-own", Sandbox { log: None, ..Sandbox::default() }, json!({})),
    ] {
        let (id, _) = rig.run(name, &[], sandbox).await;
        let shown: &Value = &rig.inspect(&id)["HostConfig"]["LogConfig"];
        assert_eq!((&shown["Type"], &shown["Config"]), (&json!("local"), &want), "{name}");
    }
}
