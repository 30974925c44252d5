//! What load over time: a small language, and the schedule it describes. Pure.
//!
//! `ramp 0..200/s 30s, hold 2m, step 100/s 200/s 30s, burst 500 every 10s, soak 10m`: phases in their order. `hold` and
//! `soak` keep the last rate or take one of their own; `burst` adds to whatever follows it.

use std::str::FromStr;
use std::time::Duration;

/// Load over time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Profile {
    phases: Vec<Phase>,
}

/// One stretch of time with a rate that is steady or changes evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Phase {
    length: Duration,
    /// Sends per second at its beginning.
    from: f64,
    /// And at its end.
    to: f64,
    burst: Option<Burst>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Burst {
    count: u64,
    every: Duration,
}

/// What cannot be understood, with the words it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{about:?}: {why}")]
pub(crate) struct BadProfile {
    about: String,
    why: &'static str,
}

/// More is a mistake.
const RATE_MAX: f64 = 1e6;
const LENGTH_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

impl Profile {
    /// One steady rate.
    pub(crate) fn steady(rate: f64, length: Duration) -> Self {
        Self { phases: vec![Phase { length, from: rate, to: rate, burst: None }] }
    }

    /// How long it lasts.
    pub(crate) fn length(&self) -> Duration {
        self.phases.iter().map(|phase| phase.length).sum()
    }

    /// When each entry is to be sent, counted from the beginning; never descending.
    pub(crate) fn schedule(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        let mut start = Duration::ZERO;
        let phases: Vec<(Duration, Phase)> = self
            .phases
            .iter()
            .map(|phase| {
                let at = start;
                start += phase.length;
                (at, *phase)
            })
            .collect();
        phases.into_iter().flat_map(|(start, phase)| phase.sends().map(move |offset| start + offset))
    }
}

impl Phase {
    fn sends(self) -> impl Iterator<Item = Duration> + Send {
        let mut even = (0_u64..).map_while(move |number| self.send_at(number)).peekable();
        let mut bursts = self.bursts().peekable();
        std::iter::from_fn(move || match (even.peek(), bursts.peek()) {
            (Some(one), Some(other)) if other < one => bursts.next(),
            (Some(_), _) => even.next(),
            (None, _) => bursts.next(),
        })
    }

    /// `n / rate` where the rate is steady; where it changes, when `n` entries are due by the area under the rate.
    #[expect(clippy::cast_precision_loss, reason = "counts of entries are far below 2^52")]
    fn send_at(self, number: u64) -> Option<Duration> {
        let (number, length) = (number as f64, self.length.as_secs_f64());
        let slope = (self.to - self.from) / length;
        let seconds = if slope.abs() < 1e-12 {
            number / self.from
        } else {
            let square = self.from.mul_add(self.from, 2.0 * slope * number);
            // A falling rate reaches zero before this entry is due.
            if square < 0.0 {
                return None;
            }
            2.0 * number / (self.from + square.sqrt()).max(1e-12)
        };
        let at = Duration::try_from_secs_f64(seconds).ok()?;
        (at < self.length).then_some(at)
    }

    fn bursts(self) -> impl Iterator<Item = Duration> + Send {
        let Burst { count, every } = self.burst.unwrap_or(Burst { count: 0, every: self.length });
        let times = (0_u32..).map(move |number| every.saturating_mul(number)).take_while(move |at| *at < self.length);
        times.flat_map(move |at| (0..count).map(move |_| at))
    }
}

impl FromStr for Profile {
    type Err = BadProfile;

    fn from_str(text: &str) -> Result<Self, BadProfile> {
        let mut parser = Parser { phases: Vec::new(), rate: None, burst: None };
        for part in text.split(',') {
            parser.part(part.trim())?;
        }
        if parser.phases.is_empty() {
            return Err(BadProfile {
                about: text.to_owned(),
                why: "a burst needs a phase to follow it, such as hold 100/s 1m",
            });
        }
        let profile = Self { phases: parser.phases };
        if profile.length() > LENGTH_MAX {
            return Err(BadProfile { about: text.to_owned(), why: "lasts more than a week" });
        }
        Ok(profile)
    }
}

struct Parser {
    phases: Vec<Phase>,
    /// The last rate.
    rate: Option<f64>,
    burst: Option<Burst>,
}

impl Parser {
    fn part(&mut self, part: &str) -> Result<(), BadProfile> {
        let bad = |why| BadProfile { about: part.to_owned(), why };
        let words: Vec<&str> = part.split_whitespace().collect();
        match words.as_slice() {
            ["ramp", rates, length] => {
                let (from, to) =
                    rates.split_once("..").ok_or_else(|| bad("a ramp goes FROM..TO/s, such as 0..200/s"))?;
                let (from, to) = (rate(&format!("{from}/s")).or_else(|_| rate(from))?, rate(to)?);
                self.phase(from, to, duration(length)?);
            }
            ["hold" | "soak", length] => {
                let steady = self.rate.ok_or_else(|| bad("nothing says at what rate; write hold 100/s 2m"))?;
                self.phase(steady, steady, duration(length)?);
            }
            ["hold" | "soak", steady, length] => {
                let steady = rate(steady)?;
                self.phase(steady, steady, duration(length)?);
            }
            ["step", rates @ .., length] if !rates.is_empty() => {
                let length = duration(length)?;
                for steady in rates {
                    let steady = rate(steady)?;
                    self.phase(steady, steady, length);
                }
            }
            ["burst", count, "every", every] => {
                let count = count.parse().map_err(|_| bad("a burst is a number of entries: burst 500 every 10s"))?;
                if count > 1_000_000 {
                    return Err(bad("more than a million entries at once"));
                }
                self.burst = Some(Burst { count, every: duration(every)? });
            }
            [] => return Err(BadProfile { about: String::new(), why: "a phase is missing between commas" }),
            ["ramp", ..] => return Err(bad("write ramp FROM..TO/s DURATION")),
            ["hold" | "soak", ..] => return Err(bad("write hold [RATE/s] DURATION")),
            ["step", ..] => return Err(bad("write step RATE/s RATE/s ... DURATION")),
            ["burst", ..] => return Err(bad("write burst COUNT every DURATION")),
            _ => return Err(bad("a phase begins with ramp, hold, step, burst or soak")),
        }
        Ok(())
    }

    fn phase(&mut self, from: f64, to: f64, length: Duration) {
        self.rate = Some(to);
        self.phases.push(Phase { length, from, to, burst: self.burst });
    }
}

/// `200/s` or `90/m`, as sends per second.
pub(crate) fn rate(text: &str) -> Result<f64, BadProfile> {
    let bad = |why| BadProfile { about: text.to_owned(), why };
    let (number, per) = text.rsplit_once('/').ok_or_else(|| bad("a rate ends in /s or /m, such as 200/s"))?;
    let seconds = match per {
        "s" => 1.0,
        "m" | "min" => 60.0,
        _ => return Err(bad("a rate ends in /s or /m, such as 200/s")),
    };
    let rate = number.parse::<f64>().map_err(|_| bad("a rate is a number and /s, such as 200/s"))? / seconds;
    if !(0.0..=RATE_MAX).contains(&rate) {
        return Err(bad("a rate lies between 0 and 1000000/s"));
    }
    Ok(rate)
}

/// A duration of more than nothing.
fn duration(text: &str) -> Result<Duration, BadProfile> {
    let bad = |why| BadProfile { about: text.to_owned(), why };
    let length = humantime::parse_duration(text).map_err(|_| bad("no duration; write 30s, 2m or 1h"))?;
    if length.is_zero() || length > LENGTH_MAX {
        return Err(bad("a duration lies between more than nothing and a week"));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sends(text: &str) -> Vec<Duration> {
        text.parse::<Profile>().expect("a profile").schedule().collect()
    }

    #[test]
    fn a_steady_rate_sends_the_nth_entry_after_n_times_its_interval() {
        let sends = sends("hold 200/s 2s");
        assert_eq!(sends.len(), 400);
        for (number, at) in (0_u32..).zip(&sends) {
            let due = Duration::from_millis(5) * number;
            assert!(at.abs_diff(due) < Duration::from_micros(1), "{number}: {at:?}");
        }
    }

    #[test]
    fn a_ramp_sends_the_area_under_it_and_steps_and_bursts_add_up() {
        assert!((2_999..=3_001).contains(&sends("ramp 0..200/s 30s").len()));
        assert!((2_999..=3_001).contains(&sends("ramp 200..0/s 30s").len()));
        assert_eq!(sends("step 100/s 200/s 3s").len(), 900);
        let bursts = sends("burst 50 every 1s, hold 10/s 3s");
        assert_eq!(bursts.len(), 180);
        assert_eq!(bursts.iter().filter(|at| **at == Duration::from_secs(1)).count(), 51);
        assert_eq!(sends("burst 7 every 10s, hold 0/s 15s").len(), 14);
        assert_eq!(sends("ramp 0..200/s 30s, hold 2m, soak 1m").len(), sends("ramp 0..200/s 30s").len() + 36_000);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        for (text, why) in [
            ("", "missing"),
            ("hold 2m", "at what rate"),
            ("hold 200 2m", "ends in /s"),
            ("ramp 0..x/s 3s", "number"),
            ("ramp 5/s 3s", "FROM..TO"),
            ("hold 1/s 3 parsecs", "write hold"),
            ("hold 1/s fast", "no duration"),
            ("hold 1/s 0s", "more than nothing"),
            ("burst 5 every 1s", "follow"),
            ("burst many every 1s, hold 1/s 1s", "number of entries"),
            ("hold -1/s 1s", "between"),
            ("hold NaN/s 1s", "between"),
            ("jump 1/s 1s", "begins with"),
            ("hold 1/s 9999h", "week"),
        ] {
            let said = text.parse::<Profile>().expect_err(text).to_string();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    fn phase() -> impl Strategy<Value = String> {
        prop_oneof![
            (0_u32..300, 0_u32..300, 1_u32..20).prop_map(|(from, to, s)| format!("ramp {from}..{to}/s {s}s")),
            (0_u32..300, 1_u32..20).prop_map(|(rate, s)| format!("hold {rate}/s {s}s")),
            (1_u32..300, 0_u32..300, 1_u32..9).prop_map(|(one, two, s)| format!("step {one}/s {two}/m {s}s")),
            (0_u32..50, 1_u32..9, 1_u32..20).prop_map(|(n, e, s)| format!("burst {n} every {e}s, soak 5/s {s}s")),
        ]
    }

    proptest! {
        #[test]
        fn a_schedule_never_goes_back_and_ends_in_time(phases in proptest::collection::vec(phase(), 1..5)) {
            let profile: Profile = phases.join(", ").parse().expect("a profile");
            let sends: Vec<Duration> = profile.schedule().collect();
            prop_assert!(sends.windows(2).all(|two| two[0] <= two[1]));
            prop_assert!(sends.last().is_none_or(|last| *last < profile.length()));
        }

        #[test]
        fn parsing_is_total(text in "[a-z0-9/. ,]{0,60}") {
            drop(text.parse::<Profile>());
        }

        #[test]
        fn a_ramp_keeps_to_its_area(from in 0_u32..500, to in 0_u32..500, seconds in 1_u32..30) {
            let count = sends(&format!("ramp {from}..{to}/s {seconds}s")).len();
            let area = f64::from(from + to) / 2.0 * f64::from(seconds);
            prop_assert!((f64::from(u32::try_from(count).expect("few")) - area).abs() <= 1.5, "{count} of {area}");
        }
    }
}
