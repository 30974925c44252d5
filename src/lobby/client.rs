//! The two streams, from Lobby's side.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::ops::connect::open_within;
use crate::redis::commands::{Entry, Order, PendingEntry};
use crate::redis::{self, Connection, RedisError, Role};
use crate::stream;
use crate::stream::entry_id::EntryId;
use crate::stream::presence::Presence;

/// Lobby, as far as the worker knows it.
#[derive(Debug, Clone)]
pub struct Lobby {
    commands: Arc<Connection>,
    /// Blocking reads of the results have a connection of their own.
    follower: Arc<Connection>,
    streams: stream::Config,
}

/// One outcome as a reader of the results stream sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Its own id in the results stream.
    pub id: String,
    /// `game_id`
    pub game_id: String,
    /// `outcome`
    pub outcome: String,
    /// `container_id`
    pub container_id: String,
    /// `engine_endpoint`
    pub engine_endpoint: String,
    /// `error_code`
    pub error_code: String,
    /// `error_message`
    pub(crate) error_message: String,
    /// `source_ref`; absent where `outcome-fields` is `original`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<String>,
    /// `requested_at_ms`; absent as `source_ref` is, like the two that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requested_at_ms: Option<String>,
    /// `finished_at_ms`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finished_at_ms: Option<String>,
    /// `attempt`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<String>,
}

/// One dead letter's own fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Its own id in the dead-letter stream.
    pub id: String,
    /// The entry.
    pub source_ref: String,
    /// Why.
    pub reason: String,
    /// The outcome published with it; empty where there is none.
    pub outcome_id: String,
}

/// How long one blocking read of the results waits.
const BLOCK: Duration = Duration::from_secs(1);
/// Entries in one page of a stream.
const PAGE: u64 = 1_000;
/// Pending entries that are listed at most.
const PENDING_MAX: u64 = 100_000;

/// The pairs of one entry.
pub(crate) type Pairs = Vec<(Bytes, Bytes)>;
/// Entries by id, oldest first.
pub(crate) type Page = Vec<(String, Pairs)>;

impl Lobby {
    /// Connects; waits for as long as Redis does not answer.
    pub async fn connect(redis: &redis::Config, streams: &stream::Config) -> Result<Self, RedisError> {
        Self::open(redis, streams, |_| {}).await
    }

    /// Connects within `limit`; the error is the last thing that went wrong. Wrong credentials end it at once.
    pub(crate) async fn connect_within(
        redis: &redis::Config,
        streams: &stream::Config,
        limit: Duration,
    ) -> Result<Self, RedisError> {
        open_within(limit, |report| Self::open(redis, streams, report), || {}).await
    }

    async fn open(
        redis: &redis::Config,
        streams: &stream::Config,
        mut on_error: impl FnMut(&RedisError),
    ) -> Result<Self, RedisError> {
        let commands = Connection::open(redis, Role::Commands, "startjobs:lobby", &mut on_error).await?;
        let reader = Role::Reader(BLOCK);
        let follower = Connection::open(redis, reader, "startjobs:lobby-follower", &mut on_error).await?;
        Ok(Self { commands: Arc::new(commands), follower: Arc::new(follower), streams: streams.clone() })
    }

    /// Appends a well-formed job; answers its id.
    pub async fn append(&self, game_id: &str, image_ref: &str, requested_at_ms: u64) -> Result<EntryId, RedisError> {
        let requested = requested_at_ms.to_string();
        self.append_fields(&[("game_id", game_id), ("image_ref", image_ref), ("requested_at_ms", &requested)]).await
    }

    /// Appends an entry of any fields.
    pub async fn append_fields(&self, fields: &[(&str, &str)]) -> Result<EntryId, RedisError> {
        let id = self.commands.append(&self.streams.jobs, fields).await?;
        id.parse().map_err(|_| RedisError::unexpected("entry id"))
    }

    /// The id of the newest outcome, or the id before all: where following begins.
    pub(crate) async fn results_end(&self) -> Result<String, RedisError> {
        let newest = self.commands.range(&self.streams.results, ("-", "+"), 1, Order::NewestFirst).await?;
        Ok(newest.into_iter().next().map_or_else(|| "0-0".to_owned(), |entry| entry.id))
    }

    /// Waits for outcomes after `id`, for at most about a second; may answer none.
    pub(crate) async fn outcomes_after(&self, id: &str) -> Result<Vec<Outcome>, RedisError> {
        let block = u64::try_from(BLOCK.as_millis()).unwrap_or(1);
        let entries = self.follower.read_after(&self.streams.results, id, PAGE, block).await?;
        Ok(entries.into_iter().map(|Entry { id, fields }| outcome_of(id, &fields)).collect())
    }

    /// Every outcome there is, oldest first.
    pub async fn all_outcomes(&self) -> Result<Vec<Outcome>, RedisError> {
        let entries = self.all(&self.streams.results).await?;
        Ok(entries.into_iter().map(|(id, pairs)| outcome_of(id, &pairs)).collect())
    }

    /// Every dead letter there is, oldest first.
    pub async fn all_dead(&self) -> Result<Vec<Dead>, RedisError> {
        let entries = self.all(&self.streams.dead).await?;
        let dead = |(id, pairs): (String, Pairs)| Dead {
            id,
            source_ref: field(&pairs, "source_ref").unwrap_or_default(),
            reason: field(&pairs, "reason").unwrap_or_default(),
            outcome_id: field(&pairs, "outcome_id").unwrap_or_default(),
        };
        Ok(entries.into_iter().map(dead).collect())
    }

    /// The legacy offset, as the old worker would load it.
    pub async fn mirror(&self) -> Result<Option<String>, RedisError> {
        let mirror = self.commands.get(&self.streams.offset_key).await?;
        Ok(mirror.map(|id| String::from_utf8_lossy(&id).into_owned()))
    }

    /// How many entries are pending in the group, and for whom.
    pub async fn pending(&self) -> Result<Vec<Pending>, RedisError> {
        let stream::Config { jobs, group, .. } = &self.streams;
        let list = self.commands.pending(jobs, group, ("-", "+"), PENDING_MAX).await?;
        Ok(list.into_iter().map(Pending::from).collect())
    }

    /// How many outcomes and how many dead letters there are.
    pub async fn answers(&self) -> Result<(u64, u64), RedisError> {
        Ok((self.length(&self.streams.results).await?, self.length(&self.streams.dead).await?))
    }

    async fn length(&self, stream: &str) -> Result<u64, RedisError> {
        self.commands.stream_length(stream).await
    }

    /// Who has shown itself as a replica: process ids by consumer name.
    pub async fn replicas(&self) -> Result<HashMap<String, u32>, RedisError> {
        let presences = self.commands.hash(&format!("{}:replicas", self.streams.jobs)).await?;
        Ok(presences.into_iter().filter_map(|(consumer, presence)| Some((consumer, pid_of(&presence)?))).collect())
    }

    /// Every entry of any stream, oldest first.
    pub async fn entries(&self, stream: &str) -> Result<Page, RedisError> {
        self.all(stream).await
    }

    /// For commands of a test's own.
    pub fn connection(&self) -> &Connection {
        &self.commands
    }

    async fn all(&self, stream: &str) -> Result<Page, RedisError> {
        let mut all: Page = Vec::new();
        let mut from = "-".to_owned();
        loop {
            let page = self.commands.range(stream, (&from, "+"), PAGE, Order::OldestFirst).await?;
            let Some(last) = page.last() else {
                return Ok(all);
            };
            from = format!("({}", last.id);
            all.extend(page.into_iter().map(|entry| (entry.id, entry.fields)));
        }
    }
}

/// One pending entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The id of the entry.
    pub id: String,
    /// The consumer that holds it.
    pub consumer: String,
    /// Milliseconds since it was last delivered or renewed.
    pub idle_ms: u64,
    /// How often it has been delivered.
    pub deliveries: u64,
}

impl From<PendingEntry> for Pending {
    fn from(PendingEntry { id, consumer, idle_ms, deliveries }: PendingEntry) -> Self {
        Self { id, consumer: String::from_utf8_lossy(&consumer).into_owned(), idle_ms, deliveries }
    }
}

fn pid_of(presence: &str) -> Option<u32> {
    u32::try_from(Presence::parse(presence)?.about.pid?).ok()
}

/// One field of an entry, as text.
pub fn field(pairs: &Pairs, name: &str) -> Option<String> {
    let (_, value) = pairs.iter().find(|(field, _)| field == name.as_bytes())?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn outcome_of(id: String, pairs: &Pairs) -> Outcome {
    let text = |name| field(pairs, name).unwrap_or_default();
    Outcome {
        id,
        game_id: text("game_id"),
        outcome: text("outcome"),
        container_id: text("container_id"),
        engine_endpoint: text("engine_endpoint"),
        error_code: text("error_code"),
        error_message: text("error_message"),
        source_ref: field(pairs, "source_ref"),
        requested_at_ms: field(pairs, "requested_at_ms"),
        finished_at_ms: field(pairs, "finished_at_ms"),
        attempt: field(pairs, "attempt"),
    }
}
