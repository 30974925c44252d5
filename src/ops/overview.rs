//! The whole fleet in one form: what `status` shows.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::alerts::{self, Alerts, Raised};
use super::backlog::Waiting;
use super::look::{Look, Watermark};
use super::replicas::{Replica, State};
use super::server::Server;
use super::verdict::{Health, judge};
use super::{SCHEMA_VERSION, View};
use crate::redis::RedisError;
use crate::stream::pause::Pause;

/// The fleet at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Of this form.
    pub schema_version: u32,
    /// The server's clock, Unix milliseconds.
    pub at_ms: u64,
    /// In one word.
    pub health: Health,
    /// In one sentence.
    pub sentence: String,
    /// Everything that is wrong, one sentence each.
    pub problems: Vec<String>,
    /// Entries that no replica has read yet.
    pub waiting: WaitingView,
    /// Entries that replicas hold.
    pub in_flight: Oldest,
    /// Dead letters kept.
    pub dead_letters: u64,
    /// Outcomes in the results stream.
    pub outcomes: u64,
    /// How many replicas there are.
    pub replicas: Counts,
    /// The server's own count of what waits.
    pub lag: Lag,
    /// The legacy offset.
    pub mirror: Mirror,
    /// The group exists.
    pub has_group: bool,
    /// Streams that have used the largest possible id: Redis refuses every further entry.
    pub exhausted: Vec<String>,
    /// The engines of the replicas that are alive.
    pub engines: BTreeSet<String>,
    /// The versions of the replicas that are alive.
    pub versions: BTreeSet<String>,
    /// Redis.
    pub redis: Server,
    /// Who has paused the fleet; none while it is not paused.
    pub paused: Option<Pause>,
    /// Alerts that fire or are about to, as far as Redis tells.
    pub alerts: Vec<Raised>,
}

/// What waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingView {
    /// How many.
    #[serde(flatten)]
    pub waiting: Waiting,
    /// The oldest one.
    pub oldest_id: Option<String>,
    /// How long it waits.
    pub oldest_age_ms: Option<u64>,
}

/// A number of entries, and the oldest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Oldest {
    /// How many.
    pub count: u64,
    /// The oldest one.
    pub oldest_id: Option<String>,
    /// How long ago it was appended.
    pub oldest_age_ms: Option<u64>,
}

/// Replicas by what they are up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Running or draining.
    pub alive: u64,
    /// Taking work.
    pub running: u64,
    /// Finishing.
    pub draining: u64,
    /// Silent without having signed off.
    pub lost: u64,
    /// Entries that lost or unknown consumers still hold.
    pub stranded: u64,
    /// Slots of those that run.
    pub slots: u64,
}

/// What `XINFO GROUPS` calls lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lag {
    /// The server's number.
    pub value: Option<u64>,
    /// The server has one. An autoscaler that uses it needs it.
    pub known: bool,
    /// It is our own count; none where one of the two is not known exactly.
    pub agrees: Option<bool>,
}

/// The legacy offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// Its value.
    pub id: Option<String>,
    /// Where it must stand; none where nothing exists below the oldest pending entry, or there is no group.
    pub watermark: Option<String>,
    /// It does. None without a group.
    pub exact: Option<bool>,
    /// Another program wrote it.
    pub foreign: bool,
}

impl View {
    /// Looks, and counts at most `counted_max` waiting entries one by one.
    pub async fn overview(&self, counted_max: u64) -> Result<Overview, RedisError> {
        Ok(self.overview_with_alerts(counted_max).await?.0)
    }

    /// The same, with all alerts, which are made of the same facts.
    pub(super) async fn overview_with_alerts(&self, counted_max: u64) -> Result<(Overview, Alerts), RedisError> {
        let look = self.look().await?;
        let waiting = self.waiting(&look, counted_max).await?;
        let dead = self.lately_dead(&look).await?;
        let server = self.server().await?;
        let replicas = self.replicas(&look).replicas;
        let mut overview = self.overview_of(&look, waiting, server, &replicas);
        let alerts = Alerts::new(look.now_ms, alerts::judge(&overview, &replicas, &dead));
        overview.alerts = alerts.raised().map(Raised::of).collect();
        Ok((overview, alerts))
    }

    fn overview_of(&self, look: &Look, waiting: Waiting, redis: Server, listed: &[Replica]) -> Overview {
        let alive = |replica: &&Replica| replica.is_alive();
        // The fleet's own limit where it says so, whatever this process's settings are.
        let max_run = listed.iter().filter(alive).filter_map(|replica| replica.max_run_ms).max();
        let max_run = max_run.map_or(self.max_run, Duration::from_millis);
        let waiting_id = look.oldest_waiting.clone().filter(|_| waiting.count > 0);
        let mut overview = Overview {
            schema_version: SCHEMA_VERSION,
            at_ms: look.now_ms,
            health: Health::Healthy,
            sentence: String::new(),
            problems: Vec::new(),
            waiting: WaitingView {
                waiting,
                oldest_age_ms: waiting_id.as_deref().and_then(|id| look.age_ms(id)),
                oldest_id: waiting_id,
            },
            in_flight: Oldest {
                count: look.pending.count,
                oldest_age_ms: look.pending.oldest.as_deref().and_then(|id| look.age_ms(id)),
                oldest_id: look.pending.oldest.clone(),
            },
            dead_letters: look.dead,
            outcomes: look.results,
            replicas: counts(listed),
            lag: lag(look, waiting),
            mirror: mirror(look),
            has_group: look.group.is_some(),
            exhausted: look.exhausted.clone(),
            engines: listed.iter().filter(alive).filter_map(|replica| replica.engine.clone()).collect(),
            versions: listed.iter().filter(alive).filter_map(|replica| replica.version.clone()).collect(),
            redis,
            paused: look.pause(),
            alerts: Vec::new(),
        };
        judge(&mut overview, &self.wrong_types(look), max_run);
        overview
    }

    /// Keys that hold something else than they should, as sentences.
    pub(super) fn wrong_types(&self, look: &Look) -> Vec<String> {
        let keys = &self.keys;
        let expected = [
            (&keys.jobs, "stream"),
            (&keys.results, "stream"),
            (&keys.dead, "stream"),
            (&keys.mirror, "string"),
            (&keys.shadow, "string"),
            (&keys.attempts, "hash"),
            (&keys.ledgers, "zset"),
            (&keys.sweep, "hash"),
            (&keys.replicas, "hash"),
            (&keys.verified, "string"),
        ];
        expected
            .into_iter()
            .filter_map(|(key, expected)| {
                let held = look.types.get(key)?;
                let is_right = held == "none" || held == expected;
                (!is_right).then(|| format!("the key {key} holds a {held} where a {expected} is expected"))
            })
            .collect()
    }
}

fn counts(listed: &[Replica]) -> Counts {
    let mut counts = Counts::default();
    for replica in listed {
        match replica.state {
            State::Running => {
                counts.running += 1;
                counts.slots += replica.slots.unwrap_or_default();
            }
            State::Draining => counts.draining += 1,
            State::Lost => {
                counts.lost += 1;
                counts.stranded += replica.pending;
            }
            State::Unknown => counts.stranded += replica.pending,
            State::Left => {}
        }
    }
    counts.alive = counts.running + counts.draining;
    counts
}

fn lag(look: &Look, waiting: Waiting) -> Lag {
    let value = look.group.as_ref().and_then(|group| group.lag);
    let agrees = value.filter(|_| waiting.exact).map(|value| value == waiting.count);
    Lag { value, known: value.is_some(), agrees }
}

fn mirror(look: &Look) -> Mirror {
    let watermark = match look.watermark() {
        Some(Watermark::At(id) | Watermark::Between(id, _)) => Some(id.to_string()),
        Some(Watermark::Before(_)) | None => None,
    };
    Mirror {
        id: look.mirror.clone(),
        watermark,
        exact: look.is_mirror_exact(),
        foreign: look.mirror.is_some() && look.shadow.is_some() && look.mirror != look.shadow,
    }
}
