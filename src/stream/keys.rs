//! Every key the group touches, derived from the settings in one place.

use super::config::Config;

/// The keys beside the jobs stream. Their names are part of what operators script against.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The jobs stream.
    pub jobs: String,
    /// The results stream.
    pub(crate) results: String,
    /// The dead-letter stream.
    pub dead: String,
    /// The legacy offset, kept as the mirror: the exact low watermark.
    pub mirror: String,
    /// What we last wrote to the mirror; a difference says that another program moved it.
    pub shadow: String,
    /// Prefix of the ledger's hourly SETs: the ids that are settled.
    pub(crate) ledger_prefix: String,
    /// ZSET of the ledger's buckets by the time something was last added, so that old ones can be dropped.
    pub(crate) ledgers: String,
    /// HASH of crash and failure counts by entry id.
    pub attempts: String,
    /// HASH of the fleet's claim sweep: when the next may run, and from which id.
    pub sweep: String,
    /// HASH of replicas by consumer name: when last seen, state, who they are.
    pub replicas: String,
    /// The id up to which every entry is known to be answered.
    pub(crate) verified: String,
    /// HASH while an operator has paused the fleet: by whom, when and why.
    pub(crate) paused: String,
    /// HASH by consumer name: what each replica says of the jobs it holds that do not run.
    pub(crate) open: String,
    /// STREAM of what happened to the fleet and to single jobs, the last of it.
    pub(crate) events: String,
    /// HASH of what was done in each of the last minutes.
    pub(crate) minutes: String,
    /// HASH of what was done in each of the last hours.
    pub(crate) hours: String,
}

/// How scripts name the keys that they take first.
pub(crate) const LISTED: [&str; 11] =
    ["JOBS", "RESULTS", "DEAD", "MIRROR", "SHADOW", "ATTEMPTS", "LEDGERS", "SWEEP", "REPLICAS", "VERIFIED", "OPEN"];

/// What the ledger's buckets are named behind the jobs stream; the hour follows.
pub(crate) const LEDGER_SUFFIX: &str = ":ledger:";

/// What a replica's channel is named behind the jobs stream; its consumer name follows.
pub(super) const ALIVE_SUFFIX: &str = ":alive:";

/// How the script that replicas tell operators with names its keys.
pub(super) const TOLD: [&str; 6] = ["JOBS", "ATTEMPTS", "OPEN", "EVENTS", "MINUTES", "HOURS"];

impl Keys {
    /// The keys of these settings.
    pub fn new(settings: &Config) -> Self {
        let jobs = &settings.jobs;
        Self {
            jobs: jobs.clone(),
            results: settings.results.clone(),
            dead: settings.dead.clone(),
            mirror: settings.offset_key.clone(),
            shadow: format!("{}:shadow", settings.offset_key),
            ledger_prefix: format!("{jobs}{LEDGER_SUFFIX}"),
            ledgers: format!("{jobs}:ledgers"),
            attempts: format!("{jobs}:attempts"),
            sweep: format!("{jobs}:sweep"),
            replicas: format!("{jobs}:replicas"),
            verified: format!("{jobs}:verified"),
            paused: format!("{jobs}:paused"),
            open: format!("{jobs}:open"),
            events: format!("{jobs}:events"),
            minutes: format!("{jobs}:history:m"),
            hours: format!("{jobs}:history:h"),
        }
    }

    /// The ledger's bucket of one hour.
    pub fn ledger_bucket(&self, hour: u64) -> String {
        format!("{}{hour}", self.ledger_prefix)
    }

    /// The channel that this consumer subscribes to for as long as it lives. No key.
    pub(crate) fn alive_channel(&self, consumer: &str) -> String {
        format!("{}{ALIVE_SUFFIX}{consumer}", self.jobs)
    }

    /// The keys of the script that replicas tell operators with, in the order of [`TOLD`].
    pub(super) fn told(&self) -> [String; TOLD.len()] {
        [&self.jobs, &self.attempts, &self.open, &self.events, &self.minutes, &self.hours].map(String::clone)
    }

    /// The keys that scripts take first, in the order of [`LISTED`].
    pub fn listed(&self) -> Vec<String> {
        [
            &self.jobs,
            &self.results,
            &self.dead,
            &self.mirror,
            &self.shadow,
            &self.attempts,
            &self.ledgers,
            &self.sweep,
            &self.replicas,
            &self.verified,
            &self.open,
        ]
        .map(String::clone)
        .to_vec()
    }
}
