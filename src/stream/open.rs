//! What a replica says of the jobs that it holds and that do not run.
//!
//! One field of a hash a replica: `<server ms> <how many back off> [job, job, ...]`, each job a JSON object. Times of the worker
//! are lengths, because its clock is not the server's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::entry_id::EntryId;
use super::fleet_event::{cut_to, millis};
use crate::redis::packed::Strings;

/// Why a job does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OpenState {
    /// It waits for its next attempt.
    BackingOff,
    /// Its attempt waits for something that takes nothing from the replica, such as an image.
    Outside,
}

/// One job that a replica holds and that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenJob {
    /// The entry.
    pub(crate) id: EntryId,
    /// Why it does not run.
    pub(crate) state: OpenState,
    /// Its game.
    pub(crate) game: String,
    /// Its image; empty for jobs of a kind that has none.
    pub(crate) image: String,
    /// How many attempts have failed and were counted.
    pub(crate) failures: u64,
    /// The code of the last failure; empty where it has none.
    pub(crate) code: String,
    /// Its words; empty where no attempt has failed.
    pub(crate) text: String,
    /// How long until the next attempt; none where it waits for something else.
    pub(crate) next_in: Option<Duration>,
    /// For how long it has been so.
    pub(crate) since: Duration,
}

/// Jobs that one report tells of.
pub(crate) const OPEN_MAX: usize = 100;
/// Bytes of the words of a failure.
pub(crate) const WORDS_MAX: usize = 160;
/// Bytes of the name of a game or an image.
const NAME_MAX: usize = 256;
/// Bytes of what one replica says; a reader takes no more.
pub(crate) const RECORD_MAX: usize = 256 * 1024;

/// The form in Redis, and of what others may have written there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    id: String,
    state: OpenState,
    #[serde(default)]
    game: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    failures: u64,
    #[serde(default)]
    code: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    next_in_ms: Option<u64>,
    #[serde(default)]
    since_ms: u64,
}

impl OpenJob {
    fn told(&self) -> Told {
        Told {
            id: self.id.to_string(),
            state: self.state,
            game: cut_to(&self.game, NAME_MAX),
            image: cut_to(&self.image, NAME_MAX),
            failures: self.failures,
            code: cut_to(&self.code, WORDS_MAX),
            text: cut_to(&self.text, WORDS_MAX),
            next_in_ms: self.next_in.map(millis),
            since_ms: millis(self.since),
        }
    }

    /// As the script takes it.
    pub(super) fn push(&self, strings: &mut Strings) {
        // Texts and numbers are always JSON.
        strings.push(&serde_json::to_vec(&self.told()).unwrap_or_default());
    }

    fn of_told(told: &Told) -> Option<Self> {
        Some(Self {
            id: told.id.parse().ok()?,
            state: told.state,
            game: cut_to(&told.game, NAME_MAX),
            image: cut_to(&told.image, NAME_MAX),
            failures: told.failures,
            code: cut_to(&told.code, WORDS_MAX),
            text: cut_to(&told.text, WORDS_MAX),
            next_in: told.next_in_ms.map(Duration::from_millis),
            since: Duration::from_millis(told.since_ms),
        })
    }
}

/// What one replica said last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OpenRecord {
    /// When, by the server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// How many of its jobs wait for their next attempt, all of them.
    pub(crate) backing_off: u64,
    /// The first of the jobs that do not run.
    pub(crate) jobs: Vec<OpenJob>,
}

impl OpenRecord {
    /// Takes a record apart, as far as it is one: what is damaged hides itself alone.
    pub(crate) fn parse(record: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(record).ok().filter(|text| text.len() <= RECORD_MAX)?;
        let (at_ms, rest) = text.split_once(' ')?;
        let (backing_off, jobs) = rest.split_once(' ')?;
        let jobs: Vec<serde_json::Value> = serde_json::from_str(jobs).unwrap_or_default();
        let job = |job| serde_json::from_value(job).ok().and_then(|told| OpenJob::of_told(&told));
        Some(Self {
            at_ms: at_ms.parse().ok()?,
            backing_off: backing_off.parse().ok()?,
            jobs: jobs.into_iter().take(OPEN_MAX).filter_map(job).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn job(text: &str) -> OpenJob {
        OpenJob {
            id: EntryId { ms: 5, seq: 1 },
            state: OpenState::BackingOff,
            game: "g".to_owned(),
            image: "i".to_owned(),
            failures: 2,
            code: "image_not_found".to_owned(),
            text: text.to_owned(),
            next_in: Some(Duration::from_millis(1_500)),
            since: Duration::from_millis(200),
        }
    }

    fn record(jobs: &[OpenJob]) -> String {
        let jobs: Vec<String> = jobs.iter().map(|job| serde_json::to_string(&job.told()).expect("JSON")).collect();
        format!("1000 7 [{}]", jobs.join(","))
    }

    #[test]
    fn what_a_replica_says_comes_back() {
        let parsed = OpenRecord::parse(record(&[job("no \"such\" image")]).as_bytes()).expect("a record");
        assert_eq!(parsed, OpenRecord { at_ms: 1_000, backing_off: 7, jobs: vec![job("no \"such\" image")] });
    }

    #[test]
    fn a_full_report_of_the_longest_texts_is_within_what_readers_take() {
        let mut longest = job(&"\"\u{1b}".repeat(1_000));
        (longest.game, longest.image, longest.code) = ("\\".repeat(999), "\\".repeat(999), "\\".repeat(999));
        let text = record(&vec![longest; OPEN_MAX]);
        assert!(text.len() <= RECORD_MAX, "{}", text.len());
        assert_eq!(OpenRecord::parse(text.as_bytes()).expect("a record").jobs.len(), 100);
    }

    #[test]
    fn a_damaged_job_hides_itself_alone() {
        let good = serde_json::to_string(&job("x").told()).expect("JSON");
        let text =
            format!(r#"1000 7 [{good},7,{{"id":"x","state":"outside"}},{{"id":"6-0","state":"dances"}},{good}]"#);
        assert_eq!(OpenRecord::parse(text.as_bytes()).expect("a record").jobs.len(), 2);
        assert_eq!(OpenRecord::parse(b"1000 7 [{").map(|record| record.jobs.len()), Some(0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(OpenRecord::parse(&bytes));
        }
    }
}
