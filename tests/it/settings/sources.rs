//! Where values come from and what good ones mean.

use std::time::Duration;

use clap::{Args as _, FromArgMatches as _};
use startjobs::engine::{EngineKind, Readiness};
use startjobs::redis::Address;
use startjobs::settings::flags::{SettingFlags, Takes};
use startjobs::settings::table::{Group, Row};
use startjobs::settings::{Loaded, Settings};
use startjobs::stream::OutcomeFields;

use super::{file, good, problems, shown, sources};

#[test]
fn the_defaults_mean_what_they_say() {
    let Loaded { settings, .. } = good(&[], &[]);
    assert_eq!(settings.redis.address, Address::Tcp { host: "127.0.0.1".to_owned(), port: 6_379 });
    assert_eq!(settings.redis.display_url, "redis://127.0.0.1:6379");
    assert_eq!(settings.stream.offset_key, "rtmanager:stream_offsets:startjobs");
    assert_eq!(settings.stream.outcome_fields, OutcomeFields::Extended);
    assert_eq!(settings.stream.max_field_bytes, 64 * 1024);
    assert_eq!(settings.worker.renewal_interval(), Duration::from_secs(5) / 3);
    assert_eq!(settings.engine.kind, EngineKind::Docker);
    assert_eq!(settings.start.readiness, Readiness::Tcp);
    assert_eq!(settings.http_addr, None);
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let (_directory, path) =
        file("# ours\nslots = 3\nstrict = true\nsimulated-errors = 0.5\nmax-run = \"7m\"\npull-timeout = \"5m\"\n");
    let in_environment = [("STARTJOBS_SLOTS", "2"), ("STARTJOBS_CONFIG", path.as_str())];
    let at = |line: usize| format!("file {path}:{line}");

    let loaded = good(&[("slots", "1")], &in_environment);
    assert_eq!(shown(&loaded, "slots"), ("1".into(), "flag --slots".into()));
    let loaded = good(&[], &in_environment);
    assert_eq!(shown(&loaded, "slots"), ("2".into(), "environment STARTJOBS_SLOTS".into()));
    assert_eq!(shown(&loaded, "config"), (path.clone(), "environment STARTJOBS_CONFIG".into()));
    let loaded = good(&[("config", &path)], &[("STARTJOBS_SLOTS", ""), ("STARTJOBS_CONFIG", "/nowhere")]);
    assert_eq!(shown(&loaded, "slots"), ("3".into(), at(2)));
    assert_eq!(shown(&loaded, "strict"), ("on".into(), at(3)));
    assert_eq!(shown(&loaded, "simulated-errors"), ("0.5".into(), at(4)));
    assert_eq!(shown(&loaded, "max-run"), ("7m".into(), at(5)));
    assert_eq!(shown(&loaded, "max-backing-off"), ("12".into(), "default".into()));
}

#[test]
fn what_leaves_this_machine_is_told_from_what_does_not() {
    let local = |url| good(&[("redis-url", url)], &[]).settings.redis.address.is_local();
    for url in
        ["redis://127.0.0.1", "redis://127.9.9.9", "redis://[::1]:7", "redis://LOCALHOST", "redis+unix:///r.sock"]
    {
        assert!(local(url), "{url}");
    }
    for url in ["redis://10.0.0.1", "redis://redis.internal", "redis://[fd00::1]", "redis://localhost.example"] {
        assert!(!local(url), "{url}");
    }
}

#[test]
fn docker_host_falls_back_to_dockers_own_variable() {
    let docker = ("DOCKER_HOST", "tcp://10.0.0.1:2375");
    let loaded = good(&[], &[docker]);
    assert_eq!(shown(&loaded, "docker-host"), (docker.1.into(), "environment DOCKER_HOST".into()));
    let loaded = good(&[], &[docker, ("STARTJOBS_DOCKER_HOST", "unix:///run/d.sock")]);
    assert_eq!(loaded.settings.engine.docker_host, "unix:///run/d.sock");
    // Where no Docker is used, a form that is not supported is nobody's business.
    let ssh = ("DOCKER_HOST", "ssh://me@there");
    assert_eq!(problems(&[], &[ssh])[0].setting, "docker-host");
    good(&[("engine", "simulated")], &[ssh]);
}

#[test]
fn a_command_may_bring_defaults_of_its_own() {
    let sources = sources(&[], &[("STARTJOBS_GROUP", "mine")])
        .with_default("jobs-stream", "demo:jobs")
        .with_default("group", "demo");
    let loaded = Settings::load(&sources).expect("these defaults are fine");
    assert_eq!(loaded.settings.stream.jobs, "demo:jobs");
    assert_eq!(shown(&loaded, "dead-stream"), ("demo:jobs:dead".into(), "default".into()));
    assert_eq!(loaded.settings.stream.group, "mine");
}

#[test]
fn computed_defaults_follow_what_they_are_computed_from() {
    let loaded = good(&[("engine", "simulated"), ("slots", "10")], &[]);
    assert_eq!(loaded.settings.engine.start_concurrency, 10);
    assert_eq!(loaded.settings.worker.max_backing_off, 40);
    let loaded = good(&[("slots", "10"), ("max-backing-off", "7"), ("start-concurrency", "9")], &[]);
    assert_eq!((loaded.settings.worker.max_backing_off, loaded.settings.engine.start_concurrency), (7, 9));
}

#[test]
fn good_values_of_every_form() {
    let readiness = |text| good(&[("readiness", text)], &[]).settings.start.readiness;
    assert_eq!(readiness("health"), Readiness::Health);
    assert_eq!(readiness("http:/healthz"), Readiness::Http("/healthz".into()));
    let latency = |text| good(&[("simulated-latency", text)], &[]).settings.engine.simulated;
    assert_eq!(latency("20ms..80ms").latency_max, Duration::from_millis(80));
    assert_eq!(latency("0ms").latency_min, Duration::ZERO);
    let size = |text| good(&[("max-field-bytes", text)], &[]).settings.stream.max_field_bytes;
    assert_eq!((size("1MiB"), size("2000"), size("4 kib")), (1 << 20, 2000, 4096));
    let stream = good(&[("offset-key", "plain"), ("results-retention", "2h")], &[]).settings.stream;
    assert_eq!((stream.offset_key.as_str(), stream.results_retention), ("plain", Some(Duration::from_secs(7200))));
    let loaded = good(&[("http-addr", "[::1]:9100"), ("outcome-fields", "original")], &[]);
    assert_eq!(loaded.settings.http_addr.map(|address| address.port()), Some(9100));
    let allowed = [("STARTJOBS_ALLOW_FAULT_INJECTION", "on"), ("STARTJOBS_CRASH_AT", "after_read")];
    assert!(good(&[], &allowed).settings.faults.crash_at.is_some());
}

/// The settings of a command that connects and is strict.
enum Strict {}

impl Takes for Strict {
    fn takes(row: &Row) -> bool {
        [Group::File, Group::Redis, Group::Safety].contains(&row.group)
    }
}

#[test]
fn any_command_can_have_the_flags_of_some_settings() {
    let command = SettingFlags::<Strict>::augment_args(clap::Command::new("send"));
    command.clone().debug_assert();
    let arguments = ["send", "--redis-url", "redis://:sesame@h", "--strict", "--config="];
    let matches = command.clone().try_get_matches_from(arguments).expect("these flags are there");
    let flags = SettingFlags::<Strict>::from_arg_matches(&matches).expect("every setting is a text");
    let shown = format!("{flags:?}");
    assert_eq!(shown, r#"{"config", "redis-url", "strict"}"#, "names alone");
    let given: Vec<_> = flags.given().clone().into_iter().collect();
    let expected = [("config", ""), ("redis-url", "redis://:sesame@h"), ("strict", "on")];
    assert_eq!(given, expected.map(|(name, text)| (name, text.to_owned())));
    for unknown in ["--slots=1", "--crash-at=after_read"] {
        assert!(command.clone().try_get_matches_from(["send", unknown]).is_err(), "{unknown}");
    }
}

#[test]
fn a_variable_that_nearly_names_a_setting_is_a_warning() {
    let loaded = good(&[], &[("STARTJOBS_SLOTTS", "1"), ("STARTJOBS_SERVICE_HOST", "10.0.0.1")]);
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].contains("STARTJOBS_SLOTS?"), "{:?}", loaded.warnings);
}
