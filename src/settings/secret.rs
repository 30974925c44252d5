//! Secrets, and what may be shown of a text that could hold one.

use std::fmt;

use super::Secret;

/// What stands wherever a secret would.
pub const STARS: &str = "***";

impl Secret {
    /// A text that is from now on never printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

/// The text with the credentials of any URL in it starred, whichever setting it was given to: people paste URLs into
/// the wrong one.
pub fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    // The last @: a password may hold one itself.
    match rest.rsplit_once('@') {
        Some((_, after)) => format!("{scheme}://{STARS}@{after}"),
        None => text.to_owned(),
    }
}
