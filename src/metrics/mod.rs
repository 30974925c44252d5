//! What one process counts. Every metric is declared once, in [`Metrics::new`]; the stages get typed handles.
//!
//! No id, game or error text is ever a label: every label's values are a closed list.

// the values that labels may have
pub mod labels;
// a registry under construction
mod table;
// the fleet's streams
pub(crate) mod group;
// the engine's calls, timed
pub(crate) mod metered_engine;
// what the kernel knows of this process
pub(crate) mod process;

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use self::group::GroupGauges;
use self::labels::{
    Counted, EngineOperation, EngineResult, Label, Labelled, OutcomeCode, OutcomeKind, OutcomeLabels, RecordChange,
    RedisOperation, SampleResult, SettleResult, SweepResult, TraceId, Trouble,
};
use self::table::{CALL_SECONDS, Family, Fraction, Latency, SECONDS, Table};
use crate::contract::dead_letter::Reason;
use crate::stream::Origin;
use crate::stream::adopt::AdoptionState;
use crate::stream::presence::Noticed;
use crate::stream::renew::Renewal;

/// Entries in one settle call.
const BATCH: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

const SAMPLED: &str = "When this process last sampled the fleet's streams, Unix time, 0 never; the gauges of the streams disappear when it is old";

/// Every metric of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    received: Family<Labelled<Origin>, Counter>,
    settled: Family<Labelled<SettleResult>, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    dead_letters: Family<Labelled<Reason>, Counter>,
    /// Attempts that will be made again.
    retries: Family<Labelled<Counted>, Counter>,
    /// Entries given back to the other replicas.
    pub(crate) handed_back: Counter,
    /// Entries handed over to replicas of other hosts.
    pub(crate) handed_over: Counter,
    sweeps: Family<Labelled<SweepResult>, Counter>,
    /// Pending entries whose payload was gone.
    pub(crate) entries_lost: Counter,
    /// Crashes that claims of this process counted against entries.
    pub(crate) crashes_counted: Counter,
    /// Crashes that were counted and taken back.
    pub(crate) crashes_withdrawn: Counter,
    deaths_noticed: Family<Labelled<Noticed>, Counter>,
    /// Times this process was declared dead although it lived.
    pub(crate) declared_dead: Counter,
    /// 1 while the last renewal heard this process's subscription.
    pub(crate) disconnect_notice: Gauge,
    /// Suspects run alone.
    pub(crate) suspects: Counter,
    renewals: Family<Labelled<Renewal>, Counter>,
    conditions: Family<Labelled<Trouble>, Counter>,
    condition: Family<Labelled<Trouble>, Gauge>,
    adoptions: Family<Labelled<AdoptionState>, Counter>,
    /// Entries that were missing from the pending list and that the janitor restored.
    pub(crate) orphans: Counter,
    /// Dead consumers removed.
    pub(crate) consumers_removed: Counter,
    /// Removed containers to which no record referred.
    pub(crate) strays_removed: Counter,
    records_changed: Family<Labelled<RecordChange>, Counter>,
    /// Images on their way.
    pub(crate) pulls_in_progress: Gauge,
    /// What pulls have received.
    pub(crate) pulled_bytes: Counter,
    /// Times the mirror went back.
    pub(crate) mirror_lowered: Counter,
    /// Times the mirror held a value that the fleet had not written.
    pub(crate) mirror_foreign: Counter,
    queue_wait: Latency,
    process: Latency,
    end_to_end: Latency,
    settle_batch: Histogram,
    redis_calls: Family<Labelled<RedisOperation>, Histogram>,
    engine_calls: Family<(Labelled<EngineOperation>, Labelled<EngineResult>), Histogram>,
    /// Starts under way.
    pub(crate) in_flight: Gauge,
    /// Starts under way that wait for an image and have given up their slots.
    pub(crate) outside_slots: Gauge,
    /// `slots`.
    pub(crate) slots: Gauge,
    /// Entries held in all.
    pub(crate) held: Gauge,
    /// Entries that wait for their next attempt.
    pub(crate) backing_off: Gauge,
    /// 1 while the process drains.
    pub(crate) draining: Gauge,
    /// 1 while the fleet is paused.
    pub(crate) paused: Gauge,
    /// When an outcome was last published, Unix seconds.
    pub(crate) last_outcome: Fraction,
    /// When the blocking read last returned, Unix seconds.
    pub(crate) last_read: Fraction,
    /// Times the sentinels named another master to this process.
    pub(crate) redis_failovers: Counter,
    /// The configuration epoch of the master that this process uses.
    pub(crate) redis_master_epoch: Gauge,
    /// Settles after which too few replicas of Redis had what was written.
    pub(crate) settles_unreplicated: Counter,
    /// Log lines that did not leave the process.
    pub(crate) log_lines_dropped: Counter,
    /// Spans that a collector of traces has taken.
    pub(crate) spans_exported: Counter,
    /// Spans that no collector has taken.
    pub(crate) spans_dropped: Counter,
    sampled: Fraction,
    samples: Family<Labelled<SampleResult>, Counter>,
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
            handed_over: table.add("handed_over", "Entries handed over to replicas of the host on which their job is"),
            sweeps: table.add("claim_sweeps", "Claim sweeps requested by this process, by result"),
            entries_lost: table.add("entries_lost", "Pending entries whose payload had been deleted from the stream"),
            crashes_counted: table
                .add("crashes_counted", "Entries against which a claim of this process counted a crash"),
            crashes_withdrawn: table
                .add("crashes_withdrawn", "Crashes that had been counted against entries and were taken back"),
            deaths_noticed: table.add(
                "deaths_noticed",
                "Replicas that this process found dead, by how: their connection had closed, or claim-idle had passed",
            ),
            declared_dead: table.add(
                "declared_dead",
                "Times this process was declared dead although it lived, and went on under a fresh consumer name",
            ),
            disconnect_notice: table.add(
                "disconnect_notice",
                "1 while the others would notice the death of this process at once, 0 while they need claim-idle",
            ),
            suspects: table.add("suspects", "Entries run alone because processes had died with them"),
            renewals: table.add("renewals", "Renewals of held entries, by result; other and absent mean a lost entry"),
            conditions: table.add("conditions", "Conditions that began, by condition"),
            condition: table.add("condition", "1 while the condition lasts"),
            adoptions: table.add("adoptions", "Times the consumer group was made usable, by the action taken"),
            orphans: table
                .add("orphans", "Unanswered entries that were missing from the pending list and were restored"),
            consumers_removed: table.add("consumers_removed", "Dead consumers removed from the group"),
            records_changed: table.add(
                "records_changed",
                "Differences between containers of this host and their records that this process has settled, by change",
            ),
            strays_removed: table.add("stray_containers_removed", "Removed containers to which no record referred"),
            pulls_in_progress: table.add("pulls_in_progress", "Images that this process is pulling"),
            pulled_bytes: table.add("pulled_bytes", "Bytes of image layers that pulls of this process have received"),
            mirror_lowered: table.add("mirror_lowered", "Times the offset mirror went back with its group"),
            mirror_foreign: table
                .add("mirror_foreign", "Times the offset mirror held a value that the fleet had not written"),
            queue_wait: table.add_latency(
                "queue_wait",
                "From an entry's id to the beginning of its first attempt in this process",
                &SECONDS,
            ),
            process: table.add_latency("process_duration", "One attempt in the start stage", &SECONDS),
            end_to_end: table.add_latency(
                "end_to_end",
                "From an entry's id to its outcome in the results stream",
                &SECONDS,
            ),
            settle_batch: table.add_with("settle_batch_entries", "Entries in one settle call", Histogram::new(BATCH)),
            redis_calls: table.add_histograms("redis_request_duration", "Scripts and reads by operation", || {
                Histogram::new(CALL_SECONDS)
            }),
            engine_calls: table.add_histograms(
                "engine_request_duration",
                "Engine calls by operation and result",
                || Histogram::new(SECONDS),
            ),
            in_flight: table.add("in_flight", "Starts in progress in this process"),
            outside_slots: table
                .add("outside_slots", "Starts in progress in this process that wait for an image and take no slot"),
            slots: table.add("slots", "Maximum number of starts in progress in this process"),
            held: table.add("held", "Entries this process holds in all"),
            backing_off: table.add("backing_off", "Entries of this process that wait for their next attempt"),
            draining: table.add("draining", "1 while the process drains"),
            paused: table.add("paused", "1 while the fleet is paused"),
            last_outcome: table
                .add("last_outcome_timestamp_seconds", "When this process last published an outcome, Unix time"),
            last_read: table
                .add("last_read_timestamp_seconds", "When this process's blocking read last returned, Unix time"),
            redis_failovers: table.add("redis_failovers", "Times the sentinels named another master to this process"),
            redis_master_epoch: table.add("redis_master_epoch", "Epoch of the master in use; 0 without sentinels"),
            settles_unreplicated: table
                .add("settles_unreplicated", "Settle calls that fewer replicas than settle-wait-replicas confirmed"),
            log_lines_dropped: table.add(
                "log_lines_dropped",
                "Log lines dropped because the log was not read fast enough or could not be written",
            ),
            spans_exported: table.add("trace_spans_exported", "Spans that the collector of traces has taken"),
            spans_dropped: table.add(
                "trace_spans_dropped",
                "Spans dropped because the collector of traces was away, slow or refused them",
            ),
            sampled: table.add("group_sample_timestamp_seconds", SAMPLED),
            samples: table.add("group_samples", "Samples of the fleet's streams by this process, by result"),
            group: GroupGauges::default(),
            registry: table.finish(),
        };
        metrics.begin_at_zero();
        metrics
    }

    /// A series that appears with its first event hides that event from every rate.
    fn begin_at_zero(&self) {
        begin_each(&self.received);
        begin_each(&self.settled);
        begin_each(&self.dead_letters);
        begin_each(&self.retries);
        begin_each(&self.sweeps);
        begin_each(&self.renewals);
        begin_each(&self.conditions);
        begin_each(&self.condition);
        begin_each(&self.adoptions);
        begin_each(&self.records_changed);
        begin_each(&self.deaths_noticed);
        begin_each(&self.redis_calls);
        begin_each(&self.samples);
        for labels in labels::outcomes() {
            drop(self.outcomes.get_or_create(&labels));
        }
        for operation in EngineOperation::all() {
            drop(self.engine_calls.get_or_create(&(Labelled(operation), Labelled(EngineResult::Ok))));
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

    /// This process received entries.
    pub(crate) fn received(&self, origin: Origin, entries: usize) {
        self.received.get_or_create(&Labelled(origin)).inc_by(count(entries));
    }

    /// A settle call ended with this for so many entries.
    pub(crate) fn settled(&self, result: SettleResult, entries: usize) {
        self.settled.get_or_create(&Labelled(result)).inc_by(count(entries));
    }

    /// An outcome was published for an entry whose id is this old and whose trace is this.
    pub(crate) fn outcome(&self, kind: OutcomeKind, code: OutcomeCode, age: Duration, trace: Option<TraceId>) {
        self.outcomes.get_or_create(&(Labelled(kind), Labelled(code))).inc();
        self.end_to_end.observe(age.as_secs_f64(), trace, None);
    }

    /// A dead letter was written.
    pub(crate) fn dead_letter(&self, reason: Reason) {
        self.dead_letters.get_or_create(&Labelled(reason)).inc();
    }

    /// An attempt will be made again.
    pub(crate) fn retry(&self, counted: Counted) {
        self.retries.get_or_create(&Labelled(counted)).inc();
    }

    /// A sweep for entries to claim has returned.
    pub(crate) fn sweep(&self, result: SweepResult) {
        self.sweeps.get_or_create(&Labelled(result)).inc();
    }

    /// The answer to the renewal of one entry.
    pub(crate) fn renewal(&self, renewal: Renewal) {
        self.renewals.get_or_create(&Labelled(renewal)).inc();
    }

    /// A trouble began.
    pub(crate) fn condition_began(&self, trouble: Trouble) {
        self.conditions.get_or_create(&Labelled(trouble)).inc();
        self.condition.get_or_create(&Labelled(trouble)).set(1);
    }

    /// A trouble ended.
    pub(crate) fn condition_ended(&self, trouble: Trouble) {
        self.condition.get_or_create(&Labelled(trouble)).set(0);
    }

    /// This process found replicas dead.
    pub(crate) fn deaths_noticed(&self, by: Noticed, replicas: u64) {
        self.deaths_noticed.get_or_create(&Labelled(by)).inc_by(replicas);
    }

    /// A record, or what no record names, was put right.
    pub(crate) fn record_changed(&self, change: RecordChange) {
        self.records_changed.get_or_create(&Labelled(change)).inc();
    }

    /// The group was made usable.
    pub(crate) fn adopted(&self, state: AdoptionState) {
        self.adoptions.get_or_create(&Labelled(state)).inc();
    }

    /// The group gauges hold what was seen just now, at this Unix time; or the look failed, and they stay as they were.
    pub(crate) fn group_sampled(&self, at: Option<f64>) {
        let result = if at.is_some() { SampleResult::Ok } else { SampleResult::Failed };
        self.samples.get_or_create(&Labelled(result)).inc();
        if let Some(at) = at {
            self.sampled.set(at);
            self.group.looked();
        }
    }

    /// An attempt began with an entry whose id is this old.
    pub(crate) fn attempt_began(&self, age: Duration, trace: Option<TraceId>) {
        self.queue_wait.observe(age.as_secs_f64(), trace, None);
    }

    /// An attempt ended after this long.
    pub(crate) fn attempt_ended(&self, took: Duration, trace: Option<TraceId>) {
        self.process.observe(took.as_secs_f64(), trace, None);
    }

    /// A batch was settled.
    pub(crate) fn batch(&self, entries: usize) {
        self.settle_batch.observe(f64::from(u32::try_from(entries).unwrap_or(u32::MAX)));
    }

    /// A call to Redis took this long.
    pub(crate) fn redis_call(&self, operation: RedisOperation, took: Duration) {
        self.redis_calls.get_or_create(&Labelled(operation)).observe(took.as_secs_f64());
    }

    /// A call to the engine took this long.
    pub(crate) fn engine_call(&self, operation: EngineOperation, result: EngineResult, took: Duration) {
        self.engine_calls.get_or_create(&(Labelled(operation), Labelled(result))).observe(took.as_secs_f64());
    }
}

/// Exports a series for every value of the label.
fn begin_each<L: Label, M>(family: &Family<Labelled<L>, M>) {
    for value in L::all() {
        drop(family.get_or_create(&Labelled(value)));
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
        metrics.received(Origin::New, 3);
        metrics.outcome(OutcomeKind::Success, OutcomeCode::Started, Duration::from_millis(7), None);
        metrics.attempt_began(Duration::from_millis(3), Some(TraceId(0xabc)));
        metrics.redis_call(RedisOperation::Settle, Duration::from_micros(200));
        let text = metrics.render();
        for line in [
            "startjobs_entries_received_total{origin=\"new\"} 3",
            "startjobs_outcomes_total{outcome=\"success\",error_code=\"\"} 1",
            "startjobs_end_to_end_seconds_count 1",
            "startjobs_queue_wait_seconds_count 1",
            "startjobs_redis_request_duration_seconds_bucket{le=\"0.00025\",operation=\"settle\"} 1",
            "startjobs_in_flight 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
        }
        let exemplar =
            format!("startjobs_queue_wait_seconds_bucket{{le=\"0.005\"}} 1 # {{trace_id=\"{:032x}\"}} 0.003", 0xabc);
        assert!(text.lines().any(|shown| shown == exemplar), "{exemplar} in\n{text}");
    }
}
