//! Everything about one run under load, as its JSON carries it; the other forms are made from it.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::bench::SCHEMA_VERSION;
use crate::bench::generate::faults::{Fault, Kind};
use crate::bench::generate::mix::Mix;
use crate::bench::generate::sender::Loop;
use crate::bench::measure::load::{LoadOptions, Ran};
use crate::bench::measure::slo::{Kept, Quantity, micros};
use crate::bench::observe::cost::per_entry;
use crate::bench::observe::memory::{FleetMemory, ReplicaMemory, growth_max};
use crate::bench::rig::place::Server;

/// Everything about one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunReport {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// `load`
    pub(crate) kind: &'static str,
    /// When it began, Unix ms.
    pub(crate) began_at_ms: u64,
    /// Cores of the machine.
    pub(crate) cores: usize,
    /// The server.
    pub(crate) redis: Server,
    /// What was put under load.
    pub(crate) subject: &'static str,
    /// How many processes.
    pub(crate) replicas: usize,
    /// Settings given for them.
    pub(crate) settings: Vec<(String, String)>,
    /// What they logged.
    pub(crate) log_level: String,
    /// `open` or `closed`
    pub(crate) pace: &'static str,
    /// What was sent.
    pub(crate) mix: Mix,
    /// What it was drawn from.
    pub(crate) seed: u64,
    /// Seconds that are not measured.
    pub(crate) warmup_s: f64,
    /// How long entries were sent.
    pub(crate) sending_s: f64,
    /// From the first send to the last answer.
    pub(crate) took_s: f64,
    /// Sends that were due and left or failed.
    pub(crate) sent: u64,
    /// Of them late.
    pub(crate) late: u64,
    /// Of them failed.
    pub(crate) failed: u64,
    /// Entries that Redis acknowledged and that the surviving stream does not have: lost when it was killed, or when a
    /// replica that lagged took its place. Only a worker that had read them before can have answered them.
    pub(crate) lost_by_redis: usize,
    /// Those of them that were answered.
    pub(crate) lost_by_redis_answered: usize,
    /// With an answer.
    pub(crate) answered: u64,
    /// Jobs that ended in a success.
    pub(crate) successes: u64,
    /// Sends per second while entries were sent.
    pub(crate) sent_per_s: f64,
    /// Answers per second, from the first send to the last answer.
    pub(crate) answered_per_s: f64,
    /// Whether the numbers say something about the system: `fine`, or `generator-bound` where more than one send in a
    /// hundred was late or failed.
    pub(crate) verdict: &'static str,
    /// Latencies by stage, from the intended send.
    pub(crate) stages: Vec<Stage>,
    /// Latency until the outcome was seen, by percentile.
    pub(crate) percentiles: Vec<(f64, u64)>,
    /// Second by second.
    pub(crate) series: Vec<SeriesSecond>,
    /// What was done to the fleet.
    pub(crate) faults: Vec<FaultReport>,
    /// Processor time.
    pub(crate) cost: Cost,
    /// Memory and open files of each replica, those that were replaced among them.
    pub(crate) memory: Vec<ReplicaMemory>,
    /// Memory of the fleet over time.
    pub(crate) memory_series: Vec<FleetMemory>,
    /// What was sent against what came back.
    pub(crate) account: AccountReport,
    /// The limits.
    pub(crate) slos: Vec<Kept>,
    /// Whether every entry got exactly its answer.
    pub(crate) exact: bool,
    /// The histograms, for the log of them.
    #[serde(skip)]
    pub(crate) histograms: Vec<Histogram<u64>>,
}

/// One stage's latencies, microseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Stage {
    /// Its name.
    pub(crate) stage: &'static str,
    /// How many.
    pub(crate) count: u64,
    /// Mean.
    pub(crate) mean_us: f64,
    /// The usual percentiles.
    pub(crate) p50_us: u64,
    /// 90 %
    pub(crate) p90_us: u64,
    /// 99 %
    pub(crate) p99_us: u64,
    /// 99.9 %
    pub(crate) p999_us: u64,
    /// 99.99 %
    pub(crate) p9999_us: u64,
    /// The largest.
    pub(crate) max_us: u64,
}

/// One second.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SeriesSecond {
    /// Which, from the beginning.
    pub(crate) second: usize,
    /// Entries that left.
    pub(crate) sent: u64,
    /// Answers seen.
    pub(crate) answered: u64,
    /// Unanswered at its end.
    pub(crate) in_flight: u64,
    /// Median of the latencies seen in it.
    pub(crate) p50_us: u64,
    /// 99 %
    pub(crate) p99_us: u64,
    /// The largest.
    pub(crate) max_us: u64,
}

/// One fault.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct FaultReport {
    /// What.
    pub(crate) kind: Kind,
    /// When, seconds from the beginning.
    pub(crate) at_s: f64,
    /// Entries that the victim held.
    pub(crate) held: usize,
    /// From the fault until the last of them was answered; none where one was not, or nothing is known.
    pub(crate) recovery_ms: Option<f64>,
}

/// Processor time for one answered entry, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Cost {
    /// Redis, all threads; the bench's own commands are in it.
    pub(crate) redis_us_per_entry: f64,
    /// Its main thread.
    pub(crate) redis_main_us_per_entry: Option<f64>,
    /// The replicas, without those that died of their jobs.
    pub(crate) client_us_per_entry: f64,
    /// Their memory at the end, all together.
    pub(crate) rss_mib: f64,
}

/// The account, its lists cut short.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AccountReport {
    /// First outcomes by kind.
    pub(crate) outcomes: std::collections::BTreeMap<String, usize>,
    /// Entries that are no jobs, with their dead letter.
    pub(crate) malformed: usize,
    /// Entries without the answer that is due.
    pub(crate) lost: usize,
    /// With more than one.
    pub(crate) answered_twice: usize,
    /// Answers to entries that this run did not send.
    pub(crate) unexpected: usize,
    /// Still pending at the end.
    pub(crate) pending: usize,
    /// Some of each.
    pub(crate) examples: Vec<String>,
}

const PERCENTILES: [f64; 24] = [
    0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 92.5, 95.0, 97.5, 98.0, 99.0, 99.5, 99.75,
    99.9, 99.95, 99.99, 99.999, 100.0,
];
const EXAMPLES_MAX: usize = 20;
/// Beyond this share of late and failed sends the numbers are the generator's.
const GENERATOR_BOUND: f64 = 0.01;

impl RunReport {
    /// The report of a run with these options.
    pub(crate) fn new(server: &Server, options: &LoadOptions, ran: &Ran) -> Self {
        let books = &ran.books;
        let sending = options.length().min(ran.took);
        let share_off = share(books.late + books.failed, books.left);
        let stages = &books.stages;
        let mut report = Self {
            schema_version: SCHEMA_VERSION,
            kind: "load",
            began_at_ms: ran.began_at_ms,
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            redis: server.clone(),
            subject: options.subject.as_str(),
            replicas: options.replicas,
            settings: options.settings.clone(),
            log_level: options.log_level.clone(),
            pace: if matches!(options.pace, Loop::Open(_)) { "open" } else { "closed" },
            mix: options.mix.clone(),
            seed: options.seed,
            warmup_s: options.warmup.as_secs_f64(),
            sending_s: sending.as_secs_f64(),
            took_s: ran.took.as_secs_f64(),
            sent: books.left,
            late: books.late,
            failed: books.failed,
            lost_by_redis: books.forgotten.len(),
            lost_by_redis_answered: ran.account.absent_answered,
            answered: books.answered,
            successes: books.successes,
            sent_per_s: per_second(books.left, sending),
            answered_per_s: per_second(books.answered, ran.took),
            verdict: if share_off > GENERATOR_BOUND { "generator-bound" } else { "fine" },
            stages: [
                ("appended", &stages.appended),
                ("finished", &stages.finished),
                ("settled", &stages.settled),
                ("seen", &stages.seen),
                ("seen, from the real send", &stages.service),
            ]
            .map(|(name, histogram)| stage(name, histogram))
            .into(),
            percentiles: PERCENTILES.map(|p| (p, stages.seen.value_at_percentile(p))).into(),
            series: series(ran),
            faults: faults(ran),
            cost: cost(ran),
            memory: ran.memory.replicas(),
            memory_series: ran.memory.fleet(),
            account: account(ran),
            slos: Vec::new(),
            exact: ran.is_exact(),
            histograms: books.seconds.iter().map(|second| second.latency.clone()).collect(),
        };
        report.slos = options.slos.iter().map(|slo| slo.judge(report.measure(slo.quantity(), &stages.seen))).collect();
        report
    }

    fn measure(&self, quantity: Quantity, seen: &Histogram<u64>) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "latencies of an hour at most")]
        let percentile = |p| seen.value_at_percentile(p) as f64;
        let slowest = |faults: &[FaultReport]| {
            let known = faults.iter().filter(|fault| fault.held > 0);
            known.map(|fault| fault.recovery_ms).try_fold(0.0_f64, |most, one| Some(most.max(one?)))
        };
        match quantity {
            Quantity::Latency(_) | Quantity::Mean if seen.is_empty() => None,
            Quantity::Latency(p) => Some(percentile(p)),
            Quantity::Mean => Some(seen.mean()),
            Quantity::Errors => {
                let jobs = self.sent.saturating_sub(u64::try_from(self.account.malformed).unwrap_or(0));
                Some(share(jobs.saturating_sub(self.successes), jobs))
            }
            Quantity::Late => Some(share(self.late + self.failed, self.sent)),
            Quantity::Rate => Some(self.answered_per_s),
            Quantity::Rss => self.memory.iter().map(|replica| replica.max_mib).reduce(f64::max),
            Quantity::RssGrowth => growth_max(&self.memory),
            Quantity::Recovery => slowest(&self.faults).map(|ms| ms * 1e3),
        }
    }

    /// Whether the accounts balance and every limit was kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.exact && self.slos.iter().all(|slo| slo.kept)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of entries are far below 2^52")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[expect(clippy::cast_precision_loss, reason = "counts of entries are far below 2^52")]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

fn stage(stage: &'static str, histogram: &Histogram<u64>) -> Stage {
    let at = |p| histogram.value_at_percentile(p);
    Stage {
        stage,
        count: histogram.len(),
        mean_us: histogram.mean(),
        p50_us: at(50.0),
        p90_us: at(90.0),
        p99_us: at(99.0),
        p999_us: at(99.9),
        p9999_us: at(99.99),
        max_us: histogram.max(),
    }
}

fn series(ran: &Ran) -> Vec<SeriesSecond> {
    let seconds = ran.books.seconds.iter().enumerate();
    seconds
        .map(|(second, one)| SeriesSecond {
            second,
            sent: one.sent,
            answered: one.answered,
            in_flight: one.in_flight,
            p50_us: one.latency.value_at_percentile(50.0),
            p99_us: one.latency.value_at_percentile(99.0),
            max_us: one.latency.max(),
        })
        .collect()
}

fn faults(ran: &Ran) -> Vec<FaultReport> {
    let report = |fault: &Fault| FaultReport {
        kind: fault.kind,
        at_s: fault.at.as_secs_f64(),
        held: fault.held.len(),
        recovery_ms: if fault.held.is_empty() {
            None
        } else {
            ran.books.recovery(&fault.held, fault.at).map(|time| micros(time) / 1e3)
        },
    };
    ran.faults.iter().map(report).collect()
}

#[expect(clippy::cast_precision_loss, reason = "memory in KiB")]
fn cost(ran: &Ran) -> Cost {
    let entries = ran.books.answered;
    Cost {
        redis_us_per_entry: per_entry(ran.redis.all, entries),
        redis_main_us_per_entry: ran.redis.main_thread.map(|main| per_entry(main, entries)),
        client_us_per_entry: per_entry(ran.client.cpu, entries),
        rss_mib: ran.client.rss_kib as f64 / 1_024.0,
    }
}

fn account(ran: &Ran) -> AccountReport {
    let account = &ran.account;
    let lists =
        [("lost", &account.lost), ("answered twice", &account.answered_twice), ("unexpected", &account.unexpected)];
    let examples =
        lists.iter().flat_map(|(what, ids)| ids.iter().take(EXAMPLES_MAX).map(move |id| format!("{what}: {id}")));
    AccountReport {
        outcomes: account.outcomes.clone(),
        malformed: account.malformed,
        lost: account.lost.len(),
        answered_twice: account.answered_twice.len(),
        unexpected: account.unexpected.len(),
        pending: ran.pending,
        examples: examples.collect(),
    }
}
