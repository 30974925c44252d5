//! One game's record in Redis: state, fence, lease, and the stored answers of its jobs. `super::text` writes and parses
//! the texts.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::game_id::GameId;
use super::text::{Numbers, RecordText, answer_of};
use super::{Answered, OP_SOURCE};
use crate::contract::image_ref::ImageRef;
use crate::contract::job_result::Answer;
use crate::redis::coalesce::script_of;
use crate::redis::server_clock::ServerClock;
use crate::redis::{Coalescer, Connection, RedisError};

/// The verbs, one in each file, after what they share.
const VERBS: &str = concat!(
    include_str!("../scripts/record.lua"),
    include_str!("../scripts/begin.lua"),
    include_str!("../scripts/room.lua"),
    include_str!("../scripts/fence.lua"),
    include_str!("../scripts/renew_lease.lua"),
    include_str!("../scripts/release_lease.lua"),
    include_str!("../scripts/condemn.lua"),
    include_str!("../scripts/disown.lua"),
    include_str!("../scripts/commit.lua"),
    include_str!("../scripts/abandon.lua"),
    include_str!("../scripts/reap.lua"),
    include_str!("../scripts/removed.lua"),
    include_str!("../scripts/show.lua"),
    include_str!("../scripts/ended.lua"),
    include_str!("../scripts/moved.lua"),
    include_str!("../scripts/revived.lua"),
    include_str!("../scripts/rebuild.lua"),
    include_str!("../scripts/yield.lua"),
    include_str!("../scripts/unlist.lua"),
    include_str!("../scripts/stop.lua"),
    include_str!("../scripts/tick.lua"),
    include_str!("../scripts/beat.lua"),
    include_str!("../scripts/forget.lua"),
    include_str!("../scripts/fleet.lua"),
    include_str!("../scripts/probe.lua"),
);

/// The text of the script of all verbs, for tests that run it, or a changed one, without this program.
#[doc(hidden)]
pub fn script_text() -> String {
    script_of(VERBS).text().to_owned()
}

/// The fencing token of a game's first attempt.
const FIRST_FENCE: &str = "1";

// how they are kept true
mod keep;
// which games are on a host
mod placed;
// the hosts of the fleet
mod hosts;

pub(crate) use self::hosts::{Beat, HostLine, Hosts, Standing};
pub use self::keep::{Action, Reap};
pub(crate) use self::keep::{Ended, Labelled, RecordView, StopWhere};
pub(crate) use self::placed::PAGE as PLACED_PAGE;
pub use self::placed::Room;

/// The records of all games.
#[derive(Debug, Clone)]
pub struct Records {
    calls: Coalescer,
    /// Begins every key.
    prefix: String,
    /// The jobs stream. Entry ids are unique per stream only, so a record names both.
    jobs: String,
    /// The consumer group. A blocked game is freed when its source is no longer pending in it.
    group: String,
    /// The consumer name of this process, which holds its leases.
    owner: String,
    /// `owner` as JSON.
    owner_json: String,
    lease: Duration,
    /// `lease` in milliseconds, as the scripts take it.
    lease_ms: String,
}

/// What [`Records::begin`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// This very job has been answered before. Where the game still runs the container of a success, the host of it.
    Stored(Answered, Option<String>),
    /// The game runs this image, in this container.
    Running(String),
    /// The game runs another image.
    Conflict {
        /// The container.
        container_id: String,
        /// Its image.
        image_ref: String,
    },
    /// The game is placed on another host.
    Elsewhere(String),
    /// So many games are on the host that asks, and it may have no other.
    Full(u64),
    /// An operator, of this name, has stopped the game since the job was appended.
    Halted(String),
    /// Another attempt holds the lease for this much longer.
    Busy(Duration),
    /// An older job with another image has begun and not ended; its entry id.
    Blocked(String),
    /// The attempt has begun.
    Go(FenceToken),
}

impl Begun {
    /// The script's answer to a call that was sent at this moment, for a game that is to be placed on this host.
    fn parse(words: &[String], host: &str, checked_at: Instant) -> Result<Self, RedisError> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(match words.as_slice() {
            ["first", now_ms] => Self::Go(FenceToken {
                fence: FIRST_FENCE.to_owned(),
                attempt: 1,
                host: host.to_owned(),
                condemned: None,
                checked_at,
                clock: ServerClock::hear(parse_number(now_ms)?),
            }),
            ["stored", answer, host] => {
                Self::Stored(answer_of(answer)?, Some((*host).to_owned()).filter(|host| !host.is_empty()))
            }
            ["running", id] => Self::Running((*id).to_owned()),
            ["conflict", image, id] => {
                Self::Conflict { container_id: (*id).to_owned(), image_ref: (*image).to_owned() }
            }
            ["elsewhere", host] => Self::Elsewhere((*host).to_owned()),
            ["full", games] => Self::Full(parse_number(games)?),
            ["halted", who] => Self::Halted((*who).to_owned()),
            ["busy", ms] => Self::Busy(Duration::from_millis(ms.parse().unwrap_or(0))),
            ["blocked", source] => Self::Blocked((*source).to_owned()),
            ["go", now_ms, fence, attempt, condemned] => Self::Go(FenceToken {
                fence: (*fence).to_owned(),
                attempt: parse_number(attempt)?,
                host: host.to_owned(),
                condemned: Some((*condemned).to_owned()).filter(|id| !id.is_empty()),
                checked_at,
                clock: ServerClock::hear(parse_number(now_ms)?),
            }),
            _ => return Err(RedisError::unexpected("begin")),
        })
    }
}

/// The host that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    host: String,
    /// All its names, each with a space before and behind it.
    names: String,
}

impl Here {
    /// A host of this name, which was called by other names before.
    pub fn new<'a>(host: &str, others: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names = format!(" {host} ");
        for other in others {
            names.push_str(other);
            names.push(' ');
        }
        Self { host: host.to_owned(), names }
    }

    /// Its name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// All its names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.split(' ').filter(|name| !name.is_empty())
    }

    /// Whether this is one of its names.
    pub(crate) fn is(&self, host: &str) -> bool {
        self.names().any(|name| name == host)
    }
}

/// The right to work on one game: every write and every change on the engine is checked against the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceToken {
    /// The token itself.
    pub fence: String,
    /// How many attempts on its game the record has seen, this one included.
    pub attempt: u64,
    /// Where the game is to run: the host that asked.
    pub host: String,
    /// A container that must go first.
    pub condemned: Option<String>,
    /// When the call that granted it was sent.
    pub checked_at: Instant,
    /// What the server's clock said then.
    pub clock: ServerClock,
}

impl FenceToken {
    /// Whether this is the first attempt on its game that the record knows of.
    pub fn is_first(&self) -> bool {
        self.fence == FIRST_FENCE && self.condemned.is_none()
    }
}

/// What [`Records::abandon`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Abandoned {
    /// The job had been answered before, with this.
    Stored(Answered),
    /// The game was this job's, and is free now.
    Taken,
    /// The game is another job's; nothing was touched.
    Kept,
}

/// One job of one game.
#[derive(Debug, Clone)]
pub struct RecordJob<'a> {
    /// The game.
    pub game: &'a GameId,
    /// The image asked for.
    pub image: &'a ImageRef,
    /// The job's bare entry id.
    pub source: &'a str,
    /// The kind of the engine that is to run it.
    pub engine: &'static str,
}

/// What is known to a call before it begins an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The container of the record, where the engine does not run it.
    pub dead_container: Option<String>,
    /// The job that blocks the game, where it is not pending any more.
    pub gone_source: Option<String>,
    /// The owner that is dead: a lease of this one is not waited for.
    pub dead_owner: Option<Arc<str>>,
    /// The host of the record, where it is dead: the game is placed anew.
    pub dead_host: Option<String>,
    /// How many games may be on the host that asks; none: any number.
    pub games_max: Option<u32>,
}

impl Seen {
    /// The names of the host that asks, and what is known of hosts, as `begin.lua` takes them.
    fn hosts(&self, here: &Here) -> String {
        let dead = self.dead_host.as_deref().unwrap_or("");
        match (self.games_max, &self.dead_host) {
            (None, None) => here.names.clone(),
            (None, Some(_)) => format!("{}\n{dead}", here.names),
            (Some(most), _) => format!("{}\n{dead}\n{most}", here.names),
        }
    }
}

/// How an attempt came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptResult {
    /// What is stored and published.
    pub answer: Answer,
    /// A condemned container that could not be removed; the next attempt or the reconciler removes it.
    pub still_condemned: Option<String>,
    /// It is in the record already.
    pub is_recorded: bool,
}

impl From<Answer> for AttemptResult {
    fn from(answer: Answer) -> Self {
        Self { answer, still_condemned: None, is_recorded: false }
    }
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

    /// The owner of this process's leases.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// How long a lease lasts without renewal.
    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// Begins an attempt on this host, unless the game is placed on another one.
    pub async fn begin(&self, job: &RecordJob<'_>, here: &Here, seen: &Seen) -> Result<Begun, RedisError> {
        let record = RecordText { state: "starting", ..self.text_of(job, &here.host) }.without_numbers();
        let text = |option: &Option<String>| option.clone().unwrap_or_default();
        let (dead, gone) = (text(&seen.dead_container), text(&seen.gone_source));
        let dead_owner = seen.dead_owner.as_deref().unwrap_or("");
        let hosts = seen.hosts(here);
        let words = ["begin", &record, &self.lease_ms, &dead, &gone, &self.owner_json, dead_owner, &hosts];
        let checked_at = Instant::now();
        // From here on the game is on the list of its host (`placed`).
        let further = [format!("{}placed:{}", self.prefix, here.host), self.key_of(job.game, "res")];
        let words = self.calls.call(self.key_of(job.game, "rec"), further, &words).await?;
        Begun::parse(&words, &here.host, checked_at)
    }

    /// Renews the lease; false where the attempt is fenced.
    pub async fn renew(&self, game: &GameId, fence: &str) -> Result<bool, RedisError> {
        self.ask(game, &["renew", &self.holder(fence), &self.lease_ms]).await
    }

    /// Gives the lease up.
    pub async fn release(&self, game: &GameId, fence: &str) -> Result<(), RedisError> {
        self.ask(game, &["release", &self.holder(fence), "0"]).await.map(drop)
    }

    /// The same, after an attempt of which nothing is left on this host: the next one may be made on any.
    pub async fn leave(&self, game: &GameId, fence: &str) -> Result<(), RedisError> {
        self.ask(game, &["release", &self.holder(fence), "1"]).await.map(drop)
    }

    /// The same, after the container that was left there had been condemned and removed.
    pub async fn leave_after(&self, game: &GameId, fence: &str, removed: &str) -> Result<(), RedisError> {
        self.ask(game, &["release", &self.holder(fence), removed]).await.map(drop)
    }

    /// How long a check of the fence counts. Until the lease runs out the fence is taken only by `abandon`, and by a job that
    /// was told that this owner is dead. So this risks no more than the time that always passes between a check and the
    /// engine's own work.
    pub(crate) fn fence_check_ttl(&self) -> Duration {
        self.lease / 50
    }

    /// Whether this process still holds the game with this token.
    pub async fn holds_fence(&self, game: &GameId, fence: &str) -> Result<bool, RedisError> {
        self.ask(game, &["fence", &self.holder(fence)]).await
    }

    /// Records that a container is about to be removed; false where the attempt is fenced.
    pub async fn condemn(&self, game: &GameId, fence: &str, container_id: &str) -> Result<bool, RedisError> {
        self.ask(game, &["condemn", &self.holder(fence), container_id]).await
    }

    /// Whether a fenced attempt may remove the container that it created; then the record condemns it.
    pub async fn disown(&self, game: &GameId, container_id: &str) -> Result<bool, RedisError> {
        self.ask(game, &["disown", container_id]).await
    }

    /// Ends an attempt with its answer; false where it is fenced.
    pub async fn commit(
        &self,
        job: &RecordJob<'_>,
        token: &FenceToken,
        result: &AttemptResult,
    ) -> Result<bool, RedisError> {
        let record = RecordText {
            condemned: result.still_condemned.as_deref().unwrap_or(""),
            ..self.text_of(job, &token.host).answered(&result.answer, None)
        };
        // The server's time is computed here, so that the script can store the text as it is.
        let updated_at_ms = token.clock.now_ms();
        let holder = self.holder(&token.fence);
        let record = record.with_numbers(Numbers { holder: &holder, updated_at_ms, attempt: token.attempt });
        self.ask(job.game, &["commit", &holder, &record]).await
    }

    /// Gives a job up for good, with this answer; the game's container, where one was found, is condemned with it.
    /// `host` is where the game would have been placed.
    pub async fn abandon(
        &self,
        job: &RecordJob<'_>,
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

    /// Checks that the store takes what a start writes.
    pub async fn probe(&self) -> Result<(), RedisError> {
        self.calls.call(format!("{}probe", self.prefix), None, &["probe"]).await.map(drop)
    }

    /// Whether the entry of this job is pending in the group.
    pub(crate) async fn is_pending(&self, source: &str) -> Result<bool, RedisError> {
        let pending = self.calls.connection().pending(&self.jobs, &self.group, (source, source), 1).await?;
        Ok(!pending.is_empty())
    }

    /// The part of a record that is known before the attempt.
    fn text_of<'a>(&'a self, job: &RecordJob<'a>, host: &'a str) -> RecordText<'a> {
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

    /// The beginning of a record that this process holds with this token.
    fn holder(&self, fence: &str) -> String {
        format!(r#"{{"fence":{fence},"owner":{},"#, self.owner_json)
    }

    fn key_of(&self, game: &GameId, part: &str) -> String {
        format!("{}{{{}}}:{part}", self.prefix, game.as_str())
    }

    /// Calls a verb, the first word, on the game's record and the answers of its earlier jobs.
    async fn call_with_results(&self, game: &GameId, words: &[&str]) -> Result<Vec<String>, RedisError> {
        self.calls.call(self.key_of(game, "rec"), Some(self.key_of(game, "res")), words).await
    }

    /// Calls a verb that answers yes or no, on the game's record alone.
    async fn ask(&self, game: &GameId, words: &[&str]) -> Result<bool, RedisError> {
        parse_yes(&self.calls.call(self.key_of(game, "rec"), None, words).await?)
    }
}

fn parse_yes(reply: &[String]) -> Result<bool, RedisError> {
    match reply {
        [word] if word == "1" => Ok(true),
        [word] if word == "0" => Ok(false),
        _ => Err(RedisError::unexpected(&format!("{reply:?}"))),
    }
}

fn parse_number(text: &str) -> Result<u64, RedisError> {
    text.parse().map_err(|_| RedisError::unexpected(&format!("number {text:?}")))
}
