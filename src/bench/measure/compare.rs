//! Several subjects in one run, round by round and in changing order, so that what else the machine does meets all of
//! them alike. Only medians and ratios of one run are worth quoting.

use std::fmt::Write as _;

use serde::Serialize;

use super::drain::{DrainOptions, Drained, drain};
use crate::bench::rig::children::Subject;
use crate::bench::rig::clock::now_ms;
use crate::bench::rig::place::{Place, Server};
use crate::bench::{Error, SCHEMA_VERSION};

/// A run of rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DrainReport {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// `drain`
    pub(crate) kind: &'static str,
    /// When it began, Unix ms.
    pub(crate) began_at_ms: u64,
    /// Cores of the machine.
    pub(crate) cores: usize,
    /// The server.
    pub(crate) redis: Server,
    /// Entries of one drain.
    pub(crate) jobs: u64,
    /// Processes of each subject.
    pub(crate) replicas: usize,
    /// Settings given for the processes.
    pub(crate) settings: Vec<(String, String)>,
    /// What the workers logged.
    pub(crate) log_level: String,
    /// What was measured.
    pub(crate) subjects: Vec<Measured>,
    /// Throughput of the first subject over that of the floor, of the medians; none where there is no floor.
    pub(crate) ratio_to_floor: Option<f64>,
    /// Whether every entry of every drain was answered exactly once.
    pub(crate) exact: bool,
}

/// One subject's rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// Which.
    pub(crate) subject: Subject,
    /// Medians over the rounds.
    pub(crate) median: Medians,
    /// The slowest and the fastest round, entries per second.
    pub(crate) spread: (f64, f64),
    /// Every round.
    pub(crate) rounds: Vec<Drained>,
}

/// Medians over rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Medians {
    /// Throughput.
    pub(crate) entries_per_s: f64,
    /// Redis's processor time, all threads.
    pub(crate) redis_us_per_entry: f64,
    /// Of its main thread.
    pub(crate) redis_main_us_per_entry: Option<f64>,
    /// The subject's processor time.
    pub(crate) client_us_per_entry: f64,
    /// The subject's memory.
    pub(crate) rss_mib: f64,
}

/// The middle of these numbers; the mean of the two in the middle where they are even.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => 0.0,
    }
}

impl Measured {
    fn of(subject: Subject, rounds: Vec<Drained>) -> Self {
        let of = |value: fn(&Drained) -> f64| median(rounds.iter().map(value));
        let main: Option<Vec<f64>> = rounds.iter().map(|round| round.redis_main_us_per_entry).collect();
        let rates = || rounds.iter().map(|round| round.entries_per_s);
        let spread = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
        let median = Medians {
            entries_per_s: of(|round| round.entries_per_s),
            redis_us_per_entry: of(|round| round.redis_us_per_entry),
            redis_main_us_per_entry: main.map(median),
            client_us_per_entry: of(|round| round.client_us_per_entry),
            rss_mib: of(|round| round.rss_mib),
        };
        Self { subject, median, spread, rounds }
    }
}

/// The order of so many subjects in this round: forwards and backwards in turn, so that none is always first.
pub(crate) fn order(round: usize, subjects: usize) -> Vec<usize> {
    if round % 2 == 1 { (0..subjects).rev().collect() } else { (0..subjects).collect() }
}

/// Drains with every subject, `rounds` times, in an order that turns round every time.
pub(crate) async fn compare(
    place: &Place,
    subjects: &[Subject],
    rounds: usize,
    options: &DrainOptions,
    mut say: impl FnMut(usize, Subject, &Drained),
) -> Result<DrainReport, Error> {
    let began_at_ms = now_ms();
    let mut drains: Vec<Vec<Drained>> = vec![Vec::new(); subjects.len()];
    for round in 0..rounds {
        for position in order(round, subjects.len()) {
            let subject = subjects[position];
            let part = format!("{round}:{}", subject.as_str());
            let drained = drain(place, subject, &part, options).await?;
            say(round, subject, &drained);
            drains[position].push(drained);
        }
    }
    let measured: Vec<Measured> =
        subjects.iter().zip(drains).map(|(subject, rounds)| Measured::of(*subject, rounds)).collect();
    let rate = |subject| measured.iter().find(|one| one.subject == subject).map(|one| one.median.entries_per_s);
    let ratio_to_floor = rate(Subject::Floor)
        .zip(measured.first().filter(|first| first.subject != Subject::Floor))
        .map(|(floor, first)| first.median.entries_per_s / floor);
    let exact = measured.iter().flat_map(|one| &one.rounds).all(|round| round.breaches == 0);
    Ok(DrainReport {
        schema_version: SCHEMA_VERSION,
        kind: "drain",
        began_at_ms,
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        redis: place.server.clone(),
        jobs: options.jobs,
        replicas: options.replicas,
        settings: options.settings.clone(),
        log_level: options.log_level.clone(),
        subjects: measured,
        ratio_to_floor,
        exact,
    })
}

impl DrainReport {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{} entries a drain, {} process(es), Redis {} with AOF {}, {} cores, medians of {} rounds\n\n{:<16}{:>12}{:>12}{:>12}{:>12}{:>10}   {}\n",
            self.jobs,
            self.replicas,
            self.redis.version,
            self.redis.aof,
            self.cores,
            self.subjects.first().map_or(0, |one| one.rounds.len()),
            "subject",
            "entries/s",
            "Redis us",
            "of main",
            "client us",
            "RSS MiB",
            "slowest..fastest",
        );
        for one in &self.subjects {
            let median = one.median;
            let main = median.redis_main_us_per_entry.map_or_else(|| "-".to_owned(), |us| format!("{us:.2}"));
            // Writing to a String cannot fail.
            _ = writeln!(
                text,
                "{:<16}{:>12.0}{:>12.2}{main:>12}{:>12.2}{:>10.1}   {:.0}..{:.0}",
                one.subject.as_str(),
                median.entries_per_s,
                median.redis_us_per_entry,
                median.client_us_per_entry,
                median.rss_mib,
                one.spread.0,
                one.spread.1,
            );
        }
        if let Some(ratio) = self.ratio_to_floor {
            _ = writeln!(text, "\nratio to the floor: {ratio:.3}");
        }
        text.push_str(exactness(self.exact));
        text
    }
}

/// The last line of a comparison's table.
pub(super) fn exactness(exact: bool) -> &'static str {
    if exact {
        "every entry was answered exactly once\n"
    } else {
        "NOT EXACT: entries without answer, or answered twice\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "these are exact")]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }

    proptest! {
        #[test]
        fn half_of_the_numbers_lie_on_either_side(numbers in proptest::collection::vec(-1e9..1e9_f64, 1..40)) {
            let middle = median(numbers.iter().copied());
            let below = numbers.iter().filter(|&&number| number <= middle).count();
            let above = numbers.iter().filter(|&&number| number >= middle).count();
            prop_assert!(2 * below >= numbers.len() && 2 * above >= numbers.len());
        }
    }
}
