//! The streams, the group and the keys beside them.

use super::check::Check;
use crate::stream::config::{Config, OutcomeFields, PROBE_GROUP};

/// The label of the original worker in its offset store; it stays the same whatever the stream is called.
const LABEL: &str = "startjobs";

/// The keys that hang on the jobs stream's name.
const BESIDE_JOBS: &[&str] = &["verified", "attempts", "sweep", "replicas", "paused", "ledgers"];

pub(super) fn settings(check: &mut Check) -> Option<Config> {
    let jobs = stream(check, "jobs-stream");
    let results = stream(check, "results-stream");
    let dead = dead(check, jobs.as_deref());
    let group = check.text("group");
    if group.as_deref() == Some(PROBE_GROUP) {
        check.refuse("group", "is the name of a group that scripts create and destroy at any time; choose another");
    }
    let offset_key = check.text("offset-key").map(|key| key.replace("{label}", LABEL));
    let outcome_fields =
        check.choice("outcome-fields", &[("extended", OutcomeFields::Extended), ("original", OutcomeFields::Original)]);
    let ledger_ttl = check.duration("ledger-ttl");
    let max_field_bytes = check.size("max-field-bytes");
    let dead_max = check.number("dead-max");
    let trim_jobs = check.switch("trim-jobs");
    let results_retention = check.optional_duration("results-retention");
    let names =
        [("jobs-stream", &jobs), ("results-stream", &results), ("dead-stream", &dead), ("offset-key", &offset_key)];
    all_different(check, &names.map(|(name, key)| (name, key.as_deref())));
    Some(Config {
        jobs: jobs?,
        results: results?,
        dead: dead?,
        group: group?,
        offset_key: offset_key?,
        outcome_fields: outcome_fields?,
        ledger_ttl: ledger_ttl?,
        dead_max: dead_max?,
        max_field_bytes: max_field_bytes?,
        trim_jobs: trim_jobs?,
        results_retention: results_retention?,
    })
}

/// A stream's key, with the words the original worker has for an empty one.
fn stream(check: &mut Check, name: &str) -> Option<String> {
    if check.text_of(name).is_empty() {
        check.refuse(name, "stream must not be empty");
        return None;
    }
    check.text(name)
}

fn dead(check: &mut Check, jobs: Option<&str>) -> Option<String> {
    if check.is_set("dead-stream") {
        return stream(check, "dead-stream");
    }
    // Without a jobs stream there is a problem already.
    let dead = format!("{}:dead", jobs?);
    check.show("dead-stream", dead.as_str());
    Some(dead)
}

/// One key in two roles would mix up what is written to it.
fn all_different(check: &mut Check, keys: &[(&'static str, Option<&str>)]) {
    for (index, (name, key)) in keys.iter().enumerate() {
        let Some(key) = key else { continue };
        if let Some((other, _)) = keys[..index].iter().find(|(_, other)| *other == Some(key)) {
            let other = check.quoted(other);
            check.refuse(name, format!("must be another key than {other}"));
        }
    }
    let [(_, Some(jobs)), others @ ..] = keys else {
        return;
    };
    for (name, key) in others {
        let Some(beside) = key.and_then(|key| key.strip_prefix(*jobs)?.strip_prefix(':')) else {
            continue;
        };
        if BESIDE_JOBS.contains(&beside) || beside.starts_with("ledger:") {
            check.refuse(name, "is a key that the worker uses itself beside the jobs stream; choose another");
        }
    }
}
