//! `startjobs config show` as a process.

use std::process::{Command, Output};

use startjobs::settings::table::{Reach, TABLE};

use super::Pairs;

fn startjobs(arguments: &[&str], environment: Pairs<'_>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_startjobs"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the binary under test runs")
}

#[test]
fn config_show_prints_every_setting_without_secrets() {
    let arguments = ["config", "show", "--origin", "--strict", "--redis-url", "redis://:sesame@h"];
    let output = startjobs(&arguments, &[("STARTJOBS_SLOTS", "7")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("settings are text");
    assert_eq!(text.lines().count(), TABLE.len());
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(line("slots").ends_with("environment STARTJOBS_SLOTS"), "{text}");
    assert!(line("strict").contains(" on ") && line("strict").ends_with("flag --strict"), "{text}");
    assert!(line("redis-url").contains("redis://:***@h:6379") && !text.contains("sesame"), "{text}");
}

#[test]
fn config_show_prints_json_with_a_version() {
    let output = startjobs(&["config", "show", "--json", "--strict=off"], &[]);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("--json prints JSON");
    assert_eq!(shown["schema_version"], 1);
    assert_eq!(shown["settings"].as_array().map(Vec::len), Some(TABLE.len()));
    assert_eq!(shown["settings"][1]["name"], "redis-url");
    assert_eq!(shown["settings"][1]["origin"], "default");
}

#[test]
fn config_show_says_where_traces_go_without_secrets() {
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let secret = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=sesame");
    for (environment, said) in [
        (&[][..], "traces: off; OTEL_EXPORTER_OTLP_ENDPOINT"),
        (&[(ENDPOINT, "http://c:4318"), secret], "traces: http://c:4318/v1/traces, "),
        (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/own?key=sesame")], "traces: http://c:4318/own, "),
        (&[(ENDPOINT, "c:4318"), secret], "traces are off: OTEL_EXPORTER_OTLP_ENDPOINT: "),
    ] {
        let output = startjobs(&["config", "show"], environment);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8(output.stderr).expect("text");
        assert!(text.contains(said) && !text.contains("sesame"), "{text}");
        assert_eq!(String::from_utf8(output.stdout).expect("text").lines().count(), TABLE.len());
    }
}

#[test]
fn a_bad_value_exits_78_and_an_unknown_flag_2() {
    let output = startjobs(&["config", "show", "--slots", "-1"], &[("STARTJOBS_BLOCK", "0s")]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let text = String::from_utf8(output.stderr).expect("a report is text");
    assert!(text.contains("flag --slots") && text.contains("environment STARTJOBS_BLOCK"), "{text}");
    assert!(output.stdout.is_empty());
    assert_eq!(startjobs(&["config", "show", "--slotz", "1"], &[]).status.code(), Some(2));
}

#[test]
fn no_error_repeats_a_credential_wherever_it_was_pasted() {
    const URL: &str = "redis://u:sesame@h";
    let settings =
        TABLE.iter().filter(|row| row.reach != Reach::Environment).map(|row| format!("--{}={URL}", row.name));
    let mut lines: Vec<Vec<String>> = settings.map(|flag| vec!["config".to_owned(), "show".to_owned(), flag]).collect();
    for line in [
        &["config", "show", URL][..],
        &["config", URL],
        &[URL],
        &["worker", "--redis-uri", URL],
        &["worker", &format!("--redis-uri={URL}")],
        &["config", "show", &format!("--json={URL}")],
        &["status", "--timeout", URL],
        &["dead", "list", "--limit", URL],
        &["dev", "--engine", URL],
        &["bench", "--slo", URL],
        &["bench", "--profile", URL],
        &["bench", "--set", URL],
        &["bench", "--set", &format!("slots={URL}")],
    ] {
        lines.push(line.iter().map(|&word| word.to_owned()).collect());
    }
    for line in lines {
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        let output = startjobs(&words, &[]);
        let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.is_empty() && !said.contains("sesame"), "{line:?}: {said}");
    }
    for row in TABLE {
        let output = startjobs(&["config", "show", "--origin"], &[(row.environment().leak(), URL)]);
        assert!(!format!("{output:?}").contains("sesame"), "{}: {output:?}", row.name);
    }
}
