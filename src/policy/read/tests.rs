//! Every key with good and bad values; texts of any kind.

use std::time::Duration;

use proptest::prelude::*;

use super::section::KEYS;
use super::{Read, parse};
use crate::contract::image_ref::ImageRef;
use crate::engine::sandbox::Sandbox;
use crate::engine::sandbox::{Gpus, LogRotation, Mount, Ulimit};
use crate::policy::change::Set;
use crate::policy::change::{built_in, terms_of};
use crate::policy::{Policy, Terms};

fn no_secret(path: &str) -> Result<String, String> {
    match path {
        "/run/secrets/token" | "token" => Ok("sesame\n".to_owned()),
        _ => Err("cannot be read: no such file".to_owned()),
    }
}

fn read(text: &str) -> Read {
    parse(text, &no_secret).unwrap_or_else(|report| panic!("{text}\n{report}"))
}

fn problems(text: &str) -> Vec<String> {
    let report = parse(text, &no_secret).expect_err(text);
    report.problems().iter().map(|problem| problem.to_string().replace("\n    ", " ")).collect()
}

fn problem(text: &str) -> String {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{text}: {problems:?}");
    problems.concat()
}

fn terms(policy: &Policy, image: &str) -> Terms {
    policy.terms(&ImageRef::parse(image).expect("a reference")).expect("allowed")
}

fn defaults(key: &str) -> Sandbox {
    terms(&read(&format!("[defaults]\n{key}\n")).policy, "a/b").sandbox
}

#[test]
fn a_file_that_says_nothing_is_refused() {
    for text in ["", "\n\n", "# a comment\n", "[defaults]\n", "[defaults]\n[defaults.env]\n", "defaults = {}"] {
        assert_eq!(
            problem(text),
            "the file is empty; to allow every image write allowed-images = [\"**\"]",
            "{text:?}"
        );
    }
}

#[test]
fn a_file_that_allows_everything_is_the_policy_of_no_file() {
    let policy = read("allowed-images = [\"**\"]\n").policy;
    assert_eq!(terms(&policy, "a/b"), Terms::default());
    assert_eq!((policy.containers_max(), policy.digest().is_some()), (None, true));
    assert_eq!(Policy::default().digest(), None);
}

#[test]
fn what_is_missing_is_warned_of() {
    let missing = |text: &str| {
        let warnings = read(text).warnings.into_iter().map(|warning| warning.to_string());
        warnings.map(|warning| warning.split('\n').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(missing("require-digest = true"), ["allowed-images", "defaults.memory"]);
    assert_eq!(missing("allowed-images = [\"**\"]"), ["defaults.memory"]);
    assert_eq!(missing("[defaults]\nmemory = \"off\""), ["allowed-images"]);
}

#[test]
fn an_env_file_is_a_path_or_the_name_of_a_credential() {
    let read = read("[defaults]\nenv.A = { file = \"/run/secrets/token\" }\nenv.B = { file = \"token\" }\n");
    assert_eq!((read.files, read.holds_values), (vec!["/run/secrets/token".to_owned(), "token".to_owned()], false));
    for path in ["", "../token", "a/b", ".token", "a b"] {
        let said = problem(&format!("[defaults]\nenv.A = {{ file = \"{path}\" }}\n"));
        assert!(said.contains("names no file"), "{path}: {said}");
    }
}

#[test]
fn what_is_built_in_is_what_holds_without_a_file() {
    let layer = built_in().into_iter().map(|change| Set { change, line: 0 }).collect();
    assert_eq!(terms_of(&[&layer]), Terms::default());
}

#[test]
fn every_key_changes_its_own_field() {
    let base = Sandbox::default();
    let log = base.log.expect("rotated by default");
    let mount = Mount { source: "/srv/maps".into(), target: "/maps".into(), read_only: true };
    let options = |rest: &str| [("/tmp".to_owned(), format!("rw,nosuid,nodev,{rest}"))].into();
    let ulimit = |soft, hard| vec![Ulimit { name: "nofile".into(), soft, hard }];
    for (key, expected) in [
        ("memory = \"512MiB\"", Sandbox { memory: Some(512 << 20), ..base.clone() }),
        ("memory = 6291456", Sandbox { memory: Some(6 << 20), ..base.clone() }),
        ("memory = \"off\"", base.clone()),
        ("cpus = 1.5", Sandbox { nano_cpus: Some(1_500_000_000), ..base.clone() }),
        ("cpus = 2", Sandbox { nano_cpus: Some(2_000_000_000), ..base.clone() }),
        ("cpus = \"0.01\"", Sandbox { nano_cpus: Some(10_000_000), ..base.clone() }),
        ("pids = 100", Sandbox { pids: Some(100), ..base.clone() }),
        ("pids = \"off\"", Sandbox { pids: None, ..base.clone() }),
        ("user = \"1000:games\"", Sandbox { user: Some("1000:games".into()), ..base.clone() }),
        ("capabilities = []", Sandbox { capabilities: Vec::new(), ..base.clone() }),
        (
            "capabilities = [\"cap_setuid\", \"CHOWN\", \"SETUID\"]",
            Sandbox { capabilities: vec!["CHOWN".into(), "SETUID".into()], ..base.clone() },
        ),
        ("no-new-privileges = false", Sandbox { no_new_privileges: false, ..base.clone() }),
        ("read-only = true", Sandbox { read_only: true, ..base.clone() }),
        ("tmpfs = { \"/tmp/\" = \"64KiB\" }", Sandbox { tmpfs: options("noexec,size=65536"), ..base.clone() }),
        (
            "tmpfs = { \"/tmp\" = { size = \"64KiB\", exec = true, mode = \"1777\" } }",
            Sandbox { tmpfs: options("exec,size=65536,mode=1777"), ..base.clone() },
        ),
        ("network = \"games\"", Sandbox { network: Some("games".into()), ..base.clone() }),
        ("log-max-size = \"1MiB\"", Sandbox { log: Some(LogRotation { max_size: 1 << 20, ..log }), ..base.clone() }),
        ("log-files = 7", Sandbox { log: Some(LogRotation { files: 7, ..log }), ..base.clone() }),
        ("log-max-size = \"off\"\nlog-files = 7", Sandbox { log: None, ..base.clone() }),
        ("ulimits = { nofile = 1024 }", Sandbox { ulimits: ulimit(1024, 1024), ..base.clone() }),
        ("ulimits.nofile = { soft = 1, hard = -1 }", Sandbox { ulimits: ulimit(1, -1), ..base.clone() }),
        ("runtime = \"runsc\"", Sandbox { runtime: Some("runsc".into()), ..base.clone() }),
        ("gpus = \"all\"", Sandbox { gpus: Some(Gpus::All), ..base.clone() }),
        ("gpus = 2", Sandbox { gpus: Some(Gpus::Count(2)), ..base.clone() }),
        ("stop-grace = \"1m\"", Sandbox { stop_grace: Duration::from_secs(60), ..base.clone() }),
        (
            "mounts = [{ source = \"/srv//maps/\", target = \"/maps\" }]",
            Sandbox { mounts: vec![mount.clone()], ..base.clone() },
        ),
        (
            "mounts = [{ source = \"maps\", target = \"/maps\", read-only = false }]",
            Sandbox { mounts: vec![Mount { source: "maps".into(), read_only: false, ..mount }], ..base.clone() },
        ),
    ] {
        assert_eq!(defaults(key), expected, "{key}");
    }
}

#[test]
fn the_first_image_that_matches_overrides_the_defaults_key_by_key() {
    let text = r#"
        [defaults]
        memory = "64MiB"
        pids = 100
        log-files = 5
        log-max-size = "off"
        tmpfs = { "/tmp" = "1MiB", "/run" = "1MiB" }
        env = { A = "1", B = "2" }
        labels = { "example.team" = "blue" }
        mounts = [{ source = "maps", target = "/maps" }]

        [[image]]
        match = ["r.example/big/*", "r.example/huge"]
        memory = "1GiB"
        log-max-size = "1MiB"
        tmpfs = { "/tmp" = "2MiB", "/run" = "off" }
        env = { B = { file = "/run/secrets/token" }, C = 3 }
        mounts = []

        [[image]]
        match = "r.example/**"
        memory = "off"
    "#;
    let read = read(text);
    let big = terms(&read.policy, "r.example/big/a");
    assert_eq!((big.sandbox.memory, big.sandbox.pids), (Some(1 << 30), Some(100)));
    assert_eq!(big.sandbox.log, Some(LogRotation { max_size: 1 << 20, files: 5 }));
    assert_eq!(big.sandbox.tmpfs.keys().collect::<Vec<_>>(), ["/tmp"]);
    let env: Vec<(&str, &str)> = big.env.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(env, [("A", "1"), ("B", "sesame"), ("C", "3")]);
    assert!(big.sandbox.mounts.is_empty() && big.labels == [("example.team".to_owned(), "blue".to_owned())]);
    assert!(!format!("{read:?}{big:?}").contains("sesame"), "a secret is shown");
    assert_eq!(terms(&read.policy, "r.example/other").sandbox.memory, None, "the second rule");
    let plain = terms(&read.policy, "a/b").sandbox;
    assert_eq!((plain.memory, plain.mounts.len()), (Some(64 << 20), 1), "no rule");
}

#[test]
fn what_is_not_allowed_is_refused_with_the_rule_that_refuses_it() {
    let policy = read("allowed-images = [\"r.example/*\"]\nrequire-digest = true\ncontainers-max = 5").policy;
    let terms = |image: &str| {
        policy.terms(&ImageRef::parse(image).expect("a reference")).map_err(|refusal| refusal.to_string())
    };
    let refusal = terms("redis").expect_err("not in the list");
    assert!(refusal.contains("docker.io/library/redis:latest") && refusal.contains("allowed-images"), "{refusal}");
    let refusal = terms("r.example/a:1").expect_err("a tag");
    assert!(refusal.contains("require-digest") && refusal.contains("@sha256:"), "{refusal}");
    assert_eq!(terms(&format!("r.example/a@sha256:{}", "a".repeat(64))), Ok(Terms::default()));
    assert_eq!(policy.containers_max(), Some(5));
}

#[test]
fn bad_values_name_what_is_right() {
    for (key, advice) in [
        ("memory = \"512MB\"", "unknown unit; write bytes, KiB, MiB or GiB"),
        ("memory = \"1MiB\"", "must be from 6MiB to"),
        ("memory = -1", "not a size"),
        ("memory = true", "in quotes, such as \"512MiB\"; or write \"off\""),
        ("cpus = 0", "from 0.01 to 10000"),
        ("cpus = nan", "from 0.01 to 10000"),
        ("pids = \"many\"", "whole number from 1 to 4194304"),
        ("pids = 99999999999999999999", "whole number"),
        ("user = \"a b\"", "such as \"1000:1000\""),
        ("user = \"-x\"", "must be a user"),
        ("capabilities = \"CHOWN\"", "is the list"),
        ("capabilities = [\"SYS_ADMIN\"]", "must not hold SYS_ADMIN"),
        ("capabilities = [\"cap_sys_module\"]", "must not hold SYS_MODULE"),
        ("capabilities = [\"ALL\"]", "must not hold ALL"),
        ("capabilities = [\"CHOWNS\"]", "did you mean CHOWN?"),
        ("no-new-privileges = \"yes\"", "true or false"),
        ("read-only = 1", "true or false"),
        ("tmpfs = \"/tmp\"", "is a table"),
        ("tmpfs = { tmp = \"1MiB\" }", "is not an absolute path"),
        ("tmpfs = { \"/proc\" = \"1MiB\" }", "the kernel needs"),
        ("tmpfs = { \"/tmp\" = { exec = true } }", "must be a size"),
        ("tmpfs = { \"/tmp\" = { size = \"1MiB\", mode = \"999\" } }", "octal"),
        ("network = \"host\"", "name a network of the engine"),
        ("network = \"none\"", "no player reaches it"),
        ("network = \"container:redis\"", "network of another container"),
        ("network = \"a/b\"", "letters, digits"),
        ("log-max-size = \"1\"", "must be from 4KiB"),
        ("log-files = 0", "from 1 to 1000"),
        ("ulimits = { files = 1 }", "is not a key; the keys here are core"),
        ("ulimits = { nofiles = 1 }", "did you mean nofile?"),
        ("ulimits = { nofile = { soft = 2, hard = 1 } }", "above its hard limit"),
        ("ulimits = { nofile = -2 }", "-1 is no limit"),
        ("runtime = \"../runc\"", "name of a runtime"),
        ("gpus = \"some\"", "or \"all\""),
        ("stop-grace = 10", "in quotes"),
        ("stop-grace = \"10\"", "has no unit"),
        ("stop-grace = \"1h\"", "at most 10m"),
        ("stop-grace = \"1500ms\"", "whole seconds"),
        ("labels = { \"rtm.game_id\" = \"x\" }", "begins with rtm."),
        ("labels = { \"a b\" = \"x\" }", "name of a label"),
        ("env = { GAME_ID = \"x\" }", "given to every game"),
        ("env = { \"A-B\" = \"x\" }", "letters, digits and `_`"),
        ("env = { A = [1] }", "must be a text"),
        ("env = { A = { file = \"run/token\" } }", "absolute path"),
        ("env = { A = { file = \"/missing\" } }", "names the file \"/missing\", which cannot be read"),
        ("env.memory = \"512MiB\"", "would not be the key memory"),
        ("env = { log_max_size = \"1\" }", "would not be the key log-max-size"),
        ("env = { \"allowed-images\" = \"**\" }", "above the heading"),
        ("labels = { memory = \"512MiB\" }", "is in the table labels"),
        ("mounts = \"/srv\"", "is a list of mounts"),
        ("mounts = [\"/srv\"]", "defaults.mounts 1 is not a mount"),
        ("capabilities = [\"CHOWN\", 7]", "has entry 2, which is not a name"),
        ("mounts = [{ source = \"/srv\" }]", "has no target"),
        ("mounts = [{ source = \"srv/x\", target = \"/x\" }]", "not an absolute path"),
        ("mounts = [{ source = \"/srv/../etc\", target = \"/x\" }]", "a part `.` or `..`"),
        ("mounts = [{ source = \"/var/run/docker.sock\", target = \"/x\" }]", "never allowed"),
        ("mounts = [{ source = \"startjobs_engine\", target = \"/x\" }]", "a volume of the fleet itself"),
        ("mounts = [{ source = \"/opt/docker.sock\", target = \"/x\" }]", "never allowed"),
        ("mounts = [{ source = \"/\", target = \"/x\" }]", "gives games"),
        ("mounts = [{ source = \"/var/run\", target = \"/x\" }]", "gives games"),
        ("mounts = [{ source = \"/proc/1\", target = \"/x\" }]", "gives games /proc"),
        ("mounts = [{ source = \"/var/lib\", target = \"/x\" }]", "gives games"),
        ("mounts = [{ source = \"/srv\", target = \"/proc/x\" }]", "which the kernel needs"),
        ("mounts = [{ source = \"/srv\", target = \"/x\", rw = true }]", "a mount has source, target and read-only"),
        ("mounts = [{ source = \"a\", target = \"/x\" }, { source = \"b\", target = \"/x\" }]", "twice"),
        ("match = \"**\"", "is not a key of the defaults"),
        ("require-digest = true", "at the top of the file"),
        ("privileged = true", "no game container is ever privileged"),
        ("cap_drop = [\"ALL\"]", "list the ones that are to be kept"),
        ("memroy = \"1GiB\"", "did you mean memory?"),
        ("xyzzy = 1", "the keys here are memory, cpus"),
    ] {
        let text = format!("\n[defaults]\n{key}\n");
        let said = problem(&text);
        assert!(said.starts_with("line 3: defaults.") && said.contains(advice), "{key}: {said}");
    }
    for (text, advice) in [
        ("memory = \"1GiB\"", "line 1: memory is outside all sections"),
        ("allowed-images = []", "no image could run"),
        ("allowed-images = [\"**\", 1]", "allowed-images 2 = \"1\" is not a pattern"),
        ("allowed-images = [\"**\",\n\"redis\"]", "line 2: allowed-images = \"redis\" has no registry"),
        ("allowed_images = [\"**\"]", "did you mean allowed-images?"),
        ("containers-max = 0", "from 1 to 1000000"),
        ("require-digest = \"on\"", "true or false"),
        ("defaults = 1", "write [defaults]"),
        ("[image]\nmatch = \"**\"", "two brackets"),
        ("[[image]]\nmemory = \"1GiB\"", "line 1: image 1 has no match"),
        ("[[image]]\nmatch = \"x/*\"", "write \"docker.io/x/*\""),
        ("a = ", "line 1 is not TOML"),
        ("[defaults]\nenv = { A = \"sesame }", "is not TOML"),
    ] {
        let said = problems(text).join("; ");
        assert!(said.contains(advice) && !said.contains("sesame"), "{text}: {said}");
    }
}

#[test]
fn all_problems_are_named_in_the_order_of_the_lines() {
    let text = "require-digest = 1\n[[image]]\nmatch = \"a\"\npids = 0\n[defaults]\nmemory = 1\nuser = 7\n";
    let lines: Vec<String> =
        problems(text).iter().map(|said| said.split(':').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(lines, ["line 1", "line 3", "line 4", "line 6", "line 7"]);
}

#[test]
fn what_is_risky_is_warned_of() {
    let text = r#"
        [defaults]
        user = "root"
        capabilities = ["NET_RAW", "CHOWN"]
        no-new-privileges = false
        log-max-size = "off"
        mounts = [{ source = "/srv", target = "/srv", read-only = false }]
    "#;
    let text = format!("allowed-images = [\"**\"]\n{text}memory = \"off\"\n");
    let warnings: Vec<String> = read(&text).warnings.iter().map(|warning| warning.key.clone()).collect();
    let keys = ["user", "capabilities", "no-new-privileges", "log-max-size", "mounts 1"];
    assert_eq!(warnings, keys.map(|key| format!("defaults.{key}")));
}

#[test]
fn the_digest_is_of_what_is_said_and_of_no_secret() {
    let digest = |text: &str| read(text).policy.digest().map(str::to_owned);
    let one = "allowed-images = [\"r.example/*\", \"s.example/*\"]\n[defaults]\nmemory = \"1GiB\"\nenv.A = \"1\"\n";
    let same = "# a comment\nallowed-images = [\"s.example/*\", \"r.example/*\"]\n[defaults]\nenv.A = \"2\"\nmemory = \"1024MiB\"\n";
    assert_eq!(digest(one), digest(same));
    assert_eq!(digest(one).map(|digest| digest.len()), Some(12));
    assert_ne!(read(one).policy, read(same).policy, "the secret differs");
    for other in [one.replace("1GiB", "2GiB"), one.replace("r.example", "t.example"), one.replace("env.A", "env.B")] {
        assert_ne!(digest(one), digest(&other));
    }
}

proptest! {
    #[test]
    fn no_text_is_a_panic(text in ".{0,200}|([a-z-]{1,12} = [0-9a-z\"\\[\\]{}.]{0,12}\n){0,8}") {
        drop(parse(&text, &no_secret));
    }

    #[test]
    fn every_value_of_every_key_is_read_or_refused(
        key in proptest::sample::select(KEYS.to_vec()),
        value in prop_oneof![
            Just("true".to_owned()),
            "-?[0-9]{1,20}",
            "[0-9]{1,3}\\.[0-9]{1,3}",
            "\"[ -!#-\\[\\]-~]{0,30}\"",
            "\\[(\"[A-Z_]{0,12}\",){0,3}\\]",
            "\\{ \"?[a-z/]{1,6}\"? = (1|\"[0-9]{1,3}MiB\"|\\{ soft = 1, hard = 2 \\}) \\}",
        ],
    ) {
        match parse(&format!("[defaults]\n{key} = {value}\n"), &no_secret) {
            Ok(read) => {
                let terms = read.policy.terms(&ImageRef::parse("a/b").expect("a reference"));
                prop_assert!(terms.is_ok());
            }
            Err(report) => prop_assert!(report.problems().iter().all(|problem| !problem.advice.is_empty())),
        }
    }
}
