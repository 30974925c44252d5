//! What is told of one entry: the form that commands and the page show.

use serde::Serialize;

use super::next::{NextStep, Wait};
use super::requeues::{Requeue, Successor};
use super::standstill::Standstill;
use super::takeover::Takeover;
use super::{EntryStage, Holder, Moment, Record, Stored};
use crate::ops::damaged::{Damaged, GAME_RECORD, STORED_ANSWER, WHOLE_KEY};
use crate::ops::events::JobEvents;
use crate::ops::pulls::PullView;
use crate::stream::entry_id::EntryId;
use crate::stream::mark::Cancel;

/// Everything that is known about one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EntryStory {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// Its id.
    pub(crate) entry_id: String,
    /// What is known, for people.
    pub(crate) sentence: String,
    /// What has happened to it so far.
    pub(crate) stage: EntryStage,
    /// When it was appended, Unix milliseconds.
    pub(crate) appended_at_ms: u64,
    /// What it asks for; none where its payload is gone.
    pub(crate) payload: Option<Payload>,
    /// Who holds it.
    pub(crate) pending: Option<Holder>,
    /// How often a process died with it, as far as it is not settled.
    pub(crate) crashes: u64,
    /// How often the start service failed with it, as far as it is not settled.
    pub(crate) failures: u64,
    /// An operator wants it cancelled, as far as it is not settled.
    pub(crate) cancel: Option<Cancel>,
    /// Its replica died, and who took over.
    pub(crate) takeover: Option<Takeover>,
    /// It is in the ledger: settled, and never answered again.
    pub(crate) in_ledger: bool,
    /// Why it does not run, where its replica says so.
    pub(crate) standstill: Option<Standstill>,
    /// What is kept of what happened to it: attempts that failed, and what operators did.
    pub(crate) events: JobEvents,
    /// The record of its game.
    pub(crate) record: Option<Record>,
    /// The image for which it waits.
    pub(crate) pull: Option<PullView>,
    /// Why it is not being started; none where it is, or is answered.
    pub(crate) waits: Option<Wait>,
    /// What to do next; none where there is nothing to do.
    pub(crate) next: Option<NextStep>,
    /// The answer its game's record keeps.
    pub(crate) stored: Option<Stored>,
    /// Its outcome: the fields as they came, and `outcome_id`.
    pub(crate) outcome: Option<serde_json::Map<String, serde_json::Value>>,
    /// Its dead letter: the fields as they came, and `dead_letter_id`.
    pub(crate) dead_letter: Option<serde_json::Map<String, serde_json::Value>>,
    /// How it came about, oldest first: the dead letters that were put back and became it in the end.
    pub(crate) requeued_from: Vec<Requeue>,
    /// What became of it: its dead letter was put back, and perhaps that of its successor.
    pub(crate) requeued_as: Vec<Requeue>,
    /// The newest of its successors.
    pub(crate) successor: Option<Successor>,
    /// What cannot be read of what belongs to it.
    pub(crate) damaged: Vec<Damaged>,
    /// Outcomes and dead letters were searched to their ends, or need not be.
    pub(crate) search_is_whole: bool,
    /// What happened when, oldest first.
    pub(crate) moments: Vec<Moment>,
}

impl EntryStory {
    /// May an attempt at it have begun, although no replica seems to have read it? The record of its game says so, or cannot be
    /// read.
    pub(crate) fn may_have_begun(&self) -> bool {
        let has_begun = self.record.as_ref().is_some_and(|record| record.source_ref == self.entry_id);
        has_begun || self.keeps_open().is_some()
    }

    /// What must be mended before anything is decided about the job. Each step of an attempt, and giving one up, is checked
    /// against the record of its game and the answers beside it.
    pub(crate) fn keeps_open(&self) -> Option<&Damaged> {
        let own = format!("/{}", self.entry_id);
        self.damaged.iter().find(|damaged| match damaged.remedy {
            STORED_ANSWER => damaged.field.as_ref().is_some_and(|field| field.ends_with(&own)),
            remedy => [GAME_RECORD, WHOLE_KEY].contains(&remedy),
        })
    }
}

/// What an entry asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Payload {
    /// Its game.
    pub(crate) game_id: Option<String>,
    /// Its image.
    pub(crate) image_ref: Option<String>,
    /// When Lobby asked, Unix milliseconds; 0 where it did not say.
    pub(crate) requested_at_ms: i64,
    /// Why it is no job.
    pub(crate) malformed: Option<String>,
    /// The entry from which it was requeued, as it says itself.
    #[serde(skip)]
    pub(crate) requeued_from: Option<String>,
}

/// The fields of an outcome or of a dead letter.
pub(super) type Map = serde_json::Map<String, serde_json::Value>;

impl EntryStory {
    /// Some attempts have failed, or may have, of which no event is kept.
    pub(crate) fn misses_attempts(&self) -> bool {
        let has_failed = self.failures > 0 || self.dead_letter.is_some();
        has_failed && !self.events.is_whole
    }

    /// Its id is ahead of the server's clock, so it does not tell when the entry was appended: the sender chose it, or
    /// the clock has gone back.
    pub(crate) fn is_ahead(&self) -> bool {
        self.appended_at_ms > self.at_ms
    }
}

/// One of these fields; empty where there is none.
pub(super) fn text(map: Option<&Map>, name: &str) -> String {
    match map.and_then(|map| map.get(name)) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(number) => number.to_string(),
        None => String::new(),
    }
}

/// When an entry of this id was appended.
pub(super) fn ms_of(id: &str) -> u64 {
    id.parse::<EntryId>().map_or(0, |id| id.ms)
}
