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
    /// Hosts, each with an engine and replicas of its own.
    pub(crate) hosts: usize,
    /// Starts under way at once on each host.
    pub(crate) in_flight: usize,
    /// Settings of the replicas.
    pub(crate) settings: Pairs,
    /// `worker`, then `bare`; with several hosts also `worker-one-host` and `bare-one-host`.
    pub(crate) subjects: Vec<Starter>,
    /// Starts per second of the worker over those of the bare client, of the medians.
    pub(crate) ratio_to_bare: f64,
    /// The same fleet on one of the hosts; none where there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) one_host: Option<OneHost>,
}

/// All hosts compared with one of them, of the medians.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OneHost {
    /// The worker over the bare client, both on one host.
    pub(crate) ratio_to_bare: f64,
    /// The worker on all hosts over the worker on one.
    pub(crate) worker_gain: f64,
    /// The bare client on all hosts over the bare client on one.
    pub(crate) bare_gain: f64,
}

/// One subject.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Starter {
    /// `worker` or `bare`, and where it was on one of several hosts, with `-one-host`
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

/// What is measured: the worker or the bare client, on all hosts or on one.
#[derive(Debug, Clone, Copy)]
struct Subject {
    name: &'static str,
    is_bare: bool,
    on_one: bool,
}

/// With several hosts all of them, else the first two.
const SUBJECTS: [Subject; 4] = [
    Subject { name: "worker", is_bare: false, on_one: false },
    Subject { name: "bare", is_bare: true, on_one: false },
    Subject { name: "worker-one-host", is_bare: false, on_one: true },
    Subject { name: "bare-one-host", is_bare: true, on_one: true },
];
/// Removals under way at once on each engine.
const REMOVALS: usize = 8;

/// Runs it. Every round begins and ends without a container of this run.
pub(crate) async fn run(
    place: &Place,
    options: &ContainersOptions,
    mut say: impl FnMut(usize, &str, f64),
) -> Result<ContainersReport, Error> {
    let began_at_ms = now_ms();
    let mut admins = Vec::new();
    for host in &options.hosts {
        let admin = DockerAdmin::connect(&host.docker_host, host.docker_tls.as_ref()).await;
        admins.push((admin.map_err(Error::Subject)?, host.host_id.as_str()));
    }
    let engine = match admins.first() {
        Some((admin, _)) => admin.version().await.map_err(Error::Subject)?,
        None => return Err(Error::Subject("there is no host".to_owned())),
    };
    let one = options.on_one_host();
    let settings = settings_of(&place.settings("bare", &options.settings()))?;
    let (bare, bare_on_one) = (Bare::connect(options, &settings).await?, Bare::connect(&one, &settings).await?);
    let subjects = if options.hosts.len() > 1 { &SUBJECTS[..] } else { &SUBJECTS[..2] };
    let mut rounds: Vec<Vec<Started>> = vec![Vec::new(); subjects.len()];
    let mut cpu = vec![Duration::ZERO; subjects.len()];
    for round in 0..options.rounds {
        for position in order(round, subjects.len()) {
            let Subject { name, is_bare, on_one } = subjects[position];
            let games: Vec<String> =
                (0..options.starts).map(|number| format!("{}-{round}-{name}-{number}", options.run)).collect();
            let started = if is_bare {
                if on_one { &bare_on_one } else { &bare }.start_all(&games).await?
            } else {
                let part = format!("{round}:{name}");
                let options = if on_one { &one } else { options };
                let (started, cost) = fleet::start_all(place, &part, options, &games).await?;
                cpu[position] += cost.cpu;
                started
            };
            say(round, name, started.per_second());
            rounds[position].push(started);
            let removals = admins.iter().map(|(admin, host_id)| remove_all(admin, host_id));
            futures_util::future::try_join_all(removals).await?;
        }
    }
    let starts = f64::from(u32::try_from(options.starts * options.rounds).unwrap_or(u32::MAX));
    let of_all = subjects.iter().zip(&rounds).zip(cpu);
    let subjects: Vec<Starter> = of_all
        .map(|((subject, rounds), cpu)| {
            let client_ms_per_start = (!subject.is_bare).then(|| cpu.as_secs_f64() * 1e3 / starts.max(1.0));
            Starter { client_ms_per_start, ..Starter::of(subject.name, rounds) }
        })
        .collect();
    Ok(ContainersReport {
        schema_version: SCHEMA_VERSION,
        kind: "containers",
        began_at_ms,
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        redis: place.server.clone(),
        engine,
        starts: options.starts,
        hosts: options.hosts.len(),
        in_flight: options.in_flight_on_one(),
        settings: match options.hosts.as_slice() {
            [only] => [options.settings(), only.settings()].concat(),
            _ => options.settings(),
        },
        ratio_to_bare: ratio(&subjects, "worker", "bare"),
        one_host: (options.hosts.len() > 1).then(|| OneHost {
            ratio_to_bare: ratio(&subjects, "worker-one-host", "bare-one-host"),
            worker_gain: ratio(&subjects, "worker", "worker-one-host"),
            bare_gain: ratio(&subjects, "bare", "bare-one-host"),
        }),
        subjects,
    })
}

/// Starts per second of one subject over those of another.
fn ratio(subjects: &[Starter], of: &str, over: &str) -> f64 {
    let starts = |name: &str| {
        subjects.iter().find(|subject| subject.subject == name).map_or(0.0, |subject| subject.starts_per_s)
    };
    starts(of) / starts(over).max(1e-9)
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
        let hosts = if self.hosts > 1 { format!("{} hosts, on each ", self.hosts) } else { String::new() };
        let mut text = format!(
            "{} containers a round, {hosts}{} starts at once, Docker {}, {} cores, medians of {} rounds\n\n\
             {:<17}{:>10}{:>12}{:>12}{:>16}   {}\n",
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
                "{:<17}{:>10.2}{:>12.0}{:>12.0}{client:>16}   {:.2}..{:.2}",
                one.subject, one.starts_per_s, one.p50_ms, one.p99_ms, one.spread.0, one.spread.1,
            );
        }
        _ = writeln!(text, "\nratio to the bare client: {:.3}", self.ratio_to_bare);
        if let Some(one) = &self.one_host {
            _ = writeln!(
                text,
                "the same on one host: {:.3}\n{} hosts over one: worker {:.3}, bare client {:.3}",
                one.ratio_to_bare, self.hosts, one.worker_gain, one.bare_gain
            );
        }
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
