//! Rounds of both subjects in turn, and the report of them.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::bare::Bare;
use super::fleet;
use super::options::{ContainersOptions, Started};
use crate::bench::measure::compare::{median, order};
use crate::bench::rig::clock::now_ms;
use crate::bench::rig::place::{Pairs, Place, Server, settings_of};
use crate::bench::{Error, SCHEMA_VERSION};
use crate::embedded::docker::DockerAdmin;

/// A run of rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ContainersReport {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// `containers`
    pub(crate) kind: &'static str,
    /// When it began, Unix ms.
    pub(crate) began_at_ms: u64,
    /// Cores of the machine.
    pub(crate) cores: usize,
    /// The Redis of the worker.
    pub(crate) redis: Server,
    /// The engine's version.
    pub(crate) engine: String,
    /// Containers of one round and one subject.
    pub(crate) starts: usize,
    /// Starts under way at once.
    pub(crate) in_flight: usize,
    /// Settings of the replicas.
    pub(crate) settings: Pairs,
    /// `worker`, then `bare`.
    pub(crate) subjects: Vec<Starter>,
    /// Starts per second of the worker over those of the bare client, of the medians.
    pub(crate) ratio_to_bare: f64,
}

/// One subject.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Starter {
    /// `worker` or `bare`
    pub(crate) subject: &'static str,
    /// Median over the rounds.
    pub(crate) starts_per_s: f64,
    /// The slowest and the fastest round.
    pub(crate) spread: (f64, f64),
    /// Of all starts of all rounds, ms.
    pub(crate) p50_ms: f64,
    /// 99 %
    pub(crate) p99_ms: f64,
    /// Every round, starts per second.
    pub(crate) rounds: Vec<f64>,
    /// The replicas' processor time for one start, ms; none for the bare client, which is this process.
    pub(crate) client_ms_per_start: Option<f64>,
}

const SUBJECTS: [&str; 2] = ["worker", "bare"];
/// Removals under way at once.
const REMOVALS: usize = 8;

/// Runs it. Every round begins and ends without a container of this run.
pub(crate) async fn run(
    place: &Place,
    options: &ContainersOptions,
    mut say: impl FnMut(usize, &str, f64),
) -> Result<ContainersReport, Error> {
    let began_at_ms = now_ms();
    let admin =
        DockerAdmin::connect(&options.docker_host, options.docker_tls.as_ref()).await.map_err(Error::Subject)?;
    let engine = admin.version().await.map_err(Error::Subject)?;
    let settings = settings_of(&place.settings("bare", &options.settings()))?;
    let bare = Bare::connect(options, &settings).await?;
    let mut rounds: [Vec<Started>; 2] = [Vec::new(), Vec::new()];
    let mut cpu = Duration::ZERO;
    for round in 0..options.rounds {
        for position in order(round, SUBJECTS.len()) {
            let subject = SUBJECTS[position];
            let games: Vec<String> =
                (0..options.starts).map(|number| format!("{}-{round}-{subject}-{number}", options.host_id)).collect();
            let started = if subject == "bare" {
                bare.start_all(&games).await?
            } else {
                let part = format!("{round}:containers");
                let (started, cost) = fleet::start_all(place, &part, options, &games).await?;
                cpu += cost.cpu;
                started
            };
            say(round, subject, started.per_second());
            rounds[position].push(started);
            remove_all(&admin, &options.host_id).await?;
        }
    }
    let [worker, bare] = rounds;
    let (mut worker, bare) = (Starter::of("worker", &worker), Starter::of("bare", &bare));
    let starts = f64::from(u32::try_from(options.starts * options.rounds).unwrap_or(u32::MAX));
    worker.client_ms_per_start = Some(cpu.as_secs_f64() * 1e3 / starts.max(1.0));
    let ratio_to_bare = worker.starts_per_s / bare.starts_per_s.max(1e-9);
    Ok(ContainersReport {
        schema_version: SCHEMA_VERSION,
        kind: "containers",
        began_at_ms,
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        redis: place.server.clone(),
        engine,
        starts: options.starts,
        in_flight: options.in_flight(),
        settings: options.settings(),
        subjects: vec![worker, bare],
        ratio_to_bare,
    })
}

/// Removes every container of this run, so that the next subject meets the same engine.
async fn remove_all(admin: &DockerAdmin, host_id: &str) -> Result<(), Error> {
    let ids = admin.containers_of(host_id).await.map_err(Error::Subject)?;
    for some in ids.chunks(REMOVALS) {
        let removals = some.iter().map(|id| admin.remove_container(id));
        for removed in futures_util::future::join_all(removals).await {
            removed.map_err(Error::Subject)?;
        }
    }
    Ok(())
}

impl Started {
    /// Starts per second.
    #[expect(clippy::cast_precision_loss, reason = "a few thousand starts at most")]
    pub(crate) fn per_second(&self) -> f64 {
        self.each.len() as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

impl Starter {
    fn of(subject: &'static str, started: &[Started]) -> Self {
        let rounds: Vec<f64> = started.iter().map(Started::per_second).collect();
        let mut each: Vec<Duration> = started.iter().flat_map(|one| &one.each).copied().collect();
        each.sort();
        let at = |percent: usize| {
            let rank = (each.len() * percent).div_ceil(100).saturating_sub(1);
            each.get(rank).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        let spread = (rounds.iter().copied().fold(f64::INFINITY, f64::min), rounds.iter().copied().fold(0.0, f64::max));
        Self {
            subject,
            starts_per_s: median(rounds.iter().copied()),
            spread,
            p50_ms: at(50),
            p99_ms: at(99),
            rounds,
            client_ms_per_start: None,
        }
    }
}

impl ContainersReport {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{} containers a round, {} starts at once, Docker {}, {} cores, medians of {} rounds\n\n\
             {:<10}{:>10}{:>12}{:>12}{:>16}   {}\n",
            self.starts,
            self.in_flight,
            self.engine,
            self.cores,
            self.subjects.first().map_or(0, |one| one.rounds.len()),
            "subject",
            "starts/s",
            "p50 ms",
            "p99 ms",
            "client ms/start",
            "slowest..fastest",
        );
        for one in &self.subjects {
            let client = one.client_ms_per_start.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
            // Writing to a String cannot fail.
            _ = writeln!(
                text,
                "{:<10}{:>10.2}{:>12.0}{:>12.0}{client:>16}   {:.2}..{:.2}",
                one.subject, one.starts_per_s, one.p50_ms, one.p99_ms, one.spread.0, one.spread.1,
            );
        }
        _ = writeln!(text, "\nratio to the bare client: {:.3}", self.ratio_to_bare);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_over_all_rounds_and_throughput_is_their_median() {
        let round = |seconds: u64, each: &[u64]| Started {
            took: Duration::from_secs(seconds),
            each: each.iter().copied().map(Duration::from_millis).collect(),
        };
        let starter = Starter::of("bare", &[round(1, &[10, 20]), round(2, &[30, 40]), round(4, &[50, 60])]);
        assert!((starter.starts_per_s - 1.0).abs() < 1e-9 && (starter.spread.1 - 2.0).abs() < 1e-9, "{starter:?}");
        assert!((starter.p50_ms - 30.0).abs() < 1e-9 && (starter.p99_ms - 60.0).abs() < 1e-9, "{starter:?}");
    }
}
