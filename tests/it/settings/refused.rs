//! What is refused, and that each problem says where it is from and what to do.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use proptest::prelude::*;
use startjobs::settings::table::TABLE;
use startjobs::settings::{Report, Settings, Sources, Values};

use super::{file, load, problems};

/// Setting, value, and words its one problem must hold.
const REFUSED: &[(&str, &str, &str)] = &[
    ("redis-url", "localhost:6379", "write redis://HOST:PORT"),
    ("redis-url", "redis-cluster://h", "redis-cluster://, which is not supported yet; supported are redis://"),
    ("redis-url", "redis-sentinel://h", "names no service; write redis-sentinel://HOST:26379/SERVICE"),
    ("redis-url", "redis-sentinel://h1,h2:26380/", "names no service; write redis-sentinel://HOST:26379/SERVICE"),
    ("redis-url", "redis-sentinel://h,/games", "no host"),
    ("redis-url", "redis-sentinel://h,h:26379/games", "names one sentinel twice"),
    ("redis-url", "redis-sentinel://h/a b", "white space"),
    ("redis-url", "redis-sentinel://h/a,b", "has a service with other characters than letters, digits, -, . and _"),
    ("redis-url", "redis-sentinel://h/games/x", "database"),
    ("redis-url", "valkey-sentinel://user@h/games", "redis-password-file"),
    (
        "redis-sentinel-user",
        "me",
        "is for sentinels, but redis-url names a server; write redis-sentinel://HOST:26379/SERVICE",
    ),
    ("redis-sentinel-password-file", "/no/such/file", "is for sentinels, but redis-url names a server"),
    ("redis-sentinel-tls", "off", "is for sentinels, but redis-url names a server"),
    ("settle-wait-replicas", "17", "16"),
    ("redis-url", "http://h", "not supported yet"),
    ("redis-url", "redis://h?db=1", "query parameters"),
    ("redis-url", "redis://h/x", "database"),
    ("redis-url", "redis://h:x", "port"),
    ("redis-url", "redis://", "no host"),
    ("redis-url", "redis://1::1", "brackets"),
    ("redis-url", "redis://:a/b@h", "%2F"),
    ("redis-url", "redis://user@h", "redis-password-file"),
    ("redis-url", "redis+unix://tmp/r.sock", "three slashes"),
    ("redis-password-file", "/no/such/file", "cannot be read"),
    ("redis-tls-ca-file", "/no/such/file", "write rediss:// there, or unset this"),
    ("redis-tls-cert-file", "/no/such/file", "write rediss:// there, or unset this"),
    ("redis-tls-key-file", "/no/such/file", "write rediss:// there, or unset this"),
    ("jobs-stream", "  ", "stream must not be empty"),
    ("results-stream", "", "stream must not be empty"),
    ("dead-stream", "", "stream must not be empty"),
    ("dead-stream", "runtime:start_jobs:ledger:1", "uses itself"),
    ("offset-key", "", "must not be empty"),
    ("results-stream", "runtime:start_jobs", "must be another key than jobs-stream"),
    ("dead-stream", "runtime:job_results", "must be another key than results-stream"),
    ("offset-key", "runtime:start_jobs:dead", "must be another key than dead-stream"),
    ("group", " ", "must not be empty"),
    ("group", "startjobs:probe", "choose another"),
    ("group", "redis://:a@h", "another setting"),
    ("outcome-fields", "all", "extended or original"),
    ("ledger-ttl", "15m", "must be longer than max-run"),
    ("max-field-bytes", "1023", "from 1KiB to 512MiB"),
    ("max-field-bytes", "64KB", "KiB"),
    ("dead-max", "0", "at least 1"),
    ("trim-jobs", "perhaps", "on or off"),
    ("results-retention", "5", "write 5s"),
    ("slots", "0", "from 1 to 10000"),
    ("slots", "10001", "from 1 to 10000"),
    ("slots", "-1", "from 1 to 10000"),
    ("claim-idle", "100ms", "at least 300ms"),
    ("claim-idle", "5", "write 5s"),
    ("claim-idle", "300000years", "at most"),
    ("sweep-interval", "6s", "must not be longer than claim-idle"),
    ("block", "0s", "more than zero (1ms or longer): 0 would make Redis wait for ever"),
    ("drain-timeout", "0s", "more than zero"),
    ("max-run", "1s", "taken from a live replica"),
    ("consumer-idle", "1s", "removed before"),
    ("retry-min", "61s", "must not be longer than retry-max = \"60s\" (default)"),
    ("retry-attempts", "0", "from 1"),
    ("max-backing-off", "0", "from 1"),
    ("start-deadline", "soon", "or write off"),
    ("engine", "podman", "docker or simulated"),
    ("docker-host", "ssh://h", "not supported yet"),
    ("docker-host", "tcp://h", "no port"),
    ("docker-host", "unix://x", "absolute path"),
    ("docker-tls-ca-file", "/no/such/file", "is for a tcp:// engine"),
    ("docker-tls-cert-file", "/no/such/file", "is for a tcp:// engine"),
    ("docker-tls-key-file", "/no/such/file", "is for a tcp:// engine"),
    ("engine-host-id", "a b", "letters"),
    ("engine-port", "65536", "65535"),
    ("start-concurrency", "0", "from 1"),
    ("record-prefix", "", "must not be empty"),
    ("record-prefix", "{rtm}:", "braces"),
    ("readiness", "http", "http:/PATH"),
    ("readiness", "http://h/x", "without a host"),
    ("simulated-latency", "80ms..20ms", "shorter duration first"),
    ("simulated-failures", "1.1", "from 0 to 1"),
    ("simulated-failures", "NaN", "from 0 to 1"),
    ("simulated-seed", "x", "whole number"),
    ("http-addr", "9100", "127.0.0.1:9100"),
    ("page", "yes", "auto or on or off"),
    ("page", "on", "needs an http-addr"),
    ("page-host", "ops.example:9100", "without its port"),
    ("page-host", "*.example", "letters, digits, dots and dashes"),
    ("page-host", "", "must not be empty"),
    ("admin-token-file", "", "must not be empty"),
    ("log-format", "xml", "auto or json or text"),
    ("strict", "", "on or off"),
    ("config", "/no/such/file.toml", "cannot be read"),
];

#[test]
fn each_bad_value_about_sentinels_is_one_problem_that_says_what_to_do() {
    for (name, text, words) in [
        ("redis-sentinel-user", "me", "names a user without a password; set redis-sentinel-password-file too"),
        ("redis-sentinel-password-file", "/no/such/file", "cannot be read"),
        ("redis-sentinel-tls", "on", "same"),
    ] {
        let problems = problems(&[("redis-url", "redis-sentinel://h1,h2,h3/games"), (name, text)], &[]);
        let told = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(problems.len() == 1 && problems[0].setting == name && told.contains(words), "{name}: {told}");
    }
}

#[test]
fn each_bad_value_is_one_problem_that_says_what_to_do() {
    for (name, text, words) in REFUSED {
        let problems = problems(&[(name, text)], &[]);
        let told = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let blamed: Vec<_> = problems.iter().map(|problem| problem.setting.as_str()).collect();
        assert_eq!(blamed.len(), 1, "{name} = {text:?}: {told}");
        assert!(told.contains(words), "{name} = {text:?} should say {words:?}: {told}");
        assert!(told.contains(&format!("flag --{name}")), "{name} = {text:?} should say where it is from: {told}");
    }
}

#[test]
fn contradictions_are_told_with_both_sides() {
    let told = |flags| problems(flags, &[]).iter().map(ToString::to_string).collect::<String>();
    let text = told(&[("simulated-failures", "0.6"), ("simulated-errors", "0.6")]);
    assert!(text.contains("together with simulated-failures = \"0.6\" (flag --simulated-failures)"), "{text}");
    let text = told(&[("pull-timeout", "20m"), ("pull-silence", "21m")]);
    assert!(text.contains("pull-timeout") && text.contains("must be shorter than max-run = \"15m\""), "{text}");
    assert!(text.contains("must not be longer than pull-timeout = \"20m\" (flag --pull-timeout)"), "{text}");
    let lowered = load(&[("max-run", "90s")], &[]).expect("limits that are not set fit");
    let engine = lowered.settings.engine;
    assert_eq!((engine.pull_timeout.as_secs(), engine.pull_silence.as_secs()), (60, 60));
    assert!(load(&[("pull-timeout", "20m"), ("engine", "simulated")], &[]).is_ok(), "nothing is pulled");
    // Even where other settings of the same group are bad.
    let text = told(&[("max-run", "2h"), ("ledger-ttl", "1h"), ("slots", "x"), ("dead-max", "x")]);
    assert!(text.contains("must be longer than max-run = \"2h\""), "{text}");
    let (_directory, path) = file("hidden\n");
    let text = told(&[("redis-url", "redis://:sesame@h"), ("redis-password-file", &path)]);
    assert!(text.contains("remove one of them") && !text.contains("sesame"), "{text}");
}

#[test]
fn faults_need_permission_and_a_known_point() {
    for variable in ["STARTJOBS_CRASH_AT", "STARTJOBS_PAUSE_AT"] {
        let refused = problems(&[], &[(variable, "after_read")]);
        assert_eq!(refused.len(), 1);
        assert!(refused[0].to_string().contains(variable));
        assert!(refused[0].advice.contains("refused without --allow-fault-injection"));
        let unknown = problems(&[("allow-fault-injection", "on")], &[(variable, "nowhere")]);
        assert_eq!(unknown.len(), 1);
        assert!(unknown[0].advice.contains("after_read, after_begin"));
    }
}

#[test]
fn a_variable_that_is_not_text_is_refused_and_those_of_others_are_not_looked_at() {
    let bytes = || OsString::from_vec(vec![0xff]);
    let load = |variable: &str| Settings::load(&Sources::new(Values::new(), [(OsString::from(variable), bytes())]));
    let report = load("STARTJOBS_GROUP").expect_err("0xff is not UTF-8");
    assert!(report.to_string().contains("environment STARTJOBS_GROUP"), "{report}");
    load("SOMETHING_ELSE").expect("it is not ours");
}

#[test]
fn a_bad_file_is_told_with_its_name_and_line() {
    let table = [
        ("slots = 3\nslot = 4\n", ":2", "did you mean slots?"),
        ("claim_idle = \"5s\"\n", ":1", "did you mean claim-idle?"),
        ("\n[worker]\nslots = 4\n", ":2", "at the top level"),
        ("slots = [1]\n", ":1", "list"),
        ("frobnicate = 1\n", ":1", "config show"),
        ("config = \"x\"\n", ":1", "STARTJOBS_CONFIG"),
        ("crash-at = \"after_read\"\n", ":1", "STARTJOBS_CRASH_AT"),
        ("slots = 0\n", ":1", "from 1 to 10000"),
        ("slots = 1\nslots = 2\n", "config", "line 2"),
        ("# x\nredis-url = redis://:sesame@h\n", "config", "line 2"),
        ("redis-url = \"redis://:sesame@h\n", "config", "line 1"),
    ];
    for (contents, place, words) in table {
        let (_directory, path) = file(contents);
        let found = problems(&[("config", &path)], &[]);
        assert_eq!(found.len(), 1, "{contents:?}: {found:?}");
        let told = found[0].to_string();
        assert!(told.contains(&path) && told.contains(place) && told.contains(words), "{contents:?}: {told}");
        assert!(!told.contains("sesame"), "{told}");
    }
}

#[test]
fn all_problems_are_in_one_report_in_table_order() {
    let (_directory, path) = file("slotz = 1\nblock = \"0s\"\n");
    let flags = [("config", path.as_str()), ("readiness", "maybe"), ("slots", "none"), ("group", "")];
    let environment = [("STARTJOBS_REDIS_URL", "redis-cluster://h"), ("STARTJOBS_STRICT", "very")];
    let found = problems(&flags, &environment);
    let settings: Vec<_> = found.iter().map(|problem| problem.setting.as_str()).collect();
    assert_eq!(settings, ["redis-url", "group", "slots", "block", "readiness", "strict", "slotz"]);
    let report = Report::new(found).to_string();
    assert!(report.starts_with("the settings have 7 problems:\n"), "{report}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_loading_panic(
        picked in 0..TABLE.len(),
        text in prop_oneof![any::<String>(), "[-+0-9.a-zA-Z:/@%{}\\[\\]]{0,20}", "redis(\\+unix)?://[!-~]{0,20}"],
    ) {
        let row = &TABLE[picked];
        let from_flag = load(&[(row.name, &text)], &[]);
        let variable = row.environment();
        let environment = [(variable.as_str(), text.as_str())];
        let from_environment = Settings::load(&Sources::new(Values::new(), environment));
        for report in [from_flag, from_environment].into_iter().filter_map(Result::err) {
            prop_assert!(!report.problems().is_empty(), "{}", report);
        }
    }

    #[test]
    fn no_file_makes_loading_panic(contents in prop_oneof![any::<String>(), "([a-z-]{1,8} = [0-9\"]{1,4}\n){0,4}"]) {
        let (_directory, path) = file(&contents);
        if let Err(report) = load(&[("config", &path)], &[]) {
            prop_assert!(report.to_string().contains(&path), "{}", report);
        }
    }
}
