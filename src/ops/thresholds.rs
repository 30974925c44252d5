//! Limits that operators set, and whether the fleet keeps them.

use std::time::Duration;

use serde::Serialize;

use super::SCHEMA_VERSION;
use super::backlog::COUNTED_MAX;
use super::overview::Overview;
use super::verdict::Health;

/// The limits; none: not looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// Maximum number of unread entries.
    pub(crate) max_waiting: Option<u64>,
    /// How long the oldest of them waits, at most.
    pub(crate) max_oldest: Option<Duration>,
    /// Dead letters, at most.
    pub(crate) max_dead: Option<u64>,
    /// Replicas that take work, at least.
    pub(crate) min_replicas: Option<u64>,
}

/// One limit, and what was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Measured {
    /// The limit's name, as the flag has it; `fleet` where there is none to be measured.
    pub(crate) name: &'static str,
    /// What was found.
    pub(crate) value: f64,
    /// The limit.
    pub(crate) limit: f64,
    /// `s` where both are seconds.
    pub(crate) unit: &'static str,
    /// It is kept.
    pub(crate) ok: bool,
    /// The value is what it says, and not a lower bound.
    pub(crate) exact: bool,
}

/// All limits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Checked {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// All are kept, and there is a fleet.
    pub(crate) ok: bool,
    /// The limits that are broken, and the fleet in one sentence.
    pub(crate) sentence: String,
    /// Each of them.
    pub(crate) checks: Vec<Measured>,
}

impl Thresholds {
    /// How far waiting entries have to be counted, so that the limit can be told.
    pub(crate) fn counted_max(&self) -> u64 {
        self.max_waiting.map_or(COUNTED_MAX, |limit| limit.saturating_add(1).max(COUNTED_MAX))
    }

    /// Compares.
    #[expect(clippy::cast_precision_loss, reason = "counts of entries are far below 2^53")]
    pub(crate) fn check(&self, overview: &Overview) -> Checked {
        let mut checks = Vec::new();
        let mut at_most = |name, value: f64, limit: Option<f64>, unit, exact| {
            if let Some(limit) = limit {
                // A lower bound keeps no limit: what is not known is not well.
                checks.push(Measured { name, value, limit, unit, ok: value <= limit && exact, exact });
            }
        };
        let snapshot = &overview.snapshot;
        let waiting = snapshot.waiting.waiting;
        at_most("max-waiting", waiting.count as f64, self.max_waiting.map(|limit| limit as f64), "", waiting.exact);
        let oldest = snapshot.waiting.oldest_age_ms.unwrap_or_default() as f64 / 1_000.0;
        at_most("max-oldest", oldest, self.max_oldest.map(|limit| limit.as_secs_f64()), "s", true);
        at_most("max-dead", snapshot.dead_letters as f64, self.max_dead.map(|limit| limit as f64), "", true);
        if let Some(limit) = self.min_replicas {
            let running = snapshot.replicas.running;
            let (value, ok) = (running as f64, running >= limit);
            checks.push(Measured { name: "min-replicas", value, limit: limit as f64, unit: "", ok, exact: true });
        }
        let is_mute = matches!(overview.verdict.health, Health::NoFleet | Health::Unknown);
        if is_mute || snapshot.redis.refuses_writes.is_some() {
            // Nothing that was measured says anything then: replicas that cannot renew look alive until their time is over.
            checks.push(Measured { name: "fleet", value: 0.0, limit: 1.0, unit: "", ok: false, exact: true });
        }
        let ok = checks.iter().all(|check| check.ok);
        let sentence = sentence(&checks, overview);
        Checked { schema_version: SCHEMA_VERSION, ok, sentence, checks }
    }
}

/// The limits that are broken, and how the fleet is: of a fleet that is well nothing is said beside a broken limit.
fn sentence(checks: &[Measured], overview: &Overview) -> String {
    let verdict = &overview.verdict;
    let broken: Vec<String> = checks.iter().filter(|check| !check.ok).map(Measured::text).collect();
    match (broken.is_empty(), verdict.health) {
        (true, _) => verdict.sentence.clone(),
        (false, Health::Healthy) => format!("Broken: {}.", broken.join(", ")),
        (false, _) => format!("Broken: {}. {}", broken.join(", "), verdict.sentence),
    }
}

impl Measured {
    /// `waiting 12 > 10`, or `waiting 3 <= 10`.
    pub(crate) fn text(&self) -> String {
        let Self { name, value, limit, unit, ok, exact } = self;
        let (what, is_max) =
            name.strip_prefix("max-").map_or_else(|| (name.trim_start_matches("min-"), false), |what| (what, true));
        let sign = match (is_max, *ok) {
            (true, true) => "<=",
            (true, false) if value <= limit => "may be more than",
            (true, false) => ">",
            (false, true) => ">=",
            (false, false) => "<",
        };
        let bound = if *exact { "" } else { ">= " };
        format!("{what} {bound}{}{unit} {sign} {}{unit}", number(*value), number(*limit))
    }
}

/// Whole numbers without a fraction, others with at most three digits of it.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
