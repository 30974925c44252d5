//! A text on its way to a policy, and the problems met on the way.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::{elsewhere, values};
use crate::nearest::nearest;
use crate::policy::glob::Glob;
use crate::policy::problem::Problem;

/// A policy with more is a mistake.
const GLOBS_MAX: usize = 1_000;

/// A text on its way to a policy.
pub(super) struct Reading<'a> {
    pub(super) text: &'a str,
    pub(super) secret: &'a dyn Fn(&str) -> Result<String, String>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// The files that values of `env` name.
    pub(super) files: Vec<String>,
    /// Whether a value of `env` is a text in the policy itself.
    pub(super) holds_values: bool,
}

/// How bad something is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Problem,
    Warning,
}

/// A value and the key it has.
pub(super) struct At<'v> {
    /// The key with its sections.
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: &'v DeValue<'v>,
}

impl<'a> Reading<'a> {
    /// A text that nothing was read of yet.
    pub(super) fn of(text: &'a str, secret: &'a dyn Fn(&str) -> Result<String, String>) -> Self {
        let (problems, warnings) = (Vec::new(), Vec::new());
        Self { text, secret, problems, warnings, files: Vec::new(), holds_values: false }
    }
}

impl Reading<'_> {
    pub(super) fn line(&self, span: Option<Range<usize>>) -> usize {
        let start = span.map_or(0, |span| span.start.min(self.text.len()));
        crate::files::count_lines(&self.text.as_bytes()[..start])
    }

    /// The entries of a table in the order of the file.
    pub(super) fn entries<'v>(&self, section: &str, table: &'v DeTable<'v>) -> Vec<(&'v str, At<'v>)> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&'v Spanned<_>, &'v Spanned<DeValue<'v>>)| {
            let name: &'v std::borrow::Cow<'v, str> = key.get_ref();
            let full = if section.is_empty() { name.to_string() } else { format!("{section}.{name}") };
            (name.as_ref(), At { key: full, line: self.line(Some(key.span())), value: value.get_ref() })
        };
        entries.into_iter().map(entry).collect()
    }

    /// Notes a problem with a value that may be shown.
    pub(super) fn refuse(&mut self, at: &At<'_>, advice: impl Into<String>) {
        let value = values::shown(at.value);
        self.problems.push(Problem { line: Some(at.line), key: at.key.clone(), value, advice: advice.into() });
    }

    /// Notes a problem with a key, or with a value that may not be shown.
    pub(super) fn refuse_key(&mut self, at: &At<'_>, advice: impl Into<String>) {
        self.problems.push(Problem { line: Some(at.line), key: at.key.clone(), value: None, advice: advice.into() });
    }

    /// Notes what is no error and yet looks like a mistake.
    pub(super) fn warn(&mut self, at: &At<'_>, advice: impl Into<String>) {
        self.warnings.push(Problem { line: Some(at.line), key: at.key.clone(), value: None, advice: advice.into() });
    }

    /// Notes a key that the file does not have.
    pub(super) fn missing(&mut self, kind: Kind, key: &str, advice: &str) {
        let problem = Problem { line: None, key: key.to_owned(), value: None, advice: advice.to_owned() };
        match kind {
            Kind::Problem => self.problems.push(problem),
            Kind::Warning => self.warnings.push(problem),
        }
    }

    /// The value, or a problem.
    pub(super) fn read<T>(&mut self, at: &At<'_>, reader: impl FnOnce(&DeValue<'_>) -> Result<T, String>) -> Option<T> {
        match reader(at.value) {
            Ok(value) => Some(value),
            Err(advice) => {
                self.refuse(at, advice);
                None
            }
        }
    }

    pub(super) fn table<'v>(&mut self, at: &At<'v>, example: &str) -> Option<&'v DeTable<'v>> {
        if let DeValue::Table(table) = at.value {
            return Some(table);
        }
        self.refuse_key(at, format!("is a section; write {example}"));
        None
    }

    /// A pattern, or a list of them.
    pub(super) fn globs(&mut self, at: &At<'_>) -> Option<Vec<Glob>> {
        const FORM: &str = "is a list of patterns; write [\"docker.io/galaxy/*\"], or [\"**\"] for every image";
        let globs = match at.value {
            DeValue::String(text) => vec![self.glob(at, at.line, text)],
            DeValue::Array(items) => self.each(at, items),
            _ => {
                self.refuse(at, FORM);
                return None;
            }
        };
        if globs.is_empty() {
            self.refuse(at, "is empty, so that no image could run; write patterns, or [\"**\"] for every image");
        }
        if globs.len() > GLOBS_MAX {
            self.refuse_key(at, format!("has more than {GLOBS_MAX} patterns; use `*` and `**`"));
        }
        globs.into_iter().collect()
    }

    fn each(&mut self, at: &At<'_>, items: &DeArray<'_>) -> Vec<Option<Glob>> {
        let mut globs = Vec::new();
        for (number, item) in items.iter().enumerate() {
            let line = self.line(Some(item.span()));
            globs.push(if let DeValue::String(text) = item.get_ref() {
                self.glob(at, line, text)
            } else {
                let entry = At { key: format!("{} {}", at.key, number + 1), line, value: item.get_ref() };
                self.refuse(&entry, "is not a pattern; write one in quotes, such as \"docker.io/galaxy/*\"");
                None
            });
        }
        globs
    }

    fn glob(&mut self, at: &At<'_>, line: usize, text: &str) -> Option<Glob> {
        match Glob::parse(text) {
            Ok(glob) => Some(glob),
            Err(advice) => {
                let (key, value) = (at.key.clone(), Some(text.to_owned()));
                self.problems.push(Problem { line: Some(line), key, value, advice });
                None
            }
        }
    }

    /// Notes a key that is none of these.
    pub(super) fn unknown(&mut self, key: &str, at: &At<'_>, known: &[&str]) {
        let advice = match (elsewhere::advice(key), nearest(key, known.iter().copied())) {
            (Some(advice), _) => advice.to_owned(),
            (None, Some(near)) => format!("is not a key; did you mean {near}?"),
            (None, None) => format!("is not a key; the keys here are {}", known.join(", ")),
        };
        self.refuse_key(at, advice);
    }
}
