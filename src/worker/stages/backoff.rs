//! Back-off schedules: pure functions of how often something failed and a random number.

use std::time::Duration;

/// Exponential back-off between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// After the first failure.
    pub(crate) min: Duration,
    /// Never longer.
    pub(crate) max: Duration,
}

/// For calls to Redis and probes: at most ten a second, and at least one.
pub(crate) const CALLS: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(1) };

impl Backoff {
    /// How long to wait after `failures` failures in a row; `random` in 0..1 shortens it by up to a fifth, so that
    /// replicas that failed together do not come back together. Never shorter than `min`.
    pub(crate) fn delay(self, failures: u64, random: f64) -> Duration {
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(31);
        let full = self.min.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(1.0 - 0.2 * random.clamp(0.0, 1.0)).max(self.min.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_doubles_up_to_the_limit() {
        let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };
        let delays: Vec<u64> = (0..9).map(|failures| backoff.delay(failures, 0.0).as_secs()).collect();
        assert_eq!(delays, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    proptest! {
        #[test]
        fn it_stays_between_its_bounds(failures in any::<u64>(), random in -1.0..2.0_f64, min in 1..5_000_u64, more in 0..100_000_u64) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(min + more));
            let delay = Backoff { min, max }.delay(failures, random);
            prop_assert!(min <= delay && delay <= max);
        }
    }
}
