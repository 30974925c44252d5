//! Everything that is wrong with the settings, as one text for a terminal.

use std::fmt;

use super::raw::{Origin, Raw};
use super::table::TABLE;
use crate::secret::without_credentials;

/// The longest piece of an offending value that is shown.
const SHOWN_CHARS: usize = 80;

/// One thing that is wrong, and what to do about it. Holds no secret: values are starred before they come here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting's name, or the unknown key.
    pub setting: String,
    /// The offending value, credentials starred; none where there is none or nothing of it may be shown.
    pub value: Option<String>,
    /// Where it came from.
    pub(crate) origin: Origin,
    /// What is wrong and what to do: the rest of a sentence that begins with the setting.
    pub advice: String,
}

impl Problem {
    /// A problem with a value that was given, its credentials starred.
    pub(super) fn with(setting: &str, raw: &Raw, advice: impl Into<String>) -> Self {
        Self {
            setting: setting.to_owned(),
            value: Some(without_credentials(&raw.text)),
            origin: raw.origin.clone(),
            advice: advice.into(),
        }
    }

    /// The place in the table; what is not in the table comes last.
    fn rank(&self) -> usize {
        let place = TABLE.iter().position(|row| row.name == self.setting);
        place.unwrap_or(TABLE.len())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("  ")?;
        write_printable(f, &self.setting)?;
        if let Some(value) = &self.value {
            let shown: String = value.chars().take(SHOWN_CHARS).collect();
            let cut = if shown.len() < value.len() { "..." } else { "" };
            // Debug of a text escapes what would play tricks on a terminal.
            write!(f, " = {shown:?}{cut}")?;
        }
        write!(f, " ({})\n    {}", self.origin, self.advice)
    }
}

fn write_printable(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().take(SHOWN_CHARS).try_for_each(|letter| {
        if letter.is_control() { write!(f, "{}", letter.escape_debug()) } else { write!(f, "{letter}") }
    })
}

/// All problems of one attempt to load the settings, in table order. A program that prints it exits with
/// [`Report::EXIT_CODE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    problems: Vec<Problem>,
}

impl Report {
    /// The exit code of a bad setting value, combination or file (EX_CONFIG of sysexits).
    pub(crate) const EXIT_CODE: u8 = 78;

    /// A report of these problems, brought into table order.
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(Problem::rank);
        Self { problems }
    }

    /// The problems, in table order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the settings have 1 problem:")?,
            count => write!(f, "the settings have {count} problems:")?,
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

impl std::error::Error for Report {}
