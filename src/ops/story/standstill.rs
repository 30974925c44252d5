//! A job that is held and does not run: why, and what comes next; and what became of its attempts, as far as the events are kept.

use serde::Serialize;

use super::Moment;
use crate::ops::View;
use crate::ops::events::{EventView, JobEvents};
use crate::ops::jobs::open::OpenView;
use crate::ops::printable::{span, time};
use crate::ops::replicas::Replica;
use crate::redis::RedisError;
use crate::stream::entry_id::EntryId;

/// Why a job that is held does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Standstill {
    /// The replica that holds it, and says so.
    pub(crate) replica: String,
    /// It waits for its next attempt; else its attempt waits for its image, or for another service.
    pub(crate) backs_off: bool,
    /// Since when, Unix milliseconds.
    pub(crate) since_ms: u64,
    /// How many attempts have failed and were counted.
    pub(crate) failures: u64,
    /// The code of the last failure; empty where it has none.
    pub(crate) error_code: String,
    /// Its words; empty where no attempt has failed.
    pub(crate) error_message: String,
    /// When it is tried again, Unix milliseconds.
    pub(crate) next_at_ms: Option<u64>,
    /// How long until then; 0 where that is over.
    pub(crate) next_in_ms: Option<u64>,
}

impl Standstill {
    fn of(said: OpenView, at_ms: u64) -> Self {
        let next_at_ms = said.next_at_ms();
        Self {
            backs_off: said.backs_off(),
            since_ms: said.since_ms(),
            next_in_ms: next_at_ms.map(|next| next.saturating_sub(at_ms)),
            next_at_ms,
            replica: said.replica,
            failures: said.job.failures,
            error_code: said.job.code,
            error_message: said.job.text,
        }
    }

    /// For the sentence at the top; `age` is how long ago the job was appended.
    pub(super) fn sentence(&self, age: &str) -> String {
        let words = [self.error_code.as_str(), self.error_message.as_str()];
        let words: Vec<&str> = words.into_iter().filter(|text| !text.is_empty()).collect();
        let words = words.join(": ");
        if !self.backs_off {
            let last = if words.is_empty() { words } else { format!("; the attempt before failed: {words}") };
            return format!("in flight for {age}: its attempt on replica {} waits for its image{last}", self.replica);
        }
        let next = match self.next_at_ms.zip(self.next_in_ms) {
            Some((at, 0)) => format!("next try due since {}", time(at)),
            Some((at, left)) => format!("next try in {} (at {})", span(left), time(at)),
            None => "it is tried again".to_owned(),
        };
        let failed = match self.failures {
            0 => format!("waits: {words}"),
            1 => format!("failed once, {words}"),
            times => format!("failed {times} times, last {words}"),
        };
        format!("backing off, appended {age} ago: {failed}; {next} on replica {}", self.replica)
    }
}

impl View {
    /// What the replica that holds this entry says of it, if it does not run.
    pub(super) async fn standstill(
        &self,
        (id, holder): (EntryId, &str),
        replicas: &[Replica],
        at_ms: u64,
    ) -> Result<Option<Standstill>, RedisError> {
        let Some(replica) = replicas.iter().find(|replica| replica.name == holder) else { return Ok(None) };
        let said = self.open(std::slice::from_ref(replica), at_ms).await?.remove(&id);
        Ok(said.map(|said| Standstill::of(said, at_ms)))
    }
}

/// The moments that events tell of. A dead letter, a claim and a mark that is still there have moments of their own.
pub(super) fn moments(events: &JobEvents, is_marked: bool) -> impl Iterator<Item = Moment> {
    let moment = move |event: &EventView| {
        let what = match event.kind.as_str() {
            "attempt_failed" => "attempt failed",
            "requeued" => "requeued",
            "cancelled" if !is_marked => "cancelled",
            "retried_now" => "retried now",
            _ => return None,
        };
        Some(Moment { at_ms: event.at_ms, what, detail: event.sentence() })
    };
    events.events.iter().filter_map(moment)
}
