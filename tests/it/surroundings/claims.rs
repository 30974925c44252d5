//! docs/security.md: each line of its tables names tests that exist, or says that something is not prevented.

use std::fs;
use std::path::Path;

const DOCUMENT: &str = "docs/security.md";
/// The tables of the threat model.
const TABLES: [&str; 4] =
    ["## A hostile producer", "## A hostile image", "## A hostile neighbour", "## A stolen replica"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether there is a test of this name: its path as the test runner shows it.
fn is_a_test(name: &str) -> bool {
    let Some((module, function)) = name.rsplit_once("::") else { return false };
    let (of_unit, path) = match module.strip_suffix("::tests") {
        Some(module) => ("src", module.replace("::", "/")),
        None => ("tests/it", module.replace("::", "/")),
    };
    let files = [format!("{of_unit}/{path}.rs"), format!("{of_unit}/{path}/mod.rs")];
    let texts = files.iter().filter_map(|file| fs::read_to_string(root().join(file)).ok());
    texts.into_iter().any(|text| {
        let declared = [format!("fn {function}("), format!("async fn {function}(")];
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let at = lines.iter().position(|line| declared.iter().any(|one| line.starts_with(one)));
        // Its attributes are before it.
        at.is_some_and(|at| {
            lines[..at].iter().rev().take(3).any(|line| line.starts_with("#[") && line.contains("test"))
        })
    })
}

/// The rows of a section's table: their cells.
fn rows<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = text.split_once(&format!("{heading}\n")).unwrap_or_else(|| panic!("{DOCUMENT}: {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let lines = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    let mut rows: Vec<Vec<&str>> = lines.map(|line| line.split(" | ").map(str::trim).collect()).collect();
    rows.remove(0);
    rows
}

/// The names of tests in a cell.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect()
}

#[test]
fn every_claim_of_the_threat_model_has_a_test_or_says_that_it_is_not_prevented() {
    let text = fs::read_to_string(root().join(DOCUMENT)).expect(DOCUMENT);
    let (mut claims, mut open) = (0, 0);
    for heading in TABLES {
        for row in rows(&text, heading) {
            let [tried, happens, shown] = row[..] else { panic!("{heading}: not three cells: {row:?}") };
            let (is_open, tests) = (happens.contains("**not prevented**"), names(shown));
            assert!(is_open || !tests.is_empty(), "{heading}: no test shows what happens to: {tried}");
            for test in &tests {
                assert!(is_a_test(test), "{heading}: there is no test {test}");
            }
            claims += usize::from(!tests.is_empty());
            open += usize::from(is_open);
        }
    }
    assert!(claims > 30 && open > 10, "the tables are read: {claims} {open}");
}

#[test]
fn a_name_is_that_of_a_test_only_with_its_module_and_its_attribute() {
    assert!(is_a_test("surroundings::claims::a_name_is_that_of_a_test_only_with_its_module_and_its_attribute"));
    assert!(is_a_test("start::game_id::tests::ids_that_docker_and_redis_take_are_taken_and_nothing_else"));
    assert!(is_a_test("contract::trace::tests::what_is_passed_on_is_one_short_line"), "a property");
    for none in ["surroundings::claims::names", "surroundings::claims::nothing", "claims", "elsewhere::names"] {
        assert!(!is_a_test(none), "{none}");
    }
}
