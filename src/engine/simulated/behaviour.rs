//! How a simulated job goes: as its image says, else at random from a seed. Pure, and the same in every process.

use std::time::Duration;

use ring::digest::{SHA256, digest};

use super::config::Config;
use crate::engine::{ContainerSpec, label};

/// What `sim/slow` takes without a tag.
const SLOW: Duration = Duration::from_secs(2);

/// How an image reference acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Every other image: starts and runs.
    Runs,
    /// `sim/abort`: kills the process that starts it.
    Abort,
    /// `sim/exit`: exits with code 1 at once.
    Exit,
    /// `sim/missing`: the registry does not have it.
    Missing,
    /// `sim/retry`: never starts, for a reason that might pass.
    Retry,
    /// `sim/slow`: starts slowly; the tag may name the time (`sim/slow:15s`).
    Slow(Duration),
    /// `sim/unavailable`: never starts, for a reason that might be the host's.
    Unavailable,
}

impl Act {
    /// How a normalised image reference acts.
    pub(super) fn of(image: &str) -> Self {
        let Some(rest) = image.strip_prefix("docker.io/sim/") else { return Self::Runs };
        let (name, tag) = rest.split_once(':').unwrap_or((rest, ""));
        match name {
            "abort" => Self::Abort,
            "exit" => Self::Exit,
            "missing" => Self::Missing,
            "retry" => Self::Retry,
            "slow" => Self::Slow(humantime::parse_duration(tag).unwrap_or(SLOW)),
            "unavailable" => Self::Unavailable,
            _ => Self::Runs,
        }
    }
}

/// The seeded random fault of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RandomFault {
    None,
    /// The job fails in every attempt: from the seed and the entry id.
    Failure,
    /// This attempt fails: from the seed, the entry id and the fencing token.
    Error,
}

impl RandomFault {
    pub(super) fn draw(settings: &Config, spec: &ContainerSpec) -> Self {
        let of = |name: &str| spec.labels.get(name).map_or("", String::as_str);
        let (seed, source) = (settings.seed.to_string(), of(label::SOURCE_REF));
        if settings.failures > 0.0 && unit(&[&seed, "failure", source]) < settings.failures {
            Self::Failure
        } else if settings.errors > 0.0 && unit(&[&seed, "error", source, of(label::FENCE)]) < settings.errors {
            Self::Error
        } else {
            Self::None
        }
    }
}

/// A number in [0, 1) that depends on nothing but these words.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
pub(super) fn unit(words: &[&str]) -> f64 {
    let digest = digest(&SHA256, words.join("\0").as_bytes());
    let mut first = [0_u8; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    (u64::from_be_bytes(first) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_act_by_name_whatever_their_tag() {
        assert_eq!(Act::of("docker.io/sim/abort:latest"), Act::Abort);
        assert_eq!(Act::of("docker.io/sim/slow:15s"), Act::Slow(Duration::from_secs(15)));
        assert_eq!(Act::of("docker.io/sim/slow:latest"), Act::Slow(SLOW));
        assert_eq!(Act::of("docker.io/library/sim:1"), Act::Runs);
        assert_eq!(Act::of("registry.local/sim/abort:1"), Act::Runs);
    }

    #[test]
    fn random_faults_are_spread_evenly_and_repeat() {
        let ids: Vec<String> = (0..10_000).map(|n| format!("{n}-0")).collect();
        let drawn = ids.iter().filter(|id| unit(&["7", "failure", id]) < 0.1).count();
        assert!((800..1_200).contains(&drawn), "{drawn} of 10000");
        assert_eq!(unit(&["7", "x"]).to_bits(), unit(&["7", "x"]).to_bits());
    }
}
