//! Each promise of docs/delivery-guarantees.md names its properties and its tests, and these exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::properties::PROPERTIES;

const HEADING: &str = "## How each promise is tested\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the table: the promise, and what is named in code spans for properties and for tests.
fn rows() -> Vec<(String, Vec<String>, Vec<String>)> {
    let text = fs::read_to_string(root().join("docs/delivery-guarantees.md")).expect("the document");
    let (_, section) = text.split_once(HEADING).expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let spans = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [promise, properties, tests] = cells[..] else { panic!("not three cells: {row}") };
        (promise.trim().to_owned(), spans(properties), spans(tests))
    })
    .collect()
}

/// The files that a test of this name may be in. A module that a macro makes for each version of a server is left out of names.
fn files_of(test: &str) -> Vec<PathBuf> {
    let (modules, _) = test.rsplit_once("::").unwrap_or_default();
    let path = modules.replace("::", "/");
    let folders = ["tests/it", "tests/model"].map(|folder| root().join(folder));
    folders.iter().flat_map(|folder| [folder.join(format!("{path}.rs")), folder.join(&path).join("mod.rs")]).collect()
}

fn has_test(test: &str) -> bool {
    let (_, name) = test.rsplit_once("::").unwrap_or_default();
    let function = format!("fn {name}(");
    files_of(test).iter().filter_map(|file| fs::read_to_string(file).ok()).any(|text| text.contains(&function))
}

#[test]
fn every_promise_names_properties_and_tests_that_exist() {
    let rows = rows();
    assert!(rows.len() >= 10, "the table is found: {rows:?}");
    for (promise, properties, tests) in &rows {
        assert!(!properties.is_empty() && !tests.is_empty(), "{promise} names no property or no test");
        for name in properties {
            assert!(
                PROPERTIES.iter().any(|(property, _)| property == name),
                "{promise}: there is no property {name:?}"
            );
        }
        for test in tests {
            assert!(has_test(test), "{promise}: there is no test {test}");
        }
    }
}

#[test]
fn every_property_is_part_of_a_promise() {
    let named: BTreeSet<String> = rows().into_iter().flat_map(|(_, properties, _)| properties).collect();
    let missing: Vec<_> = PROPERTIES.iter().filter(|(name, _)| !named.contains(*name)).map(|(name, _)| name).collect();
    assert!(missing.is_empty(), "docs/delivery-guarantees.md names no promise for {missing:?}");
}

#[test]
fn every_property_is_violated_by_a_wrong_protocol() {
    let text = fs::read_to_string(root().join("tests/model/wrong.rs")).expect("the wrong protocols");
    let missing: Vec<_> = PROPERTIES.iter().filter(|(name, _)| !text.contains(&format!("\"{name}\""))).collect();
    assert!(missing.is_empty(), "no wrong protocol violates {missing:?}");
}

#[test]
fn what_does_not_exist_is_found() {
    assert!(has_test("scenarios::replicas_that_die"));
    assert!(!has_test("scenarios::replicas_that_di") && !has_test("nowhere::replicas_that_die") && !has_test("it"));
}
