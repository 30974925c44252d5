//! Conditions: a trouble is said when it begins, once a minute while it lasts, and when it ends, however often it is met
//! meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::WORKER;
use super::vitals::Vitals;
use crate::metrics::Metrics;

pub use crate::metrics::labels::Trouble;

/// The troubles of this process.
#[derive(Debug)]
pub struct Conditions {
    stream: String,
    metrics: Arc<Metrics>,
    vitals: Arc<Vitals>,
    met: HashMap<Trouble, Met>,
}

#[derive(Debug)]
struct Met {
    since: Instant,
    /// When it was said last.
    said: Instant,
    /// What was said by the one that met it last.
    err: String,
    times: u64,
    /// Since when nothing has said it again.
    quiet: Option<Instant>,
}

/// A trouble has ended when nothing has met it for this long: calls that were under way when it ended fail one after
/// the other, and it is still one trouble.
const QUIET: Duration = Duration::from_secs(2);
/// How often a trouble that lasts is said again.
const SAY_INTERVAL: Duration = Duration::from_secs(60);

impl Conditions {
    /// No troubles yet, for the worker of this stream.
    pub fn new(stream: &str, metrics: Arc<Metrics>, vitals: Arc<Vitals>) -> Self {
        Self { stream: stream.to_owned(), metrics, vitals, met: HashMap::new() }
    }

    /// The trouble is met; says so the first time and then at a slow pace. Answers how often it has been met since it
    /// began.
    pub fn met(&mut self, trouble: Trouble, err: &str) -> u64 {
        let now = Instant::now();
        let met = self.met.entry(trouble).or_insert_with(|| Met {
            since: now,
            said: now,
            err: err.to_owned(),
            times: 0,
            quiet: None,
        });
        met.times += 1;
        met.quiet = None;
        if met.times == 1 {
            self.metrics.condition_began(trouble);
            self.vitals.trouble_began(trouble, err);
            tracing::warn!(worker = WORKER, stream = self.stream, condition = trouble.as_str(), err, "condition began");
            return met.times;
        }
        // The first words are often only that the connection is gone; why no other comes about is known later.
        if met.err != err {
            err.clone_into(&mut met.err);
            self.vitals.trouble_began(trouble, err);
        }
        if now >= met.said + SAY_INTERVAL {
            met.said = now;
            let (stream, condition, lasts_s) = (&self.stream, trouble.as_str(), (now - met.since).as_secs());
            tracing::warn!(worker = WORKER, stream, condition, err, lasts_s, "condition goes on");
        }
        met.times
    }

    /// Something went well that the trouble would have kept from it.
    ///
    /// Answers whether it is the first that did.
    pub fn over(&mut self, trouble: Trouble) -> bool {
        let Some(met) = self.met.get_mut(&trouble).filter(|met| met.quiet.is_none()) else { return false };
        met.quiet = Some(Instant::now());
        true
    }

    /// Says which troubles have ended by now.
    pub fn say_ended(&mut self, now: Instant) {
        let ended: Vec<Trouble> = self
            .met
            .iter()
            .filter(|(_, met)| met.quiet.is_some_and(|quiet| now >= quiet + QUIET))
            .map(|(&trouble, _)| trouble)
            .collect();
        for trouble in ended {
            let Some(Met { since, times, quiet: Some(quiet), .. }) = self.met.remove(&trouble) else { continue };
            self.metrics.condition_ended(trouble);
            self.vitals.trouble_ended(trouble);
            let (stream, condition, lasted_s) = (&self.stream, trouble.as_str(), (quiet - since).as_secs_f64());
            tracing::info!(worker = WORKER, stream, condition, lasted_s, times, "condition ended");
        }
    }

    /// When there is the next one to be said to have ended.
    pub fn next_end(&self) -> Option<Instant> {
        self.met.values().filter_map(|met| met.quiet).min().map(|quiet| quiet + QUIET)
    }
}
