//! The course of one job as stretches of time, from the moments that are kept. When a replica read it is not kept, so what
//! was waited for the first attempt is a part of that.

use crate::ops::events::EventView;
use crate::ops::story::entry::{EntryStage, EntryStory};
use crate::page::frame::waterfall::{Kind, Stretch};
use crate::page::text::{self, short_replica};
use crate::stream::entry_id::EntryId;

/// The stretches, in order; none where it is not known when the job was sent or answered.
pub(crate) fn course(told: &EntryStory) -> Vec<Stretch> {
    let Some(end) = end_ms(told).filter(|_| !told.is_ahead()) else { return Vec::new() };
    let mut course = Course { stretches: Vec::new(), at_ms: told.appended_at_ms, end_ms: end };
    let mut turns: Vec<Turn<'_>> = told.events.events.iter().filter_map(Turn::of_event).collect();
    for gone in told.takeover.iter().flat_map(|takeover| &takeover.from) {
        let until_ms = gone.noticed_ms.unwrap_or(gone.last_seen_ms);
        turns.push(Turn::Died { at_ms: gone.last_seen_ms, until_ms, replica: &gone.replica });
    }
    turns.sort_by_key(Turn::at_ms);
    for (number, turn) in turns.iter().enumerate() {
        match turn {
            Turn::Failed(event) => {
                let attempt = event.attempt.unwrap_or(1);
                course.add(Kind::Failed, event.at_ms, format!("until attempt {attempt} failed"));
                let next_ms = turns.get(number + 1).map_or(end, Turn::at_ms);
                let pause_end = event.at_ms.saturating_add(event.pause_ms.unwrap_or(0)).min(next_ms);
                course.add(Kind::Paused, pause_end, format!("pause after attempt {attempt}"));
            }
            Turn::Died { at_ms, until_ms, replica } => {
                let name = text::visible(&short_replica(replica), text::NAME_MAX);
                course.add(Kind::Lost, *at_ms, format!("until {name} died"));
                course.add(Kind::Waited, *until_ms, "until its death was noticed".to_owned());
            }
            // It ends a pause, which has ended there already.
            Turn::Hurried { .. } => {}
        }
    }
    let (kind, said) = last(told);
    course.add(kind, end, said.to_owned());
    course.stretches
}

/// Where something began or ended.
enum Turn<'a> {
    Failed(&'a EventView),
    Died {
        at_ms: u64,
        until_ms: u64,
        replica: &'a str,
    },
    /// An operator had it tried again at once.
    Hurried {
        at_ms: u64,
    },
}

impl<'a> Turn<'a> {
    fn of_event(event: &'a EventView) -> Option<Self> {
        match event.kind.as_str() {
            "attempt_failed" => Some(Self::Failed(event)),
            "retried_now" => Some(Self::Hurried { at_ms: event.at_ms }),
            _ => None,
        }
    }

    fn at_ms(&self) -> u64 {
        match self {
            Self::Failed(event) => event.at_ms,
            Self::Died { at_ms, .. } | Self::Hurried { at_ms } => *at_ms,
        }
    }
}

/// Stretches, each from where the last one ended.
struct Course {
    stretches: Vec<Stretch>,
    at_ms: u64,
    end_ms: u64,
}

impl Course {
    fn add(&mut self, kind: Kind, to_ms: u64, said: String) {
        let to_ms = to_ms.min(self.end_ms);
        if to_ms > self.at_ms {
            self.stretches.push(Stretch { kind, from_ms: self.at_ms, to_ms, said });
            self.at_ms = to_ms;
        }
    }
}

/// When it was answered; now, for one that is open.
fn end_ms(told: &EntryStory) -> Option<u64> {
    let of = |map: Option<&serde_json::Map<String, serde_json::Value>>, name: &str| {
        let id = map?.get(name)?.as_str()?.parse::<EntryId>().ok()?;
        Some(id.ms)
    };
    match told.stage {
        EntryStage::Waiting | EntryStage::Pending | EntryStage::Orphaned => Some(told.at_ms),
        EntryStage::Settled => {
            of(told.outcome.as_ref(), "outcome_id").or_else(|| of(told.dead_letter.as_ref(), "dead_letter_id"))
        }
        EntryStage::Forgotten | EntryStage::Absent => None,
    }
}

/// What the time since the last turn was.
fn last(told: &EntryStory) -> (Kind, &'static str) {
    let outcome = told.outcome.as_ref().and_then(|outcome| outcome.get("outcome")).and_then(serde_json::Value::as_str);
    match told.stage {
        EntryStage::Waiting => (Kind::Waited, "waits until a replica reads it"),
        EntryStage::Pending if told.standstill.as_ref().is_some_and(|one| one.backs_off) => {
            (Kind::Paused, "waits for its next attempt")
        }
        EntryStage::Pending if told.pending.as_ref().is_some_and(|holder| holder.is_given_back) => {
            (Kind::Waited, "was given back, and waits for another replica")
        }
        EntryStage::Pending => (Kind::Worked, "in hand"),
        EntryStage::Orphaned => (Kind::Waited, "in no replica\u{2019}s hands"),
        EntryStage::Settled if outcome == Some("success") => (Kind::Worked, "until it was answered with success"),
        EntryStage::Settled if outcome.is_some() => (Kind::Failed, "until it was answered with failure"),
        EntryStage::Settled | EntryStage::Forgotten | EntryStage::Absent => {
            (Kind::Waited, "until it was a dead letter")
        }
    }
}
