//! The terms of sweeps that are called without a replica.

use std::time::Duration;

use startjobs::stream::claim::SweepTerms;

/// Of a fleet that notices deaths by silence alone.
pub(crate) fn by_silence(claim_idle: Duration, interval: Duration, want: usize, holds_nothing: bool) -> SweepTerms {
    SweepTerms { claim_idle, interval, want, holds_nothing, watch: None, crash_budget: 4 }
}
