//! What operators want done with single jobs that have not started: a mark beside the attempts of an entry, which the replica
//! that takes it up or holds it obeys. An entry that no replica has read yet is answered at once instead.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::entry_id::EntryId;
use super::excerpt::Excerpts;
use super::fleet_event::{FleetEvent, Happened};
use super::group::{Group, id_of, millis};
use super::tally::{Tally, Told};
use crate::contract::error_code::ErrorCode;
use crate::contract::job_result::{Answer, JobResult};
use crate::contract::start_job::StartJob;
use crate::redis::packed::Strings;
use crate::redis::{RedisError, Value};

/// Characters that are kept of who wants something.
pub(super) const BY_MAX: usize = 128;
/// Characters that are kept of why.
pub(super) const REASON_MAX: usize = 512;

/// Who wants a job to be cancelled, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Cancel {
    /// `user@host`
    pub(crate) by: String,
    /// For people; may be empty.
    pub(crate) reason: String,
    /// When the mark was placed, by the server's clock, in Unix milliseconds; 0 where it does not say.
    pub(crate) at_ms: u64,
}

/// What is to be done with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// It is answered as cancelled.
    Cancel(Cancel),
    /// It is tried again at once.
    Retry {
        /// `user@host`
        by: String,
    },
}

/// A mark at one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The entry.
    pub(crate) id: EntryId,
    /// What is wanted.
    pub(crate) wish: Wish,
}

/// What became of an operator's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placed {
    /// The entry is marked.
    Marked {
        /// The replica that holds it; none where it waits to be claimed.
        replica: Option<String>,
    },
    /// No replica had read it: it is cancelled, by the outcome of this id.
    Answered {
        /// In the results stream.
        outcome_id: String,
    },
    /// It had been marked before, and that mark stays.
    Before(Cancel),
    /// It is no start job, for this reason: it becomes a dead letter.
    Malformed(String),
    /// It is answered, or a dead letter.
    Settled,
    /// No replica has read it: there is nothing to hurry.
    Waiting,
    /// The offset is past it: another program counts it as answered.
    Passed,
    /// Too old for the ledger to tell whether it was answered.
    Old,
    /// It is not in the stream any more.
    Gone,
    /// The stream has never had it.
    Unknown,
}

impl Cancel {
    /// From foreign texts: one line each, and not too long.
    pub(crate) fn new(by: &str, reason: &str) -> Self {
        Self { by: one_line(by, BY_MAX), reason: one_line(reason, REASON_MAX), at_ms: 0 }
    }

    /// From the words of a script: `<ms> <by> <reason>`. A mark that another program wrote may hold anything.
    fn of_words(words: &[Bytes]) -> Self {
        let text = |word: &Bytes| String::from_utf8_lossy(word).into_owned();
        let at_ms = text(&words[0]).parse().unwrap_or_default();
        Self { at_ms, ..Self::new(&text(&words[1]), &text(&words[2])) }
    }

    /// What the outcome says.
    pub(crate) fn message(&self) -> String {
        let by = if self.by.is_empty() { "an unnamed operator" } else { &self.by };
        if self.reason.is_empty() {
            format!("cancelled by {by}")
        } else {
            format!("cancelled by {by}: {}", self.reason)
        }
    }
}

/// A text without line ends, as far as it is kept.
pub(super) fn one_line(text: &str, most: usize) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

/// Marks of entries that are to be cancelled, as the history answers them: per mark its id, and three words.
pub(super) fn cancelled_of(words: &[Bytes]) -> Result<Vec<(EntryId, Cancel)>, RedisError> {
    words.chunks_exact(4).map(|words| Ok((entry_of(&words[0])?, Cancel::of_words(&words[1..])))).collect()
}

/// Marks as a replica is told of them: per mark its id, what is wanted, and three words. A wish of a later version is left alone.
pub(super) fn marks_of(words: &[Bytes]) -> Result<Vec<Mark>, RedisError> {
    let mark = |words: &[Bytes]| {
        let cancel = Cancel::of_words(&words[2..]);
        let wish = match &*words[1] {
            b"cancel" => Wish::Cancel(cancel),
            b"retry" => Wish::Retry { by: cancel.by },
            _ => return Ok(None),
        };
        Ok(Some(Mark { id: entry_of(&words[0])?, wish }))
    };
    words.chunks_exact(5).filter_map(|words| mark(words).transpose()).collect()
}

fn entry_of(word: &Bytes) -> Result<EntryId, RedisError> {
    id_of(&String::from_utf8_lossy(word))
}

impl Group {
    /// Cancels a job that has not started. `has_begun`: the record of its game names an attempt at it, so it is marked although no
    /// replica seems to have read it.
    pub(crate) async fn cancel(&self, id: EntryId, cancel: &Cancel, has_begun: bool) -> Result<Placed, RedisError> {
        let mut game = String::new();
        let most = self.settings.max_field_bytes;
        let outcome = match Excerpts::new().job(&self.commands, &self.keys.jobs, id, most).await? {
            Some(entry) => match entry.decode(most) {
                Ok(job) if !has_begun => {
                    game.clone_from(&job.game_id);
                    self.cancelled(id, job, cancel).await?
                }
                Ok(_) => Bytes::new(),
                Err(malformed) => return Ok(Placed::Malformed(malformed.to_string())),
            },
            None => Bytes::new(),
        };
        let placed = self.place("cancel", id, cancel, outcome).await?;
        if matches!(placed, Placed::Answered { .. }) {
            self.tell_cancelled(id, &game, cancel).await;
        }
        Ok(placed)
    }

    /// No replica ever has the job in its hands, so none counts it, and none tells who did it. Where Redis refuses that here,
    /// the job is cancelled all the same.
    async fn tell_cancelled(&self, id: EntryId, game: &str, Cancel { by, reason, .. }: &Cancel) {
        let code = ErrorCode::Cancelled;
        let event = FleetEvent::new(Happened::Cancelled, Instant::now()).about(id, game);
        let noted = self.note(&event.saying(code.as_str(), reason).done_by(by)).await;
        let age = self.now_ms().await.map_or(0, |now_ms| now_ms.saturating_sub(id.ms));
        let mut tally = Tally::default();
        tally.outcome(Told::Failed(code), Duration::from_millis(age));
        for error in noted.err().into_iter().chain(self.count(&tally).await.err()) {
            tracing::debug!(err = error.text, "what was cancelled is not in the history");
        }
    }

    /// Names and values of the outcome of a job that no replica has read.
    async fn cancelled(&self, id: EntryId, job: StartJob, cancel: &Cancel) -> Result<Bytes, RedisError> {
        let result = JobResult {
            game_id: job.game_id,
            answer: Answer::failure(ErrorCode::Cancelled, cancel.message()),
            source_ref: id.to_string(),
            requested_at_ms: job.requested_at_ms,
            finished_at_ms: self.now_ms().await?,
            attempt: 0,
        };
        let (mut strings, mut names) = (Strings::expecting(512), self.outcome_fields.iter());
        result.each_value(|value| {
            if let Some(name) = names.next() {
                strings.push(name.as_bytes());
                strings.push(value);
            }
        });
        strings.into_array()
    }

    /// Lets a job be tried again at once.
    pub(crate) async fn retry_now(&self, id: EntryId, by: &str) -> Result<Placed, RedisError> {
        self.place("retry", id, &Cancel::new(by, ""), Bytes::new()).await
    }

    /// Whether a replica has still to be told that the entry is to be tried again.
    pub(crate) async fn is_retry_untold(&self, id: EntryId) -> Result<bool, RedisError> {
        let field = format!("retry:{id}");
        Ok(!self.commands.raw(&["HGET", &self.keys.attempts, &field]).await?.is_null())
    }

    async fn place(&self, kind: &str, id: EntryId, cancel: &Cancel, outcome: Bytes) -> Result<Placed, RedisError> {
        let Cancel { by, reason, .. } = cancel;
        let ttl = millis(self.settings.ledger_ttl.max(Duration::from_millis(1)));
        let args =
            [id.to_string().into(), kind.into(), by.as_str().into(), reason.as_str().into(), ttl, Value::from(outcome)];
        let words: Vec<Bytes> = self.call(&self.scripts.place_mark, &[id], args).await?.convert()?;
        placed_of(&words)
    }
}

fn placed_of(words: &[Bytes]) -> Result<Placed, RedisError> {
    let text = |word: &Bytes| String::from_utf8_lossy(word).into_owned();
    Ok(match words {
        [word, replica] if word == "marked" => {
            Placed::Marked { replica: Some(text(replica)).filter(|replica| !replica.is_empty()) }
        }
        [word, outcome_id] if word == "answered" => Placed::Answered { outcome_id: text(outcome_id) },
        [word, mark @ ..] if word == "before" && mark.len() == 3 => Placed::Before(Cancel::of_words(mark)),
        [word] => match &**word {
            b"settled" => Placed::Settled,
            b"waiting" => Placed::Waiting,
            b"passed" => Placed::Passed,
            b"old" => Placed::Old,
            b"gone" => Placed::Gone,
            b"unknown" => Placed::Unknown,
            _ => return Err(RedisError::unexpected("a mark")),
        },
        _ => return Err(RedisError::unexpected("a mark")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_become_one_line_and_are_bounded() {
        let cancel = Cancel::new(" ann@host\n", &format!("stuck\r\n\x1b[2J{}", "x".repeat(2_000)));
        assert_eq!(cancel.by, "ann@host");
        assert!(cancel.reason.starts_with("stuck   [2Jxxx") && cancel.reason.chars().count() == REASON_MAX);
        assert_eq!(Cancel::new("ann@host", "").message(), "cancelled by ann@host");
        assert_eq!(Cancel::new("ann@host", "typo").message(), "cancelled by ann@host: typo");
    }

    #[test]
    fn a_mark_of_any_bytes_is_read_and_a_wish_of_a_later_version_left_alone() {
        let words = |texts: &[&[u8]]| -> Vec<Bytes> { texts.iter().map(|text| Bytes::copy_from_slice(text)).collect() };
        let marks = [
            &words(&[b"5-0", b"cancel", b"x", b"\xff\xfe", b""])[..],
            &words(&[b"6-0", b"hold", b"1", b"ann", b""]),
            &words(&[b"7-0", b"retry", b"1", b"ann", b""]),
        ];
        let marks = marks_of(&marks.concat()).expect("ids");
        let wish = Wish::Cancel(Cancel { by: "\u{fffd}\u{fffd}".to_owned(), reason: String::new(), at_ms: 0 });
        assert_eq!(marks[0], Mark { id: EntryId { ms: 5, seq: 0 }, wish });
        assert_eq!(marks[1], Mark { id: EntryId { ms: 7, seq: 0 }, wish: Wish::Retry { by: "ann".to_owned() } });
        assert_eq!(marks.len(), 2);
        assert!(placed_of(&words(&[b"moved"])).is_err() && placed_of(&words(&[b"settled"])) == Ok(Placed::Settled));
    }
}
