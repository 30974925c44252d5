//! One game: where it is, and what became of its jobs?

use maud::{Markup, html};

use super::damaged::damaged;
use super::refused::unanswered;
use crate::ops::jobs::row::JobRow;
use crate::ops::story::game::GameStory;
use crate::ops::story::{Record, Stored};
use crate::page::frame::empty::empty;
use crate::page::frame::facts::facts;
use crate::page::frame::icons::Icon;
use crate::page::frame::shell::Tab;
use crate::page::frame::table::{Column, table};
use crate::page::frame::tag::tag;
use crate::page::frame::tone::Tone;
use crate::page::frame::verdict::{Said, judged};
use crate::page::site::{Asked, Frame, framed};
use crate::page::text;

/// Jobs that are listed.
const JOBS_MAX: usize = 50;

const COLUMNS: [Column; 4] = [
    Column::new("Job", "lead mono"),
    Column::new("Answer", "st"),
    Column::new("What happened", "tell"),
    Column::new("Sent", "nw lab"),
];

/// The page; false where nothing is known of such a game.
pub(crate) async fn page(asked: &Asked, game: &str) -> (Markup, bool) {
    let frame = Frame {
        title: format!("Game {}", text::visible(game, text::NAME_MAX)),
        tab: Tab::Jobs,
        command: format!("startjobs inspect {game}"),
        live: "other",
        has_mini: true,
    };
    let name = game.to_owned();
    let told = asked.ask(|view| Box::pin(async move { view.game_story(&name).await })).await;
    match told {
        Ok(told) => (framed(asked, frame, &content(asked, &told)), told.is_known()),
        Err(error) => (framed(asked, frame, &html! { h1 { "Game " (text::name(game)) } (unanswered(&error)) }), true),
    }
}

fn content(asked: &Asked, told: &GameStory) -> Markup {
    html! {
        p.sub { a href="/jobs" { "Jobs" } " / game " (text::name(&told.game_id)) }
        (judged(&said(told)))
        (damaged(&told.damaged))
        @for open in &told.open_jobs { (open_job(open)) }
        div.cols {
            section.panel aria-labelledby="h-jobs" {
                div.head { h2 #h-jobs { "Its answered jobs" } }
                @if told.jobs.is_empty() {
                    (empty(Icon::Find, "No answer is kept", &html! {
                        "Answers are kept beside the record of a game. A job that waits is found by its id."
                    }))
                } @else {
                    (table("Answered jobs of this game, newest first", &COLUMNS, &rows(asked, &told.jobs)))
                }
            }
            section.panel aria-labelledby="h-facts" {
                div.head { h2 #h-facts { "Record" } }
                div.pad {
                    @match &told.record {
                        Some(record) => (facts(&facts_of(asked, record, told.host_standing))),
                        None if told.damaged.is_empty() => {
                            p.muted { "This game has no record: no attempt to start it is known." }
                        }
                        None => p.muted { "Its record cannot be read." }
                    }
                }
            }
        }
    }
}

/// A job of the game that has no answer: where its story is, and what it is up to.
fn open_job(job: &JobRow) -> Markup {
    html! {
        @if let Some(id) = &job.entry_id {
            p {
                a href={ "/jobs/" (text::encoded(id)) } { "The story of its open job " (text::name(id)) }
                ", " (job.state.as_str().replace('_', " "))
                @if let Some(note) = job.note() { ": " (text::words(&note)) }
            }
        }
    }
}

fn said(told: &GameStory) -> Said {
    let (tone, icon) = match told.record.as_ref().map(|record| record.state.as_str()) {
        Some("running") => (Tone::Ok, Icon::Ok),
        Some("starting") => (Tone::Info, Icon::Run),
        Some("failed") => (Tone::Crit, Icon::Crit),
        Some("stopped") => (Tone::None, Icon::Drain),
        _ if told.open_job.is_some() => (Tone::Info, Icon::Run),
        _ => (Tone::None, Icon::Unknown),
    };
    let sentence = format!("Game {}: {}", text::visible(&told.game_id, text::NAME_MAX), told.sentence);
    let impact = told.pull.as_ref().map(crate::ops::pulls::PullView::sentence).unwrap_or_default();
    Said { tone, icon, sentence, impact }
}

fn rows(asked: &Asked, jobs: &[Stored]) -> Vec<Vec<Markup>> {
    let row = |job: &Stored| {
        let is_success = job.outcome == "success";
        let (tone, icon) = if is_success { (Tone::Ok, Icon::Ok) } else { (Tone::Crit, Icon::Crit) };
        vec![
            html! { a href={ "/jobs/" (text::encoded(&job.source_ref)) } { (text::name(&job.source_ref)) } },
            tag(tone, icon, if is_success { "success" } else { "failure" }),
            html! {
                @if !job.error_code.is_empty() { span.code { (text::name(&job.error_code)) } " " }
                (text::words(if is_success { &job.container_id } else { &job.error_message }))
            },
            asked.at(job.appended_at_ms),
        ]
    };
    jobs.iter().rev().take(JOBS_MAX).map(row).collect()
}

fn facts_of(asked: &Asked, record: &Record, standing: Option<&str>) -> Vec<(&'static str, Markup)> {
    let plain = |value: &str| {
        if value.is_empty() {
            html! {}
        } else {
            text::whole(value)
        }
    };
    vec![
        ("State", plain(&record.state)),
        ("Changed", asked.at(record.updated_at_ms)),
        ("Image", plain(&record.image_ref)),
        ("Host", html! { (plain(&record.host)) @if let Some(standing) = standing { " (" (standing) ")" } }),
        ("Engine", plain(&record.engine)),
        ("Container", plain(&record.container_id)),
        ("Answers at", plain(&record.engine_endpoint)),
        ("Fence", plain(&record.fence.to_string())),
        ("Attempt by", text::replica(&record.owner)),
        ("Ended", record.ended_at_ms.map_or_else(|| html! {}, |at_ms| asked.at(at_ms))),
        ("How", record.end().map_or_else(|| html! {}, |end| text::words(&end))),
    ]
}
