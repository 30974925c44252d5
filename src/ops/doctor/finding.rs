//! What was found, how bad it is, and what helps.

use serde::Serialize;

use crate::ops::SCHEMA_VERSION;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Works, and will hurt some day.
    Warn,
    /// Does not work, or loses data.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) level: Level,
    /// What was looked at, in a word or two.
    pub(crate) about: &'static str,
    /// What was found.
    pub(crate) found: String,
    /// What helps; empty where nothing needs to.
    pub(crate) remedy: String,
}

/// All findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DoctorReport {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The worst level.
    pub(crate) level: Level,
    /// In the order in which they were looked at.
    pub(crate) findings: Vec<Finding>,
}

impl Finding {
    pub(in crate::ops) fn ok(about: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, about, found: found.into(), remedy: String::new() }
    }

    pub(in crate::ops) fn warn(about: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warn, about, found: found.into(), remedy: remedy.into() }
    }

    pub(in crate::ops) fn fail(about: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Fail, about, found: found.into(), remedy: remedy.into() }
    }
}

impl DoctorReport {
    /// The report of these findings.
    pub(crate) fn new(findings: Vec<Finding>) -> Self {
        let level = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        Self { schema_version: SCHEMA_VERSION, level, findings }
    }
}
