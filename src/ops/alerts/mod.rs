//! Which alerts fire, seen from a terminal, without Prometheus.
//!
//! What is asked here is what deploy/monitoring/alerts.yml asks of the metrics, with its limits, of what Redis holds
//! instead. Redis remembers no rates: an alert that needs them is said to be unknown, with the metric that knows.

// names, limits, times: those of deploy/monitoring/alerts.yml
pub mod rules;
// from what is seen to who fires
mod judge;
// what to do about it
pub(crate) mod next;

use std::time::Duration;

use serde::Serialize;

pub(super) use self::judge::judge;
use self::next::Next;
use self::rules::Rule;
use super::look::Look;
use super::printable::span;
use super::{SCHEMA_VERSION, View};
use crate::redis::{RedisError, Value};

/// Dead letters that are looked at in one step.
const DEAD_MAX: u64 = 500;

/// What an alert is up to. In the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Its condition has been true for long enough.
    Firing,
    /// Its condition is true, and as far as is known not yet for long enough.
    Pending,
    /// Redis alone does not tell.
    Unknown,
    /// Its condition is false.
    Quiet,
}

impl State {
    /// As it is shown.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
            Self::Quiet => "quiet",
        }
    }
}

/// One alert at this moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Alert {
    /// As deploy/monitoring/alerts.yml calls it.
    pub(crate) name: &'static str,
    /// What it is up to.
    pub(crate) state: State,
    /// `critical`, `warning` or `info`.
    pub(crate) severity: &'static str,
    /// What it means, in one sentence.
    pub(crate) summary: &'static str,
    /// What was found, as far as it can be seen from here.
    pub(crate) value: Option<f64>,
    /// `>`, `<` or `==`
    pub(crate) sign: &'static str,
    /// The limit in the file.
    pub(crate) limit: f64,
    /// For how long the condition must be true.
    pub(crate) for_ms: u64,
    /// For how long it has been true, at least. None while it is not, or where that is not known.
    pub(crate) true_for_ms: Option<u64>,
    /// What was seen, or why it cannot be; for people. Foreign text in it is as it came.
    pub(crate) detail: String,
    /// The same for one line, where foreign text in it is cut.
    #[serde(skip)]
    pub(crate) brief: Option<String>,
    /// The metric that decides it.
    pub(crate) metric: &'static str,
    /// Where it is written what to do about it.
    pub(crate) runbook: String,
    /// The next step.
    pub(crate) next: Next,
}

impl Alert {
    /// It fires or is about to.
    pub(crate) fn is_raised(&self) -> bool {
        matches!(self.state, State::Firing | State::Pending)
    }
}

/// All alerts, as JSON shows them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Alerts {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// Which alerts fire, for people.
    pub(crate) sentence: String,
    /// Those that fire first.
    pub(crate) alerts: Vec<Alert>,
}

impl Alerts {
    pub(super) fn new(at_ms: u64, mut alerts: Vec<Alert>) -> Self {
        alerts.sort_by_key(|alert| alert.state);
        Self { schema_version: SCHEMA_VERSION, at_ms, sentence: sentence(&alerts), alerts }
    }

    /// Those that fire or are about to.
    pub(crate) fn raised(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.iter().filter(|alert| alert.is_raised())
    }
}

fn sentence(alerts: &[Alert]) -> String {
    let names = |state: State| {
        let of: Vec<String> =
            alerts.iter().filter(|alert| alert.state == state).map(|alert| Raised::of(alert).soon()).collect();
        (of.len(), of.join(", "))
    };
    match (names(State::Firing), names(State::Pending)) {
        ((0, _), (0, _)) => "no alert fires, as far as Redis shows".to_owned(),
        ((0, _), (_, pending)) => format!("no alert fires yet; about to fire: {pending}"),
        ((_, firing), (0, _)) => format!("firing: {firing}"),
        ((_, firing), (_, pending)) => format!("firing: {firing}; about to fire: {pending}"),
    }
}

/// Dead letters of the last minutes with one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dead {
    reason: String,
    count: u64,
    first_ms: u64,
}

impl View {
    /// What was dead-lettered within the time that the alerts look back. More than a bounded number of letters is more
    /// than any limit.
    pub(super) async fn lately_dead(&self, look: &Look) -> Result<Vec<Dead>, RedisError> {
        if look.types.get(&self.keys.dead).is_none_or(|held| held != "stream") {
            return Ok(Vec::new());
        }
        let from = look.now_ms.saturating_sub(millis(rules::DEAD_LETTERS.window()));
        let args: Vec<Value> = vec![from.to_string().into(), DEAD_MAX.to_string().into()];
        let reply = self.scripts.dead.run(&self.connection, vec![self.keys.dead.clone()], args).await?;
        let (_, rows): (u64, Vec<(bytes::Bytes, u64, String)>) = reply.convert()?;
        let dead = |(reason, count, first): (bytes::Bytes, u64, String)| Dead {
            reason: String::from_utf8_lossy(&reason).into_owned(),
            count,
            first_ms: super::look::id_of(&first).map_or(look.now_ms, |id| id.ms),
        };
        Ok(rows.into_iter().map(dead).collect())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Facts of one alert on their way to a state.
fn alert(rule: &Rule) -> Alert {
    let limit = rule.limit();
    Alert {
        name: rule.name,
        state: State::Quiet,
        severity: rule.severity,
        summary: rule.summary,
        value: None,
        sign: limit.sign,
        limit: limit.value,
        for_ms: millis(rule.held_for),
        true_for_ms: None,
        detail: String::new(),
        brief: None,
        metric: limit.metric,
        runbook: rule.runbook(),
        next: next::of(rule.name),
    }
}

/// An alert that fires or is about to, as `status` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Raised {
    /// As deploy/monitoring/alerts.yml calls it.
    pub(crate) name: &'static str,
    /// Firing or pending.
    pub(crate) state: State,
    /// `critical`, `warning` or `info`.
    pub(crate) severity: &'static str,
    /// What it means, in one sentence.
    pub(crate) summary: &'static str,
    /// What was seen, for people. Foreign text in it is as it came.
    pub(crate) detail: String,
    /// For how long its condition must be true.
    pub(crate) for_ms: u64,
    /// For how long it has been, at least, where that is known.
    pub(crate) true_for_ms: Option<u64>,
    /// Where it is written what to do about it.
    pub(crate) runbook: String,
    /// The next step.
    pub(crate) next: Next,
}

impl Raised {
    pub(super) fn of(alert: &Alert) -> Self {
        let Alert { name, state, severity, summary, for_ms, true_for_ms, .. } = *alert;
        let (detail, runbook, next) = (alert.detail.clone(), alert.runbook.clone(), alert.next.clone());
        Self { name, state, severity, summary, detail, for_ms, true_for_ms, runbook, next }
    }

    /// `NoReplicas`, or `ReplicaLost in 48s`.
    pub(crate) fn soon(&self) -> String {
        match (self.state, self.true_for_ms) {
            (State::Pending, Some(held)) => format!("{} in {}", self.name, span(self.for_ms.saturating_sub(held))),
            (State::Pending, None) => format!("{} within {}", self.name, span(self.for_ms)),
            _ => self.name.to_owned(),
        }
    }
}
