//! Runs side by side, from their JSON.

use serde_json::Value;

use crate::bench::SCHEMA_VERSION;

/// A run, by the name of its file.
pub(crate) type Named = (String, Value);

/// A measure: what it is called, and how it is found.
type Measure = (&'static str, fn(&Value) -> Option<f64>);

/// What is no number.
type Fact = (&'static str, fn(&Value) -> String);

const LOAD: &[Measure] = &[
    ("sent/s", |run| run["sent_per_s"].as_f64()),
    ("answered/s", |run| run["answered_per_s"].as_f64()),
    ("late", |run| run["late"].as_f64()),
    ("failed", |run| run["failed"].as_f64()),
    ("seen p50 us", |run| stage(run, "p50_us")),
    ("seen p90 us", |run| stage(run, "p90_us")),
    ("seen p99 us", |run| stage(run, "p99_us")),
    ("seen p99.9 us", |run| stage(run, "p999_us")),
    ("seen max us", |run| stage(run, "max_us")),
    ("Redis us/entry", |run| run["cost"]["redis_us_per_entry"].as_f64()),
    ("client us/entry", |run| run["cost"]["client_us_per_entry"].as_f64()),
    ("RSS MiB", |run| run["cost"]["rss_mib"].as_f64()),
];

const DRAIN: &[Measure] = &[
    ("entries/s", |run| median(run, "entries_per_s")),
    ("Redis us/entry", |run| median(run, "redis_us_per_entry")),
    ("client us/entry", |run| median(run, "client_us_per_entry")),
    ("RSS MiB", |run| median(run, "rss_mib")),
    ("ratio to floor", |run| run["ratio_to_floor"].as_f64()),
];

fn stage(run: &Value, name: &str) -> Option<f64> {
    run["stages"].as_array()?.iter().find(|stage| stage["stage"] == "seen")?[name].as_f64()
}

/// Of the first subject.
fn median(run: &Value, name: &str) -> Option<f64> {
    run["subjects"][0]["median"][name].as_f64()
}

/// The table; each run after the first with its difference to the first. Refuses what is no report, and runs of
/// different kinds.
pub(crate) fn table(runs: &[Named]) -> Result<String, String> {
    let Some((_, first)) = runs.first() else { return Err("no run was given".to_owned()) };
    for (name, run) in runs {
        if run["schema_version"] != SCHEMA_VERSION {
            return Err(format!("{name} is no report of this version (schema_version {SCHEMA_VERSION})"));
        }
        if run["kind"] != first["kind"] {
            return Err(format!("{name} is of another kind than {}: a drain and a load are not compared", runs[0].0));
        }
    }
    let measures = match first["kind"].as_str() {
        Some("drain") => DRAIN,
        Some("load") => LOAD,
        other => {
            let kind = other.unwrap_or("unknown");
            return Err(format!("{} is of the kind {kind}: only loads and drains are compared", runs[0].0));
        }
    };
    let mut rows: Vec<Vec<String>> =
        vec![std::iter::once(String::new()).chain(runs.iter().map(|(name, _)| name.clone())).collect()];
    for (name, measure) in measures {
        let base = measure(first);
        let cells = runs.iter().enumerate().map(|(number, (_, run))| cell(measure(run), base.filter(|_| number > 0)));
        rows.push(std::iter::once((*name).to_owned()).chain(cells).collect());
    }
    let facts: [Fact; 4] = [
        ("exact", |run| run["exact"].to_string()),
        ("Redis", |run| run["redis"]["version"].as_str().unwrap_or("-").to_owned()),
        ("AOF", |run| run["redis"]["aof"].as_str().unwrap_or("-").to_owned()),
        ("verdict", |run| run["verdict"].as_str().unwrap_or("-").to_owned()),
    ];
    for (name, fact) in facts {
        rows.push(std::iter::once(name.to_owned()).chain(runs.iter().map(|(_, run)| fact(run))).collect());
    }
    Ok(aligned(&rows))
}

fn cell(value: Option<f64>, base: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    let text = if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    match base {
        Some(base) if base != 0.0 => format!("{text} ({:+.1} %)", (value / base - 1.0) * 100.0),
        _ => text,
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(
                |(column, (text, width))| {
                    if column == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") }
                },
            )
            .collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn runs_stand_beside_each_other_with_their_difference() {
        let run = |rate: f64| {
            json!({"schema_version": 1, "kind": "load", "sent_per_s": rate, "exact": true, "verdict": "fine",
            "stages": [{"stage": "seen", "p50_us": 100}], "redis": {"version": "7.0.15", "aof": "off"}})
        };
        let table = table(&[("a.json".into(), run(200.0)), ("b.json".into(), run(150.0))]).expect("a table");
        assert!(table.contains("150 (-25.0 %)") && table.contains("7.0.15") && table.contains("b.json"), "{table}");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let run = |kind: &str, version: u32| json!({"schema_version": version, "kind": kind});
        assert!(table(&[]).is_err());
        assert!(table(&[("a".into(), json!({}))]).is_err());
        assert!(table(&[("a".into(), run("load", 9))]).is_err());
        assert!(table(&[("a".into(), run("latency", 1))]).is_err());
        assert!(table(&[("a".into(), run("load", 1)), ("b".into(), run("drain", 1))]).is_err());
    }
}
