//! The strict policy: one file, which every way to deploy ships and sets.

use std::path::Path;

use serde_json::Value;
use startjobs::contract::image_ref::ImageRef;
use startjobs::policy::Policy;
use startjobs::policy::read::parse;

use super::files::{UNIT, unit_values, yaml};
use super::text_of;

const STRICT: &str = "deploy/policy/policy.strict.toml";
const NAME: &str = "STARTJOBS_POLICY_FILE";

fn policy(text: &str) -> Policy {
    let read = parse(text, &|path| Err(format!("no secret at {path}"))).unwrap_or_else(|report| panic!("{report}"));
    assert!(read.warnings.is_empty(), "{:?}", read.warnings);
    read.policy
}

#[test]
fn the_policy_of_the_deployment_files_is_strict() {
    let policy = policy(&text_of(STRICT));
    let terms = |image: &str| policy.terms(&ImageRef::parse(image).expect("a reference"));
    for image in ["galaxy/engine:1", "nginx:1", concat!("startjobs/demo-engine:", env!("CARGO_PKG_VERSION"))] {
        let sandbox = terms(image).unwrap_or_else(|refusal| panic!("{image}: {refusal}")).sandbox;
        assert_eq!(sandbox.capabilities, [""; 0], "{image}");
        assert!(sandbox.no_new_privileges && sandbox.read_only, "{image}");
        assert!(sandbox.memory.is_some() && sandbox.pids.is_some() && sandbox.log.is_some(), "{image}");
        assert!(sandbox.mounts.is_empty() && sandbox.gpus.is_none(), "{image}");
    }
    assert!(terms("registry.example/other/game:1").is_err(), "other registries are refused");
    // What it suggests for an image that needs more is a policy too.
    let suggested =
        text_of(STRICT).replace("\n#[[image]]\n#", "\n[[image]]\n").replace("\n#capabilities", "\ncapabilities");
    let more = self::policy(&suggested).terms(&ImageRef::parse("nginx:1").expect("a reference")).expect("allowed");
    assert_eq!(more.sandbox.capabilities, ["CHOWN", "SETGID", "SETUID"]);
}

#[test]
fn every_deployment_sets_the_strict_policy_and_brings_its_file() {
    for path in ["deploy/compose.yaml", "deploy/compose.host.yaml"] {
        let worker = &yaml(path)["services"]["worker"];
        assert_eq!(worker["environment"][NAME], "/etc/startjobs/policy/policy.strict.toml", "{path}");
        // The folder: a file that is mounted alone stays the old one when it is replaced.
        let volumes = worker["volumes"].as_array().expect("a list");
        assert!(volumes.contains(&Value::from("./policy:/etc/startjobs/policy:ro")), "{path}: {volumes:?}");
    }
    for path in ["deploy/swarm.yaml", "deploy/swarm.hosts.yaml"] {
        let stack = yaml(path);
        let worker = &stack["services"]["worker"];
        let config = &worker["configs"][0];
        assert_eq!(worker["environment"][NAME], config["target"], "{path}");
        let source = stack["configs"][config["source"].as_str().expect("text")]["file"].as_str().expect("text");
        assert_eq!(
            Path::new("deploy").join(source).as_path(),
            Path::new("deploy/./policy/policy.strict.toml"),
            "{path}"
        );
    }
    for (folder, workload) in [("deploy/kubernetes", "deployment.yaml"), ("deploy/kubernetes-hosts", "daemonset.yaml")]
    {
        assert_eq!(yaml(&format!("{folder}/configmap.yaml"))["data"][NAME], "/etc/startjobs/policy.toml", "{folder}");
        let map = yaml(&format!("{folder}/policy.yaml"));
        // A kustomization takes no file from outside its folder.
        assert_eq!(map["data"]["policy.toml"].as_str(), Some(text_of(STRICT).as_str()), "{folder}: copy {STRICT}");
        let pod = &yaml(&format!("{folder}/{workload}"))["spec"]["template"]["spec"];
        let mounts = pod["containers"][0]["volumeMounts"].as_array().expect("a list");
        let mount = mounts.iter().find(|mount| mount["name"] == "policy").expect("it is mounted");
        assert_eq!(mount["mountPath"], "/etc/startjobs", "{folder}");
        let volumes = pod["volumes"].as_array().expect("a list");
        let volume = volumes.iter().find(|volume| volume["name"] == "policy").expect("a volume");
        assert_eq!(volume["configMap"]["name"], map["metadata"]["name"], "{folder}");
        let resources = yaml(&format!("{folder}/kustomization.yaml"))["resources"].clone();
        assert!(resources.as_array().expect("a list").contains(&"policy.yaml".into()), "{folder}");
    }
    let unit = text_of(UNIT);
    assert!(unit_values(&unit, "Environment").contains(&format!("{NAME}=/etc/startjobs/policy.toml").as_str()));
    let installed = format!("install -m 640 -g docker {STRICT} /etc/startjobs/policy.toml");
    assert!(text_of("docs/operations.md").contains(&installed), "the documents say where it goes");
    assert!(unit_values(&unit, "SupplementaryGroups").contains(&"docker"), "the replica can read it");
}
