//! The table agrees with the names and defaults that others rely on, and the documentation with the table.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use startjobs::settings::table::{Reach, TABLE, markdown, row};

use super::{good, load, shown};

#[test]
fn the_spec_names_every_setting_and_its_default() {
    let spec = [
        ("redis-url", "redis://127.0.0.1:6379"),
        ("jobs-stream", "runtime:start_jobs"),
        ("results-stream", "runtime:job_results"),
        ("dead-stream", "runtime:start_jobs:dead"),
        ("group", "rtmanager.startjobs"),
        ("offset-key", "rtmanager:stream_offsets:{label}"),
        ("outcome-fields", "extended"),
        ("slots", "64"),
        ("claim-idle", "5s"),
        ("disconnect-grace", "300ms"),
        ("sweep-interval", "500ms"),
        ("block", "2s"),
        ("drain-timeout", "30s"),
        ("max-run", "15m"),
        ("ledger-ttl", "24h"),
        ("http-addr", "off"),
        ("page", "auto"),
        ("page-host", "none"),
        ("admin-token-file", "none"),
        ("log-format", "auto"),
        ("config", "none"),
        ("readiness", "tcp"),
        ("janitor-interval", "5s"),
        ("trim-jobs", "off"),
        ("dead-max", "100000"),
        ("strict", "off"),
        ("engine", "docker"),
        ("docker-host", "unix:///var/run/docker.sock"),
        ("engines", "none"),
        ("on-isolation", "keep"),
        ("advertise-host", "by the form of docker-host"),
        ("publish-address", "by the form of docker-host"),
        ("port-range", "the engine's own choice"),
        ("engine-host-id", "kept in Redis for the engine"),
        ("fleet-id", "kept in Redis and on the engines"),
        ("host-heartbeat", "30s"),
        ("game-events", "off"),
        ("engine-port", "8080"),
        ("start-concurrency", "4"),
        ("pull-policy", "missing"),
        ("pull-timeout", "10m"),
        ("pull-silence", "2m"),
        ("pull-concurrency", "8"),
        ("docker-config", "none"),
        ("registry-credentials-dir", "none"),
        ("record-prefix", "rtm:"),
        ("simulated-latency", "40ms"),
        ("simulated-failures", "0"),
        ("simulated-errors", "0"),
        ("simulated-seed", "0"),
        ("policy-file", "none"),
        ("retry-min", "1s"),
        ("retry-max", "60s"),
        ("retry-attempts", "5"),
        ("retry-max-age", "5m"),
        ("crash-budget", "4"),
        ("max-backing-off", "256"),
        ("max-held-bytes", "64MiB"),
        ("max-field-bytes", "64KiB"),
        ("redis-password-file", "none"),
        ("redis-tls-ca-file", "none"),
        ("redis-tls-cert-file", "none"),
        ("redis-tls-key-file", "none"),
        ("redis-sentinel-user", "none"),
        ("redis-sentinel-password-file", "none"),
        ("redis-sentinel-tls", "same"),
        ("settle-wait-replicas", "0"),
        ("docker-tls-ca-file", "none"),
        ("docker-tls-cert-file", "none"),
        ("docker-tls-key-file", "none"),
        ("start-deadline", "off"),
        ("ready-timeout", "30s"),
        ("consumer-idle", "1h"),
        ("results-retention", "off"),
        ("reconcile-interval", "5s"),
        ("reconcile-grace", "5m"),
        ("allow-fault-injection", "off"),
        ("crash-at", "none"),
        ("pause-at", "none"),
    ];
    let loaded = good(&[], &[]);
    for (name, default) in spec {
        assert_eq!(shown(&loaded, name), (default.to_owned(), "default".to_owned()), "{name}");
    }
    let names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), spec.len(), "a setting the spec does not know: {names:?}");
}

fn documentation() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    fs::read_to_string(path).expect("docs/configuration.md is there")
}

#[test]
fn the_documentation_holds_the_current_table() {
    let documentation = documentation();
    let generated = documentation
        .split_once("<!-- settings:begin -->\n")
        .and_then(|(_, rest)| rest.split_once("<!-- settings:end -->"))
        .map(|(generated, _)| generated.trim());
    let current = markdown();
    assert_eq!(generated, Some(current.trim()), "put this between the markers:\n{current}");
}

#[test]
fn the_documentation_shows_a_real_report() {
    let flags = [("slots", "many"), ("claim-idle", "5")];
    let environment = [("STARTJOBS_REDIS_URL", "redis-cluster://:sesame@redis.internal"), ("STARTJOBS_BLOCK", "0s")];
    let report = load(&flags, &environment).expect_err("all four are wrong").to_string();
    assert!(documentation().contains(&report), "docs/configuration.md should show:\n{report}");
}

#[test]
fn every_row_is_named_described_and_distinct() {
    let names: BTreeMap<_, _> = TABLE.iter().map(|row| (row.environment(), row.name)).collect();
    assert_eq!(names.len(), TABLE.len(), "two rows share a name");
    for row in TABLE {
        assert!(row.help.ends_with('.'), "{} should have a sentence", row.name);
    }
    assert_eq!(row("crash-at").map(|row| row.reach), Some(Reach::Environment));
}
