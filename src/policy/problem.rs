//! What is wrong with a policy file, as one text for a terminal.

use std::fmt;

/// The longest piece of a key or an offending value that is shown.
const SHOWN_CHARS: usize = 80;
/// So many problems are shown; a file with more is no policy.
const SHOWN_PROBLEMS: usize = 50;

/// One thing that is wrong or looks wrong, and what to do about it. Holds no value of `env`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line of the file, counted from 1; none where something is missing from the file.
    pub line: Option<usize>,
    /// The key with its sections: `defaults.memory`, `image 2.match`; empty where the file as a whole is meant.
    pub key: String,
    /// The offending value; none where nothing of it may be shown.
    pub value: Option<String>,
    /// What is wrong and what to do: the rest of a sentence that begins with the key.
    pub advice: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.key.as_str()) {
            (None, "") => f.write_str("the file")?,
            (None, key) => write_printable(f, key)?,
            (Some(line), "") => write!(f, "line {line}")?,
            (Some(line), key) => {
                write!(f, "line {line}: ")?;
                write_printable(f, key)?;
            }
        }
        if let Some(value) = &self.value {
            let shown: String = value.chars().take(SHOWN_CHARS).collect();
            let cut = if shown.len() < value.len() { "..." } else { "" };
            // Debug of a text escapes what would play tricks on a terminal.
            write!(f, " = {shown:?}{cut}")?;
        }
        f.write_str("\n    ")?;
        f.write_str(&self.advice)
    }
}

fn write_printable(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().take(SHOWN_CHARS).try_for_each(|letter| match letter {
        '"' | '\'' => write!(f, "{letter}"),
        _ => write!(f, "{}", letter.escape_debug()),
    })
}

/// All problems of one file, in the order of its lines; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    problems: Vec<Problem>,
}

impl Report {
    /// These problems, brought into the order of their lines.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line);
        Self { problems }
    }

    /// The problems, in the order of their lines.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The first problem on one line, and how many there are: for a log line.
    pub(crate) fn short(&self) -> String {
        let first = self.problems.first().map(|problem| match problem {
            // It follows the name of the file.
            Problem { line: None, key, advice, .. } if key.is_empty() => advice.clone(),
            _ => problem.to_string().replace("\n    ", " "),
        });
        let more = self.problems.len().saturating_sub(1);
        let first = first.unwrap_or_default();
        if more == 0 { first } else { format!("{first} (and {more} more)") }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the policy has 1 problem:")?,
            count => write!(f, "the policy has {count} problems:")?,
        }
        self.problems.iter().take(SHOWN_PROBLEMS).try_for_each(|problem| write!(f, "\n  {problem}"))?;
        match self.problems.len().saturating_sub(SHOWN_PROBLEMS) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl std::error::Error for Report {}
