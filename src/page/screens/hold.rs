//! Pausing and resuming the fleet.

use maud::{Markup, html};
use tokio::time::Instant;

use super::refused::undone;
use crate::ops::verdict::Health;
use crate::page::frame::confirm::{Question, confirm};
use crate::page::frame::icons::Icon;
use crate::page::frame::shell::Tab;
use crate::page::frame::strip::strip;
use crate::page::frame::tone::Tone;
use crate::page::query::Query;
use crate::page::site::{Asked, Frame, framed};
use crate::page::text;
use crate::page::token::Person;
use crate::redis::RedisError;
use crate::stream::fleet_event::{FleetEvent, Happened};

/// Characters of a reason.
const REASON_MAX: usize = 200;

/// What is done to the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// No replica reads or claims.
    Pause,
    /// They go on.
    Resume,
}

/// A form about the pause: asks, or does it.
pub(crate) async fn hold(asked: &mut Asked, person: &Person, form: &Query, verb: Verb) -> Markup {
    let reason = text::line(form.get("reason").unwrap_or_default(), REASON_MAX);
    let is_confirmed = form.get("confirmed") == Some("yes");
    // Others must be able to see why the fleet is held.
    let content = if is_confirmed && (verb == Verb::Resume || !reason.is_empty()) {
        let done = done(asked, person, &reason, verb).await;
        asked.anew().await;
        done
    } else {
        question(asked, person, &reason, verb)
    };
    let frame = Frame {
        title: "Pause".to_owned(),
        tab: Tab::System,
        command: if verb == Verb::Pause { "startjobs pause --reason WHY" } else { "startjobs resume" }.to_owned(),
        live: "other",
        has_mini: true,
    };
    framed(asked, frame, &content)
}

fn question(asked: &Asked, person: &Person, reason: &str, verb: Verb) -> Markup {
    let fleet = asked.seen.fleet.as_ref().map(|fleet| &fleet.overview.snapshot);
    let waiting = fleet.map(|fleet| text::of(fleet.waiting.waiting.count, "job waits", "jobs wait"));
    let waiting = waiting.unwrap_or_else(|| "How many jobs wait is not known".to_owned());
    let code = html! {
        input type="hidden" name="code" value=(person.form_code);
        input type="hidden" name="confirmed" value="yes";
    };
    let (title, note, fields, action, button) = match verb {
        Verb::Pause => (
            "Pause the whole fleet?",
            html! {
                (waiting)
                " now. No replica reads or claims until the fleet is resumed: players notice within \
                 seconds. Starts under way are finished and answered."
            },
            html! {
                (code)
                label for="f-reason" { "Why (all see it)" }
                input #f-reason name="reason" type="text" value=(reason) maxlength=(REASON_MAX) required;
            },
            "/fleet/pause",
            "Pause the fleet",
        ),
        Verb::Resume => (
            "Resume the fleet?",
            html! { (waiting) ": replicas read them at once, as fast as their slots allow." },
            code,
            "/fleet/resume",
            "Resume the fleet",
        ),
    };
    let icon = if verb == Verb::Pause { (Tone::Hold, Icon::Hold) } else { (Tone::Ok, Icon::Run) };
    confirm(&Question {
        title: title.to_owned(),
        notes: vec![(icon.0, icon.1, note)],
        action,
        fields,
        button: button.to_owned(),
        is_final: false,
        back: "/system#pause",
    })
}

async fn done(asked: &Asked, person: &Person, reason: &str, verb: Verb) -> Markup {
    let by = format!("{}@page", person.name);
    let result = match verb {
        Verb::Pause => pause(asked, by, reason.to_owned()).await,
        Verb::Resume => resume(asked, by).await,
    };
    let action = if verb == Verb::Pause { "pause" } else { "resume" };
    let said = result.as_ref().map_or_else(|error| format!("not known: {}", error.text), Clone::clone);
    tracing::info!(by = %person.name, action, reason, result = %said, "changed on the page");
    match &result {
        Ok(said) => html! {
            h1 { "Pause" }
            (strip(Tone::Ok, Icon::Ok, &html! { (text::words(said)) " " a href="/" { "Overview" } }))
        },
        Err(error) => undone(error),
    }
}

async fn pause(asked: &Asked, by: String, reason: String) -> Result<String, RedisError> {
    if let Some(fleet) = asked.seen.fleet.as_ref().filter(|fleet| fleet.overview.verdict.health == Health::NoFleet) {
        return Ok(format!("Nothing was changed. {}", fleet.overview.verdict.sentence));
    }
    let pausing = asked.ask(|view| {
        Box::pin(async move {
            let before = view.group().pause(&by, &reason).await?;
            if before.is_none() {
                let event = FleetEvent::new(Happened::Paused, Instant::now()).saying("", &reason).done_by(&by);
                view.note(&event).await;
            }
            Ok(before)
        })
    });
    Ok(pausing.await?.map_or_else(
        || "The fleet is paused.".to_owned(),
        |before| format!("The fleet was paused already, by {}, which stays as it is.", before.by),
    ))
}

async fn resume(asked: &Asked, by: String) -> Result<String, RedisError> {
    let resuming = asked.ask(|view| {
        Box::pin(async move {
            let before = view.group().resume().await?;
            if before.is_some() {
                view.note(&FleetEvent::new(Happened::Resumed, Instant::now()).done_by(&by)).await;
            }
            Ok(before)
        })
    });
    Ok(if resuming.await?.is_some() { "The fleet goes on." } else { "The fleet was not paused." }.to_owned())
}
