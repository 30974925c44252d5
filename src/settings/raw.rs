//! The text of one setting, and where it came from.

use std::fmt;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The flag of this setting.
    Flag(&'static str),
    /// This environment variable.
    Environment(String),
    /// This line of this file.
    File {
        /// The path as given.
        path: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// It was not set.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::File { path, line } => write!(f, "file {path}:{line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One text and where it came from. Not `Debug`: it may hold a password.
#[derive(Clone)]
pub(super) struct Raw {
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl Raw {
    /// A text that the program itself supplies.
    pub(super) fn default(text: impl Into<String>) -> Self {
        Self { text: text.into(), origin: Origin::Default }
    }
}
