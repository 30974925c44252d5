//! The lines for private images, which every way to deploy has as comments: what they are once they are none.

use serde_json::{Value, json};

use super::files::{UNIT, unit_values};
use super::text_of;

const NAME: &str = "STARTJOBS_DOCKER_CONFIG";

/// A file in which every setting is on that is off: a comment has a space behind its `#`, a setting has none.
fn with_all_on(path: &str) -> String {
    let on = |line: &str| match line.split_once('#') {
        Some((indent, rest)) if indent.trim().is_empty() && !rest.starts_with(' ') => format!("{indent}{rest}"),
        _ => line.to_owned(),
    };
    text_of(path).lines().map(|line| on(line) + "\n").collect()
}

fn yaml_with_all_on(path: &str) -> Value {
    serde_saphyr::from_str(&with_all_on(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn compose_and_swarm_bring_the_credentials_of_registries_as_a_secret() {
    for path in ["deploy/compose.yaml", "deploy/compose.host.yaml", "deploy/swarm.yaml", "deploy/swarm.hosts.yaml"] {
        let stack = yaml_with_all_on(path);
        let worker = &stack["services"]["worker"];
        assert_eq!(worker["environment"][NAME], "/run/secrets/docker_config", "{path}");
        let secrets = worker["secrets"].as_array().expect("a list");
        let has = |name: &str| secrets.iter().any(|secret| *secret == name || secret["target"] == name);
        assert!(has("redis_password") && has("docker_config"), "{path}: {secrets:?}");
        assert!(stack["secrets"]["docker_config"].is_object(), "{path}");
    }
}

#[test]
fn kubernetes_mounts_the_credentials_of_registries_and_may_ask_these() {
    for (folder, workload) in [("deploy/kubernetes", "deployment.yaml"), ("deploy/kubernetes-hosts", "daemonset.yaml")]
    {
        let pod = yaml_with_all_on(&format!("{folder}/{workload}"))["spec"]["template"]["spec"].clone();
        let named = |list: &Value| {
            let list = list.as_array().expect("a list");
            list.iter().find(|one| one["name"] == "registry").cloned().unwrap_or_else(|| panic!("{folder}: {list:?}"))
        };
        let mount = named(&pod["containers"][0]["volumeMounts"]);
        let file = yaml_with_all_on(&format!("{folder}/configmap.yaml"))["data"][NAME].clone();
        let expected = format!("{}/.dockerconfigjson", mount["mountPath"].as_str().expect("a path"));
        assert_eq!(file, expected, "{folder}");
        let secret = named(&pod["volumes"])["secret"]["secretName"].clone();
        let made = format!("create secret generic {} ", secret.as_str().expect("a name"));
        assert!(text_of("docs/kubernetes.md").contains(&made), "the documents say how {secret} is made");
        let egress = yaml_with_all_on(&format!("{folder}/networkpolicy.yaml"))["spec"]["egress"].clone();
        let to_registries = json!([{"protocol": "TCP", "port": 443}]);
        assert!(egress.as_array().expect("a list").iter().any(|rule| rule["ports"] == to_registries), "{folder}");
    }
}

#[test]
fn systemd_hands_the_credentials_of_registries_and_of_the_policy_to_the_replica() {
    let unit = with_all_on(UNIT);
    let credentials = unit_values(&unit, "LoadCredential");
    assert!(credentials.contains(&"docker-config:/etc/startjobs/docker-config.json"), "{credentials:?}");
    assert!(credentials.contains(&"license:/etc/startjobs/license"), "{credentials:?}");
    assert!(unit_values(&unit, "Environment").contains(&format!("{NAME}=%d/docker-config").as_str()), "{unit}");
}
