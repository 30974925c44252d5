//! One job's whole story, and one game's: what Redis still knows, with times.

// one entry of the jobs stream
pub(crate) mod entry;
// one game
pub(crate) mod game;
// who died with an entry, and who took it over
pub(crate) mod takeover;
// streams, from a moment on, within a bound
mod scan;

use serde::{Deserialize, Serialize};

use super::View;
use crate::redis::RedisError;
use crate::start::game_id::GameId;
use crate::stream::entry_id::EntryId;

/// One moment of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Moment {
    /// When, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// What happened, in one word or two.
    pub(crate) what: &'static str,
    /// For people; foreign text in it is as it came.
    pub(crate) detail: String,
}

/// The record of a game.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    /// `starting`, `running`, `failed` or `stopped`.
    pub(crate) state: String,
    /// The image the game runs or is to run.
    pub(crate) image_ref: String,
    /// The entry whose attempt wrote the record last.
    pub(crate) source_ref: String,
    /// The fencing token: how many attempts began.
    pub(crate) fence: String,
    /// Who began the last one.
    pub(crate) owner: String,
    /// The engine host.
    pub(crate) host: String,
    /// The engine.
    pub(crate) engine: String,
    /// Its container.
    pub(crate) container_id: String,
    /// Where the game answers.
    pub(crate) engine_endpoint: String,
    /// A container that is to be removed.
    pub(crate) condemned: String,
    /// How the container of a stopped game ended; none where that is not known, or an operator stopped it.
    pub(crate) exit_code: Option<i64>,
    /// When a stopped game ended, Unix milliseconds of the engine's clock, or was stopped, by the server's.
    pub(crate) ended_at_ms: Option<u64>,
    /// The operator who stopped the game; empty where it ended by itself.
    pub(crate) stopped_by: String,
    /// When the record changed last, Unix milliseconds.
    pub(crate) updated_at_ms: u64,
    /// The lease of the attempt under way.
    pub(crate) lease: Option<Lease>,
}

/// The right of one process to work on a game.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Lease {
    /// `consumer:fence`
    pub(crate) holder: String,
    /// How much longer without renewal.
    pub(crate) left_ms: u64,
}

/// What the start service answered, as the record keeps it for redeliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stored {
    /// The entry.
    pub(crate) source_ref: String,
    /// When that was appended.
    pub(crate) appended_at_ms: u64,
    /// `success` or `failure`.
    pub(crate) outcome: String,
    /// The stable code; empty for a plain success.
    pub(crate) error_code: String,
    /// For people.
    pub(crate) error_message: String,
    /// The container of a success.
    pub(crate) container_id: String,
    /// Where it answers.
    pub(crate) engine_endpoint: String,
}

impl Record {
    /// How a game that is stopped has come to that, for people: `exit code 3`, or `stopped by ann@host`.
    pub(crate) fn end(&self) -> Option<String> {
        if self.state != "stopped" {
            return None;
        }
        Some(match (self.stopped_by.as_str(), self.exit_code) {
            ("", Some(code)) => format!("exit code {code}"),
            ("", None) => "its exit code is not known".to_owned(),
            (who, _) => format!("stopped by {who}"),
        })
    }
}

impl View {
    /// The record of a game, if it has one, and the stored answers of its jobs on this stream, oldest first. Nothing
    /// where no game can be called so.
    pub(super) async fn game(&self, game: &str, now_ms: u64) -> Result<(Option<Record>, Vec<Stored>), RedisError> {
        let (Some(record), Some(results)) = (self.game_key(game, "rec"), self.game_key(game, "res")) else {
            return Ok((None, Vec::new()));
        };
        let text = self.connection.get(&record).await?;
        let json = text.map(|text| RecordJson::read(&record, &text)).transpose()?;
        let others = self.hash(&results).await?;
        let stream = format!("{}/", self.keys.jobs);
        let others = others.iter().filter_map(|(job, json)| stored_of(job.strip_prefix(&stream)?, json));
        let own = json.as_ref().filter(|json| json.stream == self.keys.jobs).and_then(RecordJson::stored);
        let mut stored: Vec<Stored> = others.chain(own).collect();
        stored.sort_by_key(|answer| answer.appended_at_ms);
        Ok((json.map(|json| json.record(now_ms)), stored))
    }

    /// The keys of a game, as the start service names them. No game id has braces in it.
    pub(super) fn game_key(&self, game: &str, part: &str) -> Option<String> {
        GameId::parse(game).ok().map(|game| format!("{}{{{}}}:{part}", self.record_prefix, game.as_str()))
    }
}

/// A record as Redis holds it.
#[derive(Deserialize)]
pub(super) struct RecordJson {
    fence: u64,
    lease_until_ms: u64,
    updated_at_ms: u64,
    state: String,
    image_ref: String,
    stream: String,
    source_ref: String,
    owner: String,
    host: String,
    engine: String,
    #[serde(default)]
    condemned: String,
    #[serde(default)]
    container_id: String,
    #[serde(default)]
    engine_endpoint: String,
    #[serde(default)]
    exit_code: String,
    #[serde(default)]
    ended_at_ms: String,
    #[serde(default)]
    stopped_by: String,
    answer: Option<AnswerJson>,
}

/// The answer of a record's own job, as far as the record does not say it already.
#[derive(Deserialize)]
struct AnswerJson {
    #[serde(default)]
    error_code: String,
    #[serde(default)]
    error_message: String,
}

impl RecordJson {
    pub(super) fn read(key: &str, text: &[u8]) -> Result<Self, RedisError> {
        serde_json::from_slice(text)
            .map_err(|error| RedisError::of_server(&format!("KEYTYPE {key} holds no record of a game: {error}")))
    }

    pub(super) fn record(self, now_ms: u64) -> Record {
        let left_ms = self.lease_until_ms.saturating_sub(now_ms);
        let lease = (left_ms > 0).then(|| Lease { holder: format!("{}:{}", self.owner, self.fence), left_ms });
        Record {
            state: self.state,
            image_ref: self.image_ref,
            source_ref: self.source_ref,
            fence: self.fence.to_string(),
            owner: self.owner,
            host: self.host,
            engine: self.engine,
            container_id: self.container_id,
            engine_endpoint: self.engine_endpoint,
            condemned: self.condemned,
            exit_code: self.exit_code.parse().ok(),
            ended_at_ms: self.ended_at_ms.parse().ok(),
            stopped_by: self.stopped_by,
            updated_at_ms: self.updated_at_ms,
            lease,
        }
    }

    fn stored(&self) -> Option<Stored> {
        // The answer of a game that ran and is stopped now is beside its record.
        let answer = self.answer.as_ref().filter(|_| self.state != "stopped")?;
        let id: EntryId = self.source_ref.parse().ok()?;
        Some(Stored {
            source_ref: self.source_ref.clone(),
            appended_at_ms: id.ms,
            outcome: if self.state == "running" { "success" } else { "failure" }.to_owned(),
            error_code: answer.error_code.clone(),
            error_message: answer.error_message.clone(),
            container_id: self.container_id.clone(),
            engine_endpoint: self.engine_endpoint.clone(),
        })
    }
}

fn stored_of(source_ref: &str, json: &str) -> Option<Stored> {
    let answer: serde_json::Value = serde_json::from_str(json).ok()?;
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let id: EntryId = source_ref.parse().ok()?;
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
