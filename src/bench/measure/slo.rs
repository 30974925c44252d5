//! Limits that a run must keep: `p99<500ms`, `errors<0.1%`, `rate>=190/s`, `rss-growth<2MiB`. Pure.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::bench::generate::profile::rate;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Quantity {
    /// Latency from the intended send to the outcome seen, at this percentile; 100 is the largest.
    Latency(f64),
    /// Its mean.
    Mean,
    /// Well-formed jobs that did not end in a success, of all that were due.
    Errors,
    /// Sends that were late or failed.
    Late,
    /// Answers per second.
    Rate,
    /// The slowest recovery from a fault.
    Recovery,
    /// The most memory that a replica ever had.
    Rss,
    /// What the memory of the replica that grew most gained after warming up.
    RssGrowth,
}

/// One limit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slo {
    text: String,
    quantity: Quantity,
    below: bool,
    equal: bool,
    /// Microseconds, a share, entries per second, or MiB.
    limit: f64,
}

/// How one limit was kept.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Kept {
    /// As it was given.
    pub(crate) slo: String,
    /// What was measured, in microseconds, as a share, per second, or in MiB.
    pub(crate) measured: f64,
    /// Whether it was kept.
    pub(crate) kept: bool,
}

const FORM: &str = "write p50, p99, p99.9, max, mean, recovery (a duration), errors, late (a share), rate (per second), rss or rss-growth (MiB, of one replica), then <, <=, > or >=, then a value: p99<500ms, errors<0.1%, rate>=190/s, rss-growth<2MiB";

impl Slo {
    /// What is limited.
    pub(crate) fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// Compares. What could not be measured is not kept.
    pub(crate) fn judge(&self, measured: Option<f64>) -> Kept {
        let kept = measured.is_some_and(|measured| {
            let beyond = if self.below { measured < self.limit } else { measured > self.limit };
            beyond || (self.equal && (measured - self.limit).abs() <= f64::EPSILON * self.limit.abs())
        });
        Kept { slo: self.text.clone(), measured: measured.unwrap_or(f64::NAN), kept }
    }
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?}: {FORM}");
        let at = text.find(['<', '>']).ok_or_else(bad)?;
        let (name, rest) = text.split_at(at);
        let below = rest.starts_with('<');
        let (equal, value) = rest[1..].strip_prefix('=').map_or((false, &rest[1..]), |value| (true, value));
        let value = value.trim();
        let quantity = match name.trim() {
            "mean" => Quantity::Mean,
            "max" => Quantity::Latency(100.0),
            "errors" => Quantity::Errors,
            "late" => Quantity::Late,
            "rate" => Quantity::Rate,
            "recovery" => Quantity::Recovery,
            "rss" => Quantity::Rss,
            "rss-growth" => Quantity::RssGrowth,
            name => {
                let percentile = name.strip_prefix('p').and_then(|number| number.parse::<f64>().ok());
                Quantity::Latency(percentile.filter(|number| (0.0..=100.0).contains(number)).ok_or_else(bad)?)
            }
        };
        let limit = match quantity {
            Quantity::Latency(_) | Quantity::Mean | Quantity::Recovery => {
                humantime::parse_duration(value).map_err(|_| bad()).map(micros)?
            }
            Quantity::Errors | Quantity::Late => share(value).ok_or_else(bad)?,
            Quantity::Rate => rate(value).map_err(|_| bad())?,
            Quantity::Rss | Quantity::RssGrowth => mib(value).ok_or_else(bad)?,
        };
        Ok(Self { text: text.to_owned(), quantity, below, equal, limit })
    }
}

/// Microseconds.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// `1%` or `0.01`, between 0 and 1.
pub(crate) fn share(text: &str) -> Option<f64> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

/// `2MiB`, `512KiB` or `1GiB`, in MiB.
fn mib(text: &str) -> Option<f64> {
    let units = [("KiB", 1.0 / 1_024.0), ("MiB", 1.0), ("GiB", 1_024.0)];
    let (number, unit) = units.iter().find_map(|(name, size)| Some((text.strip_suffix(name)?, *size)))?;
    number.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0).map(|number| number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_are_read_and_judged() {
        let slo: Slo = "p99 < 500ms".parse().expect("a limit");
        assert_eq!(slo.quantity(), Quantity::Latency(99.0));
        assert!(slo.judge(Some(499_999.0)).kept);
        assert!(!slo.judge(Some(500_000.0)).kept);
        assert!(!slo.judge(None).kept);
        assert!("errors<=0%".parse::<Slo>().expect("a limit").judge(Some(0.0)).kept);
        assert!("rate>=190/s".parse::<Slo>().expect("a limit").judge(Some(190.0)).kept);
        let growth: Slo = "rss-growth<2MiB".parse().expect("a limit");
        assert_eq!(growth.quantity(), Quantity::RssGrowth);
        assert!(growth.judge(Some(1.9)).kept && growth.judge(Some(-3.0)).kept && !growth.judge(Some(2.0)).kept);
        assert!("rss<=1GiB".parse::<Slo>().expect("a limit").judge(Some(1_024.0)).kept);
        assert!(!"rate>190/s".parse::<Slo>().expect("a limit").judge(Some(190.0)).kept);
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for bad in [
            "",
            "p99",
            "p99<",
            "p101<1s",
            "p99=1s",
            "errors<5",
            "errors<200%",
            "rate>fast",
            "speed<1s",
            "p99<5",
            "rss<5",
            "rss<-1MiB",
            "rss-growth<1MB",
        ] {
            assert!(bad.parse::<Slo>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_is_total(text in "\\PC{0,20}") {
            drop(text.parse::<Slo>());
        }
    }
}
