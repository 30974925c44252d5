//! One game's record in Redis: state, fence, lease, and the stored answers of its jobs.

use std::sync::Arc;
use std::time::Duration;

use fred::interfaces::{KeysInterface, StreamsInterface};
use fred::types::{Expiration, SetOptions};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::game_id::GameId;
use super::image_ref::ImageRef;
use super::reconcile::Action;
use super::{Answered, OP_SOURCE};
use crate::contract::dead_letter::Reason;
use crate::contract::job_result::{Answer, REPLAY_NO_OP, SuccessKind};
use crate::redis::{Coalescer, Connection, RedisError, Value};

/// One verb a file, behind what they share.
const VERBS: &str = concat!(
    include_str!("scripts/record.lua"),
    include_str!("scripts/begin.lua"),
    include_str!("scripts/fence.lua"),
    include_str!("scripts/renew_lease.lua"),
    include_str!("scripts/release_lease.lua"),
    include_str!("scripts/condemn.lua"),
    include_str!("scripts/disown.lua"),
    include_str!("scripts/commit.lua"),
    include_str!("scripts/abandon.lua"),
    include_str!("scripts/reap.lua"),
);

/// The records of all games.
#[derive(Debug, Clone)]
pub struct Records {
    calls: Coalescer,
    /// Stands before every key.
    prefix: String,
    /// The jobs stream and its group: entry ids are unique per stream only, and a blocked game is freed when its
    /// source is pending nowhere.
    jobs: String,
    group: String,
    /// The consumer name of this process: who holds leases.
    owner: String,
    lease: Duration,
}

/// What [`Records::begin`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// This very job has been answered before.
    Stored(Answered),
    /// The game runs this image.
    Running(Placed),
    /// The game runs another image.
    Conflict(Placed, String),
    /// Another attempt holds the lease for this much longer.
    Busy(Duration),
    /// An older job with another image has begun and not ended; its entry id.
    Blocked(String),
    /// The attempt is ours.
    Go(Fenced),
}

/// A container and the host it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The engine's id.
    pub container_id: String,
    /// The `engine-host-id` of its engine.
    pub host: String,
}

/// The right to work on one game: every write and every change on the engine is checked against the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fenced {
    /// The fencing token.
    pub fence: String,
    /// Where the game is to run; sticky once an attempt has begun.
    pub host: String,
    /// A container that must go first.
    pub condemned: Option<String>,
    /// When the call that proved it was sent.
    pub proved_at: Instant,
}

impl Fenced {
    /// Is this the first attempt on its game that the record knows of?
    pub fn is_first(&self) -> bool {
        self.fence == "1" && self.condemned.is_none()
    }
}

/// What [`Records::abandon`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Abandoned {
    /// The job had been answered before, so.
    Stored(Answered),
    /// The game was this job's, and is free now.
    Taken,
    /// The game is another job's; nothing was touched.
    Kept,
}

/// One job of one game, as the record's scripts take it.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The game.
    pub game: &'a GameId,
    /// The image asked for.
    pub image: &'a ImageRef,
    /// The job's bare entry id.
    pub source: &'a str,
}

/// How an attempt ended, for [`Records::commit`].
#[derive(Debug)]
pub struct Ended<'a> {
    /// What is published and stored.
    pub answer: &'a Answer,
    /// A condemned container that could not be removed; the next attempt or the reconciler does it.
    pub still_condemned: Option<&'a str>,
}

impl Records {
    /// Records under `prefix` for jobs of this stream and group; `owner` is this process's consumer name.
    pub fn new(
        connection: Arc<Connection>,
        prefix: &str,
        (jobs, group): (&str, &str),
        owner: &str,
        lease: Duration,
    ) -> Self {
        Self {
            calls: Coalescer::new(connection, VERBS),
            prefix: prefix.to_owned(),
            jobs: jobs.to_owned(),
            group: group.to_owned(),
            owner: owner.to_owned(),
            lease,
        }
    }

    /// Who holds this process's leases.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// How long a lease lasts without renewal.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Begins an attempt. `dead` is a container of the record that was seen not running; `gone` a source that is
    /// pending nowhere.
    pub async fn begin(
        &self,
        job: &Job<'_>,
        host: &str,
        engine: &str,
        dead: Option<&str>,
        gone: Option<&str>,
    ) -> Result<Begun, RedisError> {
        let words = [
            "begin",
            job.source,
            &self.field(job.source),
            job.image.as_str(),
            &self.owner,
            &self.lease.as_millis().to_string(),
            host,
            engine,
            dead.unwrap_or(""),
            gone.unwrap_or(""),
            OP_SOURCE,
        ];
        let sent_at = Instant::now();
        let words = self.call(job.game, &words).await?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let placed = |id: &str, host: &str| Placed { container_id: id.to_owned(), host: host.to_owned() };
        Ok(match words.as_slice() {
            ["stored", answer] => Begun::Stored(answer_of(answer)?),
            ["running", id, host] => Begun::Running(placed(id, host)),
            ["conflict", image, id, host] => Begun::Conflict(placed(id, host), (*image).to_owned()),
            ["busy", ms] => Begun::Busy(Duration::from_millis(ms.parse().unwrap_or(0))),
            ["blocked", source] => Begun::Blocked((*source).to_owned()),
            ["go", fence, host, condemned] => Begun::Go(fenced(fence, host, condemned, sent_at)),
            _ => return Err(RedisError::unexpected("begin")),
        })
    }

    /// Renews the lease; false where the attempt is fenced.
    pub async fn renew(&self, game: &GameId, fence: &str) -> Result<bool, RedisError> {
        let ttl = self.lease.as_millis().to_string();
        self.yes(game, &["renew", fence, &self.owner, &ttl]).await
    }

    /// Gives the lease up.
    pub async fn release(&self, game: &GameId, fence: &str) -> Result<(), RedisError> {
        self.yes(game, &["release", fence, &self.owner]).await.map(drop)
    }

    /// For so long a proof of the fence stands: until the lease runs out only an `abandon` can take it, and what that
    /// leaves to chance is no more than between asking and the engine's own doing.
    pub fn proof_stands(&self) -> Duration {
        self.lease / 50
    }

    /// Is this token still the game's fence?
    pub async fn is_ours(&self, game: &GameId, fence: &str) -> Result<bool, RedisError> {
        self.yes(game, &["fence", fence]).await
    }

    /// Names a container that is about to be removed; false where the attempt is fenced.
    pub async fn condemn(&self, game: &GameId, fence: &str, container_id: &str) -> Result<bool, RedisError> {
        self.yes(game, &["condemn", fence, container_id]).await
    }

    /// May a fenced attempt remove the container it made itself?
    pub async fn disown(&self, game: &GameId, container_id: &str) -> Result<bool, RedisError> {
        self.yes(game, &["disown", container_id]).await
    }

    /// Ends an attempt with its answer; false where it is fenced.
    pub async fn commit(&self, job: &Job<'_>, fence: &str, ended: &Ended<'_>) -> Result<bool, RedisError> {
        let (state, container, endpoint) = match ended.answer {
            Answer::Success { container_id, engine_endpoint, .. } => {
                ("running", container_id.as_str(), engine_endpoint.as_str())
            }
            Answer::Failure { .. } => ("failed", "", ""),
        };
        let answer = text_of(ended.answer, None);
        let field = self.field(job.source);
        let condemned = ended.still_condemned.unwrap_or("");
        self.yes(job.game, &["commit", fence, state, container, endpoint, &field, &answer, condemned]).await
    }

    /// Gives a job up for good, with this answer; the game's container, where one was found, is condemned with it.
    pub async fn abandon(
        &self,
        game: &GameId,
        source: &str,
        failure: &Answered,
        container_id: Option<&str>,
    ) -> Result<Abandoned, RedisError> {
        let words = [
            "abandon",
            source,
            &self.field(source),
            &self.owner,
            &text_of(&failure.answer, failure.given_up),
            container_id.unwrap_or(""),
        ];
        let words = self.call(game, &words).await?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(match words.as_slice() {
            ["stored", answer] => Abandoned::Stored(answer_of(answer)?),
            ["taken"] => Abandoned::Taken,
            ["kept"] => Abandoned::Kept,
            _ => return Err(RedisError::unexpected("abandon")),
        })
    }

    /// Does no record stand for this container? Where so, and unless only asked, the record names it as condemned.
    pub async fn reap(
        &self,
        game: &GameId,
        container_id: &str,
        fence: &str,
        action: Action,
    ) -> Result<bool, RedisError> {
        let only_ask = if action == Action::DryRun { "1" } else { "0" };
        self.yes(game, &["reap", container_id, fence, only_ask]).await
    }

    /// Takes the reconciler's tick for this host, if nobody has within `interval`.
    pub async fn take_tick(&self, host: &str, interval: Duration) -> Result<bool, RedisError> {
        let key = format!("{}reconciled:{host}", self.prefix);
        let millis = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        let connection = self.calls.connection();
        let taken: Option<String> = connection
            .client()
            .set(key, self.owner.as_str(), Some(Expiration::PX(millis)), Some(SetOptions::NX), false)
            .await
            .map_err(|error| connection.failed(error))?;
        Ok(taken.is_some())
    }

    /// Is the entry of this job pending in the group?
    pub async fn is_pending(&self, source: &str) -> Result<bool, RedisError> {
        let connection = self.calls.connection();
        let pending: Result<Vec<Value>, _> =
            connection.client().xpending(self.jobs.as_str(), self.group.as_str(), (source, source, 1_u64)).await;
        pending.map(|list| !list.is_empty()).map_err(|error| connection.failed(error))
    }

    fn field(&self, source: &str) -> String {
        format!("{}/{source}", self.jobs)
    }

    /// Calls a verb, the first word, on the game's record.
    async fn call(&self, game: &GameId, words: &[&str]) -> Result<Vec<String>, RedisError> {
        self.calls.call(format!("{}{{{}}}:rec", self.prefix, game.as_str()), words).await
    }

    async fn yes(&self, game: &GameId, words: &[&str]) -> Result<bool, RedisError> {
        match self.call(game, words).await?.as_slice() {
            [word] if word == "1" => Ok(true),
            [word] if word == "0" => Ok(false),
            _ => Err(RedisError::unexpected(words.first().unwrap_or(&"nothing"))),
        }
    }
}

fn fenced(fence: &str, host: &str, condemned: &str, proved_at: Instant) -> Fenced {
    let condemned = Some(condemned).filter(|id| !id.is_empty()).map(str::to_owned);
    Fenced { fence: fence.to_owned(), host: host.to_owned(), condemned, proved_at }
}

/// An answer as it stands in Redis; the outcome's own field names.
#[derive(Serialize, Deserialize)]
struct StoredAnswer {
    outcome: String,
    container_id: String,
    engine_endpoint: String,
    error_code: String,
    error_message: String,
    /// The dead letter's reason, where the job was given up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    given_up: String,
}

fn text_of(answer: &Answer, given_up: Option<Reason>) -> String {
    let (container_id, engine_endpoint, error_message) = match answer {
        Answer::Success { container_id, engine_endpoint, .. } => {
            (container_id.clone(), engine_endpoint.clone(), String::new())
        }
        Answer::Failure { message, .. } => (String::new(), String::new(), message.clone()),
    };
    let stored = StoredAnswer {
        outcome: answer.outcome().to_owned(),
        container_id,
        engine_endpoint,
        error_code: answer.error_code().to_owned(),
        error_message,
        given_up: given_up.map_or("", Reason::as_str).to_owned(),
    };
    serde_json::to_string(&stored).expect("five strings are always JSON")
}

fn answer_of(text: &str) -> Result<Answered, RedisError> {
    let stored: StoredAnswer =
        serde_json::from_str(text).map_err(|error| RedisError::unexpected(&format!("stored result: {error}")))?;
    let answer = match stored.outcome.as_str() {
        "success" => Answer::Success {
            container_id: stored.container_id,
            engine_endpoint: stored.engine_endpoint,
            kind: if stored.error_code == REPLAY_NO_OP { SuccessKind::Replayed } else { SuccessKind::Started },
        },
        "failure" => Answer::Failure { code: stored.error_code, message: stored.error_message },
        other => return Err(RedisError::unexpected(&format!("stored outcome {other:?}"))),
    };
    let given_up = [Reason::Poison, Reason::RetriesExhausted].into_iter().find(|why| why.as_str() == stored.given_up);
    Ok(Answered { answer, given_up })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::error_code::ErrorCode;

    #[test]
    fn a_stored_answer_comes_back_word_for_word() {
        let success = |kind| Answer::Success { container_id: "c".into(), engine_endpoint: "http://h:1".into(), kind };
        for answer in [
            success(SuccessKind::Started),
            success(SuccessKind::Replayed),
            Answer::failure(ErrorCode::EngineExited, "exit code 3: \"no\"\n"),
        ] {
            for given_up in [None, Some(Reason::Poison), Some(Reason::RetriesExhausted)] {
                let answer = answer.clone();
                assert_eq!(answer_of(&text_of(&answer, given_up)), Ok(Answered { answer, given_up }));
            }
        }
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"outcome":"maybe","container_id":"","engine_endpoint":"","error_code":"","error_message":""}"#,
        ] {
            assert!(answer_of(bad).is_err(), "{bad}");
        }
    }
}
