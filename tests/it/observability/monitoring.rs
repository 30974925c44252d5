//! deploy/monitoring and docs/runbooks.md: every metric they name is exported, every link leads somewhere, and the
//! rules do what they say.

use std::collections::BTreeSet;

use serde_json::Value;
use startjobs::ops::alerts::rules::ALL;

use super::metrics::{exposition, families};
use super::{document, file, promtool};

const ALERTS: [&str; 23] = [
    "NoReplicas",
    "ReplicaLost",
    "BacklogGrowing",
    "OldestWaitingTooOld",
    "DeadLettersGrowing",
    "ClaimStorm",
    "LagUnknown",
    "RedisDown",
    "RedisRefusesWrites",
    "EngineDown",
    "WorkerStuck",
    "RestartLoop",
    "MirrorHeldBack",
    "ForeignOffset",
    "OrphansFound",
    "EntriesLost",
    "StreamExhausted",
    "LogLinesDropped",
    "DisconnectNoticeOff",
    "DeclaredDeadAlive",
    "HostDead",
    "PolicyBroken",
    "HostFull",
];

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&document(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn dashboard() -> Value {
    serde_json::from_str(&document("deploy/monitoring/dashboard.json")).expect("JSON")
}

/// Every text under a key, at any depth.
fn texts(value: &Value, key: &str) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| match member.as_str() {
                Some(text) if name == key => vec![text.to_owned()],
                _ => texts(member, key),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(|item| texts(item, key)).collect(),
        _ => Vec::new(),
    }
}

/// The rules of a file.
fn rules(file: &Value) -> Vec<Value> {
    let groups = file["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

/// The names in an expression that are metrics of ours, recorded or exported.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c: char| !is_name(c));
    let is_ours = |word: &&str| ["startjobs_", "process_", "job:"].iter().any(|prefix| word.starts_with(prefix));
    words.filter(is_ours).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_metric_that_is_named_is_exported_or_recorded() {
    let mut known = BTreeSet::new();
    for (name, kind) in families(&exposition().await).into_iter().map(|(name, family)| (name, family.kind().to_owned()))
    {
        if kind == "histogram" {
            known.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")));
        }
        known.insert(name);
    }
    let recording = rules(&yaml("deploy/monitoring/rules.yml"));
    let recorded: BTreeSet<String> =
        recording.iter().map(|rule| rule["record"].as_str().expect("a record").to_owned()).collect();
    let alerts = yaml("deploy/monitoring/alerts.yml");
    let mut expressions = texts(&yaml("deploy/monitoring/rules.yml"), "expr");
    expressions.extend(texts(&alerts, "expr"));
    expressions.extend(texts(&dashboard(), "expr"));
    expressions.extend(texts(&dashboard(), "query"));
    let named: BTreeSet<String> = expressions.iter().flat_map(|expression| metrics_in(expression)).collect();
    assert!(named.len() > 30, "they name something: {named:?}");
    for name in &named {
        assert!(known.contains(name) || recorded.contains(name), "{name} is neither exported nor recorded");
    }
    for name in &recorded {
        assert!(named.contains(name), "{name} is recorded and nobody asks for it");
    }
}

#[test]
fn every_alert_says_what_is_to_be_done() {
    let alerts = rules(&yaml("deploy/monitoring/alerts.yml"));
    let names: Vec<&str> = alerts.iter().map(|alert| alert["alert"].as_str().expect("a name")).collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(distinct, BTreeSet::from(ALERTS));
    assert_eq!(names.len(), ALERTS.len());
    let runbooks = document("docs/runbooks.md");
    let headings: Vec<String> =
        runbooks.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_lowercase).collect();
    for alert in &alerts {
        let name = alert["alert"].as_str().expect("a name");
        assert!(alert["for"].is_string(), "{name} has a for");
        let severity = alert["labels"]["severity"].as_str().expect("a severity");
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        for annotation in ["summary", "description"] {
            assert!(alert["annotations"][annotation].as_str().is_some_and(|text| text.len() > 20), "{name}");
        }
        let expected = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], expected.as_str());
        assert!(headings.contains(&name.to_lowercase()), "docs/runbooks.md has a section {name}");
    }
    for section in runbooks.split("\n## ").skip(1).filter(|section| ALERTS.iter().any(|name| section.starts_with(name)))
    {
        let name = section.lines().next().expect("a heading");
        for part in ["Means", "The fleet", "Look", "Do", "Call"] {
            assert!(section.contains(&format!("**{part}")), "{name} has no part {part}");
        }
        assert!(section.contains("startjobs "), "{name} names no command");
    }
}

#[test]
fn every_command_of_the_runbooks_is_one() {
    let runbooks = document("docs/runbooks.md");
    let commands: Vec<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("    startjobs ")).collect();
    assert!(commands.len() > 20, "they are found: {commands:?}");
    for command in commands {
        let ours = command.split(" #").next().expect("a first part").split(" | ").next().expect("a first part").trim();
        let words = std::iter::once("startjobs").chain(ours.split_whitespace());
        let parsed = startjobs::cli::command().try_get_matches_from(words);
        assert!(parsed.is_ok(), "{command}: {:?}", parsed.err().map(|error| error.to_string()));
    }
}

/// Every comparison with a number in an expression, in order.
fn comparisons(expression: &str) -> Vec<(&'static str, f64)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some((at, sign)) =
        [">", "<", "=="].into_iter().filter_map(|sign| Some((rest.find(sign)?, sign))).min_by_key(|(at, _)| *at)
    {
        rest = &rest[at + sign.len()..];
        let word = rest.trim_start().split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
        // Two metrics with each other are no limit.
        found.extend(word.parse().ok().map(|number| (sign, number)));
    }
    found
}

/// The minutes in `[10m]`, `[10m:1m]` and `[1h]`, once each.
fn windows(expression: &str) -> Vec<u64> {
    let mut found = Vec::new();
    for part in expression.split('[').skip(1) {
        let first = part.split([':', ']']).next().expect("a part");
        let minutes = humantime::parse_duration(first).expect("a duration").as_secs() / 60;
        if !found.contains(&minutes) {
            found.push(minutes);
        }
    }
    found
}

/// `startjobs alerts` says what Prometheus would: the program's table is that of the file.
#[test]
fn the_commands_table_of_alerts_is_the_file() {
    let alerts = rules(&yaml("deploy/monitoring/alerts.yml"));
    let written: Vec<&str> = alerts.iter().filter_map(|alert| alert["alert"].as_str()).collect();
    let known: Vec<&str> = ALL.iter().map(|rule| rule.name).collect();
    assert_eq!(known, written);
    for (rule, alert) in ALL.iter().zip(&alerts) {
        let (name, expression) = (rule.name, alert["expr"].as_str().expect("an expression"));
        let held_for = humantime::parse_duration(alert["for"].as_str().expect("a for")).expect("a duration");
        assert_eq!(rule.held_for, held_for, "{name}");
        assert_eq!(alert["labels"]["severity"], rule.severity, "{name}");
        assert_eq!(alert["annotations"]["summary"], rule.summary, "{name}");
        assert_eq!(alert["annotations"]["runbook_url"], rule.runbook(), "{name}");
        let limits: Vec<(&str, f64)> = rule.limits.iter().map(|limit| (limit.sign, limit.value)).collect();
        assert_eq!(limits, comparisons(expression), "{name}: {expression}");
        for limit in rule.limits {
            assert!(metrics_in(expression).contains(limit.metric), "{name} asks for {}", limit.metric);
        }
        assert_eq!(rule.windows_min, windows(expression), "{name}: {expression}");
    }
}

#[test]
fn the_dashboard_is_complete() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "startjobs-fleet");
    assert!(dashboard["id"].is_null(), "an id belongs to one Grafana");
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .expect("variables")
        .iter()
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);
    let panels = dashboard["panels"].as_array().expect("panels");
    let title = |panel: &Value| panel["title"].as_str().expect("a title").to_owned();
    let rows: Vec<String> = panels.iter().filter(|panel| panel["type"] == "row").map(title).collect();
    assert_eq!(rows, ["Overview", "Backlog", "Latency", "Errors", "Engine", "Redis", "Saturation"]);
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "an id twice: {panel}");
        if panel["type"] == "row" {
            continue;
        }
        let name = title(panel);
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{name} has no description");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{name} has no unit");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}");
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            assert!(expression.contains("job=~\"$job\""), "{name}: {expression}");
        }
        let place = &panel["gridPos"];
        let number = |name: &str| place[name].as_u64().expect("a number");
        assert!(number("x") + number("w") <= 24, "{name} is beside the grid");
    }
}

#[test]
fn promtool_takes_the_rules_and_they_fire_as_they_say() {
    for (command, name) in [("rules", "deploy/monitoring/rules.yml"), ("rules", "deploy/monitoring/alerts.yml")] {
        let path = file(name);
        let Some(output) = promtool(&["check", command, path.to_str().expect("text")], None) else { return };
        assert!(output.status.success(), "{name}: {output:?}");
    }
    let tests = file("deploy/monitoring/alerts_test.yml");
    let Some(output) = promtool(&["test", "rules", tests.to_str().expect("text")], None) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tested = texts(&yaml("deploy/monitoring/alerts_test.yml"), "alertname");
    for name in ALERTS {
        assert!(tested.iter().any(|tested| tested == name), "{name} is not tested");
    }
}
