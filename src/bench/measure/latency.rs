//! Latency of several subjects at several rates in one run, round by round and in changing order: an open loop each, so
//! that a subject that queues does not slow its own load. Only medians and ratios of one run are worth quoting.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::compare::{exactness, median, order};
use super::load::{self, LoadOptions};
use crate::bench::generate::faults::Faults;
use crate::bench::generate::mix::Mix;
use crate::bench::generate::profile::Profile;
use crate::bench::generate::sender::Loop;
use crate::bench::observe::books::Books;
use crate::bench::rig::children::Subject;
use crate::bench::rig::clock::now_ms;
use crate::bench::rig::place::{Pairs, Place, Server};
use crate::bench::{Error, SCHEMA_VERSION};

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct LatencyOptions {
    /// The first is the one that the floor is compared with.
    pub(crate) subjects: Vec<Subject>,
    /// Sends per second.
    pub(crate) rates: Vec<f64>,
    /// Rounds of each rate.
    pub(crate) rounds: usize,
    /// How long entries are sent in one round.
    pub(crate) length: Duration,
    /// Of it, not measured.
    pub(crate) warmup: Duration,
    /// Processes of each subject.
    pub(crate) replicas: usize,
    /// Further settings of theirs.
    pub(crate) settings: Pairs,
    /// What they log.
    pub(crate) log_level: String,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LatencyReport {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// `latency`
    pub(crate) kind: &'static str,
    /// When it began, Unix ms.
    pub(crate) began_at_ms: u64,
    /// Cores of the machine.
    pub(crate) cores: usize,
    /// The server.
    pub(crate) redis: Server,
    /// Processes of each subject.
    pub(crate) replicas: usize,
    /// Seconds of one round that are measured.
    pub(crate) measured_s: f64,
    /// Settings given for the processes.
    pub(crate) settings: Pairs,
    /// What the workers logged.
    pub(crate) log_level: String,
    /// One for each rate.
    pub(crate) rates: Vec<AtRate>,
    /// Whether every entry of every round was answered exactly once.
    pub(crate) exact: bool,
}

/// What was measured at one rate.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AtRate {
    /// Sends per second.
    pub(crate) rate: f64,
    /// What was measured.
    pub(crate) subjects: Vec<Latencies>,
    /// The first subject's median latency over the floor's, of the medians over the rounds; none without a floor.
    pub(crate) p50_ratio_to_floor: Option<f64>,
    /// The same of the 99th percentiles.
    pub(crate) p99_ratio_to_floor: Option<f64>,
}

/// One subject's latencies at one rate, microseconds; medians over the rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Latencies {
    /// Which.
    pub(crate) subject: Subject,
    /// 50 %
    pub(crate) p50_us: f64,
    /// 99 %
    pub(crate) p99_us: f64,
    /// 99.9 %
    pub(crate) p999_us: f64,
    /// Sends that were late or failed, of all of all rounds.
    pub(crate) late_share: f64,
    /// Every round.
    pub(crate) rounds: Vec<Round>,
}

/// One round.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Round {
    /// 50 %
    pub(crate) p50_us: u64,
    /// 99 %
    pub(crate) p99_us: u64,
    /// 99.9 %
    pub(crate) p999_us: u64,
    /// Sends that were late or failed.
    pub(crate) late: u64,
    /// All sends.
    pub(crate) sent: u64,
}

/// A send is late when it leaves so long after it was due.
const LATE_AFTER: Duration = Duration::from_millis(1);
const REST_WITHIN: Duration = Duration::from_secs(60);
/// Beyond this share of late sends the figures are the sending side's.
const GENERATOR_BOUND: f64 = 0.01;

/// Runs it.
pub(crate) async fn run(
    place: &mut Place,
    options: &LatencyOptions,
    mut say: impl FnMut(usize, Subject, f64, Round),
) -> Result<LatencyReport, Error> {
    let began_at_ms = now_ms();
    let (mut rates, mut exact) = (Vec::new(), true);
    for &rate in &options.rates {
        let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); options.subjects.len()];
        for round in 0..options.rounds {
            for position in order(round, options.subjects.len()) {
                let subject = options.subjects[position];
                let ran = load::run(place, &options.load(subject, rate)).await?;
                exact &= ran.is_exact();
                let measured = Round::of(&ran.books);
                say(round, subject, rate, measured);
                rounds[position].push(measured);
            }
        }
        rates.push(AtRate::of(rate, options.subjects.iter().copied().zip(rounds)));
    }
    Ok(LatencyReport {
        schema_version: SCHEMA_VERSION,
        kind: "latency",
        began_at_ms,
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        redis: place.server.clone(),
        replicas: options.replicas,
        measured_s: options.length.saturating_sub(options.warmup).as_secs_f64(),
        settings: options.settings.clone(),
        log_level: options.log_level.clone(),
        rates,
        exact,
    })
}

impl LatencyOptions {
    fn load(&self, subject: Subject, rate: f64) -> LoadOptions {
        LoadOptions {
            subject,
            replicas: self.replicas,
            settings: self.settings.clone(),
            log_level: self.log_level.clone(),
            pace: Loop::Open(Profile::steady(rate, self.length)),
            mix: Mix::default(),
            seed: 1,
            jobs_max: u64::MAX,
            warmup: self.warmup,
            late_after: LATE_AFTER,
            faults: Faults::default(),
            rest_within: REST_WITHIN,
            slos: Vec::new(),
            is_real: false,
        }
    }
}

impl Round {
    fn of(books: &Books) -> Self {
        let at = |percentile| books.stages.seen.value_at_percentile(percentile);
        Self {
            p50_us: at(50.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            late: books.late + books.failed,
            sent: books.left,
        }
    }
}

impl AtRate {
    fn of(rate: f64, rounds: impl Iterator<Item = (Subject, Vec<Round>)>) -> Self {
        let subjects: Vec<Latencies> = rounds.map(|(subject, rounds)| Latencies::of(subject, rounds)).collect();
        let floor = subjects.iter().find(|one| one.subject == Subject::Floor);
        let compared = subjects.first().filter(|first| first.subject != Subject::Floor).zip(floor);
        let ratio = |value: fn(&Latencies) -> f64| compared.map(|(first, floor)| value(first) / value(floor).max(1.0));
        let (p50, p99) = (ratio(|one| one.p50_us), ratio(|one| one.p99_us));
        Self { rate, subjects, p50_ratio_to_floor: p50, p99_ratio_to_floor: p99 }
    }
}

impl Latencies {
    #[expect(clippy::cast_precision_loss, reason = "latencies and counts are far below 2^52")]
    fn of(subject: Subject, rounds: Vec<Round>) -> Self {
        let of = |value: fn(&Round) -> u64| median(rounds.iter().map(|round| value(round) as f64));
        let sum = |value: fn(&Round) -> u64| rounds.iter().map(value).sum::<u64>() as f64;
        Self {
            subject,
            p50_us: of(|round| round.p50_us),
            p99_us: of(|round| round.p99_us),
            p999_us: of(|round| round.p999_us),
            late_share: sum(|round| round.late) / sum(|round| round.sent).max(1.0),
            rounds,
        }
    }
}

impl LatencyReport {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "open loop, {:.1} s measured a round, {} process(es), Redis {} with AOF {}, {} cores, medians of {} rounds\n\n\
             {:<10}{:<16}{:>10}{:>10}{:>10}{:>10}\n",
            self.measured_s,
            self.replicas,
            self.redis.version,
            self.redis.aof,
            self.cores,
            self.rates.iter().flat_map(|rate| &rate.subjects).map(|one| one.rounds.len()).max().unwrap_or(0),
            "rate",
            "subject",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "late",
        );
        for at in &self.rates {
            for one in &at.subjects {
                // Writing to a String cannot fail.
                _ = writeln!(
                    text,
                    "{:<10}{:<16}{:>10.0}{:>10.0}{:>10.0}{:>9.2}%{}",
                    format!("{}/s", at.rate),
                    one.subject.as_str(),
                    one.p50_us,
                    one.p99_us,
                    one.p999_us,
                    one.late_share * 100.0,
                    if one.late_share > GENERATOR_BOUND { "  generator-bound" } else { "" },
                );
            }
        }
        text.push('\n');
        for at in &self.rates {
            if let (Some(p50), Some(p99)) = (at.p50_ratio_to_floor, at.p99_ratio_to_floor) {
                _ = writeln!(text, "ratio to the floor at {}/s: p50 {p50:.2}, p99 {p99:.2}", at.rate);
            }
        }
        text.push_str(exactness(self.exact));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_medians_of_the_first_subject_and_the_floor() {
        let rounds = |p50s: [u64; 3]| -> Vec<Round> {
            p50s.map(|p50_us| Round { p50_us, p99_us: 3 * p50_us, p999_us: 9 * p50_us, late: 1, sent: 100 }).into()
        };
        let subjects = [(Subject::Noop, rounds([900, 130, 110])), (Subject::Floor, rounds([90, 100, 700]))];
        let at = AtRate::of(1_000.0, subjects.into_iter());
        assert!((at.p50_ratio_to_floor.expect("a ratio") - 1.3).abs() < 1e-9, "{at:?}");
        assert!((at.p99_ratio_to_floor.expect("a ratio") - 1.3).abs() < 1e-9, "{at:?}");
        assert!((at.subjects[0].late_share - 0.01).abs() < 1e-9, "{at:?}");
        let alone = AtRate::of(1_000.0, [(Subject::Floor, rounds([1, 2, 3]))].into_iter());
        assert_eq!(alone.p50_ratio_to_floor, None);
    }
}
