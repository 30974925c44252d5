//! The texts of all settings on their way to values, and the problems met on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::parse;
use crate::quantity;
use crate::secret::without_credentials;
use crate::settings::raw::{Origin, Raw};
use crate::settings::report::Problem;
use crate::settings::shape::Shape;
use crate::settings::table::{Row, TABLE, row};

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

/// A value, or none: then a problem was noted.
pub(super) type Read<T> = Option<T>;

/// The texts on their way to values. Every reader answers none exactly when it has noted a problem.
pub(super) struct Check {
    values: BTreeMap<&'static str, Raw>,
    pub(super) problems: Vec<Problem>,
    /// Where the value shown is not the text given.
    shown: BTreeMap<&'static str, String>,
}

impl Check {
    /// Texts that nothing has been read of yet.
    pub(super) fn new(values: BTreeMap<&'static str, Raw>, problems: Vec<Problem>) -> Self {
        Self { values, problems, shown: BTreeMap::new() }
    }

    fn row(name: &str) -> &'static Row {
        row(name).expect("validation names only rows of the table")
    }

    fn raw(&self, name: &str) -> Raw {
        self.values.get(name).cloned().unwrap_or_else(|| Raw::default(""))
    }

    pub(super) fn text_of(&self, name: &str) -> String {
        self.raw(name).text
    }

    /// Was the value given? What has a computed default need not be.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(super) fn origin(&self, name: &str) -> Origin {
        self.raw(name).origin
    }

    /// Notes a problem with this setting's value.
    pub(super) fn refuse(&mut self, name: &str, advice: impl Into<String>) {
        let mut problem = Problem::with(name, &self.raw(name), advice);
        if let Some(shown) = self.shown.get(name) {
            problem.value = Some(shown.clone());
        } else if !self.is_set(name) {
            problem.value = None;
        }
        self.problems.push(problem);
    }

    /// Another setting, for the text of a contradiction.
    pub(super) fn quoted(&self, name: &str) -> String {
        let raw = self.raw(name);
        let value = self.shown.get(name).cloned().unwrap_or_else(|| without_credentials(&raw.text));
        format!("{name} = {value:?} ({})", raw.origin)
    }

    /// Shows this instead of the text given.
    pub(super) fn show(&mut self, name: &'static str, value: impl Into<String>) {
        self.shown.insert(name, value.into());
    }

    /// Reads a value with a parser whose error is the rest of a sentence.
    pub(super) fn parsed<T>(&mut self, name: &str, parser: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match parser(&self.text_of(name)) {
            Ok(value) => Some(value),
            Err(advice) => {
                self.refuse(name, advice);
                None
            }
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.parsed(name, parse::text)
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        let Shape::Number { min, max } = Self::row(name).shape else { unreachable!("{name} is a number in the table") };
        self.parsed(name, |text| parse::number(text, min, max))
    }

    pub(super) fn size(&mut self, name: &str) -> Option<usize> {
        let Shape::Size { min, max } = Self::row(name).shape else { unreachable!("{name} is a size in the table") };
        self.parsed(name, |text| parse::size(text, min, max))
    }

    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        let Shape::Duration { min, why } = Self::row(name).shape else {
            unreachable!("{name} is a duration in the table")
        };
        self.parsed(name, |text| quantity::duration(text, min, why))
    }

    /// A duration for a cross check between groups; its own problems are noted where it belongs.
    pub(super) fn peek(&self, name: &str) -> Option<Duration> {
        quantity::duration(&self.text_of(name), Duration::ZERO, "").ok()
    }

    pub(super) fn optional_duration(&mut self, name: &str) -> Read<Option<Duration>> {
        self.parsed(name, parse::optional_duration)
    }

    pub(super) fn switch(&mut self, name: &'static str) -> Option<bool> {
        let on = self.parsed(name, parse::switch)?;
        self.show(name, if on { "on" } else { "off" });
        Some(on)
    }

    pub(super) fn choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(name, |text| parse::choice(text, words))
    }

    /// Every setting as it may be shown. Called when all is well, so that nothing unvalidated is shown.
    pub(super) fn resolved(&self) -> Vec<ResolvedSetting> {
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
