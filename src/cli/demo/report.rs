//! What came of the demonstration: a table for people, an object for programs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::output;
use crate::ops::printable::json_pretty;

use super::engines::{Again, OnDocker, Ran};
use super::simulated::{STARTS_TAKE, Simulated};
use super::stage::Rest;

/// The version of the JSON form.
const SCHEMA_VERSION: u32 = 1;

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DemoReport {
    schema_version: u32,
    /// Everything came out as promised.
    pub(super) exact: bool,
    simulated: Simulated,
    docker: OnDocker,
}

type Lines = Vec<(String, String)>;

impl DemoReport {
    pub(super) fn new(simulated: Simulated, docker: OnDocker) -> Self {
        let exact = simulated.is_exact() && docker.is_exact();
        Self { schema_version: SCHEMA_VERSION, exact, simulated, docker }
    }

    pub(super) fn json(&self) -> String {
        json_pretty(self)
    }

    pub(super) fn table(&self) -> String {
        let docker = match &self.docker {
            OnDocker::LeftOut { left_out } => format!("docker engine: left out, {left_out}\n"),
            OnDocker::Ran(ran) => docker(ran),
        };
        let verdict = if self.exact {
            "Every entry was answered exactly once."
        } else {
            "NOT AS PROMISED: see the lines marked with !"
        };
        format!("\n{}\n{docker}\n{verdict}\n", simulated(&self.simulated))
    }
}

fn simulated(part: &Simulated) -> String {
    let mut lines = account(&part.rest);
    let (held, recovery) = match &part.killed {
        Some(killed) => (
            format!("{} (pid {})", killed.held, killed.pid),
            killed.recovery_ms.map_or_else(|| "! never".to_owned(), after_the_kill),
        ),
        None => ("! no replica was killed".to_owned(), "! never".to_owned()),
    };
    lines.push(("entries the killed replica held".to_owned(), held));
    lines.push(("answered by the other replicas".to_owned(), recovery));
    let once = part.running_at_once_max;
    lines.push(("containers of one game at once".to_owned(), marked(once == 1, format!("never more than {once}"))));
    lines.push(("time in all".to_owned(), seconds(part.total_ms)));
    format!("simulated engine, {} replicas\n{}", part.replicas, indented(&lines))
}

/// The lines that both parts share.
fn account(rest: &Rest) -> Lines {
    let account = &rest.account;
    let mut lines = vec![("sent".to_owned(), account.sent.to_string())];
    let mut kinds: Vec<(&String, &usize)> = account.outcomes.iter().collect();
    kinds.sort_by_key(|(kind, _)| match kind.as_str() {
        "started" => 0,
        "replay_no_op" => 1,
        _ => 2,
    });
    for (kind, count) in kinds {
        let kind = if kind == "replay_no_op" { "running already (replay_no_op)" } else { kind };
        lines.push((format!("  {kind}"), count.to_string()));
    }
    if account.malformed > 0 {
        lines.push(("  malformed, to dead letters".to_owned(), account.malformed.to_string()));
    }
    let none = |ids: &[String]| marked(ids.is_empty(), ids.len().to_string());
    lines.push(("lost".to_owned(), none(&account.lost)));
    lines.push(("answered twice".to_owned(), none(&account.answered_twice)));
    if !account.unexpected.is_empty() {
        lines.push(("unexpected".to_owned(), none(&account.unexpected)));
    }
    lines.push(("still pending".to_owned(), marked(rest.pending == 0, rest.pending.to_string())));
    let at_last = rest.mirror == rest.last_id;
    let mirror = if at_last {
        format!("yes ({})", rest.mirror)
    } else {
        format!("no ({}, the last is {})", rest.mirror, rest.last_id)
    };
    lines.push(("offset mirror at the last entry".to_owned(), marked(at_last, mirror)));
    lines
}

fn docker(ran: &Ran) -> String {
    let mut lines = account(&ran.rest);
    let again = |again: &Again| marked(again.as_expected, format!("{} -> {}", again.game_id, again.error_code));
    lines.push(("asked for again".to_owned(), again(&ran.replay)));
    lines.push(("asked for with another image".to_owned(), again(&ran.conflict)));
    lines.push(("containers started per second".to_owned(), format!("{:.1}", ran.starts_per_second)));
    let confined = ran.games.iter().filter(|game| game.unconfined.is_empty()).count();
    let of_all = format!("{confined} of {}", ran.games.len());
    lines.push(("confined by the strict policy".to_owned(), marked(confined == ran.games.len(), of_all)));
    let missing: BTreeSet<&str> = ran.games.iter().flat_map(|game| &game.unconfined).map(String::as_str).collect();
    let kept = "no capability, no new privileges, read-only; memory, pids and log bounded";
    let kept = if missing.is_empty() { kept.to_owned() } else { Vec::from_iter(missing).join(", ") };
    lines.push(("  each".to_owned(), marked(confined == ran.games.len(), kept)));
    let mut text = format!("docker engine at {}\n{}", ran.docker_host, indented(&lines));
    for game in &ran.games {
        let status = match (game.http_status, game.error_code.as_str()) {
            (Some(status), _) => marked(status == 200, status.to_string()),
            (None, "") => "! no answer".to_owned(),
            (None, code) => format!("! {code}"),
        };
        // Writing to a String cannot fail.
        _ = writeln!(text, "  {} -> {} -> {status}", game.id, game.engine_endpoint);
    }
    text
}

fn indented(lines: &Lines) -> String {
    let lines: Lines = lines.iter().map(|(name, value)| (format!("  {name}"), value.clone())).collect();
    output::aligned(&lines)
}

fn marked(fine: bool, text: String) -> String {
    if fine { text } else { format!("! {text}") }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

/// In hundredths, because it is less than a second.
fn after_the_kill(ms: u64) -> String {
    let start = STARTS_TAKE.replace("..", " to ");
    format!("all {}.{:02} s after the kill (a start takes {start})", ms / 1_000, ms % 1_000 / 10)
}
