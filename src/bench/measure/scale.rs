//! Scale-out: the same work for each replica, with more and more of them, in one run. What N replicas could do is all
//! their slots over the time of one start; what is missing is the worker's own, or Redis's, or the machine's.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::compare::median;
use super::drain::{DrainOptions, Drained, drain};
use crate::bench::rig::children::Subject;
use crate::bench::rig::clock::now_ms;
use crate::bench::rig::place::{Pairs, Place, Server};
use crate::bench::{Error, SCHEMA_VERSION};

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct ScaleOptions {
    /// Numbers of replicas.
    pub(crate) replicas: Vec<usize>,
    /// Slots of each.
    pub(crate) slots: u32,
    /// What a simulated start takes.
    pub(crate) start: Duration,
    /// Jobs of each replica in one round.
    pub(crate) jobs_each: u64,
    /// Rounds.
    pub(crate) rounds: usize,
    /// How long one drain may take.
    pub(crate) limit: Duration,
    /// Further settings.
    pub(crate) settings: Pairs,
    /// What the workers log.
    pub(crate) log_level: String,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ScaleReport {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// `scale`
    pub(crate) kind: &'static str,
    /// When it began, Unix ms.
    pub(crate) began_at_ms: u64,
    /// Cores of the machine.
    pub(crate) cores: usize,
    /// The server.
    pub(crate) redis: Server,
    /// Slots of each replica.
    pub(crate) slots: u32,
    /// What a simulated start takes, ms.
    pub(crate) start_ms: f64,
    /// Settings given for the replicas.
    pub(crate) settings: Pairs,
    /// What the workers logged.
    pub(crate) log_level: String,
    /// One for each number of replicas.
    pub(crate) fleets: Vec<Scaled>,
    /// Whether every job of every drain was answered exactly once.
    pub(crate) exact: bool,
}

/// One size of the fleet; medians over the rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Scaled {
    /// How many replicas.
    pub(crate) replicas: usize,
    /// Throughput.
    pub(crate) jobs_per_s: f64,
    /// Of all slots over the time of one start.
    pub(crate) share_of_slots: f64,
    /// Redis's processor time for one job.
    pub(crate) redis_us_per_job: f64,
    /// The replicas'.
    pub(crate) worker_us_per_job: f64,
    /// Cores that Redis was busy on.
    pub(crate) redis_cores: f64,
    /// Cores that the replicas were busy on.
    pub(crate) worker_cores: f64,
    /// Cores that anything at all was busy on.
    pub(crate) machine_cores: f64,
    /// Every round.
    pub(crate) rounds: Vec<Drained>,
}

/// Runs it, the sizes of the fleet in turn in every round.
pub(crate) async fn run(
    place: &Place,
    options: &ScaleOptions,
    mut say: impl FnMut(usize, usize, &Drained),
) -> Result<ScaleReport, Error> {
    let began_at_ms = now_ms();
    let mut settings: Pairs = vec![
        ("slots".to_owned(), options.slots.to_string()),
        ("simulated-latency".to_owned(), humantime::format_duration(options.start).to_string()),
    ];
    settings.extend_from_slice(&options.settings);
    let mut drains: Vec<Vec<Drained>> = vec![Vec::new(); options.replicas.len()];
    for round in 0..options.rounds {
        for (&replicas, drains) in options.replicas.iter().zip(&mut drains) {
            let drained = DrainOptions {
                jobs: options.jobs_each * replicas as u64,
                limit: options.limit,
                replicas,
                settings: settings.clone(),
                log_level: options.log_level.clone(),
            };
            let part = format!("{round}:scale-{replicas}");
            let drained = drain(place, Subject::Worker, &part, &drained).await?;
            say(round, replicas, &drained);
            drains.push(drained);
        }
    }
    let exact = drains.iter().flatten().all(|drained| drained.breaches == 0);
    let fleets = options.replicas.iter().zip(drains).map(|(&replicas, drains)| Scaled::of(replicas, options, drains));
    Ok(ScaleReport {
        schema_version: SCHEMA_VERSION,
        kind: "scale",
        began_at_ms,
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        redis: place.server.clone(),
        slots: options.slots,
        start_ms: options.start.as_secs_f64() * 1e3,
        settings: options.settings.clone(),
        log_level: options.log_level.clone(),
        fleets: fleets.collect(),
        exact,
    })
}

impl Scaled {
    #[expect(clippy::cast_precision_loss, reason = "a few replicas")]
    fn of(replicas: usize, options: &ScaleOptions, rounds: Vec<Drained>) -> Self {
        let of = |value: fn(&Drained) -> f64| median(rounds.iter().map(value));
        let jobs_per_s = of(|one| one.entries_per_s);
        let allowed = replicas as f64 * f64::from(options.slots) / options.start.as_secs_f64().max(1e-9);
        Self {
            replicas,
            jobs_per_s,
            share_of_slots: jobs_per_s / allowed,
            redis_us_per_job: of(|one| one.redis_us_per_entry),
            worker_us_per_job: of(|one| one.client_us_per_entry),
            redis_cores: of(|one| one.redis_cores),
            worker_cores: of(|one| one.client_us_per_entry * one.entries_per_s / 1e6),
            machine_cores: of(|one| one.machine_cores),
            rounds,
        }
    }
}

impl ScaleReport {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{} slots a replica, a start takes {:.0} ms, Redis {} with AOF {}, {} cores, medians of {} round(s)\n\n\
             {:>8}{:>10}{:>11}{:>10}{:>11}{:>13}{:>14}{:>15}\n",
            self.slots,
            self.start_ms,
            self.redis.version,
            self.redis.aof,
            self.cores,
            self.fleets.first().map_or(0, |one| one.rounds.len()),
            "replicas",
            "jobs/s",
            "of slots",
            "Redis us",
            "worker us",
            "Redis cores",
            "worker cores",
            "machine cores",
        );
        for one in &self.fleets {
            // Writing to a String cannot fail.
            _ = writeln!(
                text,
                "{:>8}{:>10.0}{:>11.3}{:>10.1}{:>11.1}{:>13.2}{:>14.2}{:>15.2}",
                one.replicas,
                one.jobs_per_s,
                one.share_of_slots,
                one.redis_us_per_job,
                one.worker_us_per_job,
                one.redis_cores,
                one.worker_cores,
                one.machine_cores,
            );
        }
        text.push_str(if self.exact {
            "\nevery job was answered exactly once\n"
        } else {
            "\nNOT EXACT: jobs without answer, or answered twice\n"
        });
        text
    }
}
