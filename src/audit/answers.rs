//! What outcomes, dead letters and links to requeued jobs say, noted in the facts.

use std::hash::{BuildHasher, RandomState};

use super::facts::{Facts, Form, Letter, Reason, Said, Unsourced};
use super::id::Id;
use super::reply::Row;

/// Codes that are only published when a budget is spent, which leaves a dead letter too.
const CODES_WITH_LETTER: [&str; 13] = [
    "poison",
    "job_too_large",
    "image_pull_rate_limited",
    "image_pull_failed",
    "image_pull_timeout",
    "container_name_stuck",
    "host_port_unavailable",
    "engine_unavailable",
    "host_unavailable",
    "start_in_progress",
    "state_store_unavailable",
    "simulated_error",
    "internal_error",
];

/// The facts, as far as answers change them.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    pub(super) facts: &'a mut Facts,
    /// The hash by which games and containers are told apart.
    pub(super) hasher: &'a RandomState,
}

impl Answers<'_> {
    /// Notes an entry of the stream that links dead letters to the jobs they became.
    pub(super) fn requeued(&mut self, row: &Row) {
        self.facts.requeued.extend(Id::parse(&row.text("source_ref")).filter(|&id| id > self.facts.since));
    }

    /// Notes an outcome.
    pub(super) fn outcome(&mut self, row: &Row) {
        let game = row.text("game_id");
        let hash = self.hasher.hash_one(game.as_bytes());
        let Some(source) = row.first("source_ref") else {
            let unsourced = self.facts.unsourced.entry(hash).or_insert(Unsourced { game, outcomes: 0 });
            unsourced.outcomes += 1;
            return;
        };
        let Some(source) = std::str::from_utf8(source).ok().and_then(Id::parse) else {
            self.facts.unreadable_outcomes.push(row.id);
            return;
        };
        if source <= self.facts.since {
            self.facts.before_since += 1;
            return;
        }
        let owes_letter = CODES_WITH_LETTER.contains(&row.text("error_code").as_str());
        let container = row.first("container_id").filter(|id| !id.is_empty()).map(|id| self.hasher.hash_one(id));
        let entry = self.facts.entry_mut(source);
        entry.outcomes = entry.outcomes.saturating_add(1);
        if entry.outcomes == 1 {
            (entry.outcome, entry.said, entry.container) = (row.id, said(row), container.unwrap_or(0));
        }
        if entry.form == Form::Absent {
            entry.game = hash;
        }
        entry.owes_letter |= owes_letter;
        entry.is_other_game |= entry.form == Form::Job && entry.game != hash;
    }

    /// Notes a dead letter.
    pub(super) fn letter(&mut self, row: &Row) {
        let Some(source) = Id::parse(&row.text("source_ref")) else {
            self.facts.unreadable_letters.push(row.id);
            return;
        };
        if source <= self.facts.since {
            self.facts.before_since += 1;
            return;
        }
        let reason = match row.text("reason").as_str() {
            "malformed" => Reason::Malformed,
            "entry_lost" => Reason::Lost,
            "poison" | "retries_exhausted" | "job_too_large" => Reason::Answered,
            _ => Reason::Unknown,
        };
        let outcome = Id::parse(&row.text("outcome_id")).unwrap_or_default();
        self.facts.entry_mut(source);
        let letter = self.facts.letters.entry(source).or_insert(Letter { reason, outcome, letters: 0 });
        letter.letters = letter.letters.saturating_add(1);
    }
}

fn said(row: &Row) -> Said {
    let is_empty = |name: &str| row.text(name).trim().is_empty();
    match row.text("outcome").as_str() {
        "success" if is_empty("container_id") || is_empty("engine_endpoint") => Said::SuccessIncomplete,
        "success" => Said::Success,
        "failure" if is_empty("error_code") => Said::FailureWithoutCode,
        "failure" => Said::Failure,
        _ => Said::AnotherWord,
    }
}
