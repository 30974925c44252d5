//! How long jobs took from their entry to their outcome, as counts by size: counts of several replicas and times add up, and a
//! share of the whole can be told of any sum.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// What takes longer counts as this long: one hour, in milliseconds.
const LONGEST_MS: u64 = 3_600_000;
/// Buckets by which a power of two is cut, as a power of two.
const CUTS: u32 = 2;

/// Counts by bucket. Up to 7 ms a bucket is one millisecond wide; above, each power of two has four of the same width. The
/// middle of a bucket is less than 12.5 % off from every value in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Latency(BTreeMap<u8, u64>);

/// How many buckets there are.
pub(crate) const BUCKETS: u8 = bucket_of(LONGEST_MS) + 1;

impl Latency {
    /// One job took so long.
    pub(crate) fn took(&mut self, time: Duration) {
        let bucket = bucket_of(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.add_to(bucket, 1);
    }

    /// So many more in one bucket.
    pub(super) fn add_to(&mut self, bucket: u8, jobs: u64) {
        let counted = self.0.entry(bucket.min(BUCKETS - 1)).or_default();
        *counted = counted.saturating_add(jobs);
    }

    /// What another one counted.
    pub(crate) fn add(&mut self, other: &Self) {
        other.buckets().for_each(|(bucket, jobs)| self.add_to(bucket, jobs));
    }

    /// The buckets that have something, the smallest first.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (u8, u64)> {
        self.0.iter().map(|(&bucket, &jobs)| (bucket, jobs))
    }

    /// How long the job took, in milliseconds, that is slower than `percent` of all, give or take 12.5 %; none without a job.
    pub(crate) fn percentile_ms(&self, percent: u64) -> Option<u64> {
        let jobs: u128 = self.0.values().map(|&jobs| u128::from(jobs)).sum();
        let rank = (jobs * u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        self.buckets().find_map(|(bucket, jobs)| {
            seen += u128::from(jobs);
            (seen >= rank).then(|| middle_of(bucket))
        })
    }

    /// Half of the jobs took no longer, in milliseconds.
    pub(crate) fn p50_ms(&self) -> Option<u64> {
        self.percentile_ms(50)
    }

    /// All but one in a hundred took no longer, in milliseconds.
    pub(crate) fn p99_ms(&self) -> Option<u64> {
        self.percentile_ms(99)
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shares = serializer.serialize_struct("Latency", 2)?;
        shares.serialize_field("p50_ms", &self.p50_ms())?;
        shares.serialize_field("p99_ms", &self.p99_ms())?;
        shares.end()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the largest bucket is 82")]
const fn bucket_of(ms: u64) -> u8 {
    let ms = if ms < LONGEST_MS { ms } else { LONGEST_MS };
    let cuts = 1 << CUTS;
    if ms < cuts {
        return ms as u8;
    }
    let power = ms.ilog2();
    let part = (ms >> (power - CUTS)) - cuts;
    ((power - CUTS + 1) as u64 * cuts + part) as u8
}

/// The middle of a bucket, in milliseconds.
fn middle_of(bucket: u8) -> u64 {
    let cuts = 1 << CUTS;
    let (octave, part) = (u32::from(bucket) / cuts, u64::from(u32::from(bucket) % cuts));
    if octave == 0 {
        return part;
    }
    let width = 1 << (octave - 1);
    ((u64::from(cuts) + part) * width + (width - 1) / 2).min(LONGEST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(times: &[u64]) -> Latency {
        let mut latency = Latency::default();
        for &ms in times {
            latency.took(Duration::from_millis(ms));
        }
        latency
    }

    #[test]
    fn buckets_follow_each_other_from_nothing_to_an_hour() {
        let mut last = 0;
        for ms in 0..=LONGEST_MS {
            let bucket = bucket_of(ms);
            assert!(bucket == last || bucket == last + 1, "{ms}");
            last = bucket;
        }
        assert_eq!((last + 1, BUCKETS), (BUCKETS, 83));
        assert_eq!(bucket_of(u64::MAX), last);
        for ms in 0..8 {
            assert_eq!(middle_of(bucket_of(ms)), ms, "exact");
        }
    }

    #[test]
    fn without_a_job_there_is_no_share() {
        assert_eq!(of(&[]).p50_ms(), None);
        assert_eq!((of(&[5]).p50_ms(), of(&[5]).p99_ms()), (Some(5), Some(5)));
        assert_eq!(of(&[u64::MAX]).p50_ms(), Some(middle_of(BUCKETS - 1)), "more than an hour counts as one");
        let many = Latency(BTreeMap::from([(3, u64::MAX), (9, u64::MAX)]));
        assert_eq!((many.percentile_ms(50), many.percentile_ms(51)), (Some(3), Some(middle_of(9))));
    }

    proptest! {
        /// Of any values in any number of parts, a share is within 12.5 % of the exact one.
        #[test]
        fn shares_of_sums_are_near_the_exact_ones(
            mut times in proptest::collection::vec((0..22_u32, 0..1000_u64), 1..200),
            cut in 0..200_usize,
            percent in 0..=100_u64,
        ) {
            let mut exact: Vec<u64> = times.drain(..).map(|(power, part)| (part << power) / 1000).collect();
            let (one, other) = exact.split_at(cut.min(exact.len()));
            let mut sum = of(one);
            sum.add(&of(other));
            prop_assert_eq!(&sum, &of(&exact));
            exact.sort_unstable();
            let rank = (exact.len() as u64 * percent).div_ceil(100).max(1);
            let exact = exact[usize::try_from(rank - 1).expect("small")];
            let told = sum.percentile_ms(percent).expect("jobs");
            prop_assert!(told.abs_diff(exact) * 8 <= exact, "{told} for {exact}");
        }
    }
}
