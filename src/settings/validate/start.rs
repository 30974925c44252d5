//! How a game engine is started, and how long what is left over is kept.

use super::check::Check;
use super::parse;
use crate::start::config::Config;

/// The longest host id: every record and label holds it.
const HOST_ID_CHARS_MAX: usize = 64;

pub(super) fn settings(check: &mut Check) -> Option<Config> {
    let host_id = check.parsed("engine-host-id", host_id);
    let record_prefix = check.parsed("record-prefix", record_prefix);
    let readiness = check.parsed("readiness", parse::readiness);
    let ready_timeout = check.duration("ready-timeout");
    let reconcile_interval = check.duration("reconcile-interval");
    let reconcile_grace = check.duration("reconcile-grace");
    Some(Config {
        host_id: host_id?,
        record_prefix: record_prefix?,
        readiness: readiness?,
        ready_timeout: ready_timeout?,
        reconcile_interval: reconcile_interval?,
        reconcile_grace: reconcile_grace?,
    })
}

/// Part of records and labels, so it is held to what every store takes.
fn host_id(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if text.is_empty() || text.len() > HOST_ID_CHARS_MAX || !text.chars().all(plain) {
        return Err(format!("must be 1 to {HOST_ID_CHARS_MAX} letters, digits, dots, dashes or underscores"));
    }
    Ok(text.to_owned())
}

/// Braces would make the prefix a Redis hash tag, and all records one slot of a cluster.
fn record_prefix(text: &str) -> Result<String, String> {
    let prefix = parse::text(text)?;
    if prefix.contains(['{', '}']) {
        return Err("must not hold braces: they are Redis hash tags".to_owned());
    }
    Ok(prefix)
}
