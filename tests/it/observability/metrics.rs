//! The table of metrics in docs/metrics.md: exactly what a worker exports, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use startjobs::lobby::accounting::Sent;
use startjobs::metrics::labels;
use startjobs::worker::troubles::Trouble;

use super::{SERVED, address_of, document, get, promtool, sampled};
use crate::support::world::World;

/// A worker that has met a bit of everything, and what it exports.
pub(super) async fn exposition() -> String {
    let mut world = World::new().await;
    world.replica(&[SERVED]);
    world.begun(0).await;
    let address = address_of(&mut world, 0).await;
    world.send("game-1", "galaxy/engine:1").await;
    world.send("game-1", "galaxy/engine:1").await;
    world.send("game-2", "sim/missing").await;
    world.send("game-3", "sim/error").await;
    world.send("no such game", "galaxy/engine:1").await;
    world.send_malformed().await;
    world.send_fields(&[("game_id", "g")], Sent::Malformed).await;
    world.settled().await;
    world.at_rest().await;
    sampled(&address, "startjobs_group_samples_total{result=\"ok\"}", |samples| samples >= 1.0).await;
    let answer = get(&address, "/metrics").await;
    assert_eq!(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    answer.body
}

/// One family as it is exported.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Family {
    kind: String,
    help: String,
    /// The labels of its samples with the values seen.
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Family {
    /// Its type.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }
}

/// The families by the name under which they are asked for: a counter's has its `_total`.
pub(super) fn families(exposition: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut helps: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut name, mut base) = (String::new(), "");
    for line in exposition.lines() {
        if let Some((family, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            assert!(helps.insert(family, help).is_none(), "{family} is exported twice");
        } else if let Some((family, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            name = if kind == "counter" { format!("{family}_total") } else { family.to_owned() };
            base = family;
            let help = helps[family].trim_end_matches('.').to_owned();
            families.insert(name.clone(), Family { kind: kind.to_owned(), help, ..Family::default() });
        } else if !line.starts_with('#') {
            assert!(line.starts_with(base), "{line} belongs to {base}");
            let family = families.get_mut(&name).expect("its type came first");
            for (label, value) in labels_of(line).filter(|(label, _)| *label != "le") {
                family.labels.entry(label.to_owned()).or_default().insert(value.to_owned());
            }
        }
    }
    families
}

/// No value of ours needs escaping, so quotes only end them.
fn labels_of(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let inside = line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(inside, _)| inside);
    inside.split(',').filter_map(|pair| pair.split_once('=')).map(|(label, value)| (label, value.trim_matches('"')))
}

fn row(name: &str, family: &Family) -> String {
    let lists: Vec<String> = labels::of(name)
        .into_iter()
        .map(|(label, values)| {
            let values: Vec<String> = values
                .iter()
                .map(|value| if value.is_empty() { "(empty)".to_owned() } else { format!("`{value}`") })
                .collect();
            // What every build has another of.
            let is_of_the_build = name == "startjobs_build_info" && label != "version";
            format!("`{label}`: {}", if is_of_the_build { "the build's".to_owned() } else { values.join(", ") })
        })
        .collect();
    let labels = if lists.is_empty() { "-".to_owned() } else { lists.join("; ") };
    format!("| `{name}` | {} | {labels} | {} |\n", family.kind, family.help)
}

#[tokio::test]
async fn the_table_is_exactly_what_is_exported() {
    let exposition = exposition().await;
    assert!(exposition.ends_with("# EOF\n"));
    let families = families(&exposition);
    let mut table = String::from("| metric | type | labels and their values | meaning |\n|---|---|---|---|\n");
    for (name, family) in &families {
        let listed: BTreeMap<String, Vec<&str>> =
            labels::of(name).into_iter().map(|(label, values)| (label.to_owned(), values)).collect();
        let (seen, known): (Vec<_>, Vec<_>) = (family.labels.keys().collect(), listed.keys().collect());
        assert_eq!(seen, known, "the labels of {name}");
        for (label, values) in &family.labels {
            let strange: Vec<_> = values.iter().filter(|value| !listed[label].contains(&value.as_str())).collect();
            assert!(strange.is_empty(), "{name} has {label} {strange:?}, which is in no list");
        }
        table.push_str(&row(name, family));
    }
    let document = document("docs/metrics.md");
    let begin = document.find("| metric |").expect("docs/metrics.md has the table");
    let written: String =
        document[begin..].lines().take_while(|line| line.starts_with('|')).fold(String::new(), |mut text, line| {
            writeln!(text, "{line}").expect("a text takes everything");
            text
        });
    assert!(written == table, "docs/metrics.md must hold this table:\n{table}");
}

#[test]
fn every_condition_has_its_series() {
    let all = [
        Trouble::Redis,
        Trouble::Read,
        Trouble::Fetch,
        Trouble::Admit,
        Trouble::Store,
        Trouble::Settle,
        Trouble::Renew,
        Trouble::Claim,
        Trouble::Tidy,
        Trouble::Group,
        Trouble::Engine,
        Trouble::HostFull,
        Trouble::Policy,
    ];
    let [(_, listed)] = &labels::of("startjobs_condition")[..] else { panic!("one label") };
    assert_eq!(*listed, all.map(Trouble::as_str));
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_the_exposition() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("metrics");
    std::fs::write(&path, exposition().await).expect("written");
    let Some(output) = promtool(&["check", "metrics"], Some(&path)) else { return };
    // promtool reads the older text format, in which a counter's help stands under its full name.
    let is_false = |line: &&str| line.ends_with("_total no help text");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let findings: Vec<&str> = said.lines().filter(|line| !line.is_empty()).filter(|line| !is_false(line)).collect();
    assert!(findings.is_empty(), "{findings:#?}");
}
