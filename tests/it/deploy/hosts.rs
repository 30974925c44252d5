//! The files for hosts with an engine of their own: what differs from host to host is set, and a host does not fall silent
//! while its replicas are replaced.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::files::{UNIT, compose_variables, drain_of, settings_of, unit_values, yaml};
use super::{files_below, text_of};

const COMPOSE: &str = "deploy/compose.host.yaml";
const SWARM: &str = "deploy/swarm.hosts.yaml";
const MANIFESTS: &str = "deploy/kubernetes-hosts";
/// An address as an operator gives it.
const ADDRESS: &str = "10.0.0.11";

/// The settings of a service, with what an operator or Swarm puts in.
fn settings(path: &str) -> Vec<(String, String)> {
    let variables = compose_variables(&yaml(path)["services"]["worker"]);
    let put_in = |(name, value): (String, String)| {
        let value = if value.starts_with("${STARTJOBS_HOST") { ADDRESS.to_owned() } else { value };
        (name, value.replace("{{.Node.Hostname}}", "node-1"))
    };
    settings_of(&variables.into_iter().map(put_in).collect::<Vec<_>>(), path)
}

fn value<'a>(settings: &'a [(String, String)], name: &str) -> &'a str {
    settings.iter().find(|(one, _)| one == name).map_or("", |(_, value)| value.as_str())
}

#[test]
fn compose_and_swarm_of_a_host_set_real_settings_and_wait_longer_than_the_drain() {
    for path in [COMPOSE, SWARM] {
        let worker = &yaml(path)["services"]["worker"];
        let settings = settings(path);
        let grace = humantime::parse_duration(worker["stop_grace_period"].as_str().expect("text"));
        assert!(grace.expect("a duration") >= drain_of(&settings) + Duration::from_secs(15), "{path}");
        assert_eq!(worker["read_only"], true, "{path}");
        assert_eq!(worker["cap_drop"], serde_json::json!(["ALL"]), "{path}");
        for name in ["advertise-host", "publish-address", "host-heartbeat"] {
            assert_ne!(value(&settings, name), "", "{path} sets {name}");
        }
    }
}

#[test]
fn compose_of_a_host_publishes_on_its_address_and_names_itself() {
    let services = &yaml(COMPOSE)["services"];
    let settings = settings(COMPOSE);
    // The engine is a socket here, so what is published must be an address that readers reach.
    assert_eq!(value(&settings, "publish-address"), ADDRESS);
    assert_eq!(value(&settings, "engine-host-id"), "", "each host names itself");
    assert_eq!(services["worker"]["deploy"]["replicas"], "${STARTJOBS_REPLICAS:-2}");
}

#[test]
fn a_swarm_has_one_replica_on_each_node_which_is_named_after_it() {
    let worker = &yaml(SWARM)["services"]["worker"];
    let deploy = &worker["deploy"];
    assert_eq!((&deploy["mode"], deploy["replicas"].is_null()), (&"global".into(), true));
    // In the network of the node two of them would want one port.
    assert_eq!(yaml(SWARM)["networks"]["node"], serde_json::json!({ "external": true, "name": "host" }));
    assert_eq!(deploy["update_config"]["order"], "stop-first");
    let settings = settings(SWARM);
    assert_eq!(value(&settings, "engine-host-id"), "node-1");
    assert_eq!(value(&settings, "docker-host"), "", "the socket is the default");
    is_silent_no_longer_than_a_replacement(SWARM, value(&settings, "host-heartbeat"));
    assert!(worker["user"].as_str().is_some_and(|user| user.starts_with("65532:${STARTJOBS_DOCKER_GROUP:?")));
}

/// With one replica on a host, the old one drains and the new one comes up within the heartbeat.
fn is_silent_no_longer_than_a_replacement(path: &str, heartbeat: &str) {
    let heartbeat = humantime::parse_duration(heartbeat).expect("a duration");
    assert!(heartbeat >= Duration::from_secs(120), "{path}: {heartbeat:?}");
}

#[test]
fn the_unit_reads_what_differs_from_host_to_host() {
    let text = text_of(UNIT);
    let files = ["startjobs.env", "host.env", "%i.env"].map(|name| format!("-/etc/startjobs/{name}"));
    assert_eq!(unit_values(&text, "EnvironmentFile"), files, "what comes later wins");
    assert_eq!(unit_values(&text, "SupplementaryGroups"), ["docker"], "the group of the engine's socket");
    let after = unit_values(&text, "After").join(" ");
    assert!(after.contains("docker.service"), "{after}");

    let example = text_of("deploy/systemd/host.env.example");
    let lines = example
        .lines()
        .map(|line| line.strip_prefix("#STARTJOBS").map_or(line.to_owned(), |rest| format!("STARTJOBS{rest}")));
    let variables: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .filter(|(name, _)| name.starts_with("STARTJOBS_"))
        .collect();
    let settings = settings_of(&variables, "host.env.example");
    for name in ["advertise-host", "publish-address", "port-range", "engine-host-id"] {
        assert_ne!(value(&settings, name), "", "{name}");
    }
    drain_of(&settings);
}

fn manifest(name: &str) -> Value {
    yaml(&format!("{MANIFESTS}/{name}"))
}

#[test]
fn the_daemon_set_takes_name_and_address_from_its_node() {
    let daemon_set = manifest("daemonset.yaml");
    let pod = &daemon_set["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    let environment = container["env"].as_array().expect("a list");
    let field = |name: &str| {
        let found = environment.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name} is set"));
        found["valueFrom"]["fieldRef"]["fieldPath"].as_str().expect("a field").to_owned()
    };
    assert_eq!(field("STARTJOBS_ENGINE_HOST_ID"), "spec.nodeName");
    // A pod's loopback is not the node's: a game is published on an address that the pod reaches.
    assert_eq!(field("STARTJOBS_PUBLISH_ADDRESS"), "status.hostIP");
    assert_eq!(field("STARTJOBS_ADVERTISE_HOST"), "status.hostIP");

    let config = manifest("configmap.yaml");
    let mut variables: Vec<(String, String)> = config["data"]
        .as_object()
        .expect("a map")
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
        .collect();
    for variable in environment {
        variables.push((variable["name"].as_str().expect("text").to_owned(), ADDRESS.to_owned()));
    }
    let settings = settings_of(&variables, MANIFESTS);
    is_silent_no_longer_than_a_replacement(MANIFESTS, value(&settings, "host-heartbeat"));
    let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().expect("seconds");
    assert_eq!(Duration::from_secs(grace), drain_of(&settings) + Duration::from_secs(15));
    assert_eq!(value(&settings, "http-addr"), format!("0.0.0.0:{}", container["ports"][0]["containerPort"]));
    // The new pod of a node works before the old one drains.
    let update = &daemon_set["spec"]["updateStrategy"]["rollingUpdate"];
    assert_eq!((&update["maxSurge"], &update["maxUnavailable"]), (&1.into(), &0.into()));
    let of_pod = &pod["spec"]["securityContext"];
    assert_eq!((&of_pod["runAsNonRoot"], of_pod["supplementalGroups"].is_array()), (&true.into(), true));
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    let socket = pod["spec"]["volumes"].as_array().expect("a list").iter().find(|one| one["name"] == "docker");
    let socket = &socket.expect("the socket of the node")["hostPath"];
    assert_eq!(*socket, serde_json::json!({ "path": "/var/run/docker.sock", "type": "Socket" }));
    assert_eq!(pod["spec"]["nodeSelector"], serde_json::json!({ "startjobs/games": "yes" }));
}

#[test]
fn the_manifests_of_hosts_agree_with_each_other() {
    let kustomization = manifest("kustomization.yaml");
    let listed = kustomization["resources"].as_array().expect("a list");
    for path in files_below(MANIFESTS) {
        let name = Path::new(&path).file_name().and_then(|name| name.to_str()).expect("a name");
        let text = text_of(&path);
        assert!(text.starts_with("# Where Docker is:"), "{path}");
        let object = yaml(&path);
        if name == "kustomization.yaml" {
            continue;
        }
        assert!(listed.contains(&Value::from(name)), "{name}");
        let namespace =
            if name == "namespace.yaml" { &object["metadata"]["name"] } else { &object["metadata"]["namespace"] };
        assert_eq!(*namespace, kustomization["namespace"], "{name}");
    }
    let labels = &manifest("daemonset.yaml")["spec"]["template"]["metadata"]["labels"];
    for selector in [
        &manifest("daemonset.yaml")["spec"]["selector"]["matchLabels"],
        &manifest("networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
    ] {
        for (name, value) in selector.as_object().expect("a map") {
            assert_eq!(labels[name], *value, "{name}");
        }
    }
}
