//! Every error code, produced by what it is about: the table of the tests that do it, and those that no other place has.

// the registry that pulls fail against
mod registry;
// pulls that fail in every way
mod pulls;
// an engine that refuses, each game in its own way
mod refusals;
// what is never published
mod unpublished;

use std::path::PathBuf;

use startjobs::contract::error_code::{Class, ErrorCode};

/// The code, what produces it, and the file below `tests/it` and the test in it that see it. The file looks for the code as the
/// `error_code` of an outcome; of codes that are never published, for the words in the last column, which say that the job is
/// tried again.
const ROWS: &str = r#"
invalid_game_id | simulated engine | fleet | every_job_gets_its_one_outcome_and_every_malformed_entry_its_dead_letter
invalid_image_ref | simulated engine | fleet | every_job_gets_its_one_outcome_and_every_malformed_entry_its_dead_letter
image_conflict | dockerd | docker_fleet/jobs | a_job_sent_by_hand_answers_with_a_container_that_serves
image_not_allowed | policy file | policy/replicas | a_policy_is_obeyed_and_read_again_when_it_changes
image_not_found | dockerd and registry | docker_fleet/failures | every_failure_has_its_own_code_and_leaves_no_container
image_access_denied | dockerd and registry | docker_fleet/failures | every_failure_has_its_own_code_and_leaves_no_container
image_pull_rate_limited | dockerd and registry | error_table/pulls | a_registry_fails_in_every_way_and_is_mended
image_pull_failed | dockerd and registry | error_table/pulls | a_registry_fails_in_every_way_and_is_mended
image_pull_timeout | dockerd and registry | error_table/pulls | a_registry_fails_in_every_way_and_is_mended
container_config_invalid | engine socket | error_table/refusals | what_an_engine_refuses_has_its_code_and_leaves_nothing_behind
container_name_conflict | dockerd | docker_fleet/failures | every_failure_has_its_own_code_and_leaves_no_container
container_name_stuck | engine socket | error_table/refusals | what_an_engine_refuses_has_its_code_and_leaves_nothing_behind
container_start_failed | dockerd | docker_fleet/failures | every_failure_has_its_own_code_and_leaves_no_container
network_not_found | engine socket | error_table/refusals | what_an_engine_refuses_has_its_code_and_leaves_nothing_behind
host_port_unavailable | engine socket | engine_faults/fleet | a_container_whose_port_is_taken_is_replaced_once
host_full | a full host | sick_host/full | one_job_waits_on_a_full_host_for_as_long_as_it_is_full | condition=\"host_full\"
engine_exited | dockerd | docker_fleet/failures | every_failure_has_its_own_code_and_leaves_no_container
engine_not_ready | dockerd | docker_fleet/failures | every_failure_has_its_own_code_and_leaves_no_container
engine_unavailable | engine socket | error_table/refusals | what_an_engine_refuses_has_its_code_and_leaves_nothing_behind
host_unavailable | two hosts | limits | a_game_placed_on_a_host_that_was_never_heard_of_is_answered_host_unavailable_when_the_budget_is_spent
start_in_progress | two replicas | error_table/unpublished | a_game_that_is_being_started_lets_another_job_wait_uncounted | startjobs_retries_total{counted=\"no\"}
state_store_unavailable | Redis | fault_matrix/wrong_types | the_record_of_one_game_holds_up_that_game_alone | start waits for a key to be repaired
game_stopped | an operator | runtime/games | a_start_that_is_stopped_on_its_way_is_answered_so
cancelled | an operator | marks/held | a_job_that_backs_off_is_cancelled_at_once
start_deadline_exceeded | an old job | start_service | a_job_older_than_the_start_deadline_is_answered_instead_of_started
job_too_large | a large entry | large_messages | an_entry_that_never_arrives_is_answered_from_its_job_and_holds_nobody_up
poison | processes that die | fault_matrix/budgets | crash_counts_survive_a_lost_group
simulated_failure | simulated engine | start_service | jobs_that_fail_by_lot_are_the_same_whoever_tries
simulated_error | simulated engine | start_service | a_spent_budget_is_answered_and_kept_and_frees_the_game
internal_error | engine socket | error_table/refusals | what_an_engine_refuses_has_its_code_and_leaves_nothing_behind
"#;

/// The text of a test file, be it a file or a folder's.
fn source(module: &str) -> Option<String> {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let file = [format!("{module}.rs"), format!("{module}/mod.rs")].map(|path| tests.join(path));
    file.into_iter().find_map(|path| std::fs::read_to_string(path).ok())
}

#[test]
fn every_code_has_its_row() {
    let rows: Vec<Vec<&str>> = ROWS.trim().lines().map(|row| row.split(" | ").collect()).collect();
    let codes: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(codes, ErrorCode::ALL.map(ErrorCode::as_str), "a row for each code, in the order of the documentation");
    let mut missing = Vec::new();
    for (row, code) in rows.iter().zip(ErrorCode::ALL) {
        let (file, test) = (row[2], row[3]);
        let source = source(file).unwrap_or_default();
        if !source.contains(&format!("fn {test}(")) {
            missing.push(format!("{code}: tests/it/{file} has no test {test}"));
        }
        let is_looked_for = match row.get(4) {
            None => [format!("\"{code}\""), format!("ErrorCode::{code:?}")].iter().any(|name| source.contains(name)),
            Some(words) => source.contains(words),
        };
        if !is_looked_for {
            missing.push(format!("{code}: tests/it/{file} does not look for it"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The document's cells of a table's row that begins with this code.
fn cells<'a>(document: &'a str, code: &str) -> Option<Vec<&'a str>> {
    let first = |line: &&str| line.split(" | ").next().is_some_and(|cell| cell.contains(&format!("`{code}`")));
    let line = document.lines().filter(|line| line.starts_with("| `")).find(first)?;
    Some(line.trim_matches('|').split('|').map(str::trim).collect())
}

#[test]
fn every_code_is_documented_with_its_class_and_what_to_do() {
    let read = |name: &str| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
        let document = std::fs::read_to_string(path).expect("it is part of the source");
        document.split("\n## Error codes\n").nth(1).expect("it has the section").to_owned()
    };
    let (meanings, remedies) = (read("delivery-guarantees.md"), read("runbooks.md"));
    for code in ErrorCode::ALL {
        let class = match code.class() {
            Class::Permanent => "permanent",
            Class::Retryable => "retryable",
        };
        let meaning = cells(&meanings, code.as_str()).unwrap_or_else(|| panic!("no meaning of {code}"));
        assert_eq!(meaning[1], class, "{code}");
        let remedy = cells(&remedies, code.as_str()).unwrap_or_else(|| panic!("nothing to do about {code}"));
        assert!(remedy[1].ends_with('.'), "{code}: {remedy:?}");
    }
}
