//! How a game engine is started, and how long what is left over is kept.

use std::time::Duration;

use super::check::{Check, Read};
use super::parse;
use crate::engine::config::EngineKind;
use crate::start::config::{Config, PullPolicy};

/// The longest name of a host or a fleet: every record and label holds it.
const NAME_CHARS_MAX: usize = 64;

pub(super) fn settings(check: &mut Check, kind: Option<EngineKind>) -> Option<Config> {
    let host_id = given(check, "engine-host-id", "kept in Redis for the engine", name);
    let fleet_id = given(check, "fleet-id", "kept in Redis and on the engines", name);
    let host_heartbeat = check.duration("host-heartbeat");
    let stops_when_isolated = check.choice("on-isolation", &[("keep", false), ("stop", true)]);
    let game_events = check.parsed("game-events", game_events);
    let record_prefix = check.parsed("record-prefix", record_prefix);
    let readiness = check.parsed("readiness", parse::readiness);
    let ready_timeout = check.duration("ready-timeout");
    let policies = [("missing", PullPolicy::Missing), ("always", PullPolicy::Always), ("never", PullPolicy::Never)];
    let pull_policy = check.choice("pull-policy", &policies);
    let pull_concurrency = check.number("pull-concurrency");
    let reconcile_interval = reconcile_interval(check, kind);
    let reconcile_grace = check.duration("reconcile-grace");
    Some(Config {
        host_id: host_id?,
        fleet_id: fleet_id?,
        host_heartbeat: host_heartbeat?,
        stops_when_isolated: stops_when_isolated?,
        game_events: game_events?,
        record_prefix: record_prefix?,
        readiness: readiness?,
        ready_timeout: ready_timeout?,
        pull_policy: pull_policy?,
        pull_concurrency: pull_concurrency?,
        reconcile_interval: reconcile_interval?,
        reconcile_grace: reconcile_grace?,
    })
}

/// A Docker Engine is looked at often, because its containers end by themselves; those of the simulated one do not.
fn reconcile_interval(check: &mut Check, kind: Option<EngineKind>) -> Option<Duration> {
    if check.is_set("reconcile-interval") {
        return check.duration("reconcile-interval");
    }
    // Without an engine there is a problem already.
    let (interval, shown) = match kind? {
        EngineKind::Docker => (Duration::from_secs(5), "5s"),
        EngineKind::Simulated => (Duration::from_secs(60), "1m"),
    };
    check.show("reconcile-interval", shown);
    Some(interval)
}

/// Nothing where it is not set; then it is chosen later, and `shown` says how.
pub(super) fn given<T>(
    check: &mut Check,
    setting: &'static str,
    shown: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Read<Option<T>> {
    if check.is_set(setting) {
        return check.parsed(setting, parse).map(Some);
    }
    check.show(setting, shown);
    Some(None)
}

/// Part of records and labels, so it is held to what every store takes.
fn name(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if text.is_empty() || text.len() > NAME_CHARS_MAX || !text.chars().all(plain) {
        return Err(format!("must be 1 to {NAME_CHARS_MAX} letters, digits, dots, dashes or underscores"));
    }
    Ok(text.to_owned())
}

fn game_events(text: &str) -> Result<Option<String>, String> {
    if text == "off" { Ok(None) } else { parse::text(text).map(Some) }
}

/// Braces would make the prefix a Redis hash tag, and all records one slot of a cluster.
fn record_prefix(text: &str) -> Result<String, String> {
    let prefix = parse::text(text)?;
    if prefix.contains(['{', '}']) {
        return Err("must not hold braces: they are Redis hash tags".to_owned());
    }
    Ok(prefix)
}
