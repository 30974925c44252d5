//! One replica's limits and rhythms.

use std::time::Duration;

use super::check::Check;
use crate::worker::config::Config;

/// How many times its slots a replica lets back off, unless told otherwise.
const BACKING_OFF_PER_SLOT: usize = 4;

/// A replica subscribes again within less, and three looks have to fit into it.
const GRACE_MIN: Duration = Duration::from_millis(30);
const GRACE_TOO_SHORT: &str =
    "must be at least 30ms: a replica whose connection was cut needs as long to connect again";

pub(super) fn settings(check: &mut Check) -> Option<Config> {
    let slots = check.number("slots");
    let claim_idle = check.duration("claim-idle");
    let disconnect_grace = check.optional_duration("disconnect-grace");
    let sweep_interval = check.duration("sweep-interval");
    let block = check.duration("block");
    let drain_timeout = check.duration("drain-timeout");
    let max_run = check.duration("max-run");
    let retry_min = check.duration("retry-min");
    let retry_max = check.duration("retry-max");
    let retry_attempts = check.number("retry-attempts");
    let retry_max_age = check.duration("retry-max-age");
    let crash_budget = check.number("crash-budget");
    let max_backing_off = max_backing_off(check, slots);
    let max_held_bytes = check.size("max-held-bytes");
    let start_deadline = check.optional_duration("start-deadline");
    let janitor_interval = check.duration("janitor-interval");
    let consumer_idle = check.duration("consumer-idle");
    let settle_wait_replicas = check.number("settle-wait-replicas");
    not_longer(
        check,
        ("sweep-interval", sweep_interval),
        ("claim-idle", claim_idle),
        "an entry of a dead replica would wait for longer than it takes to detect the death",
    );
    if disconnect_grace.flatten().is_some_and(|grace| grace < GRACE_MIN) {
        check.refuse("disconnect-grace", GRACE_TOO_SHORT.to_owned());
    }
    not_longer(
        check,
        ("disconnect-grace", disconnect_grace.flatten()),
        ("claim-idle", claim_idle),
        "a replica would be noticed by its silence first; turn it off instead",
    );
    not_longer(
        check,
        ("claim-idle", claim_idle),
        ("max-run", max_run),
        "an entry that is never renewed would be taken from a live replica",
    );
    not_longer(
        check,
        ("retry-min", retry_min),
        ("retry-max", retry_max),
        "a back-off begins with one and grows to the other",
    );
    not_longer(
        check,
        ("claim-idle", claim_idle),
        ("consumer-idle", consumer_idle),
        "a consumer would be removed before it counts as dead",
    );
    Some(Config {
        slots: slots?,
        claim_idle: claim_idle?,
        disconnect_grace: disconnect_grace?,
        sweep_interval: sweep_interval?,
        block: block?,
        drain_timeout: drain_timeout?,
        max_run: max_run?,
        retry_min: retry_min?,
        retry_max: retry_max?,
        retry_attempts: retry_attempts?,
        retry_max_age: retry_max_age?,
        crash_budget: crash_budget?,
        max_backing_off: max_backing_off?,
        max_held_bytes: max_held_bytes?,
        start_deadline: start_deadline?,
        janitor_interval: janitor_interval?,
        consumer_idle: consumer_idle?,
        settle_wait_replicas: settle_wait_replicas?,
    })
}

fn max_backing_off(check: &mut Check, slots: Option<usize>) -> Option<usize> {
    if check.is_set("max-backing-off") {
        return check.number("max-backing-off");
    }
    // Without slots there is a problem already.
    let computed = slots? * BACKING_OFF_PER_SLOT;
    check.show("max-backing-off", computed.to_string());
    Some(computed)
}

type Named = (&'static str, Option<Duration>);

fn not_longer(check: &mut Check, shorter: Named, longer: Named, why: &str) {
    if let (Some(short), Some(long)) = (shorter.1, longer.1)
        && short > long
    {
        let longer = check.quoted(longer.0);
        check.refuse(shorter.0, format!("must not be longer than {longer}: {why}"));
    }
}
