//! Troubles: each is logged when it begins, once a minute while it lasts, and when it ends, however often it is met
//! meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::WORKER;
use super::vitals::Vitals;
use crate::metrics::Metrics;

pub use crate::metrics::labels::Trouble;

/// What is degraded, and what the replica does about it: for the log.
fn what(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Redis => "Redis unreachable, waiting",
        Trouble::Read => "Redis refuses reads, retrying",
        Trouble::Fetch => "Redis refuses reads of payloads, retrying",
        Trouble::Admit => "Redis refuses look-ups, entries wait",
        Trouble::Store => "state store refuses, nothing is started",
        Trouble::Settle => "Redis refuses outcomes, retrying",
        Trouble::Renew => "Redis refuses renewals, retrying",
        Trouble::Claim => "Redis refuses claims, retrying",
        Trouble::Tidy => "Redis refuses the janitor, retrying",
        Trouble::Group => "consumer group lost, making it again",
        Trouble::Engine => "container engine unreachable or its host sick, nothing is started",
        Trouble::HostFull => "the host has as many games as it may, other hosts start the others",
        Trouble::Policy => "policy file gone or broken, the old policy stays",
    }
}

/// The troubles of this process.
#[derive(Debug)]
pub(crate) struct Troubles {
    stream: String,
    metrics: Arc<Metrics>,
    /// None: what is met keeps the replica from no work.
    vitals: Option<Arc<Vitals>>,
    met: HashMap<Trouble, Met>,
    /// What began or ended since it was last asked for.
    news: Vec<News>,
}

/// A trouble has begun, or has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    /// Which one.
    pub(crate) trouble: Trouble,
    /// When.
    pub(crate) at: Instant,
    /// Its words where it began; none where it has ended.
    pub(crate) err: Option<String>,
}

#[derive(Debug)]
struct Met {
    since: Instant,
    /// When it was logged last.
    logged: Instant,
    /// The words of the one that met it last.
    err: String,
    times: u64,
    /// Since when nothing has met it again.
    quiet: Option<Instant>,
}

/// A trouble has ended when nothing has met it for this long: calls that were under way when it ended fail one after
/// the other, and it is still one trouble.
const QUIET: Duration = Duration::from_secs(2);
/// News that wait to be asked for.
const NEWS_MAX: usize = 32;
/// How often a trouble that lasts is logged again.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

impl Troubles {
    /// No troubles yet, for the worker of this stream.
    pub(crate) fn new(stream: &str, metrics: Arc<Metrics>, vitals: Arc<Vitals>) -> Self {
        Self { stream: stream.to_owned(), metrics, vitals: Some(vitals), met: HashMap::new(), news: Vec::new() }
    }

    /// The same for troubles that keep the replica from no work: it stays ready.
    pub(crate) fn harmless(stream: &str, metrics: Arc<Metrics>) -> Self {
        Self { stream: stream.to_owned(), metrics, vitals: None, met: HashMap::new(), news: Vec::new() }
    }

    /// The trouble is met; logged the first time and then at a slow pace. Answers how often it has been met since it began.
    pub(crate) fn met(&mut self, trouble: Trouble, err: &str, now: Instant) -> u64 {
        let met = self.met.entry(trouble).or_insert_with(|| Met {
            since: now,
            logged: now,
            err: err.to_owned(),
            times: 0,
            quiet: None,
        });
        met.times += 1;
        met.quiet = None;
        if met.times == 1 {
            self.metrics.condition_began(trouble);
            tell(self.vitals.as_deref(), trouble, err);
            let (stream, condition, what) = (&self.stream, trouble.as_str(), what(trouble));
            tracing::warn!(worker = WORKER, stream, condition, what, err, "degraded");
            self.push_news(trouble, now, Some(err));
            return 1;
        }
        // The first words are often only that the connection is gone; why no other comes about is known later.
        if met.err != err {
            err.clone_into(&mut met.err);
            tell(self.vitals.as_deref(), trouble, err);
        }
        if now >= met.logged + LOG_INTERVAL {
            met.logged = now;
            let (stream, condition, what) = (&self.stream, trouble.as_str(), what(trouble));
            let lasts_s = (now - met.since).as_secs();
            tracing::warn!(worker = WORKER, stream, condition, what, err, lasts_s, "still degraded");
        }
        met.times
    }

    /// Something went well that the trouble would have kept from it.
    ///
    /// Answers whether it is the first that did.
    pub(crate) fn over(&mut self, trouble: Trouble, now: Instant) -> bool {
        let Some(met) = self.met.get_mut(&trouble).filter(|met| met.quiet.is_none()) else { return false };
        met.quiet = Some(now);
        true
    }

    /// Does the trouble last, as far as is known?
    pub(crate) fn lasts(&self, trouble: Trouble) -> bool {
        self.met.get(&trouble).is_some_and(|met| met.quiet.is_none())
    }

    /// Logs which troubles have ended by now.
    pub(crate) fn report_recovered(&mut self, now: Instant) {
        let ended: Vec<Trouble> = self
            .met
            .iter()
            .filter(|(_, met)| met.quiet.is_some_and(|quiet| now >= quiet + QUIET))
            .map(|(&trouble, _)| trouble)
            .collect();
        for trouble in ended {
            let Some(Met { since, times, quiet: Some(quiet), .. }) = self.met.remove(&trouble) else { continue };
            self.metrics.condition_ended(trouble);
            if let Some(vitals) = &self.vitals {
                vitals.trouble_ended(trouble.as_str());
            }
            let (stream, condition, lasted_s) = (&self.stream, trouble.as_str(), (quiet - since).as_secs_f64());
            tracing::info!(worker = WORKER, stream, condition, lasted_s, times, "recovered");
            self.push_news(trouble, quiet, None);
        }
    }

    fn push_news(&mut self, trouble: Trouble, at: Instant, err: Option<&str>) {
        // One that keeps the replica from no work has readers of its own.
        if self.vitals.is_some() && self.news.len() < NEWS_MAX {
            self.news.push(News { trouble, at, err: err.map(str::to_owned) });
        }
    }

    /// What began or ended since this was last asked.
    pub(crate) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// All of them, for the one that goes on with them; none are left here.
    pub(crate) fn hand_over(&mut self) -> Self {
        let (met, news) = (std::mem::take(&mut self.met), std::mem::take(&mut self.news));
        Self { stream: self.stream.clone(), metrics: Arc::clone(&self.metrics), vitals: self.vitals.clone(), met, news }
    }

    /// The replica goes on under another name. What made it wait before it runs is found out anew there; of the rest only the
    /// next call that fails tells whether it lasts.
    pub(crate) fn carry_over(&mut self, now: Instant) {
        for (trouble, met) in &mut self.met {
            if !matches!(trouble, Trouble::Redis | Trouble::Group | Trouble::Engine) {
                met.quiet = met.quiet.or(Some(now));
            }
        }
    }

    /// When the next one has ended.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.met.values().filter_map(|met| met.quiet).min().map(|quiet| quiet + QUIET)
    }
}

fn tell(vitals: Option<&Vitals>, trouble: Trouble, err: &str) {
    if let Some(vitals) = vitals {
        vitals.trouble_began(trouble.as_str(), err);
    }
}
