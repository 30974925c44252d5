//! One job's whole story, and one game's: what Redis still knows, with times.

// one entry of the jobs stream
pub(crate) mod entry;
// what is told of it
mod told;
// what happened to it when
mod moments;
// one game
pub(crate) mod game;
// who died with an entry, and who took it over
pub(crate) mod takeover;
// a job that is held and does not run, and its attempts
pub(crate) mod standstill;
// what is told of why a job is not being started, and of what to do next
pub(crate) mod next;
// why it is not, and what helps
mod wait;
// dead letters that were put back
pub(crate) mod requeues;
// streams, from a moment on, within a bound
mod scan;

use serde::{Deserialize, Serialize};

use super::View;
use super::damaged::{Damaged, GAME_RECORD, NAMED_MAX, STORED_ANSWER, WHOLE_KEY};
use crate::redis::RedisError;
use crate::start::game_id::GameId;
use crate::stream::entry_id::EntryId;

/// What has happened to an entry so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EntryStage {
    /// No replica has read it yet.
    Waiting,
    /// A replica holds it.
    Pending,
    /// It is answered.
    Settled,
    /// It was delivered, and is neither held nor answered: it is put back by and by.
    Orphaned,
    /// It was delivered, and what became of it is not remembered any more.
    Forgotten,
    /// There is no such entry, and no trace of one.
    Absent,
}

/// Who holds an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Holder {
    /// The replica.
    pub(crate) replica: String,
    /// How long ago it touched the entry; not longer than the entry exists.
    pub(crate) idle_ms: u64,
    /// It has given the entry back: the next free replica takes it.
    pub(crate) is_given_back: bool,
    /// How often the entry was delivered.
    pub(crate) deliveries: u64,
}

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
    pub(crate) fence: u64,
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

/// What Redis keeps of a game, as far as it can be read.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Its record.
    pub(super) record: Option<Record>,
    /// The stored answers of its jobs on this stream, oldest first.
    pub(super) stored: Vec<Stored>,
    /// What cannot be read of both.
    pub(super) damaged: Vec<Damaged>,
}

impl View {
    /// The record of a game, if it has one, and the stored answers of its jobs on this stream. Nothing where no game can be
    /// called so.
    pub(super) async fn game(&self, game: &str, now_ms: u64) -> Result<Kept, RedisError> {
        let (Some(record), Some(results)) = (self.game_key(game, "rec"), self.game_key(game, "res")) else {
            return Ok(Kept::default());
        };
        let mut kept = Kept::default();
        let json = match self.connection.get(&record).await {
            Ok(text) => text.and_then(|text| kept.read(&record, &text)),
            Err(error) => {
                kept.damaged.push(Damaged::of_error(&record, &error, GAME_RECORD).ok_or(error)?);
                None
            }
        };
        match self.hash(&results).await {
            Ok(others) => kept.take_stored(&results, &self.keys.jobs, &others),
            Err(error) => kept.damaged.push(Damaged::of_error(&results, &error, WHOLE_KEY).ok_or(error)?),
        }
        kept.stored.extend(json.as_ref().filter(|json| json.stream == self.keys.jobs).and_then(RecordJson::stored));
        kept.stored.sort_by_key(|answer| answer.appended_at_ms);
        kept.record = json.map(|json| json.record(now_ms));
        Ok(kept)
    }

    /// The keys of a game, as the start service names them. No game id has braces in it.
    pub(super) fn game_key(&self, game: &str, part: &str) -> Option<String> {
        GameId::parse(game).ok().map(|game| format!("{}{{{}}}:{part}", self.record_prefix, game.as_str()))
    }
}

impl Kept {
    fn read(&mut self, key: &str, text: &[u8]) -> Option<RecordJson> {
        let json = RecordJson::read(text);
        json.map_err(|error| self.damaged.push(Damaged::key(key, error, GAME_RECORD))).ok()
    }

    fn take_stored(&mut self, key: &str, jobs: &str, fields: &[(String, String)]) {
        let stream = format!("{jobs}/");
        for (job, json) in fields {
            let Some(source_ref) = job.strip_prefix(&stream) else { continue };
            match stored_of(source_ref, json) {
                Ok(stored) => self.stored.push(stored),
                Err(why) if self.damaged.len() < NAMED_MAX => {
                    self.damaged.push(Damaged::field(key, job, why, STORED_ANSWER));
                }
                Err(_) => {}
            }
        }
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
    /// What is no record is told in the words of the reader.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| format!("it holds no record of a game: {error}"))
    }

    pub(super) fn record(self, now_ms: u64) -> Record {
        let left_ms = self.lease_until_ms.saturating_sub(now_ms);
        let lease = (left_ms > 0).then(|| Lease { holder: format!("{}:{}", self.owner, self.fence), left_ms });
        Record {
            state: self.state,
            image_ref: self.image_ref,
            source_ref: self.source_ref,
            fence: self.fence,
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

fn stored_of(source_ref: &str, json: &str) -> Result<Stored, String> {
    let answer: serde_json::Value =
        serde_json::from_str(json).map_err(|error| format!("it holds no stored answer: {error}"))?;
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let id: EntryId = source_ref.parse().map_err(|_| "its name ends with no id of an entry".to_owned())?;
    if answer["outcome"].as_str().is_none_or(str::is_empty) {
        return Err("it holds no stored answer: outcome is missing".to_owned());
    }
    Ok(Stored {
        source_ref: source_ref.to_owned(),
        appended_at_ms: id.ms,
        outcome: text("outcome"),
        error_code: text("error_code"),
        error_message: text("error_message"),
        container_id: text("container_id"),
        engine_endpoint: text("engine_endpoint"),
    })
}
