//! What happened to the fleet, or to one job, for operators: kept for a while, and never needed for the work. Only rare things:
//! a job that succeeds makes no event.

use std::time::Duration;

use tokio::time::Instant;

use super::entry_id::EntryId;
use crate::redis::packed::Strings;

/// Events that are kept, about.
pub(crate) const KEPT: usize = 10_000;
/// Bytes of each text of an event.
pub(crate) const TEXT_MAX: usize = 256;

/// What kind of thing happened. Its words are part of what operators script against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    /// An attempt at a job has failed, and the failure was counted.
    AttemptFailed,
    /// A replica was declared dead, because its connections are closed.
    DeclaredDead,
    /// Entries were taken from another consumer.
    Claimed,
    /// A job has become a dead letter.
    DeadLetter,
    /// An operator has paused the fleet.
    Paused,
    /// An operator has resumed the fleet.
    Resumed,
    /// A replica takes work.
    Started,
    /// A replica finishes what it has.
    Drains,
    /// A replica has left the group.
    Left,
    /// A replica has a trouble.
    Degraded,
    /// A trouble of a replica has ended.
    Recovered,
    /// An operator has put a dead letter back.
    Requeued,
    /// An operator has removed dead letters.
    Removed,
    /// An operator wants a job cancelled: a start that is under way may still succeed.
    Cancelled,
    /// An operator has a job tried again at once.
    RetriedNow,
    /// An operator has stopped a game.
    Stopped,
    /// An operator has evicted the games of a host.
    Evicted,
    /// More happened than one report takes.
    LeftOut,
}

impl Happened {
    /// Every kind.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 18] = [
        Self::AttemptFailed,
        Self::DeclaredDead,
        Self::Claimed,
        Self::DeadLetter,
        Self::Paused,
        Self::Resumed,
        Self::Started,
        Self::Drains,
        Self::Left,
        Self::Degraded,
        Self::Recovered,
        Self::Requeued,
        Self::Removed,
        Self::Cancelled,
        Self::RetriedNow,
        Self::Stopped,
        Self::Evicted,
        Self::LeftOut,
    ];

    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AttemptFailed => "attempt_failed",
            Self::DeclaredDead => "declared_dead",
            Self::Claimed => "claimed",
            Self::DeadLetter => "dead_letter",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Started => "replica_started",
            Self::Drains => "replica_drains",
            Self::Left => "replica_left",
            Self::Degraded => "degraded",
            Self::Recovered => "recovered",
            Self::Requeued => "requeued",
            Self::Removed => "removed",
            Self::Cancelled => "cancelled",
            Self::RetriedNow => "retried_now",
            Self::Stopped => "stopped",
            Self::Evicted => "evicted",
            Self::LeftOut => "left_out",
        }
    }
}

/// The names of the fields that an event may have beside its kind, in the order in which they are written. `at_ms` is the
/// server's clock when it happened; the id of the entry says when it was told.
pub(crate) const FIELDS: [&str; 12] =
    ["at_ms", "kind", "job", "game_id", "code", "text", "attempt", "pause_ms", "count", "subject", "host", "by"];

/// One event. What is empty is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FleetEvent {
    /// What happened.
    pub(crate) kind: Happened,
    /// When.
    pub(crate) at: Instant,
    /// The entry that it happened to.
    pub(crate) job: Option<EntryId>,
    /// The game of that entry.
    pub(crate) game: String,
    /// An error code, the reason of a dead letter, or a condition.
    pub(crate) code: String,
    /// For people.
    pub(crate) text: String,
    /// Which attempt it was, from 1.
    pub(crate) attempt: Option<u64>,
    /// How long the job waits for its next attempt.
    pub(crate) pause: Option<Duration>,
    /// How many entries, dead letters or events it was.
    pub(crate) count: Option<u64>,
    /// The other one: the replica that died, or from which entries were taken; the host that was evicted.
    pub(crate) subject: String,
    /// The host on which the job was tried.
    pub(crate) host: String,
    /// The operator, `user@host`.
    pub(crate) by: String,
}

impl FleetEvent {
    /// An event of this kind, of which nothing else is known yet.
    pub(crate) fn new(kind: Happened, at: Instant) -> Self {
        Self {
            kind,
            at,
            job: None,
            game: String::new(),
            code: String::new(),
            text: String::new(),
            attempt: None,
            pause: None,
            count: None,
            subject: String::new(),
            host: String::new(),
            by: String::new(),
        }
    }

    /// The same, about this entry.
    #[must_use]
    pub(crate) fn about(mut self, job: EntryId, game: &str) -> Self {
        (self.job, self.game) = (Some(job), cut(game));
        self
    }

    /// The same, with a code and its words.
    #[must_use]
    pub(crate) fn saying(mut self, code: &str, text: &str) -> Self {
        (self.code, self.text) = (cut(code), cut(text));
        self
    }

    /// The same, about another replica or a host.
    #[must_use]
    pub(crate) fn of(mut self, subject: &str) -> Self {
        self.subject = cut(subject);
        self
    }

    /// The same, so many.
    #[must_use]
    pub(crate) fn times(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// The same, done by this operator.
    #[must_use]
    pub(crate) fn done_by(mut self, by: &str) -> Self {
        self.by = cut(by);
        self
    }

    /// Its values, in the order of [`FIELDS`]. The first is how long ago it was, for the script to tell from when.
    fn values(&self) -> [String; FIELDS.len()] {
        let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        [
            millis(self.at.elapsed()).to_string(),
            self.kind.as_str().to_owned(),
            self.job.map_or_else(String::new, |job| job.to_string()),
            cut(&self.game),
            cut(&self.code),
            cut(&self.text),
            number(self.attempt),
            number(self.pause.map(millis)),
            number(self.count),
            cut(&self.subject),
            cut(&self.host),
            cut(&self.by),
        ]
    }

    /// As the script takes it.
    pub(super) fn push(&self, strings: &mut Strings) {
        for value in self.values() {
            strings.push(value.as_bytes());
        }
    }
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The beginning of a text, with spaces in place of what JSON would make longer.
pub(crate) fn cut_to(text: &str, bytes: usize) -> String {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn cut(text: &str) -> String {
    cut_to(text, TEXT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_an_event_is_bounded_and_has_no_control_characters() {
        let long = "\u{1b}é".repeat(1_000);
        let id = EntryId { ms: u64::MAX, seq: u64::MAX };
        let event = FleetEvent::new(Happened::AttemptFailed, Instant::now());
        let mut event = event.about(id, &long).saying(&long, &long).of(&long).done_by(&long).times(u64::MAX);
        event.host.clone_from(&long);
        for value in event.values() {
            assert!(value.len() <= TEXT_MAX && !value.contains('\u{1b}'), "{value:?}");
        }
        assert_eq!(cut_to("aé", 2), "a");
    }
}
