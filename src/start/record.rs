//! One game's record in Redis: state, fence, lease, and the stored answers of its jobs. Their form is `super::text`'s.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::game_id::GameId;
use super::image_ref::ImageRef;
use super::reconcile::Action;
use super::text::{Numbers, RecordText, answer_of};
use super::{Answered, OP_SOURCE};
use crate::contract::job_result::Answer;
use crate::redis::{Coalescer, Connection, RedisError};

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
    include_str!("scripts/tick.lua"),
    include_str!("scripts/probe.lua"),
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
    /// The same, as JSON.
    owner_json: String,
    lease: Duration,
    /// The same, as the scripts take it.
    lease_ms: String,
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
    /// How many attempts on its game the record has seen, this one included.
    pub attempt: u64,
    /// Where the game is to run; sticky once an attempt has begun.
    pub host: String,
    /// A container that must go first.
    pub condemned: Option<String>,
    /// When the call that proved it was sent.
    pub proved_at: Instant,
    /// What the server's clock said then.
    pub clock: ServerClock,
}

/// The server's clock as far as this process knows it: never ahead of it, and behind by no more than an answer is
/// under way, for as long as the clocks of both go alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerClock {
    ms: u64,
    heard_at: Instant,
}

impl ServerClock {
    /// An answer that has just come says so.
    pub fn hear(ms: u64) -> Self {
        Self::hear_at(ms, Instant::now())
    }

    /// An answer that came at this moment says so.
    pub fn hear_at(ms: u64, heard_at: Instant) -> Self {
        Self { ms, heard_at }
    }

    /// Unix milliseconds.
    pub fn now_ms(self) -> u64 {
        self.ms_at(Instant::now())
    }

    /// The same at this moment.
    pub fn ms_at(self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.heard_at);
        self.ms.saturating_add(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
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

/// One job of one game.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The game.
    pub game: &'a GameId,
    /// The image asked for.
    pub image: &'a ImageRef,
    /// The job's bare entry id.
    pub source: &'a str,
    /// The kind of the engine that is to run it.
    pub engine: &'static str,
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
            owner_json: serde_json::to_string(owner).expect("a text is always JSON"),
            lease,
            lease_ms: lease.as_millis().to_string(),
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

    /// Begins an attempt, on this host where none has begun on another. `dead` is a container of the record that was
    /// seen not running; `gone` a source that is pending nowhere.
    pub async fn begin(
        &self,
        job: &Job<'_>,
        host: &str,
        dead: Option<&str>,
        gone: Option<&str>,
    ) -> Result<Begun, RedisError> {
        let record = RecordText { state: "starting", ..self.text_of(job, host) }.without_numbers();
        let words = ["begin", &record, &self.lease_ms, dead.unwrap_or(""), gone.unwrap_or(""), &self.owner_json];
        let proved_at = Instant::now();
        let words = self.call_with_results(job.game, &words).await?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let placed = |id: &str, host: &str| Placed { container_id: id.to_owned(), host: host.to_owned() };
        Ok(match words.as_slice() {
            ["first", now_ms] => Begun::Go(Fenced {
                fence: "1".to_owned(),
                attempt: 1,
                host: host.to_owned(),
                condemned: None,
                proved_at,
                clock: ServerClock::hear(number_of(now_ms)?),
            }),
            ["stored", answer] => Begun::Stored(answer_of(answer)?),
            ["running", id, host] => Begun::Running(placed(id, host)),
            ["conflict", image, id, host] => Begun::Conflict(placed(id, host), (*image).to_owned()),
            ["busy", ms] => Begun::Busy(Duration::from_millis(ms.parse().unwrap_or(0))),
            ["blocked", source] => Begun::Blocked((*source).to_owned()),
            ["go", now_ms, fence, attempt, host, condemned] => Begun::Go(Fenced {
                fence: (*fence).to_owned(),
                attempt: number_of(attempt)?,
                host: (*host).to_owned(),
                condemned: Some((*condemned).to_owned()).filter(|id| !id.is_empty()),
                proved_at,
                clock: ServerClock::hear(number_of(now_ms)?),
            }),
            _ => return Err(RedisError::unexpected("begin")),
        })
    }

    /// Renews the lease; false where the attempt is fenced.
    pub async fn renew(&self, game: &GameId, fence: &str) -> Result<bool, RedisError> {
        self.yes(game, &["renew", &self.holder(fence), &self.lease_ms]).await
    }

    /// Gives the lease up.
    pub async fn release(&self, game: &GameId, fence: &str) -> Result<(), RedisError> {
        self.yes(game, &["release", &self.holder(fence)]).await.map(drop)
    }

    /// For so long a proof of the fence stands: until the lease runs out only an `abandon` can take it, and what that
    /// leaves to chance is no more than between asking and the engine's own doing.
    pub fn proof_stands(&self) -> Duration {
        self.lease / 50
    }

    /// Is this token still the game's fence, and ours?
    pub async fn is_ours(&self, game: &GameId, fence: &str) -> Result<bool, RedisError> {
        self.yes(game, &["fence", &self.holder(fence)]).await
    }

    /// Names a container that is about to be removed; false where the attempt is fenced.
    pub async fn condemn(&self, game: &GameId, fence: &str, container_id: &str) -> Result<bool, RedisError> {
        self.yes(game, &["condemn", &self.holder(fence), container_id]).await
    }

    /// May a fenced attempt remove the container it made itself?
    pub async fn disown(&self, game: &GameId, container_id: &str) -> Result<bool, RedisError> {
        self.yes(game, &["disown", container_id]).await
    }

    /// Ends an attempt with its answer; false where it is fenced.
    pub async fn commit(&self, job: &Job<'_>, fenced: &Fenced, ended: &Ended<'_>) -> Result<bool, RedisError> {
        let record = RecordText {
            condemned: ended.still_condemned.unwrap_or(""),
            ..self.text_of(job, &fenced.host).answered(ended.answer, None)
        };
        // By our own account of the clock, so that the script need not put the text together.
        let updated_at_ms = fenced.clock.now_ms();
        let holder = self.holder(&fenced.fence);
        let record = record.with_numbers(Numbers { holder: &holder, updated_at_ms, attempt: fenced.attempt });
        self.yes(job.game, &["commit", &holder, &record]).await
    }

    /// Gives a job up for good, with this answer; the game's container, where one was found, is condemned with it.
    /// `host` is where the game would have been placed.
    pub async fn abandon(
        &self,
        job: &Job<'_>,
        host: &str,
        failure: &Answered,
        container_id: Option<&str>,
    ) -> Result<Abandoned, RedisError> {
        let record = self.text_of(job, host).answered(&failure.answer, failure.given_up).without_numbers();
        let words = ["abandon", &record, container_id.unwrap_or(""), &self.owner_json];
        let words = self.call_with_results(job.game, &words).await?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(match words.as_slice() {
            ["stored", answer] => Abandoned::Stored(answer_of(answer)?),
            ["taken"] => Abandoned::Taken,
            ["kept"] => Abandoned::Kept,
            _ => return Err(RedisError::unexpected("abandon")),
        })
    }

    /// Does no record stand for this container, which carries this fencing token of this owner? Where so, and unless only
    /// asked, the record names it as condemned.
    pub async fn reap(
        &self,
        game: &GameId,
        container_id: &str,
        (fence, owner): (&str, &str),
        action: Action,
    ) -> Result<bool, RedisError> {
        let only_ask = if action == Action::DryRun { "1" } else { "0" };
        self.yes(game, &["reap", container_id, fence, owner, only_ask]).await
    }

    /// Takes the reconciler's tick for this host, if nobody has within `interval`.
    pub async fn take_tick(&self, host: &str, interval: Duration) -> Result<bool, RedisError> {
        let (key, millis) = (format!("{}reconciled:{host}", self.prefix), interval.as_millis().to_string());
        yes_of(&self.calls.call(key, None, &["tick", &millis, &self.owner]).await?)
    }

    /// Does the store take what a start writes?
    pub async fn probe(&self) -> Result<(), RedisError> {
        self.calls.call(format!("{}probe", self.prefix), None, &["probe"]).await.map(drop)
    }

    /// Is the entry of this job pending in the group?
    pub async fn is_pending(&self, source: &str) -> Result<bool, RedisError> {
        let pending = self.calls.connection().pending(&self.jobs, &self.group, (source, source), 1).await?;
        Ok(!pending.is_empty())
    }

    /// What a record says of a job before anything is known of how it goes.
    fn text_of<'a>(&'a self, job: &Job<'a>, host: &'a str) -> RecordText<'a> {
        RecordText {
            image_ref: job.image.as_str(),
            stream: &self.jobs,
            source_ref: job.source,
            op_source: OP_SOURCE,
            host,
            engine: job.engine,
            ..RecordText::default()
        }
    }

    /// How a record begins that this process holds with this token.
    fn holder(&self, fence: &str) -> String {
        format!(r#"{{"fence":{fence},"owner":{},"#, self.owner_json)
    }

    fn key_of(&self, game: &GameId, part: &str) -> String {
        format!("{}{{{}}}:{part}", self.prefix, game.as_str())
    }

    /// Calls a verb, the first word, on the game's record and the answers beside it.
    async fn call_with_results(&self, game: &GameId, words: &[&str]) -> Result<Vec<String>, RedisError> {
        self.calls.call(self.key_of(game, "rec"), Some(self.key_of(game, "res")), words).await
    }

    /// The same, on the record alone.
    async fn yes(&self, game: &GameId, words: &[&str]) -> Result<bool, RedisError> {
        yes_of(&self.calls.call(self.key_of(game, "rec"), None, words).await?)
    }
}

fn yes_of(reply: &[String]) -> Result<bool, RedisError> {
    match reply {
        [word] if word == "1" => Ok(true),
        [word] if word == "0" => Ok(false),
        _ => Err(RedisError::unexpected(&format!("{reply:?}"))),
    }
}

fn number_of(text: &str) -> Result<u64, RedisError> {
    text.parse().map_err(|_| RedisError::unexpected(&format!("number {text:?}")))
}
