//! What happened to the fleet and to single jobs, as far as the events are kept, for the commands and the page.

use std::fmt::Write as _;

use bytes::Bytes;
use serde::Serialize;

use super::printable::span;
use super::{SCHEMA_VERSION, View};
use crate::redis::{RedisError, Value};
use crate::stream::entry_id::EntryId;
use crate::stream::fleet_event::{FleetEvent, KEPT, TEXT_MAX, cut_to};

/// Events in one step of the server.
const PAGE: usize = 1_000;
/// Events of one job that are told.
const OF_JOB_MAX: usize = 200;
/// The largest possible id.
const ID_MAX: EntryId = EntryId { ms: u64::MAX, seq: u64::MAX };

/// One event, as it was written. Any client that may write to the stream may have written it: texts are foreign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct EventView {
    /// Its id in the stream of events.
    pub(crate) event_id: String,
    /// When it happened, by the server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// What happened, one of the words of the fleet, or of a later version.
    pub(crate) kind: String,
    /// The entry that it happened to.
    pub(crate) entry_id: Option<String>,
    /// The game of that entry.
    pub(crate) game_id: Option<String>,
    /// An error code, the reason of a dead letter, or a condition.
    pub(crate) code: Option<String>,
    /// For people.
    pub(crate) text: Option<String>,
    /// Which attempt it was, from 1.
    pub(crate) attempt: Option<u64>,
    /// How long the job waits for its next attempt.
    pub(crate) pause_ms: Option<u64>,
    /// How many entries, dead letters or events it was.
    pub(crate) count: Option<u64>,
    /// The other one: the replica that died, or from which entries were taken; the host that was evicted.
    pub(crate) subject: Option<String>,
    /// The host on which the job was tried, or the replica's machine.
    pub(crate) host: Option<String>,
    /// The operator, `user@host`.
    pub(crate) by: Option<String>,
    /// The replica that told it.
    pub(crate) replica: Option<String>,
}

/// The newest events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Events {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The newest first.
    pub(crate) events: Vec<EventView>,
    /// Where the next page begins, for [`View::events`]; none behind the oldest one.
    pub(crate) older: Option<String>,
}

/// The events of one job, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct JobEvents {
    /// At most the first 200.
    pub(crate) events: Vec<EventView>,
    /// Events from the job's own time on are kept, and all were looked at.
    pub(crate) is_whole: bool,
    /// The oldest event that is kept, Unix milliseconds; none where there are no events.
    pub(crate) kept_from_ms: Option<u64>,
}

type Row = (String, Vec<Bytes>);

impl View {
    /// The newest events, at most `limit` of them (1,000 at most); those older than `before`, where it is given.
    pub(crate) async fn events(&self, before: Option<EntryId>, limit: usize) -> Result<Events, RedisError> {
        let first = before.map_or_else(|| "+".to_owned(), |id| format!("({id}"));
        let limit = limit.clamp(1, PAGE);
        // Redis refuses a range that ends before the smallest id.
        let is_over = before == Some(EntryId::ZERO);
        let page = if is_over {
            (0, String::new(), Vec::new())
        } else {
            self.event_page(("XREVRANGE", &first, "-"), limit, ("", "")).await?
        };
        let (looked, last, rows) = page;
        let older = Some(last).filter(|_| looked == limit);
        Ok(Events { schema_version: SCHEMA_VERSION, events: rows.into_iter().map(event_of).collect(), older })
    }

    /// What happened to one job, from its own time on. The stream of events is bounded, and so is this.
    pub(crate) async fn events_of(&self, job: EntryId) -> Result<JobEvents, RedisError> {
        let (_, oldest, _) = self.event_page(("XRANGE", "-", "+"), 1, ("", "")).await?;
        let Ok(oldest) = oldest.parse::<EntryId>() else {
            return Ok(JobEvents { is_whole: true, ..JobEvents::default() });
        };
        let mut told = JobEvents { kept_from_ms: Some(oldest.ms), ..JobEvents::default() };
        let (mut from, text) = (format!("{}-0", job.ms), job.to_string());
        let mut seen = 0;
        // What is kept is about so many; a stream that another program fills is not walked for ever.
        while seen < 2 * KEPT {
            let (looked, last, rows) = self.event_page(("XRANGE", &from, "+"), PAGE, ("job", &text)).await?;
            seen += looked;
            told.events.extend(rows.into_iter().map(event_of));
            if looked < PAGE || last == ID_MAX.to_string() || told.events.len() >= OF_JOB_MAX {
                // The fleet's own events are trimmed only where there are more than it keeps.
                told.is_whole = looked < PAGE && (oldest.ms <= job.ms || self.events_kept().await? < KEPT as u64);
                break;
            }
            from = format!("({last}");
        }
        told.events.truncate(OF_JOB_MAX);
        Ok(told)
    }

    /// Jobs of this game that were cancelled before any replica had read them, as far as the events tell: nothing else does.
    /// The newest first.
    pub(crate) async fn cancelled_unread(&self, game: &str) -> Result<Vec<EventView>, RedisError> {
        let (mut found, mut seen, mut before) = (Vec::new(), 0, "+".to_owned());
        // An event has no more of the name.
        let name = cut_to(game, TEXT_MAX);
        while seen < 2 * KEPT && found.len() < OF_JOB_MAX {
            let page = self.event_page(("XREVRANGE", &before, "-"), PAGE, ("game_id", &name)).await?;
            let (looked, last, rows) = page;
            let events = rows.into_iter().map(event_of);
            found.extend(events.filter(|event| event.kind == "cancelled" && event.replica.is_none()));
            if looked < PAGE || last == EntryId::ZERO.to_string() {
                break;
            }
            (seen, before) = (seen + looked, format!("({last}"));
        }
        found.truncate(OF_JOB_MAX);
        Ok(found)
    }

    async fn events_kept(&self) -> Result<u64, RedisError> {
        self.connection.stream_length(&self.keys.events).await
    }

    async fn event_page(
        &self,
        (order, first, last): (&str, &str, &str),
        count: usize,
        (name, wanted): (&str, &str),
    ) -> Result<(usize, String, Vec<Row>), RedisError> {
        let (count, value_max) = (count.to_string(), TEXT_MAX.to_string());
        let args: Vec<Value> = [order, first, last, &count, &value_max, name, wanted].map(Value::from).to_vec();
        let reply = self.scripts.events.run(&self.connection, vec![self.keys.events.clone()], args).await?;
        let (looked, last, rows): (u64, String, Vec<Row>) = reply.convert()?;
        Ok((usize::try_from(looked).unwrap_or(usize::MAX), last, rows))
    }

    /// Writes down what an operator has done, for the page and for `inspect`. Where Redis refuses it, what was done stays done.
    pub(crate) async fn note(&self, event: &FleetEvent) {
        if let Err(error) = self.as_group.note(event).await {
            tracing::debug!(err = error.text, "what was done is not among the events");
        }
    }
}

fn event_of((event_id, flat): Row) -> EventView {
    let mut event = EventView { at_ms: event_id.parse::<EntryId>().map_or(0, |id| id.ms), ..EventView::default() };
    event.event_id = event_id;
    for pair in flat.chunks_exact(2) {
        let value = String::from_utf8_lossy(&pair[1]).into_owned();
        let text = match &pair[0][..] {
            b"at_ms" => {
                // What happened is told later, never before.
                event.at_ms = value.parse().ok().filter(|&ms| ms <= event.at_ms).unwrap_or(event.at_ms);
                continue;
            }
            b"kind" => {
                event.kind = value;
                continue;
            }
            b"attempt" => {
                event.attempt = value.parse().ok();
                continue;
            }
            b"pause_ms" => {
                event.pause_ms = value.parse().ok();
                continue;
            }
            b"count" => {
                event.count = value.parse().ok();
                continue;
            }
            b"job" => &mut event.entry_id,
            b"game_id" => &mut event.game_id,
            b"code" => &mut event.code,
            b"text" => &mut event.text,
            b"subject" => &mut event.subject,
            b"host" => &mut event.host,
            b"by" => &mut event.by,
            b"replica" => &mut event.replica,
            _ => continue,
        };
        *text = Some(value);
    }
    event
}

impl EventView {
    /// What happened, for people; foreign text in it is as it came.
    pub(crate) fn sentence(&self) -> String {
        let or = |text: &Option<String>, other: &str| text.clone().unwrap_or_else(|| other.to_owned());
        let (code, text) = (or(&self.code, ""), or(&self.text, ""));
        let words =
            [code.as_str(), text.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        let (replica, subject) = (or(&self.replica, "a replica"), or(&self.subject, "another consumer"));
        let (by, count) = (or(&self.by, "an operator"), self.count.unwrap_or(1));
        let entries = if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") };
        let mut said = match self.kind.as_str() {
            "attempt_failed" => {
                let pause = self.pause_ms.filter(|&ms| ms > 0);
                let then = pause.map_or_else(String::new, |ms| format!("; the next one {} later", span(ms)));
                format!("attempt {} failed on {replica}: {words}{then}", self.attempt.unwrap_or(1))
            }
            "declared_dead" => format!("{replica} declared {subject} dead: its connections were closed"),
            "claimed" => format!("{replica} took {entries} from {subject}"),
            "dead_letter" if count > 1 => format!("{count} dead letters: {words}"),
            "dead_letter" => format!("dead letter: {words}"),
            "paused" => format!("{by} paused the fleet"),
            "resumed" => format!("{by} resumed the fleet"),
            "replica_started" => format!("{replica} takes work"),
            "replica_drains" if self.by.is_some() => format!("{by} drains {replica}"),
            "replica_drains" => format!("{replica} finishes what it has"),
            "replica_left" => format!("{replica} has left"),
            "degraded" => format!("{replica} is degraded: {words}"),
            "recovered" => format!("{replica} has recovered: {words}"),
            "requeued" if count > 1 => format!("{by} requeued {count} dead letters"),
            "requeued" => format!("{by} requeued the dead letter"),
            "removed" if count > 1 => format!("{by} removed {count} dead letters"),
            "removed" => format!("{by} removed the dead letter"),
            "cancelled" => format!("{by} asked to cancel the job"),
            "retried_now" => format!("{by} had the job tried again at once"),
            "stopped" => format!("{by} stopped the game"),
            "evicted" => format!("{by} evicted the games of host {subject}"),
            "left_out" => format!("{replica} had {count} more events than one report takes"),
            other => format!("{other} {words}"),
        };
        if self.by.is_some() && !text.is_empty() {
            // Writing to a String cannot fail.
            _ = write!(said, " ({text})");
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::fleet_event::Happened;

    fn event(pairs: &[(&str, &str)]) -> EventView {
        let flat = pairs.iter().flat_map(|(name, value)| [name, value]).map(|text| Bytes::from((*text).to_owned()));
        event_of(("1000-0".to_owned(), flat.collect()))
    }

    #[test]
    fn a_foreign_event_is_shown_as_far_as_it_can_be() {
        let odd = event(&[("at_ms", "2000"), ("kind", "dances"), ("attempt", "x"), ("nonsense", "y")]);
        assert_eq!((odd.at_ms, odd.kind.as_str(), odd.attempt), (1_000, "dances", None));
        assert_eq!(event(&[]).sentence(), " ");
    }

    #[test]
    fn every_kind_has_a_sentence_of_its_own() {
        for kind in Happened::ALL {
            let said = event(&[("kind", kind.as_str()), ("code", "c")]).sentence();
            assert!(!said.starts_with(kind.as_str()), "{said}");
        }
        let failed =
            event(&[("kind", "attempt_failed"), ("code", "image_not_found"), ("text", "no"), ("pause_ms", "1500")]);
        assert_eq!(failed.sentence(), "attempt 1 failed on a replica: image_not_found: no; the next one 1.5s later");
    }
}
