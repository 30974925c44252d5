//! What a setting's text may look like: enough to describe it, and the limits its value is checked against.

use std::time::Duration;

use crate::quantity::size_text;

/// The form of one setting's text, with its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Any text that is not empty.
    Text,
    /// A whole number within these limits.
    Number {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A number from 0 to 1.
    Share,
    /// A duration with its unit.
    Duration {
        /// Shortest.
        min: Duration,
        /// Why not shorter; may be empty.
        why: &'static str,
    },
    /// A duration with its unit, or `off`.
    OptionalDuration,
    /// A number of bytes within these limits.
    Size {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// `on` or `off`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A form with a parser of its own.
    Form {
        /// How help texts abbreviate it.
        placeholder: &'static str,
        /// How documentation describes it: a sentence, or empty.
        sentence: &'static str,
    },
}

impl Shape {
    /// Any duration that is more than zero.
    pub(crate) const DURATION: Self = Self::Duration { min: Duration::from_millis(1), why: "" };

    /// How help texts abbreviate a value of this shape.
    pub(crate) fn placeholder(self) -> String {
        match self {
            Self::Text => "TEXT".to_owned(),
            Self::Number { .. } => "N".to_owned(),
            Self::Share => "SHARE".to_owned(),
            Self::Duration { .. } => "DURATION".to_owned(),
            Self::OptionalDuration => "DURATION|off".to_owned(),
            Self::Size { .. } => "SIZE".to_owned(),
            Self::Switch => "on|off".to_owned(),
            Self::Choice(words) => words.join("|"),
            Self::Form { placeholder, .. } => placeholder.to_owned(),
        }
    }

    /// The limits, as a sentence for documentation; empty where the help says it all.
    pub(crate) fn sentence(self) -> String {
        match self {
            Self::Text => String::new(),
            Self::Number { min, max } if max >= i64::MAX.unsigned_abs() => match min {
                0 => String::new(),
                _ => format!("At least {min}."),
            },
            Self::Number { min, max } => format!("{min} to {max}."),
            Self::Share => "0 to 1.".to_owned(),
            Self::Duration { min, .. } if min <= Duration::from_millis(1) => String::new(),
            Self::Duration { min, .. } => {
                format!("At least {}.", humantime::format_duration(min))
            }
            Self::OptionalDuration => "A duration or `off`.".to_owned(),
            Self::Size { min, max } => format!("{} to {}.", size_text(min), size_text(max)),
            Self::Switch => "`on` or `off`.".to_owned(),
            Self::Choice(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                format!("{}.", quoted.join(" or "))
            }
            Self::Form { sentence, .. } => sentence.to_owned(),
        }
    }
}
