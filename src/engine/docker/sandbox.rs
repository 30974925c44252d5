//! What a container may use and do, as the engine takes it.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceRequest, HostConfig, HostConfigLogConfig, Mount as EngineMount, MountType,
    ResourcesUlimits,
};

use crate::engine::sandbox::{Gpus, LogRotation, Mount, Sandbox, Ulimit};

use super::abilities::{Abilities, LogDriver};

/// Adds a sandbox to the container that is to be created on an engine with these abilities. `Privileged` is never set.
pub(super) fn confine(body: &mut ContainerCreateBody, sandbox: &Sandbox, abilities: &Abilities) {
    body.user.clone_from(&sandbox.user);
    body.stop_timeout = Some(whole(sandbox.stop_grace.as_secs()));
    let host = body.host_config.get_or_insert_default();
    confine_use(host, sandbox, abilities);
    confine_rights(host, sandbox);
    host.network_mode.clone_from(&sandbox.network);
    host.log_config = sandbox.log.and_then(|rotation| log_config(rotation, abilities.log_driver));
    host.runtime.clone_from(&sandbox.runtime);
    host.mounts = many(&sandbox.mounts, mount);
    host.device_requests = sandbox.gpus.map(|gpus| vec![gpu_request(gpus)]);
}

fn confine_use(host: &mut HostConfig, sandbox: &Sandbox, abilities: &Abilities) {
    // Equal, so that no swap comes on top.
    host.memory = sandbox.memory.map(whole);
    host.memory_swap = host.memory;
    // An engine refuses more processors than it has, and all of them are no more than that.
    let most = abilities.processors.map_or(u64::MAX, |processors| processors.saturating_mul(1_000_000_000));
    host.nano_cpus = sandbox.nano_cpus.map(|nano_cpus| whole(nano_cpus.min(most)));
    host.pids_limit = sandbox.pids.map(i64::from);
    host.ulimits = many(&sandbox.ulimits, ulimit);
}

fn confine_rights(host: &mut HostConfig, sandbox: &Sandbox) {
    host.cap_drop = Some(vec!["ALL".to_owned()]);
    host.cap_add = many(&sandbox.capabilities, Clone::clone);
    host.security_opt = sandbox.no_new_privileges.then(|| vec!["no-new-privileges".to_owned()]);
    host.readonly_rootfs = sandbox.read_only.then_some(true);
    host.tmpfs = (!sandbox.tmpfs.is_empty()).then(|| sandbox.tmpfs.clone().into_iter().collect());
}

/// The options of the engine's own driver. Any other driver refuses them, and with them the container.
fn log_config(rotation: LogRotation, driver: Option<LogDriver>) -> Option<HostConfigLogConfig> {
    let driver = driver?;
    let mut config = HashMap::from([
        ("max-size".to_owned(), rotation.max_size.to_string()),
        ("max-file".to_owned(), rotation.files.to_string()),
    ]);
    // It compresses the files that it has rotated, and refuses to where there are none.
    if driver == LogDriver::Local && rotation.files == 1 {
        config.insert("compress".to_owned(), "false".to_owned());
    }
    Some(HostConfigLogConfig { typ: Some(driver.name().to_owned()), config: Some(config) })
}

fn ulimit(ulimit: &Ulimit) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(ulimit.name.clone()), soft: Some(ulimit.soft), hard: Some(ulimit.hard) }
}

/// Not as a bind of the older form, for which the engine makes a source that is missing.
fn mount(mount: &Mount) -> EngineMount {
    let is_path = mount.source.starts_with('/');
    EngineMount {
        source: Some(mount.source.clone()),
        target: Some(mount.target.clone()),
        typ: Some(if is_path { MountType::BIND } else { MountType::VOLUME }),
        read_only: Some(mount.read_only),
        ..EngineMount::default()
    }
}

fn gpu_request(gpus: Gpus) -> DeviceRequest {
    let count = match gpus {
        Gpus::All => -1,
        Gpus::Count(count) => i64::from(count),
    };
    DeviceRequest { count: Some(count), capabilities: Some(vec![vec!["gpu".to_owned()]]), ..DeviceRequest::default() }
}

fn many<T, U>(items: &[T], form: impl Fn(&T) -> U) -> Option<Vec<U>> {
    (!items.is_empty()).then(|| items.iter().map(form).collect())
}

/// The engine's numbers are signed.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    const JSON_FILE: Abilities = Abilities { log_driver: Some(LogDriver::JsonFile), processors: Some(2) };

    fn body(sandbox: &Sandbox, abilities: &Abilities) -> Value {
        let mut body = ContainerCreateBody::default();
        confine(&mut body, sandbox, abilities);
        serde_json::to_value(body).expect("a body is JSON")
    }

    #[test]
    fn what_holds_without_a_policy() {
        let want = json!({
            "StopTimeout": 10,
            "HostConfig": {
                "PidsLimit": 4096,
                "CapDrop": ["ALL"],
                "CapAdd": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"],
                "SecurityOpt": ["no-new-privileges"],
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10485760", "max-file": "3"}},
            },
        });
        assert_eq!(body(&Sandbox::default(), &JSON_FILE), want);
    }

    #[test]
    fn everything_that_a_policy_can_say() {
        let sandbox = Sandbox {
            memory: Some(64 << 20),
            nano_cpus: Some(8_000_000_000),
            pids: Some(7),
            user: Some("1000:1000".to_owned()),
            capabilities: Vec::new(),
            no_new_privileges: false,
            read_only: true,
            tmpfs: BTreeMap::from([("/tmp".to_owned(), "size=1m".to_owned())]),
            network: Some("games".to_owned()),
            log: None,
            ulimits: vec![Ulimit { name: "nofile".to_owned(), soft: 64, hard: 128 }],
            runtime: Some("runsc".to_owned()),
            mounts: vec![
                Mount { source: "/srv/maps".to_owned(), target: "/maps".to_owned(), read_only: true },
                Mount { source: "saves".to_owned(), target: "/saves".to_owned(), read_only: false },
            ],
            gpus: Some(Gpus::All),
            stop_grace: Duration::from_secs(30),
        };
        let want = json!({
            "User": "1000:1000",
            "StopTimeout": 30,
            "HostConfig": {
                "Memory": 67_108_864,
                "MemorySwap": 67_108_864,
                "NanoCpus": 2_000_000_000,
                "PidsLimit": 7,
                "CapDrop": ["ALL"],
                "ReadonlyRootfs": true,
                "Tmpfs": {"/tmp": "size=1m"},
                "NetworkMode": "games",
                "Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 128}],
                "Runtime": "runsc",
                "Mounts": [
                    {"Type": "bind", "Source": "/srv/maps", "Target": "/maps", "ReadOnly": true},
                    {"Type": "volume", "Source": "saves", "Target": "/saves", "ReadOnly": false},
                ],
                "DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}],
            },
        });
        assert_eq!(body(&sandbox, &JSON_FILE), want);
    }

    #[test]
    fn a_log_is_rotated_where_the_engines_driver_can() {
        let rotation = Some(LogRotation { max_size: 5, files: 1 });
        for (driver, want) in [
            (None, Value::Null),
            (Some(LogDriver::JsonFile), json!({"Type": "json-file", "Config": {"max-size": "5", "max-file": "1"}})),
            (
                Some(LogDriver::Local),
                json!({"Type": "local", "Config": {"max-size": "5", "max-file": "1", "compress": "false"}}),
            ),
        ] {
            let sandbox = Sandbox { log: rotation, ..Sandbox::default() };
            let body = body(&sandbox, &Abilities { log_driver: driver, processors: None });
            assert_eq!(body["HostConfig"]["LogConfig"], want, "{driver:?}");
        }
    }
}
