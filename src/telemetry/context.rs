//! Identifiers of traces and spans, and which traces are recorded.

use ring::digest;

/// The context that something came with: a `traceparent` of the W3C, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parent {
    /// Of its trace.
    pub(super) trace_id: u128,
    /// Of the span that made it.
    pub(super) span_id: u64,
    /// Whether that was recorded.
    is_sampled: bool,
}

impl Parent {
    /// Of a `traceparent`; nothing where it has not the form. What follows the flags in a later version is not looked at.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-').skip(1);
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let flags = u8::from_str_radix(flags.get(..2)?, 16).ok()?;
        let parent = Self {
            trace_id: u128::from_str_radix(trace, 16).ok()?,
            span_id: u64::from_str_radix(span, 16).ok()?,
            is_sampled: flags & 1 == 1,
        };
        (trace.len() == 32 && span.len() == 16 && parent.trace_id != 0 && parent.span_id != 0).then_some(parent)
    }
}

/// The `traceparent` of a span that is recorded.
pub(super) fn traceparent(trace_id: u128, span_id: u64) -> String {
    format!("00-{trace_id:032x}-{span_id:016x}-01")
}

/// What the traces of entries without a context are made from. Replicas with the same seed make the same trace id of the
/// same entry, so a job that another replica takes over stays in its trace, and all of them sample the same entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(u64, u64);

impl Seed {
    /// Of what tells one stream from all others.
    pub(crate) fn of(text: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let word = |at: usize| digest.as_ref()[at..at + 8].iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        Self(word(0), word(8))
    }

    /// The trace id of the entry with this id.
    pub(crate) fn trace_id(self, ms: u64, seq: u64) -> u128 {
        let entry = mixed(mixed(ms) ^ seq);
        let id = u128::from(mixed(self.0 ^ entry)) << 64 | u128::from(mixed(self.1 ^ entry));
        id.max(1)
    }
}

/// The finalizer of SplitMix64: every bit of the answer depends on every bit of the number.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A span id that no other span has. Zero is none.
pub(super) fn span_id() -> u64 {
    fastrand::u64(1..)
}

/// A trace id for what belongs to no entry.
pub(super) fn trace_id() -> u128 {
    fastrand::u128(1..)
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sampler {
    /// The sender of the context decides; else only the trace id counts.
    pub(super) follows_parent: bool,
    /// Traces are recorded whose id, in 63 of its bits, is below.
    below: u64,
}

/// Of 63 bits: all of them are below.
const ALL: u64 = 1 << 63;

impl Sampler {
    /// Records this part of all traces, 0 to 1.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2^63")]
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no 63 bits")]
    pub(super) fn of(follows_parent: bool, ratio: f64) -> Self {
        let below = if ratio >= 1.0 { ALL } else { (ratio.max(0.0) * ALL as f64) as u64 };
        Self { follows_parent, below }
    }

    /// The part of traces without a context that is recorded.
    #[expect(clippy::cast_precision_loss, reason = "shown to people")]
    pub(super) fn ratio(self) -> f64 {
        self.below as f64 / ALL as f64
    }

    /// Whether a trace is recorded. As the SDKs of OpenTelemetry decide it, so that services with the same ratio agree.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half of the id")]
    pub(super) fn samples(self, parent: Option<Parent>, trace_id: u128) -> bool {
        match parent {
            Some(parent) if self.follows_parent => parent.is_sampled,
            _ => (trace_id as u64) >> 1 < self.below,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_parent_is_taken_apart_and_put_together_again() {
        let parent = Parent::parse(PARENT).expect("the form");
        assert!(parent.is_sampled);
        assert_eq!(traceparent(parent.trace_id, parent.span_id), PARENT);
        assert!(!Parent::parse(&PARENT.replace("-01", "-00")).expect("the form").is_sampled);
        assert_eq!(Parent::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"), Some(parent));
        for bad in
            ["", "00", "00-1-2-01", "00-x-y-01", &PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32))]
        {
            assert_eq!(Parent::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_parent_decides_where_it_is_followed_and_the_id_elsewhere() {
        let parent = Parent::parse(PARENT).expect("the form");
        let unsampled = Parent { is_sampled: false, ..parent };
        for (sampler, without, with, with_unsampled) in [
            (Sampler::of(true, 1.0), true, true, false),
            (Sampler::of(true, 0.0), false, true, false),
            (Sampler::of(false, 1.0), true, true, true),
            (Sampler::of(false, 0.0), false, false, false),
        ] {
            let decided = [None, Some(parent), Some(unsampled)].map(|parent| sampler.samples(parent, u128::MAX));
            assert_eq!(decided, [without, with, with_unsampled], "{sampler:?}");
        }
    }

    #[test]
    fn entries_get_the_same_trace_everywhere_and_the_ratio_holds() {
        let (seed, sampler) = (Seed::of("a stream"), Sampler::of(true, 0.01));
        let ids: std::collections::HashSet<u128> =
            (0..100_000).map(|ms| seed.trace_id(1_795_000_000_000 + ms, 0)).collect();
        assert_eq!(ids.len(), 100_000);
        assert!(ids.contains(&Seed::of("a stream").trace_id(1_795_000_000_000, 0)));
        assert!(!ids.contains(&Seed::of("another stream").trace_id(1_795_000_000_000, 0)));
        assert_ne!(seed.trace_id(1, 0), seed.trace_id(1, 1));
        let sampled = ids.iter().filter(|&&id| sampler.samples(None, id)).count();
        assert!((850..1150).contains(&sampled), "{sampled} of 100,000");
    }
}
