//! What the fleet looks like, read from Redis: for the commands of operators, and for whatever else shows it.
//!
//! Everything here but `forget` changes nothing, takes bounded steps, and is right while the fleet works: what belongs together is seen
//! in one step of the server.

// a connection within a time limit
pub mod connect;
// the fleet in one consistent look
pub(crate) mod look;
// how many entries wait
pub mod backlog;
// who is there
pub(crate) mod replicas;
// forgetting those that have ended
pub(crate) mod forget;
// the hosts on which games are started
pub(crate) mod hosts;
// images on their way to them
pub(crate) mod pulls;
// which games are where
pub(crate) mod games;
// what they hold
pub(crate) mod pending;
// what Redis says of itself
pub(crate) mod server;
// whether it takes writes
pub(crate) mod refusal;
// the facts of one moment
pub(crate) mod snapshot;
// where there is no fleet: what else the database holds
mod elsewhere;
// whether they are healthy
pub(crate) mod verdict;
// facts, verdict and alerts in one form
pub(crate) mod overview;
// which alerts fire
pub mod alerts;
// limits, and whether they hold
pub(crate) mod thresholds;
// what the fleet has done in the last hour, day and month
pub(crate) mod history;
// one job, one game
pub(crate) mod story;
// single jobs in a list
pub(crate) mod jobs;
// what happened, as far as it is kept
pub(crate) mod events;
// what cannot be read, and what helps
pub(crate) mod damaged;
// what is wrong with the surroundings, and what helps
pub(crate) mod doctor;
// foreign text on a terminal
pub(crate) mod printable;

use std::sync::Arc;
use std::time::Duration;

use crate::redis::{Connection, RedisError, Script, Source, Value};
use crate::settings::Settings;
use crate::start::record::Records;
use crate::stream::Group;
use crate::stream::excerpt::Excerpts;
use crate::stream::fleet_event::FIELDS;
use crate::stream::keys::{Keys, LISTED};
use crate::stream::tally::VALUE_MAX;

/// The version of every JSON form that shows the fleet.
pub(crate) const SCHEMA_VERSION: u32 = 2;

/// A fleet, seen from outside.
#[derive(Debug, Clone)]
pub struct View {
    connection: Arc<Connection>,
    keys: Arc<Keys>,
    group: String,
    record_prefix: String,
    /// The games' records and the hosts.
    records: Records,
    /// Where the ends of games are written; none where that is off.
    game_events: Option<String>,
    claim_idle: Duration,
    /// `disconnect-grace` is on.
    notices_disconnects: bool,
    max_run: Duration,
    consumer_idle: Duration,
    max_field_bytes: usize,
    scripts: Arc<Scripts>,
    as_group: Group,
}

#[derive(Debug)]
struct Scripts {
    look: Script,
    count: Script,
    pending: Script,
    dead: Script,
    events: Script,
    open: Script,
    waiting: Script,
    held: Script,
    failed: Script,
    history: Script,
    writable: Script,
    forget: Script,
    excerpts: Excerpts,
}

impl Scripts {
    fn new() -> Self {
        let script = |keys: &[&str], lua: &str| Source::new().keys(keys).part(lua).script();
        let of_jobs = |keys: &[&str], lua: &str| {
            Source::new().keys(keys).part(include_str!("scripts/job_of.lua")).part(lua).script()
        };
        let events = Source::new().keys(&["EVENTS"]).texts("EVENT_FIELDS", &FIELDS);
        Self {
            look: script(&[&LISTED[..], &["PAUSED"]].concat(), include_str!("scripts/look.lua")),
            count: script(&["JOBS"], include_str!("scripts/count.lua")),
            pending: script(&["JOBS"], include_str!("scripts/pending.lua")),
            dead: script(&["DEAD"], include_str!("scripts/dead.lua")),
            events: events.part(include_str!("scripts/events.lua")).script(),
            open: script(&["OPEN"], include_str!("scripts/open.lua")),
            waiting: of_jobs(&["JOBS"], include_str!("scripts/waiting.lua")),
            held: of_jobs(&["JOBS"], include_str!("scripts/held.lua")),
            failed: of_jobs(&["RESULTS", "JOBS"], include_str!("scripts/failed.lua")),
            excerpts: Excerpts::new(),
            history: Source::new()
                .keys(&["SLOTS"])
                .number("VALUE_MAX", VALUE_MAX)
                .part(include_str!("scripts/history.lua"))
                .script(),
            forget: script(&["JOBS", "REPLICAS", "ATTEMPTS"], include_str!("scripts/forget.lua")),
            writable: script(&["LEDGERS"], include_str!("scripts/writable.lua")),
        }
    }
}

impl View {
    /// The fleet of these settings.
    pub fn new(connection: Arc<Connection>, settings: &Settings) -> Self {
        Self {
            keys: Arc::new(Keys::new(&settings.stream)),
            group: settings.stream.group.clone(),
            record_prefix: settings.start.record_prefix.clone(),
            records: records(&connection, settings),
            game_events: settings.start.game_events.clone(),
            claim_idle: settings.worker.claim_idle,
            notices_disconnects: settings.worker.disconnect_grace.is_some(),
            max_run: settings.worker.max_run,
            consumer_idle: settings.worker.consumer_idle,
            max_field_bytes: settings.stream.max_field_bytes,
            scripts: Arc::new(Scripts::new()),
            as_group: Group::new(&settings.stream, Arc::clone(&connection)),
            connection,
        }
    }

    /// The connection.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The same, for what makes calls of its own.
    pub(crate) fn shared_connection(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }

    /// The group, for pausing and resuming.
    pub(crate) fn group(&self) -> &Group {
        &self.as_group
    }

    /// The games' records, for operators who stop games.
    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// The stream to which the ends of games are written; none where that is off.
    pub(crate) fn game_events(&self) -> Option<String> {
        self.game_events.clone()
    }

    async fn raw(&self, words: &[&str]) -> Result<Value, RedisError> {
        self.connection.raw(words).await
    }

    async fn hash(&self, key: &str) -> Result<Vec<(String, String)>, RedisError> {
        self.connection.hash(key).await
    }
}

fn records(connection: &Arc<Connection>, settings: &Settings) -> Records {
    let stream = (settings.stream.jobs.as_str(), settings.stream.group.as_str());
    // No lease is ever taken from here.
    Records::new(Arc::clone(connection), &settings.start.record_prefix, stream, "", settings.worker.claim_idle)
}
