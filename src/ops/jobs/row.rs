//! One job of the list, and what is asked for.

use std::time::Duration;

use serde::Serialize;

use crate::contract::error_code::ErrorCode;

/// Entries that one list looks at, at most.
pub(crate) const LOOKED_MAX: u64 = 10_000;
/// How far back failures are looked for, unless told otherwise.
pub(crate) const FAILED_WITHIN: Duration = Duration::from_secs(3_600);

/// What a job is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    /// No replica has read it yet.
    Waiting,
    /// A replica holds it.
    InFlight,
    /// An attempt was not successful, and its replica waits before the next one.
    BackingOff,
    /// It was answered with a failure.
    Failed,
}

impl JobState {
    /// In the order in which they are listed.
    pub(crate) const ALL: [Self; 4] = [Self::BackingOff, Self::InFlight, Self::Waiting, Self::Failed];

    /// As it is shown.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::InFlight => "in_flight",
            Self::BackingOff => "backing_off",
            Self::Failed => "failed",
        }
    }
}

/// Which jobs are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JobsQuery {
    /// In these states; empty for every state.
    pub(crate) states: Vec<JobState>,
    /// This is part of the id of the game.
    pub(crate) game_part: Option<String>,
    /// This is the id of the game.
    pub(crate) game: Option<String>,
    /// This is part of the image.
    pub(crate) image_part: Option<String>,
    /// This is the error code of the last failure.
    pub(crate) code: Option<String>,
    /// Appended, or for those that have failed answered, not longer ago than this. Failures are looked for within an hour where
    /// this is not given.
    pub(crate) since: Option<Duration>,
    /// Jobs of each state at most.
    pub(crate) limit: usize,
}

impl JobsQuery {
    /// Are jobs in this state wanted?
    pub(super) fn wants(&self, state: JobState) -> bool {
        // Only a job that has failed has a code.
        let has_code = self.code.is_none() || state != JobState::Waiting;
        has_code && (self.states.is_empty() || self.states.contains(&state))
    }

    /// Is this job wanted?
    pub(super) fn takes(&self, row: &JobRow, at_ms: u64) -> bool {
        let is_part = |part: &Option<String>, text: &Option<String>| {
            part.as_deref().is_none_or(|part| text.as_deref().is_some_and(|text| text.contains(part)))
        };
        let since_ms = if row.state == JobState::Failed { Some(row.since_ms) } else { row.appended_at_ms };
        self.wants(row.state)
            && is_part(&self.game_part, &row.game_id)
            && is_part(&self.image_part, &row.image_ref)
            && self.game.as_ref().is_none_or(|game| row.game_id.as_ref() == Some(game))
            && self.code.as_ref().is_none_or(|code| row.error_code.as_ref() == Some(code))
            && since_ms.is_none_or(|since| since >= self.oldest_ms(row.state, at_ms))
    }

    /// From when on jobs in this state are wanted, Unix milliseconds.
    pub(super) fn oldest_ms(&self, state: JobState, at_ms: u64) -> u64 {
        let within = self.since.or((state == JobState::Failed).then_some(FAILED_WITHIN));
        let within = within.map_or(u64::MAX, |within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        at_ms.saturating_sub(within)
    }
}

/// One job. Texts that are not there are none, and all texts are foreign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct JobRow {
    /// The entry; none where an outcome does not say.
    pub(crate) entry_id: Option<String>,
    /// When that was appended, Unix milliseconds.
    pub(crate) appended_at_ms: Option<u64>,
    /// Its game.
    pub(crate) game_id: Option<String>,
    /// Its image.
    pub(crate) image_ref: Option<String>,
    /// What it is up to.
    pub(crate) state: JobState,
    /// Since when: appended, or for a job that backs off the last failure, or when it was answered. Unix milliseconds.
    pub(crate) since_ms: u64,
    /// How long ago that is.
    pub(crate) for_ms: u64,
    /// Its attempt waits for its image, or for another service, and takes no slot.
    pub(crate) waits_outside: bool,
    /// Who holds it.
    pub(crate) replica: Option<String>,
    /// Whether that one runs or drains.
    pub(crate) replica_is_alive: Option<bool>,
    /// How often it was delivered.
    pub(crate) deliveries: Option<u64>,
    /// How many attempts have failed and were counted, where a replica says so.
    pub(crate) failures: Option<u64>,
    /// The code of the last failure.
    pub(crate) error_code: Option<String>,
    /// Its words.
    pub(crate) error_message: Option<String>,
    /// When it is tried again, by the server's clock, Unix milliseconds.
    pub(crate) next_at_ms: Option<u64>,
    /// How long until then; 0 where that is over.
    pub(crate) next_in_ms: Option<u64>,
    /// The outcome of one that has failed.
    pub(crate) outcome_id: Option<String>,
}

/// How far one of the places was looked at where jobs are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Looked {
    /// `pending`, `waiting` or `results`.
    pub(crate) place: &'static str,
    /// Entries that were looked at.
    pub(crate) looked_at: u64,
    /// How many there are, about; none where that is not known.
    pub(crate) of: Option<u64>,
    /// All were looked at that may be wanted.
    pub(crate) is_whole: bool,
}

/// How many jobs in one state were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Matched {
    /// The state.
    pub(crate) state: JobState,
    /// So many; those beyond the limit are not listed.
    pub(crate) count: u64,
}

/// The list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Jobs {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// Those that back off first (the next one to be tried first), then those in flight and those that wait (the oldest first),
    /// then those that have failed (the newest first).
    pub(crate) jobs: Vec<JobRow>,
    /// How many were found.
    pub(crate) matched: Vec<Matched>,
    /// How many entries were looked at in all.
    pub(crate) looked_at: u64,
    /// Where, and how far.
    pub(crate) looked: Vec<Looked>,
}

impl Jobs {
    /// What was not looked at, one sentence each, for people.
    pub(crate) fn bounds(&self) -> Vec<String> {
        let said = |one: &Looked| {
            let of = one.of.filter(|of| *of > one.looked_at).map_or_else(String::new, |of| format!(" of about {of}"));
            let what = match one.place {
                "waiting" => "jobs that wait",
                "pending" => "jobs that replicas hold",
                _ => "outcomes",
            };
            format!("looked at {}{of} {what}", one.looked_at)
        };
        self.looked.iter().filter(|one| !one.is_whole).map(said).collect()
    }

    /// How many were found and are not listed.
    pub(crate) fn unlisted(&self) -> u64 {
        let found: u64 = self.matched.iter().map(|one| one.count).sum();
        found.saturating_sub(self.jobs.len() as u64)
    }
}

impl JobRow {
    /// Its last attempt found its host full: that is no failure.
    fn waits_for_room(&self) -> bool {
        self.error_code.as_deref() == Some(ErrorCode::HostFull.as_str())
    }

    /// What went wrong and what comes next, for people; nothing where neither is known.
    pub(crate) fn note(&self) -> Option<String> {
        use crate::ops::printable::span;
        let words = [self.error_code.as_deref(), self.error_message.as_deref()];
        let words: Vec<&str> = words.into_iter().flatten().filter(|text| !text.is_empty()).collect();
        let words = words.join(": ");
        let next = match (self.state, self.next_in_ms) {
            (JobState::BackingOff, Some(ms)) if self.waits_for_room() => {
                Some(format!("waits for room, next try in {}", span(ms)))
            }
            (JobState::BackingOff, Some(0)) => Some("the next try is due".to_owned()),
            (JobState::BackingOff, Some(ms)) => Some(format!("next try in {}", span(ms))),
            _ if self.waits_outside => Some("waits for its image".to_owned()),
            _ if self.replica_is_alive == Some(false) => Some("its replica is gone".to_owned()),
            _ => None,
        };
        match (words.is_empty(), next) {
            (true, next) => next,
            (false, None) => Some(words),
            (false, Some(next)) => Some(format!("{next}; {words}")),
        }
    }
}
