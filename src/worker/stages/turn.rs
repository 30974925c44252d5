//! The moment a stage decides in. The loop makes one for each of its turns and hands it in.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;

/// One turn of the loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// The time, the same for everything that is decided in this turn.
    pub(crate) now: Instant,
    /// A random number in 0..1, so that replicas that began together do not stay together.
    pub(crate) random: f64,
}

impl Turn {
    /// When to try again after so many failures in a row.
    pub(crate) fn after(&self, backoff: Backoff, failures: u64) -> Instant {
        self.now + backoff.delay(failures, self.random)
    }

    /// When something repeats that is due once an interval: a fifth earlier or later.
    pub(crate) fn around(&self, interval: Duration) -> Instant {
        self.now + interval.mul_f64(0.8 + 0.4 * self.random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_interval_varies_by_a_fifth(random in -1.0..2.0_f64, ms in 0..1_000_000_u64) {
            let (turn, interval) = (Turn { now: Instant::now(), random }, Duration::from_millis(ms));
            let after = turn.around(interval) - turn.now;
            prop_assert!(interval.mul_f64(0.79) <= after && after <= interval.mul_f64(1.21));
        }
    }
}
