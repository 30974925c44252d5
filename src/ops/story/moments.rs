//! What happened to one entry when, oldest first.

use super::requeues::Requeue;
use super::told::{EntryStory, ms_of, text};
use super::{Moment, standstill};

/// The moments of a story whose other fields are known.
pub(super) fn moments(story: &EntryStory) -> Vec<Moment> {
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
    if let Some(holder) = story.pending.as_ref().filter(|holder| !holder.is_given_back) {
        let at = story.at_ms.saturating_sub(holder.idle_ms);
        add(at, "touched", format!("by {}, delivery {}", holder.replica, holder.deliveries));
    }
    if let Some(cancel) = &story.cancel {
        add(cancel.at_ms, "mark", format!("to be {}", cancel.message()));
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
    moments.extend(standstill::moments(&story.events, story.cancel.is_some()));
    moments.extend(story.requeued_from.iter().chain(&story.requeued_as).map(Requeue::moment));
    // An id that is ahead does not say when: nothing happened to an entry before it was appended.
    moments.sort_by_key(|moment| (!story.is_ahead() || moment.what != "appended", moment.at_ms));
    moments
}
