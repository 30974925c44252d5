//! One entry of the jobs stream: from its append to its answer.

use tokio::time::Instant;

use super::moments::moments;
use super::next::{Wait, WaitsFor};
use super::requeues::{self, Links, Successor};
use super::takeover::{Facts, Takeover};
use super::told::{Map, ms_of, text};
use crate::ops::events::JobEvents;
use crate::ops::hosts::FleetHosts;
use crate::ops::look::Look;
use crate::ops::pending::idle_of;
use crate::ops::printable::{number, span};
use crate::ops::replicas::Replica;
use crate::ops::{SCHEMA_VERSION, View};
use crate::redis::RedisError;
use crate::redis::commands::PendingEntry;
use crate::stream::entry_id::EntryId;
use crate::stream::mark::Cancel;

pub(crate) use super::scan::Bound;
pub(crate) use super::told::{EntryStory, Payload};
pub(crate) use super::{EntryStage, Holder};

impl View {
    /// The story of one entry. Outcomes and dead letters are searched from the entry's own time on, within the bound.
    pub(crate) async fn entry_story(&self, id: EntryId, bound: Bound) -> Result<EntryStory, RedisError> {
        let links = self.links(bound).await?;
        let mut story = self.told(id, bound, &links).await?;
        if let Some(last) = story.requeued_as.last().and_then(|step| step.to.parse().ok()) {
            let EntryStory { entry_id, stage, sentence, search_is_whole, .. } =
                Box::pin(self.told(last, bound, &links)).await?;
            story.search_is_whole &= search_is_whole;
            story.successor = Some(Successor { entry_id, stage, sentence });
        }
        let words = requeues::words((&story.requeued_from, &story.requeued_as), story.successor.as_ref(), story.at_ms);
        story.sentence.push_str(&words);
        Ok(story)
    }

    /// Why this job is not being started; nothing where it is, or has an answer.
    pub(crate) async fn wait_of(&self, id: EntryId) -> Result<Option<Wait>, RedisError> {
        // Outcomes are not looked for: what has one waits for nothing.
        let bound = Bound { entries: 0, until: Instant::now() };
        Ok(Box::pin(self.entry_story(id, bound)).await?.waits)
    }

    /// The story of one entry without that of its successors.
    async fn told(&self, id: EntryId, bound: Bound, links: &Links) -> Result<EntryStory, RedisError> {
        let look = self.look().await?;
        let text = id.to_string();
        let payload = self.payload(id, &look).await?;
        let pending = if look.group.is_some() { self.holder(&text, id.ms, look.now_ms).await? } else { None };
        let past = self.as_group.history(&[id]).await?.into_iter().next().unwrap_or_default();
        let mut story = EntryStory {
            schema_version: SCHEMA_VERSION,
            at_ms: look.now_ms,
            sentence: String::new(),
            stage: EntryStage::Absent,
            appended_at_ms: id.ms,
            payload,
            pending,
            crashes: past.crashes,
            failures: past.failures,
            cancel: past.cancel.map(|cancel| Cancel::clone(&cancel)),
            takeover: None,
            in_ledger: past.is_settled,
            standstill: None,
            events: JobEvents::default(),
            record: None,
            pull: None,
            waits: None,
            next: None,
            stored: None,
            outcome: None,
            dead_letter: None,
            requeued_from: Vec::new(),
            requeued_as: links.after(&text),
            successor: None,
            damaged: links.damaged.iter().cloned().collect(),
            search_is_whole: true,
            moments: Vec::new(),
            entry_id: text,
        };
        let says = story.payload.as_ref().and_then(|payload| payload.requeued_from.as_deref());
        story.requeued_from = links.before(id, says);
        self.search(&mut story, id, &look, bound).await?;
        story.search_is_whole &= links.is_whole || !story.requeued_as.is_empty();
        if let Some(game) = game_of(&story) {
            let kept = self.game(&game, look.now_ms).await?;
            story.record = kept.record;
            story.stored = kept.stored.into_iter().find(|stored| stored.source_ref == story.entry_id);
            story.damaged.extend(kept.damaged);
        }
        story.stage = stage(&story, id, &look);
        let replicas = self.replicas(&look).replicas;
        story.takeover = takeover(&story, &replicas);
        if let Some(holder) = &story.pending {
            story.standstill = self.standstill((id, &holder.replica), &replicas, look.now_ms).await?;
        }
        if !matches!(story.stage, EntryStage::Waiting | EntryStage::Absent) {
            story.events = self.events_of(id).await?;
        }
        let own = story.record.as_ref().filter(|record| record.source_ref == story.entry_id);
        let is_open = matches!(story.stage, EntryStage::Waiting | EntryStage::Pending);
        let attempt = own.filter(|record| record.state == "starting");
        if let (Some(record), EntryStage::Pending) = (attempt, story.stage) {
            story.pull = self.pull_of(record, &replicas, look.now_ms).await?;
        }
        let hosts = if is_open { self.hosts(&look, &replicas).await? } else { FleetHosts::default() };
        self.put_wait(&mut story, id, &look, (&replicas, &hosts)).await?;
        story.moments = moments(&story);
        story.sentence = sentence(&story);
        Ok(story)
    }

    async fn payload(&self, id: EntryId, look: &Look) -> Result<Option<Payload>, RedisError> {
        if look.stream.is_none() {
            return Ok(None);
        }
        let (excerpts, most) = (&self.scripts.excerpts, self.max_field_bytes);
        let Some(entry) = excerpts.job(&self.connection, &self.keys.jobs, id, most).await? else { return Ok(None) };
        let last = entry.fields.iter().rev().find(|(name, _)| name == b"requeued_from".as_slice());
        let requeued_from = last.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        Ok(Some(match entry.decode(most) {
            Ok(job) => Payload {
                game_id: Some(job.game_id),
                image_ref: Some(job.image_ref),
                requested_at_ms: job.requested_at_ms,
                malformed: None,
                requeued_from,
            },
            Err(malformed) => Payload {
                game_id: None,
                image_ref: None,
                requested_at_ms: 0,
                malformed: Some(malformed.to_string()),
                requeued_from,
            },
        }))
    }

    async fn holder(&self, id: &str, appended_ms: u64, now_ms: u64) -> Result<Option<Holder>, RedisError> {
        let pending = self.connection.pending(&self.keys.jobs, &self.group, (id, id), 1).await?;
        let holder = |PendingEntry { consumer, idle_ms, deliveries, .. }| {
            let (idle_ms, is_given_back) = idle_of(idle_ms, appended_ms, now_ms);
            Holder { replica: String::from_utf8_lossy(&consumer).into_owned(), idle_ms, is_given_back, deliveries }
        };
        Ok(pending.into_iter().next().map(holder))
    }

    async fn search(&self, story: &mut EntryStory, id: EntryId, look: &Look, bound: Bound) -> Result<(), RedisError> {
        // What waits or is held, and is not in the ledger, has no answer: settling is one step.
        let is_open = story.pending.is_some() || is_waiting(story, id, look);
        if is_open && !story.in_ledger {
            return Ok(());
        }
        let by_source = ("source_ref", story.entry_id.as_str());
        // Answers have the server's time in their ids. An entry whose own id is ahead of that may have any before it.
        let from_ms = if story.is_ahead() { 0 } else { id.ms };
        let is_stream = |key: &str| look.types.get(key).is_some_and(|held| held == "stream");
        let mut is_whole = true;
        let (mut outcome, mut dead) = (None, None);
        if is_stream(&self.keys.dead) {
            let found = self.find(&self.keys.dead, from_ms, by_source, bound).await?;
            is_whole &= found.is_whole;
            dead = found.entry;
        }
        if is_stream(&self.keys.results) {
            let found = self.find(&self.keys.results, from_ms, by_source, bound).await?;
            is_whole &= found.is_whole;
            outcome = found.entry;
        }
        story.outcome = outcome.map(|(found, pairs)| map("outcome_id", found, pairs));
        story.dead_letter = dead.map(|(found, pairs)| map("dead_letter_id", found, pairs));
        story.search_is_whole = is_whole;
        Ok(())
    }
}

/// Those of the fleet's own fields that are numbers.
const NUMBERS: [&str; 7] =
    ["requested_at_ms", "finished_at_ms", "attempt", "deliveries", "crashes", "failures", "dead_at_ms"];

fn map(id_name: &str, id: String, pairs: Vec<(String, String)>) -> Map {
    let mut map = Map::new();
    for (name, value) in pairs {
        let value = if NUMBERS.contains(&name.as_str()) { number(value) } else { value.into() };
        // The first of repeated names is ours.
        map.entry(name).or_insert(value);
    }
    map.insert(id_name.to_owned(), id.into());
    map
}

fn game_of(story: &EntryStory) -> Option<String> {
    let payload = story.payload.as_ref().and_then(|payload| payload.game_id.clone());
    let elsewhere = || {
        let games = [text(story.outcome.as_ref(), "game_id"), text(story.dead_letter.as_ref(), "game_id")];
        games.into_iter().map(|game| game.trim().to_owned()).find(|game| !game.is_empty())
    };
    payload.or_else(elsewhere)
}

fn is_waiting(story: &EntryStory, id: EntryId, look: &Look) -> bool {
    let after: Option<EntryId> = look.after.as_deref().and_then(|id| id.parse().ok());
    story.payload.is_some() && after.is_some_and(|after| id > after)
}

fn stage(story: &EntryStory, id: EntryId, look: &Look) -> EntryStage {
    let is_answered = story.in_ledger
        || story.outcome.is_some()
        || story.dead_letter.is_some()
        || story.stored.is_some()
        || !story.requeued_as.is_empty();
    if story.pending.is_some() && !story.in_ledger {
        return EntryStage::Pending;
    }
    if is_answered {
        return EntryStage::Settled;
    }
    if is_waiting(story, id, look) {
        return EntryStage::Waiting;
    }
    if story.payload.is_none() {
        return EntryStage::Absent;
    }
    let verified: Option<EntryId> = look.verified.as_deref().and_then(|id| id.parse().ok());
    if verified.is_some_and(|verified| id <= verified) { EntryStage::Forgotten } else { EntryStage::Orphaned }
}

/// Who died with it, and who took over.
fn takeover(story: &EntryStory, replicas: &[Replica]) -> Option<Takeover> {
    let count = |map: Option<&Map>, name| text(map, name).parse::<u64>().ok();
    let deliveries = story.pending.as_ref().map(|holder| holder.deliveries);
    let told = || count(story.outcome.as_ref(), "attempt").or_else(|| count(story.dead_letter.as_ref(), "deliveries"));
    let end = [(story.outcome.as_ref(), "outcome_id"), (story.dead_letter.as_ref(), "dead_letter_id")];
    let buried_by = text(story.dead_letter.as_ref(), "consumer");
    let record = story.record.as_ref().filter(|record| record.source_ref == story.entry_id);
    let facts = Facts {
        at_ms: story.at_ms,
        appended_at_ms: story.appended_at_ms,
        holder: story.pending.as_ref().map(|holder| holder.replica.as_str()),
        owner: record.map(|record| record.owner.as_str()).filter(|owner| !owner.is_empty()),
        replicas,
        deliveries: deliveries.or_else(told),
        crashes: story.pending.as_ref().map(|_| story.crashes),
        answered_ms: end.into_iter().map(|(map, name)| ms_of(&text(map, name))).find(|&ms| ms > 0),
        buried_by: Some(buried_by).filter(|name| !name.is_empty()),
    };
    facts.takeover()
}

fn sentence(story: &EntryStory) -> String {
    let behind = match (story.crashes, story.failures) {
        (0, 0) => String::new(),
        (crashes, failures) => format!("; crashes {crashes}, failures {failures}"),
    };
    let age = if story.is_ahead() { "an unknown time".to_owned() } else { span(story.at_ms - story.appended_at_ms) };
    let behind = match &story.takeover {
        Some(takeover) if story.stage != EntryStage::Settled => format!("{behind}; {}", takeover.sentence()),
        _ => behind,
    };
    let behind = match &story.waits {
        // The words of its replica say it already.
        Some(wait) if story.standstill.is_some() && matches!(wait.waits_for, WaitsFor::NextTry | WaitsFor::Image) => {
            behind
        }
        Some(wait) => format!("{behind}; {}", wait.sentence),
        None => behind,
    };
    match story.stage {
        EntryStage::Waiting => format!("waiting for {age}: no replica has read it yet{behind}"),
        EntryStage::Pending if story.standstill.is_some() => {
            let why = story.standstill.as_ref().map_or_else(String::new, |one| one.sentence(&age));
            format!("{why}{behind}")
        }
        EntryStage::Pending => story.pending.as_ref().map_or_else(String::new, |holder| {
            let (by, idle) = (&holder.replica, span(holder.idle_ms));
            if holder.is_given_back {
                return format!("waiting for {age}: given back by {by}; the next free replica takes it{behind}");
            }
            format!("in flight for {age}: held by {by}, touched {idle} ago, delivery {}{behind}", holder.deliveries)
        }),
        EntryStage::Settled => match &story.takeover {
            Some(takeover) => format!("{}; {}", settled(story), takeover.sentence()),
            None => settled(story),
        },
        EntryStage::Orphaned => {
            format!("delivered, but neither held nor answered{behind}: the fleet restores it within seconds")
        }
        EntryStage::Forgotten => "answered, and its outcome was removed".to_owned(),
        EntryStage::Absent if story.search_is_whole => "no such entry, and no trace of one".to_owned(),
        EntryStage::Absent => "no such entry in the stream, and no trace within the bound of the search".to_owned(),
    }
}

fn settled(story: &EntryStory) -> String {
    let end = story.outcome.as_ref().map(|outcome| ms_of(&text(Some(outcome), "outcome_id")));
    let end = end.filter(|&end| end >= story.appended_at_ms);
    let after =
        end.map_or_else(String::new, |end| format!(" after {}", span(end.saturating_sub(story.appended_at_ms))));
    let reason = text(story.dead_letter.as_ref(), "reason");
    let dead = if reason.is_empty() { String::new() } else { format!(", dead letter {reason}") };
    if let Some(outcome) = &story.outcome {
        let code = text(Some(outcome), "error_code");
        let code = if code.is_empty() { code } else { format!(" ({code})") };
        return format!("answered {}{code}{after}{dead}", text(Some(outcome), "outcome"));
    }
    if !reason.is_empty() {
        return format!("not answered: dead letter {reason}");
    }
    if let Some(ended) = requeues::ended(&story.entry_id, &story.requeued_as) {
        return ended;
    }
    let stored = story.stored.as_ref().map_or_else(String::new, |stored| format!(" {}", stored.outcome));
    let why = if story.search_is_whole {
        "its outcome was removed, or has no source_ref"
    } else {
        "its outcome is beyond the bound of the search"
    };
    format!("answered{stored}; {why}")
}
