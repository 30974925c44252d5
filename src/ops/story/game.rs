//! One game: its record, and its jobs as far as stored answers tell.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::{Kept, Record, Stored};
use crate::contract::error_code::ErrorCode;
use crate::ops::damaged::Damaged;
use crate::ops::events::EventView;
use crate::ops::hosts::standing_text;
use crate::ops::jobs::row::{JobRow, JobState, Jobs};
use crate::ops::pending::Held;
use crate::ops::printable::moment;
use crate::ops::pulls::PullView;
use crate::ops::{SCHEMA_VERSION, View};
use crate::redis::RedisError;
use crate::start::record::Hosts;
use crate::stream::entry_id::EntryId;
use crate::stream::history::History;
use crate::stream::mark::Cancel;

/// Pending entries that are looked at for a job of the game.
const PENDING_MAX: usize = 2_000;

/// How long open jobs of a game are looked for.
const OPEN_WITHIN: Duration = Duration::from_secs(1);

/// Everything that is known about one game.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GameStory {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// The id of the game.
    pub(crate) game_id: String,
    /// What is known, for people.
    pub(crate) sentence: String,
    /// Its record.
    pub(crate) record: Option<Record>,
    /// Whether the host of the record is `alive`, `dead` or `unknown`.
    pub(crate) host_standing: Option<&'static str>,
    /// How long ago that host was heard of.
    pub(crate) host_heard_ago_ms: Option<u64>,
    /// The oldest job that a replica holds for it, where it does not run.
    pub(crate) open_job: Option<OpenJob>,
    /// Every job of the game that has no answer: those that back off, are in flight, or wait.
    pub(crate) open_jobs: Vec<JobRow>,
    /// What was not looked at for them, one sentence each.
    pub(crate) open_bounds: Vec<String>,
    /// The image for which it waits, or that could not be had so far.
    pub(crate) pull: Option<PullView>,
    /// The answers its record keeps, and those of jobs that were cancelled before any replica had read them, oldest first.
    pub(crate) jobs: Vec<Stored>,
    /// What cannot be read of it.
    pub(crate) damaged: Vec<Damaged>,
}

/// A job of the game that has no answer yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct OpenJob {
    /// The entry.
    pub(crate) entry_id: String,
    /// Which replica holds it.
    pub(crate) replica: String,
    /// How often it was delivered.
    pub(crate) deliveries: u64,
    /// How many attempts have failed and were counted.
    pub(crate) failures: u64,
}

impl GameStory {
    /// Something is known.
    pub(crate) fn is_known(&self) -> bool {
        let has_jobs = self.open_job.is_some() || !self.jobs.is_empty() || !self.open_jobs.is_empty();
        self.record.is_some() || has_jobs || !self.damaged.is_empty()
    }
}

impl OpenJob {
    fn words(&self, note: Option<&str>) -> String {
        let Self { entry_id, replica, deliveries, failures } = self;
        let held = format!("{replica} holds job {entry_id}, delivery {deliveries}");
        match failures {
            0 => note.map_or_else(|| held.clone(), |note| format!("{held}; {note}")),
            _ => format!(
                "{held}; attempts that failed so far: {failures}. {}",
                note.unwrap_or("It tries again within retry-max, and its log says why they failed")
            ),
        }
    }
}

impl View {
    /// The oldest job of this game that a replica holds, among so many.
    async fn open_job(&self, game: &str) -> Result<Option<OpenJob>, RedisError> {
        let held = self.pending(PENDING_MAX).await?.pending;
        let Some(held) = held.into_iter().find(|held| held.game_id.as_deref() == Some(game)) else { return Ok(None) };
        let past = match held.id.parse::<EntryId>() {
            Ok(id) => self.as_group.history(&[id]).await?.into_iter().next().unwrap_or_default(),
            Err(_) => History::default(),
        };
        let Held { id: entry_id, replica, deliveries, .. } = held;
        Ok(Some(OpenJob { entry_id, replica, deliveries, failures: past.failures }))
    }

    /// The story of one game.
    pub(crate) async fn game_story(&self, game: &str) -> Result<GameStory, RedisError> {
        let at_ms = self.connection.time_ms().await?;
        let Kept { record, stored: mut jobs, damaged } = self.game(game, at_ms).await?;
        let cancelled = self.cancelled_unread(game).await?;
        jobs.extend(cancelled.iter().filter_map(stored_of));
        jobs.sort_by_key(|job| (job.appended_at_ms, job.source_ref.clone()));
        jobs.dedup_by(|one, other| one.source_ref == other.source_ref);
        let hosts = if record.is_some() { self.host_lines().await? } else { Hosts::default() };
        let line = record.as_ref().and_then(|record| hosts.hosts.get(&record.host));
        let pull = match record.as_ref().filter(|record| record.state == "starting") {
            Some(record) => {
                let look = self.look().await?;
                self.pull_of(record, &self.replicas(&look).replicas, look.now_ms).await?
            }
            None => None,
        };
        let is_open = record.as_ref().is_none_or(|record| record.state == "starting");
        let open_job = if is_open { self.open_job(game).await? } else { None };
        let open = self.open_jobs_of(game, Instant::now() + OPEN_WITHIN).await?;
        let note = open_job.as_ref().and_then(|job| note_of(&open, job));
        let open_words = open_job.as_ref().map(|job| job.words(note.as_deref()));
        let is_damaged = damaged.iter().any(|damaged| damaged.field.is_none());
        Ok(GameStory {
            schema_version: SCHEMA_VERSION,
            at_ms,
            game_id: game.to_owned(),
            sentence: match &record {
                Some(record) => sentence(record, open_words, at_ms),
                None => without_record(open_words, is_damaged, jobs.last()),
            },
            host_standing: record.as_ref().map(|record| standing_text(hosts.standing(&record.host, Duration::ZERO))),
            host_heard_ago_ms: line.map(|line| hosts.now_ms.saturating_sub(line.seen_ms)),
            record,
            open_job,
            open_bounds: open.bounds(),
            open_jobs: open.jobs,
            pull,
            jobs,
            damaged,
        })
    }
}

/// What its replica says of that job.
fn note_of(open: &Jobs, job: &OpenJob) -> Option<String> {
    let row = open.jobs.iter().find(|row| row.entry_id.as_ref() == Some(&job.entry_id));
    row.filter(|row| row.state == JobState::BackingOff).and_then(JobRow::note)
}

fn without_record(open: Option<String>, is_damaged: bool, last: Option<&Stored>) -> String {
    match (open, is_damaged) {
        (Some(open), true) => format!("its record cannot be read: {open}"),
        (None, true) => "its record cannot be read: it is not known whether the game runs".to_owned(),
        (Some(open), false) => format!("no record yet: {open}"),
        (None, false) => {
            let was_cancelled = last.filter(|last| last.error_code == ErrorCode::Cancelled.as_str());
            let last = was_cancelled.map_or_else(String::new, |last| {
                format!("; job {} was {} before any replica had read it", last.source_ref, last.error_message)
            });
            format!("no record: no attempt to start this game is known{last}")
        }
    }
}

/// The answer to a job that was cancelled before any replica had read it, from the event that tells of it.
fn stored_of(event: &EventView) -> Option<Stored> {
    let id: EntryId = event.entry_id.as_ref()?.parse().ok()?;
    let reason = event.text.as_deref().unwrap_or_default();
    Some(Stored {
        source_ref: id.to_string(),
        appended_at_ms: id.ms,
        outcome: "failure".to_owned(),
        error_code: ErrorCode::Cancelled.as_str().to_owned(),
        error_message: Cancel::new(event.by.as_deref().unwrap_or_default(), reason).message(),
        container_id: String::new(),
        engine_endpoint: String::new(),
    })
}

fn sentence(record: &Record, open: Option<String>, now_ms: u64) -> String {
    let open = open.map_or_else(String::new, |open| format!("; {open}"));
    let since = moment(record.updated_at_ms, now_ms);
    match (record.state.as_str(), &record.lease) {
        ("running", _) => {
            format!("running since {since}: container {} at {}", record.container_id, record.engine_endpoint)
        }
        ("starting", Some(lease)) => format!("starting, last written {since}: the lease is {}'s", lease.holder),
        ("starting", None) => format!("starting, last written {since}: no replica holds the lease{open}"),
        ("stopped", _) => {
            let ended = moment(record.ended_at_ms.unwrap_or(record.updated_at_ms), now_ms);
            format!("stopped since {ended}: {}", record.end().unwrap_or_default())
        }
        (state, _) => format!("{state} since {since}"),
    }
}
