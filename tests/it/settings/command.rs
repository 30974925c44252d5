//! `startjobs config show` as a process.

use std::process::{Command, Output};

use startjobs::settings::table::TABLE;

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
fn a_bad_value_exits_78_and_an_unknown_flag_2() {
    let output = startjobs(&["config", "show", "--slots", "-1"], &[("STARTJOBS_BLOCK", "0s")]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let text = String::from_utf8(output.stderr).expect("a report is text");
    assert!(text.contains("flag --slots") && text.contains("environment STARTJOBS_BLOCK"), "{text}");
    assert!(output.stdout.is_empty());
    assert_eq!(startjobs(&["config", "show", "--slotz", "1"], &[]).status.code(), Some(2));
}
