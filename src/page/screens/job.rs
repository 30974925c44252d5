//! One job: what happened to it, and what can be done?

use std::time::Duration;

use maud::{Markup, html};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::course::course;
use super::damaged::damaged;
use super::refused::{absent, unanswered};
use super::wish::offers;
use crate::ops::story::Moment;
use crate::ops::story::entry::{Bound, EntryStage, EntryStory};
use crate::page::frame::facts::facts;
use crate::page::frame::icons::Icon;
use crate::page::frame::shell::Tab;
use crate::page::frame::story::{Step, story};
use crate::page::frame::tone::Tone;
use crate::page::frame::verdict::{Said, judged};
use crate::page::frame::waterfall::waterfall;
use crate::page::site::{Asked, Frame, framed};
use crate::page::text;
use crate::stream::entry_id::EntryId;

/// Outcomes and dead letters that are looked at for this one.
const SCANNED_MAX: u64 = 100_000;
/// How long looking for them may take.
const SCAN_WITHIN: Duration = Duration::from_secs(2);

/// The page; false where there is no such job.
pub(crate) async fn page(asked: &Asked, id: &str) -> (Markup, bool) {
    let Ok(entry) = id.parse::<EntryId>() else {
        let said = html! {
            (text::name(id)) " is no id of an entry; one looks like " code { "1795502500004-0" }
            ". A game has a screen of its own: "
            a href={ "/games/" (text::encoded(id)) } { "the story of game " (text::name(id)) }
        };
        return (absent(asked, Tab::Jobs, "No such job", &said), false);
    };
    let bound = Bound { entries: SCANNED_MAX, until: Instant::now() + SCAN_WITHIN };
    let told = asked.ask(|view| Box::pin(view.entry_story(entry, bound))).await;
    let frame = |title: String| Frame {
        title,
        tab: Tab::Jobs,
        command: format!("startjobs inspect {entry}"),
        live: "other",
        has_mini: true,
    };
    match told {
        Ok(told) => {
            let is_known = told.stage != EntryStage::Absent;
            (framed(asked, frame(format!("Job {entry}")), &content(asked, &told)), is_known)
        }
        Err(error) => {
            let content = html! { h1 { "Job " (entry) } (unanswered(&error)) };
            (framed(asked, frame(format!("Job {entry}")), &content), true)
        }
    }
}

fn content(asked: &Asked, told: &EntryStory) -> Markup {
    let game = game_of(told);
    html! {
        p.sub { a href="/jobs" { "Jobs" } " / " span.mono { (text::name(&told.entry_id)) } }
        (judged(&said(told)))
        (damaged(&told.damaged))
        div.cols {
            section.panel aria-labelledby="h-story" {
                div.head {
                    h2 #h-story { "What happened" }
                    span.muted.end { "sent " (asked.at(told.appended_at_ms)) }
                }
                (waterfall(&course(told)))
                (story(&told.moments.iter().map(step).collect::<Vec<_>>(), told.appended_at_ms))
                @if told.misses_attempts() { p.more { "The attempts between may not be kept any more." } }
            }
            div.stack {
                section.panel aria-labelledby="h-do" {
                    div.head { h2 #h-do { "What you can do" } }
                    div.pad { (steps(asked, told)) }
                }
                section.panel aria-labelledby="h-facts" {
                    div.head { h2 #h-facts { "Facts" } }
                    div.pad { (facts(&facts_of(asked, told, game.as_deref()))) (fold(told)) }
                }
            }
        }
    }
}

/// The state of a job in colour and shape.
pub(crate) fn said(told: &EntryStory) -> Said {
    let (tone, icon) = match told.stage {
        EntryStage::Waiting => (Tone::Info, Icon::Wait),
        EntryStage::Pending if told.failures + told.crashes > 0 => (Tone::Warn, Icon::Retry),
        EntryStage::Pending => (Tone::Info, Icon::Run),
        EntryStage::Settled if told.dead_letter.is_some() => (Tone::Crit, Icon::Dead),
        EntryStage::Settled if field(told.outcome.as_ref(), "outcome") == "failure" => (Tone::Crit, Icon::Crit),
        EntryStage::Settled => (Tone::Ok, Icon::Ok),
        EntryStage::Orphaned => (Tone::Warn, Icon::Warn),
        EntryStage::Forgotten | EntryStage::Absent => (Tone::None, Icon::Unknown),
    };
    let game =
        game_of(told).map_or_else(String::new, |game| format!("Game {}: ", text::visible(&game, text::NAME_MAX)));
    let why = field(told.outcome.as_ref(), "error_message");
    let why = if why.is_empty() { field(told.dead_letter.as_ref(), "detail") } else { why };
    Said { tone, icon, sentence: format!("{game}{}", told.sentence), impact: text::visible(why, text::WORDS_MAX) }
}

fn game_of(told: &EntryStory) -> Option<String> {
    let payload = told.payload.as_ref().and_then(|payload| payload.game_id.clone());
    let outcome = || Some(field(told.outcome.as_ref(), "game_id").to_owned()).filter(|game| !game.is_empty());
    payload.or_else(outcome)
}

/// A field of an outcome or of a dead letter; empty where there is none.
fn field<'a>(map: Option<&'a Map<String, Value>>, name: &str) -> &'a str {
    map.and_then(|map| map.get(name)).and_then(Value::as_str).unwrap_or_default()
}

fn step(moment: &Moment) -> Step {
    let (icon, tone, what) = match moment.what {
        "requested" => (Icon::User, Tone::None, "Requested"),
        "appended" => (Icon::In, Tone::None, "Sent"),
        "touched" => (Icon::Run, Tone::Info, "In hand"),
        "death noticed" => (Icon::Take, Tone::Warn, "Its death was noticed"),
        "record" => (Icon::Run, Tone::Info, "The record of the game changed"),
        "game ended" => (Icon::Drain, Tone::None, "The game ended"),
        "image" => (Icon::In, Tone::Info, "Image"),
        "attempt failed" => (Icon::Retry, Tone::Warn, "An attempt failed"),
        "requeued" => (Icon::User, Tone::Info, "Put back"),
        "cancelled" | "mark" => (Icon::User, Tone::Info, "To be cancelled"),
        "retried now" => (Icon::User, Tone::Info, "Tried again at once"),
        "outcome" if moment.detail.starts_with("success") => (Icon::Ok, Tone::Ok, "Answered: success"),
        "outcome" => (Icon::Crit, Tone::Crit, "Answered: failure"),
        "dead letter" => (Icon::Dead, Tone::Crit, "Kept as a dead letter"),
        other if other.contains("lost") || other.contains("dead") || other.contains("died") => {
            (Icon::Lost, Tone::Crit, other)
        }
        other => (Icon::Wait, Tone::None, other),
    };
    let what = text::sentence(what).trim_end_matches('.').to_owned();
    Step { at_ms: moment.at_ms, icon, tone, what, more: text::words(&moment.detail) }
}

fn steps(asked: &Asked, told: &EntryStory) -> Markup {
    let id = &told.entry_id;
    let next = match told.stage {
        EntryStage::Settled if told.dead_letter.is_some() => {
            let dead = field(told.dead_letter.as_ref(), "dead_letter_id");
            html! {
                li {
                    h3 { "Put it back" }
                    @if field(told.dead_letter.as_ref(), "reason") == "malformed" {
                        p { "It becomes the same dead letter again: its sender must change. Then remove it among "
                            a href="/dead" { "the dead letters" } "." }
                    } @else {
                        p { "It runs again under a new id with a full budget, and Lobby gets a second answer. Do it \
                             only if Lobby still wants the game." }
                    }
                    (putting_back(asked, dead))
                }
            }
        }
        EntryStage::Settled if field(told.outcome.as_ref(), "outcome") == "failure" => html! {
            li {
                h3 { "Find the cause" }
                p { a href="/runbooks#error-codes" { "What the code means" } " and who can mend it. The answer stays: if \
                     the game is still wanted, Lobby sends a new job." }
            }
        },
        EntryStage::Settled | EntryStage::Forgotten => html! { li { p { "Nothing: it is answered." } } },
        EntryStage::Waiting => html! {
            li { p { "It is read when a replica has a free slot. If it waits for long, see the "
                a href="/" { "overview" } "." } }
        },
        EntryStage::Pending | EntryStage::Orphaned => html! {
            li { p { "A replica works on it, or takes it over by itself. See "
                a href="/replicas" { "the replicas" } "." } }
        },
        EntryStage::Absent => html! {
            li { p { "Look at the id again. A job that was answered long ago leaves no trace: " code { "ledger-ttl" }
                " and " code { "results-retention" } " say for how long." } }
        },
    };
    html! {
        ul.do {
            (next)
            (offers(asked, told))
            li { h3 { "In a terminal" } p { "It only looks." }
                code.cmd { "startjobs inspect " (text::visible(id, text::NAME_MAX)) } }
        }
    }
}

fn putting_back(asked: &Asked, dead: &str) -> Markup {
    html! {
        @if let Some(person) = asked.actor() {
            form method="post" action="/dead/requeue" {
                input type="hidden" name="code" value=(person.form_code);
                input type="hidden" name="id" value=(dead);
                div.acts { button.b type="submit" { "Requeue\u{2026}" } }
            }
        } @else {
            code.cmd { "startjobs dead requeue " (dead) }
        }
    }
}

fn facts_of(asked: &Asked, told: &EntryStory, game: Option<&str>) -> Vec<(&'static str, Markup)> {
    let plain = |value: &str| {
        if value.is_empty() {
            html! {}
        } else {
            text::whole(value)
        }
    };
    let payload = told.payload.as_ref();
    let requested = payload.and_then(|payload| u64::try_from(payload.requested_at_ms).ok()).filter(|&at| at > 0);
    let record = told.record.as_ref();
    vec![
        (
            "Game",
            game.map_or_else(
                || html! {},
                |game| html! { a href={ "/games/" (text::encoded(game)) } { (text::whole(game)) } },
            ),
        ),
        ("Entry", html! { span.mono { (text::name(&told.entry_id)) } }),
        ("Image", plain(payload.and_then(|payload| payload.image_ref.as_deref()).unwrap_or_default())),
        ("Malformed", plain(payload.and_then(|payload| payload.malformed.as_deref()).unwrap_or_default())),
        ("Requested", requested.map_or_else(|| html! {}, |at| asked.at(at))),
        ("Held by", told.pending.as_ref().map_or_else(|| html! {}, |holder| text::replica(&holder.replica))),
        ("Deliveries", told.pending.as_ref().map_or_else(|| html! {}, |holder| html! { (holder.deliveries) })),
        ("Crashes", html! { (told.crashes) }),
        ("Failures", html! { (told.failures) }),
        ("Outcome", plain(field(told.outcome.as_ref(), "outcome"))),
        ("Code", plain(field(told.outcome.as_ref(), "error_code"))),
        ("Reason", plain(field(told.dead_letter.as_ref(), "reason"))),
        (
            "Record",
            record.map_or_else(|| html! {}, |record| html! { (text::name(&record.state)) ", fence " (record.fence) }),
        ),
        ("Host", plain(record.map(|record| record.host.as_str()).unwrap_or_default())),
        ("Container", plain(record.map(|record| record.container_id.as_str()).unwrap_or_default())),
        ("Answers at", plain(record.map(|record| record.engine_endpoint.as_str()).unwrap_or_default())),
    ]
}

/// The outcome and the dead letter as they came.
fn fold(told: &EntryStory) -> Markup {
    let one = |title: &str, map: Option<&Map<String, Value>>| {
        html! {
            @if let Some(map) = map {
                details {
                    summary { (title) }
                    dl.facts {
                        @for (name, value) in map.iter().take(64) {
                            dt { (text::name(name)) } dd { (text::whole(value.as_str().unwrap_or_default())) }
                        }
                    }
                }
            }
        }
    };
    html! {
        (one("The outcome as it was sent", told.outcome.as_ref()))
        (one("The dead letter as it is kept", told.dead_letter.as_ref()))
        @if !told.search_is_whole {
            p.sub { "Outcomes and dead letters were looked at up to a bound, and there are more." }
        }
    }
}
