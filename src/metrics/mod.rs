//! What one process counts. Every metric stands once, in [`Metrics::new`]; the stages get typed handles.
//!
//! No id, game or error text is ever a label: every label's values are a closed list.

// the values that labels may have
pub mod labels;
// the fleet's streams
pub mod group;
// the engine's calls, timed
pub mod metered_engine;
// what the kernel knows of this process
pub mod process;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use self::group::GroupGauges;

/// One label with a value of a closed list.
type One = [(&'static str, &'static str); 1];
/// Two of them.
type Two = [(&'static str, &'static str); 2];
/// A gauge that holds fractions.
pub type Fraction = Gauge<f64, AtomicU64>;

/// Seconds, from a settle to an image pull.
const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
/// Seconds, of a call on loopback or a local network.
const CALL_SECONDS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.0];
/// Entries in one settle call.
const BATCH: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

const SAMPLED: &str = "When this process last sampled the fleet's streams, Unix time, 0 never; the gauges of the streams disappear when it is old";

/// Every metric of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    received: Family<One, Counter>,
    settled: Family<One, Counter>,
    outcomes: Family<Two, Counter>,
    dead_letters: Family<One, Counter>,
    /// Attempts that will be made again.
    retries: Family<One, Counter>,
    /// Entries given back for others.
    pub handed_back: Counter,
    sweeps: Family<One, Counter>,
    /// Pending entries whose payload was gone.
    pub entries_lost: Counter,
    /// Crashes that claims of this process counted against entries.
    pub crashes_counted: Counter,
    /// Suspects run alone.
    pub suspects: Counter,
    renewals: Family<One, Counter>,
    conditions: Family<One, Counter>,
    condition: Family<One, Gauge>,
    adoptions: Family<One, Counter>,
    /// Entries that had fallen out of the group and were put back by the janitor.
    pub orphans: Counter,
    /// Dead consumers removed.
    pub consumers_removed: Counter,
    /// Removed containers to which no record referred.
    pub strays_removed: Counter,
    /// Times the mirror went back.
    pub mirror_lowered: Counter,
    /// Times somebody else's value stood in the mirror.
    pub mirror_foreign: Counter,
    queue_wait: Histogram,
    process: Histogram,
    end_to_end: Histogram,
    settle_batch: Histogram,
    redis_calls: Family<One, Histogram>,
    engine_calls: Family<Two, Histogram>,
    /// Starts under way.
    pub in_flight: Gauge,
    /// `slots`.
    pub slots: Gauge,
    /// Entries held in all.
    pub held: Gauge,
    /// Entries that wait for their next attempt.
    pub backing_off: Gauge,
    /// 1 while the process drains.
    pub draining: Gauge,
    /// 1 while the fleet is paused.
    pub paused: Gauge,
    /// When an outcome was last published, Unix seconds.
    pub last_outcome: Fraction,
    /// When the blocking read last returned, Unix seconds.
    pub last_read: Fraction,
    /// Log lines that did not leave the process.
    pub log_lines_dropped: Counter,
    sampled: Fraction,
    samples: Family<One, Counter>,
    /// What the fleet's streams look like, as this process last looked.
    pub group: GroupGauges,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All of them, at zero.
    pub fn new() -> Self {
        let mut table = Table::new();
        let metrics = Self {
            received: table.add("entries_received", "Entries that this process received, by origin"),
            settled: table.add("entries_settled", "Entries of this process in settle calls, by result"),
            outcomes: table.add("outcomes", "Outcomes published, by outcome and error code"),
            dead_letters: table.add("dead_letters", "Entries dead-lettered by this process, by reason"),
            retries: table
                .add("retries", "Failed attempts that will be retried, by whether they counted against the budget"),
            handed_back: table.add("entries_handed_back", "Entries given back unstarted for other replicas"),
            sweeps: table.add("claim_sweeps", "Claim sweeps requested by this process, by result"),
            entries_lost: table.add("entries_lost", "Pending entries whose payload had been deleted from the stream"),
            crashes_counted: table
                .add("crashes_counted", "Entries against which a claim of this process counted a crash"),
            suspects: table.add("suspects", "Entries run alone because processes had died with them"),
            renewals: table.add("renewals", "Renewals of held entries, by result; other and absent mean a lost entry"),
            conditions: table.add("conditions", "Conditions that began, by condition"),
            condition: table.add("condition", "1 while the condition lasts"),
            adoptions: table.add("adoptions", "Times the consumer group was made usable, by the action taken"),
            orphans: table
                .add("orphans", "Unanswered entries that were missing from the pending list and were restored"),
            consumers_removed: table.add("consumers_removed", "Dead consumers removed from the group"),
            strays_removed: table.add("stray_containers_removed", "Removed containers to which no record referred"),
            mirror_lowered: table.add("mirror_lowered", "Times the offset mirror went back with its group"),
            mirror_foreign: table
                .add("mirror_foreign", "Times the offset mirror held a value that the fleet had not written"),
            queue_wait: table.add_histogram(
                "queue_wait",
                "From an entry's id to the beginning of its first attempt in this process",
                &SECONDS,
            ),
            process: table.add_histogram("process_duration", "One attempt in the start stage", &SECONDS),
            end_to_end: table.add_histogram(
                "end_to_end",
                "From an entry's id to its outcome in the results stream",
                &SECONDS,
            ),
            settle_batch: table.add_with("settle_batch_entries", "Entries in one settle call", Histogram::new(BATCH)),
            redis_calls: table.add_histograms(
                "redis_request_duration",
                "Scripts and reads by operation",
                &CALL_SECONDS,
            ),
            engine_calls: table.add_histograms(
                "engine_request_duration",
                "Engine calls by operation and result",
                &SECONDS,
            ),
            in_flight: table.add("in_flight", "Starts in progress in this process"),
            slots: table.add("slots", "Maximum number of starts in progress in this process"),
            held: table.add("held", "Entries this process holds in all"),
            backing_off: table.add("backing_off", "Entries of this process that wait for their next attempt"),
            draining: table.add("draining", "1 while the process drains"),
            paused: table.add("paused", "1 while the fleet is paused"),
            last_outcome: table
                .add("last_outcome_timestamp_seconds", "When this process last published an outcome, Unix time"),
            last_read: table
                .add("last_read_timestamp_seconds", "When this process's blocking read last returned, Unix time"),
            log_lines_dropped: table.add(
                "log_lines_dropped",
                "Log lines dropped because the log was not read fast enough or could not be written",
            ),
            sampled: table.add("group_sample_timestamp_seconds", SAMPLED),
            samples: table.add("group_samples", "Samples of the fleet's streams by this process, by result"),
            group: GroupGauges::default(),
            registry: table.0,
        };
        metrics.begin_at_zero();
        metrics
    }

    /// A series that appears with its first event hides that event from every rate.
    fn begin_at_zero(&self) {
        let counters = [
            ("entries_received", "origin", &self.received),
            ("entries_settled", "result", &self.settled),
            ("dead_letters", "reason", &self.dead_letters),
            ("retries", "counted", &self.retries),
            ("claim_sweeps", "result", &self.sweeps),
            ("renewals", "result", &self.renewals),
            ("conditions", "condition", &self.conditions),
            ("adoptions", "state", &self.adoptions),
            ("group_samples", "result", &self.samples),
        ];
        for (name, label, family) in counters {
            for value in labels::first(&format!("startjobs_{name}_total")) {
                drop(family.get_or_create(&[(label, value)]));
            }
        }
        for condition in labels::first("startjobs_condition") {
            drop(self.condition.get_or_create(&[("condition", condition)]));
        }
        for (outcome, error_code) in labels::outcomes() {
            drop(self.outcomes.get_or_create(&[("outcome", outcome), ("error_code", error_code)]));
        }
        for operation in labels::first("startjobs_redis_request_duration_seconds") {
            drop(self.redis_calls.get_or_create(&[("operation", operation)]));
        }
        for operation in labels::first("startjobs_engine_request_duration_seconds") {
            drop(self.engine_calls.get_or_create(&[("operation", operation), ("result", "ok")]));
        }
    }

    /// The exposition format of all of them, with process and build information.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        prometheus_client::encoding::text::encode_registry(&mut text, &self.registry).ok();
        self.group.render(&mut text);
        process::render(&mut text);
        text.push_str("# EOF\n");
        text
    }

    /// Entries came into our hands.
    pub fn received(&self, origin: &'static str, entries: usize) {
        self.received.get_or_create(&[("origin", origin)]).inc_by(count(entries));
    }

    /// Entries left our hands in a settle call.
    pub fn settled(&self, result: &'static str, entries: usize) {
        self.settled.get_or_create(&[("result", result)]).inc_by(count(entries));
    }

    /// An outcome was published for an entry whose id is this old.
    pub fn outcome(&self, outcome: &'static str, error_code: &'static str, age: Duration) {
        self.outcomes.get_or_create(&[("outcome", outcome), ("error_code", error_code)]).inc();
        self.end_to_end.observe(age.as_secs_f64());
    }

    /// A dead letter was written.
    pub fn dead_letter(&self, reason: &'static str) {
        self.dead_letters.get_or_create(&[("reason", reason)]).inc();
    }

    /// An attempt will be made again.
    pub fn retry(&self, counted: bool) {
        self.retries.get_or_create(&[("counted", if counted { "yes" } else { "no" })]).inc();
    }

    /// A sweep was asked for.
    pub fn sweep(&self, result: &'static str) {
        self.sweeps.get_or_create(&[("result", result)]).inc();
    }

    /// An entry was renewed, or was not ours any more.
    pub fn renewal(&self, result: &'static str) {
        self.renewals.get_or_create(&[("result", result)]).inc();
    }

    /// A trouble began.
    pub fn condition_began(&self, condition: &'static str) {
        self.conditions.get_or_create(&[("condition", condition)]).inc();
        self.condition.get_or_create(&[("condition", condition)]).set(1);
    }

    /// A trouble ended.
    pub fn condition_ended(&self, condition: &'static str) {
        self.condition.get_or_create(&[("condition", condition)]).set(0);
    }

    /// The group was made usable.
    pub fn adopted(&self, state: &'static str) {
        self.adoptions.get_or_create(&[("state", state)]).inc();
    }

    /// The group gauges hold what was seen just now, at this Unix time; or the look failed, and they stay as they were.
    pub fn group_sampled(&self, at: Option<f64>) {
        let result = if at.is_some() { "ok" } else { "failed" };
        self.samples.get_or_create(&[("result", result)]).inc();
        if let Some(at) = at {
            self.sampled.set(at);
            self.group.looked();
        }
    }

    /// An attempt began with an entry whose id is this old.
    pub fn attempt_began(&self, age: Duration) {
        self.queue_wait.observe(age.as_secs_f64());
    }

    /// An attempt ended after this long.
    pub fn attempt_ended(&self, took: Duration) {
        self.process.observe(took.as_secs_f64());
    }

    /// A batch was settled.
    pub fn batch(&self, entries: usize) {
        self.settle_batch.observe(f64::from(u32::try_from(entries).unwrap_or(u32::MAX)));
    }

    /// A call to Redis took this long.
    pub fn redis_call(&self, operation: &'static str, took: Duration) {
        self.redis_calls.get_or_create(&[("operation", operation)]).observe(took.as_secs_f64());
    }

    /// A call to the engine took this long.
    pub fn engine_call(&self, operation: &'static str, result: &'static str, took: Duration) {
        let labels = [("operation", operation), ("result", result)];
        self.engine_calls.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

/// The registry under construction.
struct Table(Registry);

impl Table {
    fn new() -> Self {
        Self(Registry::with_prefix("startjobs"))
    }

    fn add<M>(&mut self, name: &str, help: &str) -> M
    where
        M: Default + Clone + prometheus_client::registry::Metric,
    {
        self.add_with(name, help, M::default())
    }

    fn add_with<M>(&mut self, name: &str, help: &str, metric: M) -> M
    where
        M: Clone + prometheus_client::registry::Metric,
    {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn add_histogram(&mut self, name: &str, help: &str, buckets: &'static [f64]) -> Histogram {
        let histogram = Histogram::new(buckets.iter().copied());
        self.0.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        histogram
    }

    fn add_histograms<L>(&mut self, name: &str, help: &str, buckets: &'static [f64]) -> Family<L, Histogram>
    where
        L: Clone + std::hash::Hash + Eq + std::fmt::Debug + Send + Sync + 'static,
        L: prometheus_client::encoding::EncodeLabelSet,
    {
        let constructor: fn() -> Histogram = match buckets.len() {
            12 => || Histogram::new(CALL_SECONDS),
            _ => || Histogram::new(SECONDS),
        };
        let family = Family::new_with_constructor(constructor);
        self.0.register_with_unit(name, help, Unit::Seconds, family.clone());
        family
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_exposed_with_its_prefix_and_unit() {
        let metrics = Metrics::new();
        metrics.received("new", 3);
        metrics.outcome("success", "", Duration::from_millis(7));
        metrics.redis_call("settle", Duration::from_micros(200));
        let text = metrics.render();
        for line in [
            "startjobs_entries_received_total{origin=\"new\"} 3",
            "startjobs_outcomes_total{outcome=\"success\",error_code=\"\"} 1",
            "startjobs_end_to_end_seconds_count 1",
            "startjobs_redis_request_duration_seconds_bucket{le=\"0.00025\",operation=\"settle\"} 1",
            "startjobs_in_flight 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
        }
    }
}
