//! One entry of the jobs stream: from its append to its answer.

use serde::Serialize;

use super::takeover::{Facts, Takeover};
use super::{Moment, Record, Stored};
use crate::contract::start_job::StartJob;
use crate::ops::look::Look;
use crate::ops::printable::span;
use crate::ops::pulls::PullView;
use crate::ops::replicas::Replica;
use crate::ops::{SCHEMA_VERSION, View};
use crate::redis::RedisError;
use crate::redis::commands::PendingEntry;
use crate::stream::entry_id::EntryId;

pub(crate) use super::scan::Bound;

/// What has happened to an entry so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EntryStage {
    /// No replica has read it yet.
    Waiting,
    /// A replica holds it.
    Pending,
    /// It is answered.
    Settled,
    /// It was delivered, and is neither held nor answered: it is put back by and by.
    Orphaned,
    /// It was delivered, and what became of it is not remembered any more.
    Forgotten,
    /// There is no such entry, and no trace of one.
    Absent,
}

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
    /// Its replica died, and who took over.
    pub(crate) takeover: Option<Takeover>,
    /// It is in the ledger: settled, and never answered again.
    pub(crate) in_ledger: bool,
    /// The record of its game.
    pub(crate) record: Option<Record>,
    /// The image for which it waits.
    pub(crate) pull: Option<PullView>,
    /// It waits, and every host has as many games as it may: the hosts.
    pub(crate) full_hosts: Option<String>,
    /// The answer its game's record keeps.
    pub(crate) stored: Option<Stored>,
    /// Its outcome: the fields as they came, and `outcome_id`.
    pub(crate) outcome: Option<serde_json::Map<String, serde_json::Value>>,
    /// Its dead letter: the fields as they came, and `dead_letter_id`.
    pub(crate) dead_letter: Option<serde_json::Map<String, serde_json::Value>>,
    /// Outcomes and dead letters were searched to their ends, or need not be.
    pub(crate) search_is_whole: bool,
    /// What happened when, oldest first.
    pub(crate) moments: Vec<Moment>,
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
}

/// Who holds an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Holder {
    /// The replica.
    pub(crate) replica: String,
    /// How long ago it touched the entry.
    pub(crate) idle_ms: u64,
    /// How often the entry was delivered.
    pub(crate) deliveries: u64,
}

type Map = serde_json::Map<String, serde_json::Value>;

impl EntryStory {
    /// Its id is ahead of the server's clock, so it does not tell when the entry was appended: the sender chose it, or
    /// the clock has gone back.
    pub(crate) fn is_ahead(&self) -> bool {
        self.appended_at_ms > self.at_ms
    }
}

impl View {
    /// The story of one entry. Outcomes and dead letters are searched from the entry's own time on, within the bound.
    pub(crate) async fn entry_story(&self, id: EntryId, bound: Bound) -> Result<EntryStory, RedisError> {
        let look = self.look().await?;
        let text = id.to_string();
        let payload = self.payload(id, &look).await?;
        let pending = if look.group.is_some() { self.holder(&text).await? } else { None };
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
            takeover: None,
            in_ledger: past.is_settled,
            record: None,
            pull: None,
            full_hosts: None,
            stored: None,
            outcome: None,
            dead_letter: None,
            search_is_whole: true,
            moments: Vec::new(),
            entry_id: text,
        };
        self.search(&mut story, id, &look, bound).await?;
        if let Some(game) = game_of(&story) {
            let (record, stored) = self.game(&game, look.now_ms).await?;
            story.record = record;
            story.stored = stored.into_iter().find(|stored| stored.source_ref == story.entry_id);
        }
        story.stage = stage(&story, id, &look);
        let replicas = self.replicas(&look).replicas;
        story.takeover = takeover(&story, &replicas);
        let own = story.record.as_ref().filter(|record| record.source_ref == story.entry_id);
        let is_open = matches!(story.stage, EntryStage::Waiting | EntryStage::Pending);
        let attempt = own.filter(|record| record.state == "starting");
        if let (Some(record), EntryStage::Pending) = (attempt, story.stage) {
            story.pull = self.pull_of(record, &replicas, look.now_ms).await?;
        } else if attempt.is_none() && is_open {
            // No attempt at it has found room.
            let hosts = self.hosts(&look, &replicas).await?;
            story.full_hosts = hosts.all_are_full().then(|| hosts.full_named());
        }
        story.moments = moments(&story);
        story.sentence = sentence(&story);
        Ok(story)
    }

    async fn payload(&self, id: EntryId, look: &Look) -> Result<Option<Payload>, RedisError> {
        if look.stream.is_none() {
            return Ok(None);
        }
        let Some(entry) = self.connection.entry(&self.keys.jobs, &id.to_string()).await? else { return Ok(None) };
        Ok(Some(match StartJob::decode(&entry.fields, self.max_field_bytes) {
            Ok(job) => Payload {
                game_id: Some(job.game_id),
                image_ref: Some(job.image_ref),
                requested_at_ms: job.requested_at_ms,
                malformed: None,
            },
            Err(malformed) => {
                Payload { game_id: None, image_ref: None, requested_at_ms: 0, malformed: Some(malformed.to_string()) }
            }
        }))
    }

    async fn holder(&self, id: &str) -> Result<Option<Holder>, RedisError> {
        let pending = self.connection.pending(&self.keys.jobs, &self.group, (id, id), 1).await?;
        let holder = |PendingEntry { consumer, idle_ms, deliveries, .. }| Holder {
            replica: String::from_utf8_lossy(&consumer).into_owned(),
            idle_ms,
            deliveries,
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

fn map(id_name: &str, id: String, pairs: Vec<(String, String)>) -> Map {
    let mut map = Map::new();
    for (name, value) in pairs {
        // The first of repeated names is ours.
        map.entry(name).or_insert_with(|| value.into());
    }
    map.insert(id_name.to_owned(), id.into());
    map
}

fn text(map: Option<&Map>, name: &str) -> String {
    map.and_then(|map| map.get(name)).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
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
    let is_answered =
        story.in_ledger || story.outcome.is_some() || story.dead_letter.is_some() || story.stored.is_some();
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

fn moments(story: &EntryStory) -> Vec<Moment> {
    let mut moments = Vec::new();
    let mut add = |at_ms: u64, what, detail: String| moments.push(Moment { at_ms, what, detail });
    let ahead = if story.is_ahead() { "; its id is ahead of the server's clock and does not say when" } else { "" };
    if let Some(payload) = &story.payload {
        if let Some(at) = u64::try_from(payload.requested_at_ms).ok().filter(|&at| at > 0) {
            add(at, "requested", "by Lobby's clock".to_owned());
        }
        let asked = match (&payload.malformed, &payload.game_id, &payload.image_ref) {
            (None, Some(game), Some(image)) => format!("game {game}, image {image}"),
            (malformed, ..) => format!("not a start job: {}", malformed.as_deref().unwrap_or_default()),
        };
        add(story.appended_at_ms, "appended", asked + ahead);
    } else {
        add(story.appended_at_ms, "appended", format!("the payload is not in the stream any more{ahead}"));
    }
    if let Some(holder) = &story.pending {
        let at = story.at_ms.saturating_sub(holder.idle_ms);
        add(at, "touched", format!("by {}, delivery {}", holder.replica, holder.deliveries));
    }
    if let Some(takeover) = &story.takeover {
        for gone in &takeover.from {
            add(gone.last_seen_ms, gone.end(), takeover.detail(gone));
            if let Some((at, notice)) = gone.noticed_ms.zip(gone.notice()) {
                add(at, "death noticed", notice);
            }
        }
    }
    if let Some(record) = story.record.as_ref().filter(|record| record.source_ref == story.entry_id) {
        let container = Some(&record.container_id).filter(|id| !id.is_empty());
        let container = container.map_or_else(String::new, |id| format!(", container {id}"));
        let end = record.end().map_or_else(String::new, |end| format!(" ({end})"));
        add(
            record.updated_at_ms,
            "record",
            format!("{}{end}, fence {}, by {}{container}", record.state, record.fence, record.owner),
        );
        if let Some((at, end)) = record.ended_at_ms.zip(record.end()) {
            add(at, "game ended", end);
        }
    }
    if let Some(pull) = &story.pull {
        let at = if pull.since_ms > 0 { pull.since_ms } else { story.at_ms };
        add(at, "image", pull.sentence());
    }
    if let Some(outcome) = &story.outcome {
        let field = |name| text(Some(outcome), name);
        let detail = match field("outcome").as_str() {
            "success" => {
                let replay = if field("error_code").is_empty() { "" } else { " (was running)" };
                format!("success{replay}: container {} at {}", field("container_id"), field("engine_endpoint"))
            }
            other => format!("{other}: {}: {}", field("error_code"), field("error_message")),
        };
        let again = field("attempt").parse().is_ok_and(|attempt: u64| attempt > 1);
        let detail = if again { format!("{detail}, delivery {}", field("attempt")) } else { detail };
        add(ms_of(&field("outcome_id")), "outcome", detail);
    }
    if let Some(dead) = &story.dead_letter {
        let field = |name| text(Some(dead), name);
        let detail = format!(
            "{}: {} (deliveries {}, crashes {}, failures {})",
            field("reason"),
            field("detail"),
            field("deliveries"),
            field("crashes"),
            field("failures")
        );
        add(ms_of(&field("dead_letter_id")), "dead letter", detail);
    }
    // An id that is ahead does not say when: nothing happened to an entry before it was appended.
    moments.sort_by_key(|moment| (!story.is_ahead() || moment.what != "appended", moment.at_ms));
    moments
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
        answered_ms: end.into_iter().map(|(map, name)| ms_of(&text(map, name))).find(|&ms| ms > 0),
        buried_by: Some(buried_by).filter(|name| !name.is_empty()),
    };
    facts.takeover()
}

fn ms_of(id: &str) -> u64 {
    id.parse::<EntryId>().map_or(0, |id| id.ms)
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
    let behind = match &story.full_hosts {
        Some(hosts) => format!("{behind}; it waits for room: every host is full: {hosts}"),
        None => behind,
    };
    match story.stage {
        EntryStage::Waiting => format!("waiting for {age}: no replica has read it yet{behind}"),
        EntryStage::Pending => story.pending.as_ref().map_or_else(String::new, |holder| {
            let (by, idle) = (&holder.replica, span(holder.idle_ms));
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
    let stored = story.stored.as_ref().map_or_else(String::new, |stored| format!(" {}", stored.outcome));
    let why = if story.search_is_whole {
        "its outcome was removed, or has no source_ref"
    } else {
        "its outcome is beyond the bound of the search"
    };
    format!("answered{stored}; {why}")
}
