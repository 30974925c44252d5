//! Every label and its closed list of values: what is exported, what stands in docs/metrics.md, and nothing else.

use crate::contract::dead_letter::Reason;
use crate::contract::error_code::ErrorCode;
use crate::contract::job_result::REPLAY_NO_OP;
use crate::stream::adopt::AdoptionState;
use crate::stream::renew::Renewal;
use crate::version::{REVISION, RUSTC, VERSION};

/// A label's name and its values.
pub type Label = (&'static str, Vec<&'static str>);

const ORIGINS: [&str; 3] = ["new", "claimed", "found"];
const SETTLED: [&str; 7] = ["done", "duplicate", "lost", "unknown", "expired", "refused", "skipped"];
const OUTCOMES: [&str; 2] = ["success", "failure"];
const SWEEPS: [&str; 6] = ["not_due", "found", "suspects", "nothing", "claimed", "error"];
const CONDITIONS: [&str; 11] =
    ["redis", "read", "fetch", "admit", "store", "settle", "renew", "claim", "tidy", "group", "engine"];
const REDIS_OPERATIONS: [&str; 7] = ["past", "settle", "renew", "claim", "hand_back", "janitor", "adopt"];
const ENGINE_OPERATIONS: [&str; 8] = ["ping", "ensure_image", "find", "create", "start", "unpause", "remove", "list"];
const SAMPLES: [&str; 2] = ["ok", "failed"];

/// The labels of a metric by its name as it is exported, in the order in which they are exported; none for most.
pub fn of(metric: &str) -> Vec<Label> {
    let codes = || ErrorCode::ALL.iter().map(|code| code.as_str());
    match metric {
        "startjobs_entries_received_total" => vec![("origin", ORIGINS.to_vec())],
        "startjobs_entries_settled_total" => vec![("result", SETTLED.to_vec())],
        "startjobs_outcomes_total" => {
            let error_codes = ["", REPLAY_NO_OP].into_iter().chain(codes()).chain(["other"]).collect();
            vec![("outcome", OUTCOMES.to_vec()), ("error_code", error_codes)]
        }
        "startjobs_dead_letters_total" => {
            vec![("reason", Reason::ALL.map(Reason::as_str).to_vec())]
        }
        "startjobs_retries_total" => vec![("counted", vec!["yes", "no"])],
        "startjobs_claim_sweeps_total" => vec![("result", SWEEPS.to_vec())],
        "startjobs_renewals_total" => {
            use Renewal::{Absent, Mine, Other, Restored, Settled, Trimmed};
            vec![("result", [Mine, Trimmed, Restored, Other, Settled, Absent].map(Renewal::as_str).to_vec())]
        }
        "startjobs_conditions_total" | "startjobs_condition" => vec![("condition", CONDITIONS.to_vec())],
        "startjobs_adoptions_total" => {
            use AdoptionState::{Adopted, Created, Existed, Foreign};
            vec![("state", [Created, Adopted, Foreign, Existed].map(AdoptionState::as_str).to_vec())]
        }
        "startjobs_redis_request_duration_seconds" => vec![("operation", REDIS_OPERATIONS.to_vec())],
        "startjobs_engine_request_duration_seconds" => {
            let results = ["ok", "refused"].into_iter().chain(codes()).collect();
            vec![("operation", ENGINE_OPERATIONS.to_vec()), ("result", results)]
        }
        "startjobs_group_samples_total" => vec![("result", SAMPLES.to_vec())],
        "startjobs_build_info" => {
            vec![("version", vec![VERSION]), ("revision", vec![REVISION]), ("rustc", vec![RUSTC])]
        }
        _ => Vec::new(),
    }
}

/// The values of a metric's first label.
pub(super) fn first(metric: &str) -> Vec<&'static str> {
    of(metric).into_iter().next().map(|(_, values)| values).unwrap_or_default()
}

/// The pairs of `outcome` and `error_code` that exist.
pub(super) fn outcomes() -> Vec<(&'static str, &'static str)> {
    let (_, codes) = of("startjobs_outcomes_total").pop().expect("outcomes have two labels");
    let is_success = |code: &str| code.is_empty() || code == REPLAY_NO_OP;
    codes.into_iter().map(|code| (if is_success(code) { "success" } else { "failure" }, code)).collect()
}
