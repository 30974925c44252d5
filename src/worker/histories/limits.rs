//! The limits of the replica in random histories: so narrow that each of them is met.

use std::time::Duration;

use crate::worker::Config;

pub(super) const SLOTS: usize = 6;

pub(super) fn config() -> Config {
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(3_600));
    Config {
        slots: SLOTS,
        claim_idle: short,
        disconnect_grace: Some(short / 3),
        sweep_interval: short / 2,
        block: short,
        drain_timeout: long,
        max_run: long,
        retry_min: short,
        retry_max: short,
        retry_attempts: 3,
        retry_max_age: long,
        crash_budget: 3,
        max_backing_off: 4,
        max_held_bytes: 1_000,
        start_deadline: None,
        janitor_interval: long,
        consumer_idle: long,
        settle_wait_replicas: 0,
    }
}
