//! From texts to typed settings. Nothing stops at the first problem: an operator gets all of them at once.
//!
//! Each value is read by the shape its row in the table has; what two settings must be to each other is checked where
//! both are at hand, and only when both could be read, so that one mistake is one problem.

// texts to values
mod parse;
// the groups of settings
mod engine;
mod redis;
mod streams;
mod tls;
mod worker;

use std::collections::BTreeMap;
use std::time::Duration;

use super::report::{Problem, Report};
use super::secret::without_credentials;
use super::shape::Shape;
use super::source::{Collected, Origin, Raw, Sources, problem};
use super::table::{Row, TABLE, row};
use super::{FaultSettings, LogFormat, Settings};
use crate::faults::Point;

pub use redis::read_password;

/// Every setting, and how it came to be.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The typed settings.
    pub settings: Settings,
    /// Each setting in table order, as it may be shown.
    pub resolved: Vec<ResolvedSetting>,
    /// What is no error and yet looks like a mistake: one sentence each.
    pub warnings: Vec<String>,
}

/// One setting as it may be shown: secrets are stars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSetting {
    /// Its name.
    pub name: &'static str,
    /// Its value; of a computed default, the value computed.
    pub value: String,
    /// Where the value came from.
    pub origin: Origin,
}

impl Settings {
    /// Reads, validates and cross-checks everything, or tells everything that is wrong.
    pub fn load(sources: &Sources) -> Result<Loaded, Report> {
        let Collected { values, problems, warnings } = sources.collect();
        let mut check = Check { values, problems, shown: BTreeMap::new() };
        match settings(&mut check) {
            Some(settings) if check.problems.is_empty() => {
                Ok(Loaded { settings, resolved: check.resolved(), warnings })
            }
            _ => Err(Report::new(check.problems)),
        }
    }
}

/// None only when a problem says why. Every group is read before the first missing one ends this.
fn settings(check: &mut Check) -> Option<Settings> {
    let redis = redis::settings(check);
    let stream = streams::settings(check);
    let worker = worker::settings(check);
    let engine = engine::settings(check, worker.as_ref().map(|worker| worker.slots));
    let faults = faults(check);
    let log_format =
        check.choice("log-format", &[("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)]);
    let http_addr = check.parsed("http-addr", parse::http_addr);
    let strict = check.switch("strict");
    ledger_outlives_runs(check);
    Some(Settings {
        redis: redis?,
        stream: stream?,
        worker: worker?,
        engine: engine?,
        faults: faults?,
        log_format: log_format?,
        http_addr: http_addr?,
        strict: strict?,
    })
}

/// What was settled must be remembered for as long as someone may still be working on it.
fn ledger_outlives_runs(check: &mut Check) {
    let Some(ledger_ttl) = check.peek("ledger-ttl") else {
        return;
    };
    if let Some(max_run) = check.peek("max-run")
        && ledger_ttl <= max_run
    {
        let max_run = check.quoted("max-run");
        check.refuse(
            "ledger-ttl",
            format!("must be longer than {max_run}: an entry that is forgotten while a replica works on it is answered twice"),
        );
    }
    if let Some(claim_idle) = check.peek("claim-idle")
        && ledger_ttl < claim_idle
    {
        let claim_idle = check.quoted("claim-idle");
        check.refuse(
            "ledger-ttl",
            format!(
                "must be at least {claim_idle}: an entry that is forgotten before it can be claimed is answered twice"
            ),
        );
    }
}

/// Both points are refused unless fault injection is allowed, so that a left-over variable kills nobody.
fn faults(check: &mut Check) -> Option<FaultSettings> {
    let allowed = check.switch("allow-fault-injection");
    let crash_at = point(check, "crash-at", allowed);
    let pause_at = point(check, "pause-at", allowed);
    Some(FaultSettings { crash_at: crash_at?, pause_at: pause_at? })
}

fn point(check: &mut Check, name: &'static str, allowed: Option<bool>) -> Read<Option<Point>> {
    let point = check.parsed(name, parse::point);
    if allowed == Some(false) && check.text_of(name) != "none" {
        check.refuse(
            name,
            "is fault injection, which is refused without --allow-fault-injection; unset it, or allow it in a test",
        );
    }
    point
}

/// A value, or none: then a problem was noted.
type Read<T> = Option<T>;

/// The texts on their way to values. Every reader answers none exactly when it has noted a problem.
pub(super) struct Check {
    values: BTreeMap<&'static str, Raw>,
    problems: Vec<Problem>,
    /// Where the value shown is not the text given.
    shown: BTreeMap<&'static str, String>,
}

impl Check {
    fn row(name: &str) -> &'static Row {
        row(name).expect("validation names only rows of the table")
    }

    fn raw(&self, name: &str) -> Raw {
        self.values.get(name).cloned().unwrap_or_else(|| Raw::default(""))
    }

    fn text_of(&self, name: &str) -> String {
        self.raw(name).text
    }

    /// A computed default stands where nobody set the value.
    fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn origin(&self, name: &str) -> Origin {
        self.raw(name).origin
    }

    /// Notes a problem with this setting's value.
    fn refuse(&mut self, name: &str, advice: impl Into<String>) {
        let mut problem = problem(name, &self.raw(name), advice);
        if let Some(shown) = self.shown.get(name) {
            problem.value = Some(shown.clone());
        } else if !self.is_set(name) {
            problem.value = None;
        }
        self.problems.push(problem);
    }

    /// Another setting, for the text of a contradiction.
    fn quoted(&self, name: &str) -> String {
        let raw = self.raw(name);
        let value = self.shown.get(name).cloned().unwrap_or_else(|| without_credentials(&raw.text));
        format!("{name} = {value:?} ({})", raw.origin)
    }

    /// Shows this instead of the text given.
    fn show(&mut self, name: &'static str, value: impl Into<String>) {
        self.shown.insert(name, value.into());
    }

    /// Reads a value with a parser whose error is the rest of a sentence.
    fn parsed<T>(&mut self, name: &str, parser: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match parser(&self.text_of(name)) {
            Ok(value) => Some(value),
            Err(advice) => {
                self.refuse(name, advice);
                None
            }
        }
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.parsed(name, parse::text)
    }

    fn number<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        let Shape::Number { min, max } = Self::row(name).shape else { unreachable!("{name} is a number in the table") };
        self.parsed(name, |text| parse::number(text, min, max))
    }

    fn size(&mut self, name: &str) -> Option<usize> {
        let Shape::Size { min, max } = Self::row(name).shape else { unreachable!("{name} is a size in the table") };
        self.parsed(name, |text| parse::size(text, min, max))
    }

    fn duration(&mut self, name: &str) -> Option<Duration> {
        let Shape::Duration { min, why } = Self::row(name).shape else {
            unreachable!("{name} is a duration in the table")
        };
        self.parsed(name, |text| parse::duration(text, min, why))
    }

    /// A duration for a cross check between groups; its own problems are noted where it belongs.
    fn peek(&self, name: &str) -> Option<Duration> {
        parse::duration(&self.text_of(name), Duration::ZERO, "").ok()
    }

    fn optional_duration(&mut self, name: &str) -> Read<Option<Duration>> {
        self.parsed(name, parse::optional_duration)
    }

    fn switch(&mut self, name: &'static str) -> Option<bool> {
        let on = self.parsed(name, parse::switch)?;
        self.show(name, if on { "on" } else { "off" });
        Some(on)
    }

    fn choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(name, |text| parse::choice(text, words))
    }

    /// Every setting as it may be shown. Called when all is well, so that nothing unvalidated is shown.
    fn resolved(&self) -> Vec<ResolvedSetting> {
        let resolve = |row: &Row| {
            let raw = self.raw(row.name);
            let shown = self.shown.get(row.name).cloned();
            ResolvedSetting {
                name: row.name,
                value: shown.unwrap_or_else(|| without_credentials(&raw.text)),
                origin: raw.origin,
            }
        };
        TABLE.iter().map(resolve).collect()
    }
}
