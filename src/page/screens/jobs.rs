//! Jobs: which, where, and what are they doing?

use std::time::Duration;

use maud::{Markup, html};
use tokio::time::Instant;

use super::refused::unanswered;
use crate::ops::jobs::row::{JobRow, JobState, Jobs, JobsQuery};
use crate::page::frame::empty::empty;
use crate::page::frame::filters::{Field, filters, pills};
use crate::page::frame::icons::Icon;
use crate::page::frame::shell::Tab;
use crate::page::frame::table::{Column, table};
use crate::page::frame::tag::tag;
use crate::page::frame::tone::Tone;
use crate::page::query::Query;
use crate::page::site::{Asked, Frame, framed};
use crate::page::text;
use crate::page::when::lasting;

/// Rows of a page.
const ROWS_MAX: usize = 50;
/// Jobs of each state among which a page is chosen.
const LISTED_MAX: usize = 500;
/// How long looking may take.
const WITHIN: Duration = Duration::from_secs(2);

const COLUMNS: [Column; 6] = [
    Column::new("Game", "lead"),
    Column::new("State", "st"),
    Column::new("What is happening", "tell"),
    Column::new("Image", "mono"),
    Column::new("Replica", "nw"),
    Column::new("Sent", "nw lab"),
];
/// The choices of how far back.
const SINCE: [(&str, &str, Option<u64>); 4] = [
    ("", "as usual", None),
    ("hour", "last hour", Some(1)),
    ("day", "last day", Some(24)),
    ("month", "last 30 days", Some(720)),
];
/// The choices of states.
const STATES: [(&str, &str, Option<JobState>); 5] = [
    ("", "All", None),
    ("waiting", "Waiting", Some(JobState::Waiting)),
    ("in_flight", "In flight", Some(JobState::InFlight)),
    ("backing_off", "Backing off", Some(JobState::BackingOff)),
    ("failed", "Failed", Some(JobState::Failed)),
];

/// The page.
pub(crate) async fn page(asked: &Asked) -> Markup {
    let query = wanted(&asked.query);
    let found =
        asked.site.looks.ask(|view| Box::pin(async move { view.jobs(&query, Instant::now() + WITHIN).await })).await;
    let frame = Frame {
        title: "Jobs".to_owned(),
        tab: Tab::Jobs,
        command: "startjobs jobs".to_owned(),
        live: "other",
        has_mini: true,
    };
    let content = html! {
        div.head { h1 { "Jobs" } @if let Ok(found) = &found { span.muted { (summed(found)) } } }
        section.panel aria-label="Search jobs" {
            (search(&asked.query))
            (by_name(asked.query.get("q").unwrap_or_default()))
            div.states { (states(&asked.query, found.as_ref().ok())) }
        }
        @match &found { Ok(found) => (list(asked, found)), Err(error) => (unanswered(error)) }
    };
    framed(asked, frame, &content)
}

/// What is asked for. A value that is none of the choices is as if it were not there.
fn wanted(query: &Query) -> JobsQuery {
    let text = |name| query.get(name).map(str::to_owned);
    let state = STATES.iter().find(|(name, ..)| Some(*name) == query.get("state")).and_then(|(.., state)| *state);
    let hours = SINCE.iter().find(|(name, ..)| Some(*name) == query.get("since")).and_then(|(.., hours)| *hours);
    JobsQuery {
        states: state.into_iter().collect(),
        game_part: text("q").filter(|q| !is_id(q)),
        game: None,
        image_part: text("image"),
        code: text("code"),
        since: hours.map(|hours| Duration::from_secs(hours * 3_600)),
        limit: LISTED_MAX,
    }
}

fn is_id(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-').is_some_and(|(ms, seq)| is_number(ms) && is_number(seq))
}

fn search(query: &Query) -> Markup {
    let value = |name| query.get(name).unwrap_or_default();
    let since = SINCE.iter().map(|(name, words, _)| ((*name).to_owned(), (*words).to_owned())).collect();
    let fields = [
        Field::Text("q", "Part of a game's name, or an entry id", value("q")),
        Field::Text("image", "Part of the image", value("image")),
        Field::Text("code", "Error code", value("code")),
        Field::Choice("since", "Since", value("since"), since),
    ];
    filters("/jobs", "Search jobs", &fields, "Search")
}

/// What was typed may be an id or a whole name: those have screens of their own.
fn by_name(q: &str) -> Markup {
    html! {
        @if is_id(q) {
            p.more { a href={ "/jobs/" (text::encoded(q)) } { "The story of job " (text::name(q)) } }
        } @else if !q.is_empty() {
            p.more { a href={ "/games/" (text::encoded(q)) } { "The story of game " (text::name(q)) } }
        }
    }
}

fn states(query: &Query, found: Option<&Jobs>) -> Markup {
    let current = query.get("state").unwrap_or_default();
    let count = |state: Option<JobState>| {
        let matched = &found?.matched;
        let of = |state| matched.iter().find(|one| one.state == state).map(|one| one.count);
        state.and_then(of).map(text::count)
    };
    let choices: Vec<(&str, String, bool, Option<String>)> = STATES
        .iter()
        .map(|(name, words, state)| {
            (*words, query.with(&[("state", name), ("after", "")]), *name == current, count(*state))
        })
        .collect();
    pills("State", &choices)
}

fn summed(found: &Jobs) -> String {
    let of = |state| found.matched.iter().find(|one| one.state == state).map(|one| one.count);
    let said = |(state, words): &(JobState, &str)| of(*state).map(|count| format!("{} {words}", text::count(count)));
    let all = [
        (JobState::Waiting, "waiting"),
        (JobState::InFlight, "in flight"),
        (JobState::BackingOff, "backing off"),
        (JobState::Failed, "failed"),
    ];
    all.iter().filter_map(said).collect::<Vec<_>>().join(", ")
}

fn list(asked: &Asked, found: &Jobs) -> Markup {
    let after = asked.query.get("after").unwrap_or_default();
    let name = |row: &JobRow| row.entry_id.clone().or_else(|| row.outcome_id.clone()).unwrap_or_default();
    let begin = found.jobs.iter().position(|row| !after.is_empty() && name(row) == after).map_or(0, |at| at + 1);
    let page: Vec<&JobRow> = found.jobs.iter().skip(begin).take(ROWS_MAX).collect();
    let last = page.last().map(|row| name(row)).filter(|_| begin + page.len() < found.jobs.len());
    let rows: Vec<Vec<Markup>> = page.iter().map(|job| row(asked, job)).collect();
    html! {
        section #rows .panel aria-labelledby="h-rows" {
            div.head {
                h2 #h-rows {
                    @if rows.is_empty() { "No job is found" }
                    @else { "Jobs " (begin + 1) " to " (begin + rows.len()) " of " (found.jobs.len()) }
                }
            }
            @if rows.is_empty() { (empty(Icon::Find, "Nothing to show", &nothing(found))) }
            @else { (table("Jobs found: those that back off first, then in flight, waiting, failed", &COLUMNS, &rows)) }
            (ends(asked, found, last.as_deref()))
        }
    }
}

fn nothing(found: &Jobs) -> Markup {
    html! {
        "Looked at " (text::of(found.looked_at, "entry", "entries"))
        ": what waits, what replicas hold, and failures of the last "
        "hour. A job that was answered with success is found by its id, or by the whole name of its game. Search for "
        "less, or "
        "for longer ago."
    }
}

/// Where the list ends, and how to see more.
fn ends(asked: &Asked, found: &Jobs, last: Option<&str>) -> Markup {
    let bounds = found.bounds();
    let unlisted = found.unlisted();
    if last.is_none() && bounds.is_empty() && unlisted == 0 {
        return html! {};
    }
    html! {
        p.more {
            @if let Some(last) = last { a href=(asked.query.with(&[("after", last)])) { "The next " (ROWS_MAX) } }
            @for bound in &bounds { span { (text::sentence(bound)) } }
            @if unlisted > 0 { span { (text::count(unlisted)) " more are found and not listed: search for less." } }
        }
    }
}

fn row(asked: &Asked, job: &JobRow) -> Vec<Markup> {
    let (tone, icon, word) = match job.state {
        JobState::Waiting => (Tone::None, Icon::Wait, "waiting"),
        JobState::InFlight => (Tone::Info, Icon::Run, "in flight"),
        JobState::BackingOff => (Tone::Warn, Icon::Retry, "backing off"),
        JobState::Failed => (Tone::Crit, Icon::Crit, "failed"),
    };
    let name = job.game_id.as_deref().unwrap_or("no game");
    let link = job.entry_id.as_deref().map(text::encoded);
    let image = job.image_ref.as_deref().map_or_else(|| html! {}, text::name);
    vec![
        html! {
            @match link { Some(id) => a href={ "/jobs/" (id) } { (text::name(name)) }, None => (text::name(name)) }
        },
        tag(tone, icon, word),
        happening(job),
        image,
        job.replica.as_deref().map_or_else(|| html! {}, text::replica),
        asked.at(job.appended_at_ms.unwrap_or(job.since_ms)),
    ]
}

fn happening(job: &JobRow) -> Markup {
    let note = job.note().map(|note| text::sentence(&text::visible(&note, text::WORDS_MAX)));
    let lasts = lasting(job.for_ms);
    let so_far = match job.state {
        JobState::Waiting => format!("No replica has read it yet, for {lasts}."),
        JobState::InFlight => format!("In hand; sent {lasts} ago."),
        JobState::BackingOff => format!("Waits for another try, for {lasts}."),
        JobState::Failed => format!("Answered {lasts} ago."),
    };
    let failures = job.failures.filter(|&failures| failures > 0);
    html! {
        @match note { Some(note) => bdi { (note) }, None => (so_far) }
        @if let Some(failures) = failures { span.sub { " " (text::of(failures, "failure", "failures")) } }
        @if let Some(deliveries) = job.deliveries.filter(|&deliveries| deliveries > 1) {
            span.sub { " delivery " (deliveries) }
        }
    }
}
