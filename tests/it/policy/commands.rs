//! `config policy check`, `runtime explain`, and what the other commands say of a policy that is none.

use std::fs;

use serde_json::{Value, json};
use tempfile::tempdir;

use super::{SECRET, path, startjobs, stderr, stdout, write};
use crate::tidy::document;

const GOOD: &str = r#"
allowed-images = ["docker.io/galaxy/*", "registry.example/games/**"]

[defaults]
memory = "512MiB"
capabilities = []
env = { TOKEN = "open-sesame", REGION = "eu" }

[[image]]
match = "docker.io/galaxy/big-*"
memory = "4GiB"
capabilities = ["NET_RAW"]
"#;

#[test]
fn a_check_names_every_problem_at_once() {
    let directory = tempdir().expect("a directory");
    let text = format!(
        "memroy = 1\nallowed-images = [\n  \"galaxy/*\"]\n[defaults]\nnetwork = \"host\"\nenv.\"TO-KEN\" = \"{SECRET}\"\n\
         env.OTHER = {{ x = \"{SECRET}\" }}\n"
    );
    let file = write(directory.path(), "policy.toml", &text);
    let output = startjobs(&["config", "policy", "check", path(&file)], &[]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let said = stdout(&output).replace(path(&file), "FILE");
    let expected = r#"problem: line 1: memroy
    is not a key; the keys here are allowed-images, require-digest, containers-max, defaults, image
problem: line 3: allowed-images = "galaxy/*"
    has no registry; write "docker.io/galaxy/*"
problem: line 5: defaults.network = "host"
    would give a game every port and service of its host; name a network of the engine
problem: line 6: defaults.env.TO-KEN
    is not a name of the environment: write letters, digits and `_`, no digit first
problem: line 7: defaults.env.OTHER
    names no file; write { file = "/run/secrets/name" }, an absolute path, or the name of a credential of systemd
FILE has 5 problems
"#;
    assert_eq!(said, expected);
    let output = startjobs(&["config", "policy", "check", path(&file), "--json"], &[]);
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((shown["schema_version"].as_u64(), shown["ok"].as_bool()), (Some(1), Some(false)));
    assert_eq!(shown["problems"][2]["line"], 5);
    assert_eq!(shown["problems"][2]["key"], "defaults.network");
    // The same words where a replica would start, and where settings are shown.
    let environment = [("STARTJOBS_POLICY_FILE", path(&file))];
    for command in [&["worker"][..], &["config", "show"]] {
        let output = startjobs(command, &environment);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{command:?}: {said}");
        assert!(said.contains("the policy has 5 problems") && said.contains("line 5: defaults.network"), "{said}");
    }
    let doctor = stdout(&startjobs(&["doctor", "--engine", "simulated", "--timeout", "1s"], &environment));
    assert!(doctor.contains("fail  policy") && doctor.contains("(and 4 more)"), "{doctor}");
}

#[test]
fn a_good_file_has_a_digest_and_warnings() {
    let directory = tempdir().expect("a directory");
    let file = write(directory.path(), "policy.toml", GOOD);
    let output = startjobs(&["config", "policy", "check", path(&file)], &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = stdout(&output);
    let warning = "warning: line 12: image 1.capabilities\n    keeps NET_RAW: it may forge packets";
    assert!(said.contains(warning) && said.contains(" is a policy, digest "), "{said}");
    for (name, bytes, words) in [
        ("missing.toml", None, "cannot be read"),
        ("large.toml", Some(vec![b'#'; (1 << 20) + 1]), "is longer than 1048576 bytes"),
        ("latin1.toml", Some(b"# \xe9".to_vec()), "is not UTF-8 text in line 1"),
    ] {
        let file = directory.path().join(name);
        if let Some(bytes) = bytes {
            fs::write(&file, bytes).expect("a file");
        }
        let output = startjobs(&["config", "policy", "check", path(&file)], &[]);
        assert_eq!(output.status.code(), Some(78), "{name}: {output:?}");
        let said = stdout(&output);
        assert!(said.starts_with(&format!("problem: {} {words}", path(&file))), "{name}: {said}");
        assert!(said.ends_with(&format!("{} has 1 problem\n", path(&file))), "{name}: {said}");
    }
    let url = format!("redis://u:{SECRET}@h");
    for command in [&["config", "policy", "check", &url][..], &["runtime", "explain", &url]] {
        startjobs(command, &[]);
    }
}

#[test]
fn no_file_and_no_value_of_the_setting_allows_everything_by_being_empty() {
    let directory = tempdir().expect("a directory");
    let file = write(directory.path(), "policy.toml", "# Written by a template.\n");
    let output = startjobs(&["config", "policy", "check", path(&file)], &[]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let said = stdout(&output);
    assert!(said.contains("policy.toml is empty; to allow every image write allowed-images = [\"**\"]"), "{said}");
    let explain = ["runtime", "explain", "redis"];
    for (arguments, environment) in [
        (&["--policy-file", path(&file)][..], &[][..]),
        (&["--policy-file", ""], &[]),
        (&[], &[("STARTJOBS_POLICY_FILE", "")]),
        (&[], &[("STARTJOBS_POLICY_FILE", " ")]),
    ] {
        let output = startjobs(&[&explain[..], arguments].concat(), environment);
        assert_eq!(output.status.code(), Some(78), "{arguments:?} {environment:?}: {output:?}");
        assert!(stderr(&output).contains("empty"), "{arguments:?} {environment:?}: {output:?}");
    }
}

#[test]
fn files_of_env_are_found_by_path_and_by_the_name_of_a_credential() {
    let directory = tempdir().expect("a directory");
    write(directory.path(), "token", SECRET);
    let text = |file: &str| {
        format!("allowed-images = [\"**\"]\n[defaults]\nmemory = \"off\"\nenv.A = {{ file = \"{file}\" }}\n")
    };
    let absolute = directory.path().join("token");
    let credentials = [("CREDENTIALS_DIRECTORY", path(directory.path()))];
    for (named, environment, problem) in [
        (path(&absolute), &[][..], ""),
        ("token", &credentials[..], ""),
        ("token", &[], "the name of a credential, but CREDENTIALS_DIRECTORY is not set"),
        ("other", &credentials, "names the file \"other\", which cannot be read"),
        ("/no/such/file", &[], "names the file \"/no/such/file\", which cannot be read"),
    ] {
        let file = write(directory.path(), "policy.toml", &text(named));
        let check = ["config", "policy", "check", path(&file)];
        let output = startjobs(&check, environment);
        let expected = if problem.is_empty() { 0 } else { 78 };
        assert_eq!(output.status.code(), Some(expected), "{named}: {output:?}");
        assert!(stdout(&output).contains(problem), "{named}: {output:?}");
        let output = startjobs(&[&check[..], &["--without-files"]].concat(), &[]);
        assert_eq!(output.status.code(), Some(0), "{named}: {output:?}");
    }
}

#[test]
fn explain_says_what_an_image_gets_and_which_line_says_so() {
    let directory = tempdir().expect("a directory");
    let file = write(directory.path(), "policy.toml", GOOD);
    let explain = |image: &str| startjobs(&["runtime", "explain", image, "--policy-file", path(&file)], &[]);
    let output = explain("galaxy/big-one:1");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = stdout(&output).replace(path(&file), "FILE");
    let rows: Vec<String> = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for row in [
        "docker.io/galaxy/big-one:1 may run: allowed-images of FILE has \"docker.io/galaxy/*\"",
        "the [[image]] in line 9 applies: match docker.io/galaxy/big-*",
        "KEY VALUE FROM",
        "memory 4GiB [[image]], line 11",
        "cpus unlimited built in",
        "pids 4096 built in",
        "capabilities NET_RAW [[image]], line 12",
        "no-new-privileges true built in",
        "mounts none built in",
        "env.TOKEN *** [defaults], line 7",
        "env.REGION *** [defaults], line 7",
    ] {
        assert!(rows.iter().any(|shown| shown == row), "{row}\n{said}");
    }
    let output = explain("galaxy/small");
    assert!(stdout(&output).contains("no [[image]] applies"), "{output:?}");
    let output = explain("redis");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stdout(&output).contains("with image_not_allowed:"), "{output:?}");
    assert_eq!(explain("Not An Image").status.code(), Some(2));

    let arguments = ["runtime", "explain", "redis", "--json"];
    let output = startjobs(&arguments, &[("STARTJOBS_POLICY_FILE", path(&file))]);
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (output.status.code(), &shown["allowed"], &shown["schema_version"]),
        (Some(1), &json!(false), &json!(1))
    );
    assert_eq!(shown["error_code"], "image_not_allowed");
    assert_eq!(shown["gets"][0], json!({"key": "memory", "value": "512MiB", "from": "defaults", "line": 5}));

    let output = startjobs(&["runtime", "explain", "redis"], &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).contains("may run: there is no policy file"), "{output:?}");
}

#[test]
fn the_documentation_lists_every_key_and_its_examples_are_policies() {
    let text = document("docs/policy.md");
    for key in startjobs::policy::read::all_keys() {
        assert!(text.contains(&format!("| `{key}` |")), "docs/policy.md has a row for {key}");
    }
    let directory = tempdir().expect("a directory");
    let mut examples = 0;
    for part in text.split("```toml\n").skip(1) {
        let example = part.split("```").next().expect("the end of the example");
        let file = write(directory.path(), "example.toml", example);
        let output = startjobs(&["config", "policy", "check", "--without-files", path(&file)], &[]);
        assert_eq!(output.status.code(), Some(0), "{example}\n{output:?}");
        examples += 1;
    }
    assert!(examples >= 3, "the examples are found");
}
