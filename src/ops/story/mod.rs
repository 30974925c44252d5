//! One job's whole story, and one game's: what Redis still knows, with times.

// one entry of the jobs stream
pub mod entry;
// one game
pub mod game;
// who died with an entry, and who took it over
pub mod takeover;
// streams, from a moment on, within a bound
mod scan;

use serde::Serialize;

use super::View;
use crate::redis::RedisError;
use crate::start::game_id::GameId;

/// One moment of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// What happened, in one word or two.
    pub what: &'static str,
    /// For people; foreign text in it is as it came.
    pub detail: String,
}

/// The record of a game.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Record {
    /// `starting`, `running` or `failed`.
    pub state: String,
    /// The image the game runs or is to run.
    pub image_ref: String,
    /// The entry whose attempt wrote the record last.
    pub source_ref: String,
    /// The fencing token: how many attempts began.
    pub fence: String,
    /// Who began the last one.
    pub owner: String,
    /// The engine host.
    pub host: String,
    /// The engine.
    pub engine: String,
    /// Its container.
    pub container_id: String,
    /// Where the game answers.
    pub engine_endpoint: String,
    /// A container that is to be removed.
    pub condemned: String,
    /// When the record changed last, Unix milliseconds.
    pub updated_at_ms: u64,
    /// The lease of the attempt under way.
    pub lease: Option<Lease>,
}

/// The right of one process to work on a game.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// `consumer:fence`
    pub holder: String,
    /// How much longer without renewal.
    pub left_ms: u64,
}

/// What the start service answered, as the record keeps it for redeliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// The entry.
    pub source_ref: String,
    /// When that was appended.
    pub appended_at_ms: u64,
    /// `success` or `failure`.
    pub outcome: String,
    /// The stable code; empty for a plain success.
    pub error_code: String,
    /// For people.
    pub error_message: String,
    /// The container of a success.
    pub container_id: String,
    /// Where it answers.
    pub engine_endpoint: String,
}

impl View {
    /// The record of a game; none where there is none, or where no game can be called so.
    pub(super) async fn record(&self, game: &str) -> Result<Option<Record>, RedisError> {
        let Some(key) = self.game_key(game, "rec") else { return Ok(None) };
        let fields = self.hash(&key).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        let text = |name: &str| {
            fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        Ok(Some(Record {
            state: text("state"),
            image_ref: text("image_ref"),
            source_ref: text("source_ref"),
            fence: text("fence"),
            owner: text("owner"),
            host: text("host"),
            engine: text("engine"),
            container_id: text("container_id"),
            engine_endpoint: text("engine_endpoint"),
            condemned: text("condemned"),
            updated_at_ms: text("updated_at_ms").parse().unwrap_or_default(),
            lease: self.lease(game).await?,
        }))
    }

    async fn lease(&self, game: &str) -> Result<Option<Lease>, RedisError> {
        let Some(key) = self.game_key(game, "lease") else { return Ok(None) };
        let holder: Option<String> = self.raw(&["GET", &key]).await?.convert()?;
        let left: i64 = self.raw(&["PTTL", &key]).await?.convert()?;
        Ok(holder.map(|holder| Lease { holder, left_ms: u64::try_from(left).unwrap_or_default() }))
    }

    /// The stored answers of a game's jobs on this stream, oldest first.
    pub(super) async fn stored(&self, game: &str) -> Result<Vec<Stored>, RedisError> {
        let Some(key) = self.game_key(game, "res") else { return Ok(Vec::new()) };
        let stream = format!("{}/", self.keys.jobs);
        let mut stored: Vec<Stored> = self
            .hash(&key)
            .await?
            .into_iter()
            .filter_map(|(field, json)| stored_of(field.strip_prefix(&stream)?, &json))
            .collect();
        stored.sort_by_key(|answer| answer.appended_at_ms);
        Ok(stored)
    }

    /// The keys of a game, as the start service names them. No game id has braces in it.
    fn game_key(&self, game: &str, part: &str) -> Option<String> {
        GameId::parse(game).ok().map(|game| format!("{}{{{}}}:{part}", self.record_prefix, game.as_str()))
    }
}

fn stored_of(source_ref: &str, json: &str) -> Option<Stored> {
    let answer: serde_json::Value = serde_json::from_str(json).ok()?;
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let id: crate::stream::entry_id::EntryId = source_ref.parse().ok()?;
    Some(Stored {
        source_ref: source_ref.to_owned(),
        appended_at_ms: id.ms,
        outcome: text("outcome"),
        error_code: text("error_code"),
        error_message: text("error_message"),
        container_id: text("container_id"),
        engine_endpoint: text("engine_endpoint"),
    })
}
