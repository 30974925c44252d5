//! One thing that is wrong, with its next step.

use serde::Serialize;

use crate::ops::alerts::next::{self, Next};
use crate::ops::alerts::{Alert, State};

/// How bad a problem is, as alerts have it. The worst is the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// Players notice, or will.
    Critical,
    /// It has to be looked at.
    Warning,
    /// Worth knowing.
    Info,
}

/// Something that is wrong, with its next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// What is wrong, without a full stop. Foreign text in it is escaped.
    pub(crate) sentence: String,
    /// The same for the first line, where foreign text in it is cut.
    #[serde(skip)]
    pub(crate) brief: Option<String>,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// The alert that says so, as deploy/monitoring/alerts.yml calls it.
    pub(crate) alert: Option<&'static str>,
    /// Since when at least, Unix milliseconds of the server's clock.
    pub(crate) since_ms: Option<u64>,
    /// When it goes away by itself at the latest, where that is known, Unix milliseconds of the server's clock.
    pub(crate) until_ms: Option<u64>,
    /// The next step.
    pub(crate) next: Next,
    /// Where it is written what to do about it.
    pub(crate) runbook: Option<String>,
}

impl Severity {
    /// Of an alert.
    pub(super) fn of(alert: &Alert) -> Self {
        match alert.severity {
            "critical" => Self::Critical,
            "info" => Self::Info,
            _ => Self::Warning,
        }
    }
}

/// A problem, and what it does to the health.
pub(super) struct Cause {
    /// With it no job is started.
    pub(super) is_down: bool,
    /// What is told of it.
    pub(super) problem: Problem,
}

impl Cause {
    /// A problem without an alert.
    pub(super) fn of(severity: Severity, sentence: impl Into<String>, next: Next) -> Self {
        let sentence = sentence.into();
        Self {
            is_down: false,
            problem: Problem {
                sentence,
                brief: None,
                severity,
                alert: None,
                since_ms: None,
                until_ms: None,
                next,
                runbook: None,
            },
        }
    }

    /// The problem of this alert, with its next step and runbook.
    pub(super) fn alert(name: &'static str, severity: Severity, sentence: impl Into<String>) -> Self {
        let mut cause = Self::of(severity, sentence, next::of(name));
        cause.problem.alert = Some(name);
        cause.problem.runbook = Some(runbook(name));
        cause
    }

    /// The same, if with it no job is started.
    pub(super) fn down(self) -> Self {
        Self { is_down: true, ..self }
    }

    /// The same, with its begin, Unix milliseconds of the server's clock.
    pub(super) fn since(mut self, since_ms: Option<u64>) -> Self {
        self.problem.since_ms = since_ms;
        self
    }

    /// The same, with its end, Unix milliseconds of the server's clock.
    pub(super) fn until(mut self, until_ms: Option<u64>) -> Self {
        self.problem.until_ms = until_ms;
        self
    }

    /// The same, with what the first line says of it.
    pub(super) fn brief(mut self, brief: Option<String>) -> Self {
        self.problem.brief = brief;
        self
    }

    /// The same, with another next step.
    pub(super) fn next(mut self, next: Next) -> Self {
        self.problem.next = next;
        self
    }
}

fn runbook(alert: &str) -> String {
    format!("docs/runbooks.md#{}", alert.to_lowercase())
}

/// Does the alert say that something is wrong now? One that is critical and whose begin is not known does, too.
pub(super) fn is_wrong_now(alert: &Alert) -> bool {
    let is_untimed = alert.true_for_ms.is_none() && alert.severity == "critical";
    alert.state == State::Firing || (alert.state == State::Pending && is_untimed)
}
