//! Every file of deploy/ through its checker, and what no checker sees: that the files name real settings and agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use startjobs::settings::table;

use super::tools::{debian, passes, pypi};
use super::{STARTJOBS, files_below, has_extension, root, temporary, text_of};
use crate::support::world::load;

const COMPOSE: &[&str] = &["deploy/compose.yaml", "deploy/swarm.yaml"];
/// The same for hosts with an engine of their own, which `hosts` looks at.
const COMPOSE_OF_HOSTS: &[&str] = &["deploy/compose.host.yaml", "deploy/swarm.hosts.yaml"];
pub(super) const UNIT: &str = "deploy/systemd/startjobs@.service";
/// Custom resources: no schema of Kubernetes itself knows them.
const CUSTOM: &[&str] = &["keda.yaml", "podmonitor.yaml", "kustomization.yaml"];

pub(super) fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text_of(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The objects of deploy/kubernetes, by file name.
fn manifests() -> Vec<(String, Value)> {
    let files = files_below("deploy/kubernetes");
    let name = |path: &str| Path::new(path).file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    files.iter().map(|path| (name(path), yaml(path))).collect()
}

fn manifest(name: &str) -> Value {
    yaml(&format!("deploy/kubernetes/{name}"))
}

#[test]
fn hadolint_finds_nothing() {
    if let Some(mut hadolint) = pypi("hadolint") {
        passes(hadolint.arg("deploy/Dockerfile"));
    }
}

#[test]
fn the_compose_files_match_their_schema() {
    if let Some(mut check) = pypi("check-jsonschema") {
        passes(check.args(["--builtin-schema", "vendor.compose-spec"]).args(COMPOSE).args(COMPOSE_OF_HOSTS));
    }
}

#[test]
fn the_manifests_match_the_schemas_of_kubernetes() {
    let Some(mut validate) = pypi("kubernetes-validate") else { return };
    let manifests = [files_below("deploy/kubernetes"), files_below("deploy/kubernetes-hosts")].concat();
    let own = manifests.iter().filter(|path| !CUSTOM.iter().any(|custom| path.ends_with(custom)));
    let said = passes(validate.arg("--strict").args(own.clone()));
    assert_eq!(said.matches(" passed for resource").count(), own.count(), "{said}");
}

#[test]
fn shellcheck_finds_nothing() {
    let Some(mut shellcheck) = debian("shellcheck", "shellcheck") else { return };
    let scripts = files_below("deploy").into_iter().filter(|path| has_extension(path, "sh"));
    passes(shellcheck.current_dir(root()).arg("--external-sources").args(scripts));
}

#[test]
fn the_peers_of_the_bench_are_well_formed() {
    let Some(mut python) = debian("python3", "python3") else { return };
    let parse = "import ast, sys\nfor name in sys.argv[1:]: ast.parse(open(name).read(), name)";
    let programs = files_below("deploy/peers").into_iter().filter(|path| has_extension(path, "py"));
    passes(python.current_dir(root()).args(["-c", parse]).args(programs));
}

#[test]
fn systemd_takes_the_units_and_their_exposure_is_low() {
    let Some(mut verify) = debian("systemd-analyze", "systemd") else { return };
    let folder = temporary();
    let program = "/usr/local/bin/startjobs";
    let text = text_of(UNIT);
    assert!(text.contains(&format!("ExecStart={program} worker\n")));
    // Verified with a program that is there, and as an instance.
    let instance = folder.path().join("startjobs@01.service");
    for unit in [&instance, &folder.path().join("startjobs@.service")] {
        fs::write(unit, text.replace(program, STARTJOBS)).expect("the folder is ours");
    }
    let target = folder.path().join("startjobs.target");
    fs::write(&target, text_of("deploy/systemd/startjobs.target")).expect("the folder is ours");
    let said = passes(verify.args(["verify", "--man=no"]).args([&instance, &target]));
    // It exits with 0 for what it does not know, too.
    assert!(!said.contains(folder.path().to_str().expect("text")), "{said}");

    let mut security = debian("systemd-analyze", "systemd").expect("it was there");
    let said = passes(security.args(["security", "--offline=true", "--threshold=20"]).arg(root().join(UNIT)));
    assert!(said.contains("Overall exposure level"), "{said}");
}

#[test]
fn prometheus_takes_the_configuration_in_compose() {
    let Some(mut promtool) = debian("promtool", "prometheus") else { return };
    let folder = temporary();
    let config = folder.path().join("prometheus.yml");
    let compose = yaml("deploy/compose.yaml");
    let content = compose["configs"]["prometheus"]["content"].as_str().expect("it stands in the file");
    fs::write(&config, content).expect("the folder is ours");
    passes(promtool.args(["check", "config", "--syntax-only"]).arg(&config));
    for name in ["grafana_datasources", "grafana_dashboards"] {
        let content = compose["configs"][name]["content"].as_str().expect("it stands in the file");
        serde_saphyr::from_str::<Value>(content).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn redis_takes_the_options_in_compose() {
    let compose = yaml("deploy/compose.yaml");
    let command = compose["services"]["redis"]["command"].as_array().expect("a list");
    let words: Vec<&str> = command.iter().map(|word| word.as_str().expect("text")).collect();
    assert_eq!(words[0], "redis-server");
    let secrets = temporary();
    passes(std::process::Command::new(root().join("deploy/redis/make-secrets.sh")).arg(secrets.path()));
    let users = secrets.path().join("users.acl");
    let options: Vec<&str> = words[1..]
        .iter()
        .map(|&word| if word == "/run/secrets/redis_users" { users.to_str().expect("text") } else { word })
        .collect();
    startjobs::embedded::redis_server::RedisServer::start_with(Path::new("redis-server"), &options)
        .expect("the options are redis-server's");
}

/// Settings as one deployment sets them: names and values. What is interpolated becomes its default, or `x`.
pub(super) fn settings_of(variables: &[(String, String)], whence: &str) -> Vec<(String, String)> {
    let rows = variables.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("STARTJOBS_")?.to_lowercase().replace('_', "-");
        assert!(table::row(&name).is_some(), "{whence}: there is no setting {name}");
        let mut value = value.clone();
        while let Some((before, rest)) = value.split_once("${") {
            let (inside, after) = rest.split_once('}').unwrap_or((rest, ""));
            let chosen = inside.split_once(":-").map_or("x", |(_, default)| default);
            value = format!("{before}{chosen}{after}");
        }
        Some((name, value))
    });
    rows.collect()
}

/// Loads the settings as a worker would, with a password file that is there, and answers the drain timeout.
pub(super) fn drain_of(settings: &[(String, String)]) -> Duration {
    let folder = temporary();
    let file = folder.path().join("password");
    fs::write(&file, "sesame").expect("the folder is ours");
    let is_file = |name: &str| name == "redis-password-file";
    let there = |(name, value): &(String, String)| {
        (name.clone(), if is_file(name) { file.display().to_string() } else { value.clone() })
    };
    load(&settings.iter().map(there).collect::<Vec<_>>()).worker.drain_timeout
}

pub(super) fn compose_variables(service: &Value) -> Vec<(String, String)> {
    let environment = service["environment"].as_object().expect("a map");
    environment.iter().map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect()
}

#[test]
fn compose_and_swarm_set_real_settings_and_wait_longer_than_the_drain() {
    for path in COMPOSE {
        let worker = &yaml(path)["services"]["worker"];
        let settings = settings_of(&compose_variables(worker), path);
        let grace = humantime::parse_duration(worker["stop_grace_period"].as_str().expect("text"));
        assert!(grace.expect("a duration") >= drain_of(&settings) + Duration::from_secs(15), "{path}");
        assert!(!worker["volumes"].to_string().contains("docker.sock"), "{path}: no replica has the socket");
        assert_eq!(worker["read_only"], true, "{path}");
    }
    let update = yaml("deploy/swarm.yaml")["services"]["worker"]["deploy"]["update_config"].clone();
    assert_eq!((&update["order"], &update["failure_action"]), (&"start-first".into(), &"rollback".into()));
}

/// The values of a list, as text.
fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|one| one.as_str().expect("text")).collect()
}

#[test]
fn the_engine_is_reached_by_a_socket_that_only_proxy_and_replicas_have() {
    for path in ["deploy/compose.yaml", "deploy/compose.host.yaml"] {
        let compose = yaml(path);
        let proxy = &compose["services"]["docker-proxy"];
        // No address leads to it.
        assert_eq!((&proxy["network_mode"], &proxy["ports"]), (&"none".into(), &Value::Null), "{path}");
        assert_eq!(proxy["cap_drop"], serde_json::json!(["ALL"]), "{path}");
        for (name, service) in compose["services"].as_object().expect("a map") {
            let volumes = texts(&service["volumes"]);
            let has = |what: &str| volumes.iter().any(|one| one.starts_with(what));
            assert_eq!(has("/var/run/docker.sock:"), name == "docker-proxy", "{path}: {name}");
            assert_eq!(has("engine:"), ["docker-proxy", "worker"].contains(&name.as_str()), "{path}: {name}");
        }
        let bound = text_of("deploy/engine-proxy/haproxy.cfg");
        let socket = bound.split_once("bind unix@").and_then(|(_, rest)| rest.split(' ').next()).expect("a socket");
        let environment = &compose["services"]["worker"]["environment"];
        assert_eq!(environment["STARTJOBS_DOCKER_HOST"], format!("unix://{socket}"), "{path}");
        // Only the group of the replicas enters the folder of the socket, and the proxy is of that group.
        let options = compose["volumes"]["engine"]["driver_opts"]["o"].as_str().expect("text");
        assert!(options.contains("mode=0750,uid=0,gid=65532"), "{path}: {options}");
        assert_eq!(proxy["user"], "0:65532", "{path}");
        assert!(text_of("deploy/Dockerfile").contains("USER 65532:65532"));
        for name in ["docker-proxy", "worker"] {
            assert_eq!(compose["services"][name]["userns_mode"], "host", "{path}: {name}");
        }
    }
}

#[test]
fn compose_publishes_games_at_the_gateway_of_its_network_and_all_else_for_this_machine_alone() {
    let compose = yaml("deploy/compose.yaml");
    let gateway = compose["networks"]["startjobs"]["ipam"]["config"][0]["gateway"].as_str().expect("text");
    let environment = &compose["services"]["worker"]["environment"];
    for name in ["STARTJOBS_PUBLISH_ADDRESS", "STARTJOBS_ADVERTISE_HOST"] {
        assert_eq!(environment[name], format!("${{STARTJOBS_HOST:-{gateway}}}"), "{name}");
    }
    for (name, service) in compose["services"].as_object().expect("a map") {
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port}");
        }
    }
}

#[test]
fn haproxy_takes_the_configuration_of_the_proxy() {
    let Some(mut haproxy) = debian("haproxy", "haproxy") else { return };
    passes(haproxy.args(["-c", "-f"]).arg(root().join("deploy/engine-proxy/haproxy.cfg")));
}

/// The values of a key in a unit.
pub(super) fn unit_values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_unit_sets_real_settings_and_waits_longer_than_the_drain() {
    let text = text_of(UNIT);
    let assignments = unit_values(&text, "Environment");
    let variables: Vec<(String, String)> = assignments
        .iter()
        .map(|line| line.replace("%i", "01").split_once('=').map(|(a, b)| (a.into(), b.into())).expect("NAME=value"))
        .collect();
    let settings = settings_of(&variables, UNIT);
    let number = |key: &str| -> u64 { unit_values(&text, key)[0].parse().expect("seconds") };
    assert!(Duration::from_secs(number("TimeoutStopSec")) >= drain_of(&settings) + Duration::from_secs(15));
    // The loop's own limit is ten seconds, and the watchdog is fed at half of its own.
    assert!(number("WatchdogSec") >= 20);
    let wanted = [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("KillMode", "mixed"),
        ("Restart", "always"),
        ("RestartPreventExitStatus", "78"),
        ("DynamicUser", "yes"),
        ("SupplementaryGroups", "docker"),
        ("LoadCredential", "redis-password:/etc/startjobs/redis-password"),
    ];
    for (key, value) in wanted {
        assert_eq!(unit_values(&text, key), [value], "{key}");
    }
}

#[test]
fn the_manifests_agree_with_each_other_and_with_the_settings() {
    let config = manifest("configmap.yaml");
    let data = config["data"].as_object().expect("a map");
    let variables: Vec<(String, String)> =
        data.iter().map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect();
    let settings = settings_of(&variables, "configmap.yaml");

    let deployment = manifest("deployment.yaml");
    let pod = &deployment["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().expect("seconds");
    assert_eq!(Duration::from_secs(grace), drain_of(&settings) + Duration::from_secs(15));
    let probes = [("livenessProbe", "/livez"), ("readinessProbe", "/readyz"), ("startupProbe", "/startupz")];
    let served = text_of("src/observe/http.rs");
    for (probe, path) in probes {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert!(served.contains(&format!("\"{path}\"")), "{path} is served");
    }
    let port = &container["ports"][0]["containerPort"];
    assert_eq!(data["STARTJOBS_HTTP_ADDR"], format!("0.0.0.0:{port}"));
    let mounted = container["volumeMounts"][0]["mountPath"].as_str().expect("a path");
    assert_eq!(data["STARTJOBS_REDIS_PASSWORD_FILE"], format!("{mounted}/redis-password"));
    assert!(manifest("secret.example.yaml")["stringData"]["redis-password"].is_string());

    // The restricted standard.
    let (of_pod, of_container) = (&pod["spec"]["securityContext"], &container["securityContext"]);
    assert_eq!((&of_pod["runAsNonRoot"], &of_pod["runAsUser"]), (&true.into(), &65532.into()));
    assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(of_container["allowPrivilegeEscalation"], false);
    assert_eq!(of_container["readOnlyRootFilesystem"], true);
    assert_eq!(of_container["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    assert!(pod["spec"]["volumes"].as_array().expect("a list").iter().all(|volume| volume["hostPath"].is_null()));

    // Whoever selects pods selects these.
    let labels = &pod["metadata"]["labels"];
    let selected = [
        &manifest("pdb.yaml")["spec"]["selector"]["matchLabels"],
        &manifest("service.yaml")["spec"]["selector"],
        &manifest("networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
        &manifest("podmonitor.yaml")["spec"]["selector"]["matchLabels"],
        &deployment["spec"]["selector"]["matchLabels"],
        &pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ];
    for selector in selected {
        for (name, value) in selector.as_object().expect("a map") {
            assert_eq!(labels[name], *value, "{name}");
        }
    }

    // The engine may be reached.
    let docker = data["STARTJOBS_DOCKER_HOST"].as_str().expect("text");
    let address = docker.strip_prefix("tcp://").and_then(|rest| rest.strip_suffix(":2375")).expect("tcp, port 2375");
    let policy = manifest("networkpolicy.yaml").to_string();
    assert!(policy.contains(&format!("\"{address}/32\"")), "the network policy lets {address} be reached");
}

#[test]
fn every_manifest_is_in_the_kustomization_or_is_applied_by_itself() {
    let kustomization = manifest("kustomization.yaml");
    let listed: BTreeSet<&str> =
        kustomization["resources"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let by_itself = ["kustomization.yaml", "secret.example.yaml", "keda.yaml", "podmonitor.yaml"];
    for (name, object) in manifests() {
        assert!(listed.contains(name.as_str()) != by_itself.contains(&name.as_str()), "{name}");
        if name != "kustomization.yaml" && name != "namespace.yaml" {
            assert_eq!(object["metadata"]["namespace"], kustomization["namespace"], "{name}");
        }
    }
    // Nobody reads a file here without being told first where Docker is.
    for name in ["kustomization.yaml", "configmap.yaml", "deployment.yaml"] {
        let text = text_of(&format!("deploy/kubernetes/{name}"));
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("# Where Docker is:"), "{name} begins with: {first}");
    }
}

/// The fields that the ScaledObject of KEDA 2.17 has, as far as one may want them here.
const SCALED_OBJECT: &[&str] = &[
    "scaleTargetRef",
    "pollingInterval",
    "cooldownPeriod",
    "initialCooldownPeriod",
    "minReplicaCount",
    "maxReplicaCount",
    "fallback",
    "advanced",
    "triggers",
];
/// And those of the metadata of its prometheus trigger.
const PROMETHEUS_TRIGGER: &[&str] = &[
    "serverAddress",
    "query",
    "queryParameters",
    "threshold",
    "activationThreshold",
    "namespace",
    "customHeaders",
    "ignoreNullValues",
    "unsafeSsl",
    "timeout",
    "authModes",
];

fn only(object: &Value, known: &[&str]) {
    for name in object.as_object().expect("a map").keys() {
        assert!(known.contains(&name.as_str()), "there is no field {name}");
    }
}

#[test]
fn the_scaled_object_has_only_fields_of_keda_and_scales_on_our_backlog() {
    let object = manifest("keda.yaml");
    assert_eq!((&object["apiVersion"], &object["kind"]), (&"keda.sh/v1alpha1".into(), &"ScaledObject".into()));
    let spec = &object["spec"];
    only(spec, SCALED_OBJECT);
    only(&spec["fallback"], &["failureThreshold", "replicas", "behavior"]);
    let target = &spec["scaleTargetRef"];
    only(target, &["apiVersion", "kind", "name", "envSourceContainerName"]);
    assert_eq!(target["name"], manifest("deployment.yaml")["metadata"]["name"]);
    assert!(spec["minReplicaCount"].as_u64() >= Some(1), "the metric comes from the replicas");

    let triggers = spec["triggers"].as_array().expect("a list");
    assert_eq!(triggers.len(), 1);
    only(&triggers[0], &["type", "name", "metadata", "metricType", "useCachedMetrics", "authenticationRef"]);
    let metadata = &triggers[0]["metadata"];
    only(metadata, PROMETHEUS_TRIGGER);
    for (name, value) in metadata.as_object().expect("a map") {
        assert!(value.is_string(), "{name}: KEDA takes text alone");
    }
    // The gauge is exported under this name, and the threshold is what one replica takes.
    let query = metadata["query"].as_str().expect("text");
    let gauge = "startjobs_backlog";
    assert!(query.contains(&format!("max({gauge}{{")), "{query}");
    let metrics = startjobs::metrics::Metrics::new();
    metrics.group.looked();
    let exported = metrics.render();
    assert!(exported.contains(&format!("# TYPE {gauge} gauge")), "{gauge} is not exported");
    let slots = table::row("slots").expect("a setting").default.as_str();
    assert_eq!(metadata["threshold"], slots);
}

#[test]
fn the_image_is_nobodys_and_drains() {
    let text = text_of("deploy/Dockerfile");
    for line in ["USER 65532:65532", "STOPSIGNAL SIGTERM", "ENTRYPOINT [\"/startjobs\"]", "ARG BASE=scratch"] {
        assert!(text.lines().any(|one| one == line), "{line}");
    }
    assert!(text.contains("CMD [\"/startjobs\", \"healthcheck\"]"));
}
