//! Why a job without an answer is not being started, and what to do next.

use super::next::{NextStep, Wait, WaitsFor};
use super::told::{EntryStory, text};
use super::{EntryStage, Record};
use crate::contract::dead_letter::Reason;
use crate::contract::error_code::ErrorCode;
use crate::ops::View;
use crate::ops::history::{Range, Timeline};
use crate::ops::hosts::FleetHosts;
use crate::ops::look::Look;
use crate::ops::printable::{printable, span, time};
use crate::ops::refusal::Refusal;
use crate::ops::replicas::{Replica, State};
use crate::redis::{RedisError, Value};
use crate::stream::entry_id::EntryId;
use crate::stream::lua::SUSPECT_CRASHES;
use crate::stream::pause::Pause;

/// Jobs before this one that are counted at most, and in one step of the server.
const AHEAD_MAX: u64 = 10_000;
const PAGE: u64 = 500;
/// Whole minutes over which answered jobs are counted.
const PACE_MINUTES: usize = 5;

/// What is seen of the fleet around a job.
pub(super) struct Around<'a> {
    pub(super) at_ms: u64,
    pub(super) pause: Option<Pause>,
    pub(super) refusal: Option<Refusal>,
    pub(super) replicas: &'a [Replica],
    pub(super) hosts: &'a FleetHosts,
    /// Jobs before it that no replica has read, and whether they are all.
    pub(super) ahead: Option<(u64, bool)>,
    /// Jobs answered in a minute lately.
    pub(super) per_minute: Option<u64>,
}

impl Wait {
    fn new(waits_for: WaitsFor, sentence: impl Into<String>) -> Self {
        Self { waits_for, sentence: sentence.into(), ahead: None, ahead_exact: true, per_minute: None }
    }

    /// Nothing where it is answered, or being started.
    pub(super) fn of(story: &EntryStory, around: &Around<'_>) -> Option<Self> {
        let is_given_back = story.pending.as_ref().is_some_and(|holder| holder.is_given_back);
        let is_unread = story.stage == EntryStage::Waiting || is_given_back;
        let standstill = story.standstill.as_ref();
        if story.stage != EntryStage::Waiting && story.stage != EntryStage::Pending {
            return None;
        }
        let running = around.replicas.iter().filter(|replica| replica.state == State::Running).count();
        // One that is held by a replica that has ended is claimed by another one.
        let is_orphan = story.pending.as_ref().is_some_and(|holder| around.is_gone(&holder.replica));
        if !is_unread && !is_orphan && standstill.is_none() {
            if let Some(pull) = &story.pull {
                let sentence = format!("it waits for its image, {}", printable(&pull.sentence()));
                return Some(Self::new(WaitsFor::Image, sentence));
            }
            // Its replica has not said yet that it has found no room.
            let is_own = |record: &Record| record.source_ref == story.entry_id && record.state == "starting";
            let has_begun = story.record.as_ref().is_some_and(is_own);
            return (!has_begun && around.hosts.all_are_full()).then(|| around.no_room());
        }
        if let Some(pause) = &around.pause {
            return Some(Self::new(WaitsFor::Resume, paused(pause, around.at_ms)));
        }
        if let Some(refusal) = &around.refusal {
            return Some(Self::new(WaitsFor::Writes, format!("it waits: {}", refusal.sentence())));
        }
        if running == 0 && (is_unread || is_orphan) {
            return Some(Self::new(WaitsFor::Replica, "it waits for a replica: none reads"));
        }
        if let Some(standstill) = standstill {
            let has_no_room = standstill.error_code == ErrorCode::HostFull.as_str();
            let waits_for = match (standstill.backs_off, has_no_room) {
                (true, true) => return Some(around.no_room()),
                (true, false) => WaitsFor::NextTry,
                (false, _) => WaitsFor::Image,
            };
            let pull = story.pull.as_ref().filter(|_| waits_for == WaitsFor::Image);
            let what = pull.map_or_else(String::new, |pull| format!(", {}", printable(&pull.sentence())));
            let what = if waits_for == WaitsFor::Image {
                format!("it waits for its image{what}")
            } else {
                "it waits for its next try".to_owned()
            };
            return Some(Self::new(waits_for, what));
        }
        // An ordinary one is claimed at once.
        if (is_orphan || is_given_back) && story.crashes >= SUSPECT_CRASHES {
            return Some(Self::new(WaitsFor::Turn, suspected(story.crashes)));
        }
        if is_orphan {
            return None;
        }
        if around.hosts.all_are_full() {
            return Some(around.no_room());
        }
        let takes_none = |replica: &Replica| replica.serves == Some(false);
        if around.replicas.iter().filter(|replica| replica.state == State::Running).all(takes_none) {
            return Some(Self::new(WaitsFor::Engine, "it waits for an engine: no replica takes a job now"));
        }
        Some(around.turn())
    }
}

fn suspected(crashes: u64) -> String {
    format!(
        "it is suspected, because {crashes} replicas ended with it: a replica with nothing else in hand takes it, and runs it alone"
    )
}

impl Around<'_> {
    fn is_gone(&self, name: &str) -> bool {
        self.replicas.iter().find(|replica| replica.name == name).is_none_or(|replica| !replica.is_alive())
    }

    fn has_free_slots(&self) -> bool {
        let is_free =
            |replica: &Replica| replica.in_flight.zip(replica.slots).is_some_and(|(taken, slots)| taken < slots);
        self.replicas.iter().any(|replica| replica.state == State::Running && is_free(replica))
    }

    fn no_room(&self) -> Wait {
        let full = if self.hosts.all_are_full() {
            format!("every host is full: {}", printable(&self.hosts.full_named()))
        } else {
            "the host that was tried last is full, and another one takes it".to_owned()
        };
        Wait::new(WaitsFor::Room, format!("it waits for room: {full}"))
    }

    fn turn(&self) -> Wait {
        let (ahead, exact) = self.ahead.unwrap_or((0, true));
        let pace = self.per_minute.filter(|&pace| pace > 0);
        let before = match (ahead, exact) {
            (0, _) if self.has_free_slots() => {
                "it is the next one, and slots are free: a replica takes it at once, unless \
                                                each of them runs a suspect, which runs alone"
                    .to_owned()
            }
            (0, _) => "it waits for a free slot, and is the next one".to_owned(),
            (1, true) => "it waits for its turn: 1 job is before it".to_owned(),
            (count, true) => format!("it waits for its turn: {count} jobs are before it"),
            (count, false) => format!("it waits for its turn: more than {count} jobs are before it"),
        };
        let jobs = |count: u64| if count == 1 { "1 job was".to_owned() } else { format!("{count} jobs were") };
        let lately = match pace {
            None => String::new(),
            Some(pace) if ahead > 0 && exact => {
                let soon = span(ahead.saturating_mul(60_000) / pace);
                format!(", and {} answered a minute lately: about {soon}", jobs(pace))
            }
            Some(pace) => format!(", and {} answered a minute lately", jobs(pace)),
        };
        Wait {
            ahead: self.ahead.map(|(count, _)| count),
            ahead_exact: exact,
            per_minute: self.per_minute,
            ..Wait::new(WaitsFor::Turn, before + &lately)
        }
    }
}

fn paused(pause: &Pause, at_ms: u64) -> String {
    let by = if pause.by.is_empty() { "by hand".to_owned() } else { format!("by {}", printable(&pause.by)) };
    let since = match pause.at_ms {
        0 => String::new(),
        since_ms => format!(" {} ago ({})", span(at_ms.saturating_sub(since_ms)), time(since_ms)),
    };
    let reason = if pause.reason.is_empty() { String::new() } else { format!(": {}", printable(&pause.reason)) };
    format!("it waits for the end of the pause, which began {by}{since}{reason}")
}

impl NextStep {
    fn command(command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), runbook: None }
    }

    /// Of a job and why it waits; nothing where there is nothing to do.
    pub(super) fn of(story: &EntryStory) -> Option<Self> {
        if let Some(wait) = &story.waits {
            let image = story.payload.as_ref().and_then(|payload| payload.image_ref.as_deref());
            return Some(Self::command(match (wait.waits_for, image) {
                (WaitsFor::Resume, _) => "startjobs resume".to_owned(),
                (WaitsFor::Writes, _) => "startjobs doctor".to_owned(),
                (WaitsFor::Replica, _) => "startjobs worker".to_owned(),
                (WaitsFor::NextTry, _) => format!("startjobs retry-now {}", story.entry_id),
                (WaitsFor::Image, Some(image)) if is_word(image) => format!("startjobs runtime pull {image}"),
                (WaitsFor::Image | WaitsFor::Room | WaitsFor::Engine, _) => "startjobs runtime hosts".to_owned(),
                (WaitsFor::Turn, _) => "startjobs replicas".to_owned(),
            }));
        }
        if let Some(successor) = story.requeued_as.last() {
            return Some(Self::command(format!("startjobs inspect {}", successor.to)));
        }
        let letter = text(story.dead_letter.as_ref(), "dead_letter_id");
        if !letter.is_empty() {
            let is_malformed = text(story.dead_letter.as_ref(), "reason") == Reason::Malformed.as_str();
            // What is no job becomes the same letter again.
            let what = if is_malformed { "show" } else { "requeue" };
            let step = Self::command(format!("startjobs dead {what} {letter}"));
            return Some(Self { runbook: Some("docs/dead-letters.md".to_owned()), ..step });
        }
        let has_failed = text(story.outcome.as_ref(), "outcome") == "failure";
        has_failed.then(|| Self { command: None, runbook: Some("docs/runbooks.md#error-codes".to_owned()) })
    }
}

/// Foreign text that a shell takes for one word.
fn is_word(image: &str) -> bool {
    !image.is_empty() && image.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-/:@".contains(letter))
}

impl View {
    /// Jobs before this one that no replica has read.
    async fn ahead_of(&self, id: EntryId, look: &Look) -> Result<(u64, bool), RedisError> {
        let after = look.after.as_deref().unwrap_or("0-0");
        let (mut from, to, mut ahead) = (format!("({after}"), format!("({id}"), 0);
        while ahead < AHEAD_MAX {
            let args: Vec<Value> = [&from, &to, &PAGE.to_string()].map(|word| word.as_str().into()).into();
            let reply = self.scripts.count.run(&self.connection, vec![self.keys.jobs.clone()], args).await?;
            let (count, last): (u64, String) = reply.convert()?;
            ahead += count;
            if count < PAGE {
                return Ok((ahead, true));
            }
            from = format!("({last}");
        }
        Ok((ahead, false))
    }

    /// Says of a job without an answer why it is not being started, and of every job what to do next.
    pub(super) async fn put_wait(
        &self,
        story: &mut EntryStory,
        id: EntryId,
        look: &Look,
        (replicas, hosts): (&[Replica], &FleetHosts),
    ) -> Result<(), RedisError> {
        if matches!(story.stage, EntryStage::Waiting | EntryStage::Pending) {
            let is_waiting = story.stage == EntryStage::Waiting;
            let around = Around {
                at_ms: look.now_ms,
                pause: look.pause(&self.group),
                refusal: self.server().await?.refuses_writes,
                replicas,
                hosts,
                ahead: if is_waiting { Some(self.ahead_of(id, look).await?) } else { None },
                per_minute: if is_waiting { pace(&self.history(Range::Hour).await?) } else { None },
            };
            story.waits = Wait::of(story, &around);
        }
        story.next = NextStep::of(story);
        Ok(())
    }
}

/// Jobs that were answered in a minute, over the last whole minutes; none where nothing is recorded.
fn pace(timeline: &Timeline) -> Option<u64> {
    let whole = timeline.points.iter().rev().skip(1).take(PACE_MINUTES);
    let recorded: Vec<u64> = whole
        .filter_map(|point| point.recorded.as_ref())
        .map(|record| record.tally.started + record.tally.replayed + record.tally.failures())
        .collect();
    let minutes = u64::try_from(recorded.len()).ok().filter(|minutes| *minutes > 0)?;
    Some(recorded.iter().sum::<u64>().div_ceil(minutes))
}
