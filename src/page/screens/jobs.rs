//! Jobs: which, where, and what are they doing?

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use maud::{Markup, html};
use tokio::time::Instant;

use super::refused::unanswered;
use crate::ops::jobs::row::{JobRow, JobState, Jobs, JobsQuery};
use crate::page::frame::empty::empty;
use crate::page::frame::filters::{Field, filters, newer_rows, pills};
use crate::page::frame::icons::Icon;
use crate::page::frame::shell::Tab;
use crate::page::frame::table::{Column, table};
use crate::page::frame::tag::tag;
use crate::page::frame::tone::Tone;
use crate::page::lists::{ROWS_MAX, Watched};
use crate::page::query::Query;
use crate::page::site::{Asked, Frame, framed_list};
use crate::page::text;
use crate::stream::entry_id::EntryId;

/// Jobs of each state among which a page is chosen.
const LISTED_MAX: usize = 500;
/// How long looking may take.
const WITHIN: Duration = Duration::from_secs(2);
/// How long looking again for viewers may take.
const RENEWED_WITHIN: Duration = Duration::from_millis(500);
/// What a list is asked for by.
const NAMES: [&str; 6] = ["q", "image", "code", "since", "state", "after"];

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
    let found = asked.ask(|view| Box::pin(async move { view.jobs(&query, Instant::now() + WITHIN).await })).await;
    let frame = Frame {
        title: "Jobs".to_owned(),
        tab: Tab::Jobs,
        command: "startjobs jobs".to_owned(),
        live: "jobs",
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
    let watched = found.as_ref().map_or_else(|_| Watched::default(), |found| watched(asked, found));
    framed_list(asked, frame, (&watched, &NAMES), &content)
}

/// What a viewer of this page has before them.
fn watched(asked: &Asked, found: &Jobs) -> Watched {
    let ids = page_of(asked, found).1.iter().filter_map(|row| id_of(row)).collect();
    Watched { ids, from_ms: found.at_ms, answered: BTreeSet::new() }
}

/// The entry of a row. A row may name anything as its entry.
fn id_of(row: &JobRow) -> Option<EntryId> {
    row.entry_id.as_deref()?.parse().ok()
}

/// What has changed for a viewer: the cells of the rows that they have, and how many newer ones there are. Rows stay in
/// their places.
pub(crate) async fn renewed(asked: &Asked, watched: &mut Watched) -> Vec<(String, Markup)> {
    // A job may leave the state that was asked for.
    let any_state = JobsQuery { states: Vec::new(), ..wanted(&asked.query) };
    let query = any_state.clone();
    let look = asked.ask(|view| Box::pin(async move { view.jobs(&query, Instant::now() + RENEWED_WITHIN).await }));
    let Some(found) = asked.site.jobs.get((any_state, Instant::now()), look).await else { return Vec::new() };
    let states = wanted(&asked.query).states;
    let is_newer = |row: &&JobRow| {
        let is_wanted = states.is_empty() || states.contains(&row.state);
        let came_ms = if row.state == JobState::Failed { row.since_ms } else { row.appended_at_ms.unwrap_or(0) };
        is_wanted && came_ms > watched.from_ms && id_of(row).is_none_or(|id| !watched.ids.contains(&id))
    };
    let newer = found.jobs.iter().filter(is_newer).count();
    let of_id: HashMap<EntryId, &JobRow> = found.jobs.iter().filter_map(|row| Some((id_of(row)?, row))).collect();
    settle(asked, watched, &of_id).await;
    let mut parts = vec![("newer".to_owned(), newer_ones(asked, newer))];
    for id in &watched.ids {
        match of_id.get(id) {
            Some(row) => parts.extend(cells(asked, *id, row)),
            None if watched.answered.contains(id) => parts.extend(answered(*id)),
            None => {}
        }
    }
    parts
}

/// Asks which of the rows that are not listed any more were answered.
async fn settle(asked: &Asked, watched: &mut Watched, listed: &HashMap<EntryId, &JobRow>) {
    let is_open = |id: &&EntryId| !listed.contains_key(id) && !watched.answered.contains(id);
    let mut gone: Vec<EntryId> = watched.ids.iter().filter(is_open).copied().collect();
    gone.sort_unstable();
    let ids = gone.clone();
    let asking = asked.ask(|view| Box::pin(async move { view.group().history(&ids).await }));
    if let Some(past) = if gone.is_empty() { None } else { asking.await.ok() } {
        watched.answered.extend(gone.into_iter().zip(past).filter(|(_, past)| past.is_settled).map(|(id, _)| id));
    }
}

/// How many newer ones there are, with the way to them. On a later page there are none.
fn newer_ones(asked: &Asked, newer: usize) -> Markup {
    let newer = if asked.query.get("after").is_some() { 0 } else { newer };
    let at_least = if newer >= LISTED_MAX { "at least " } else { "" };
    newer_rows(
        &format!("{at_least}{}", text::count(newer as u64)),
        newer > 0,
        &format!("/jobs{}", asked.query.only(&NAMES)),
    )
}

/// The cells of a row that change, each by the id of its element.
fn cells(asked: &Asked, id: EntryId, job: &JobRow) -> [(String, Markup); 3] {
    let cell = |kind: &str, content: &Markup| {
        let name = format!("{kind}-{id}");
        let element = html! { span id=(name) { (content) } };
        (name, element)
    };
    [
        cell("state", &state_of(job)),
        cell("tell", &happening(asked, job)),
        cell("by", &job.replica.as_deref().map_or_else(|| html! {}, text::replica)),
    ]
}

/// The same of one that was answered since it was listed.
fn answered(id: EntryId) -> [(String, Markup); 2] {
    let (state, tell) = (format!("state-{id}"), format!("tell-{id}"));
    let tag = html! { span id=(state) { (tag(Tone::Ok, Icon::Ok, "answered")) } };
    let said =
        html! { span id=(tell) { "Answered since this list was loaded. " a href={ "/jobs/" (id) } { "Its story" } } };
    [(state, tag), (tell, said)]
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

fn name_of(row: &JobRow) -> String {
    row.entry_id.clone().or_else(|| row.outcome_id.clone()).unwrap_or_default()
}

/// The rows of this page, and how many are before them.
fn page_of<'a>(asked: &Asked, found: &'a Jobs) -> (usize, Vec<&'a JobRow>) {
    let after = asked.query.get("after").unwrap_or_default();
    let begin = found.jobs.iter().position(|row| !after.is_empty() && name_of(row) == after).map_or(0, |at| at + 1);
    (begin, found.jobs.iter().skip(begin).take(ROWS_MAX).collect())
}

fn list(asked: &Asked, found: &Jobs) -> Markup {
    let (begin, page) = page_of(asked, found);
    let last = page.last().map(|row| name_of(row)).filter(|_| begin + page.len() < found.jobs.len());
    let rows: Vec<Vec<Markup>> = page.iter().map(|job| row(asked, job)).collect();
    html! {
        section #rows .panel aria-labelledby="h-rows" {
            div.head {
                h2 #h-rows {
                    @if rows.is_empty() { "No job is found" }
                    @else { "Jobs " (begin + 1) " to " (begin + rows.len()) " of " (found.jobs.len()) }
                }
                (newer_ones(asked, 0))
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
    let name = job.game_id.as_deref().unwrap_or("no game");
    let link = job.entry_id.as_deref().map(text::encoded);
    let image = job.image_ref.as_deref().map_or_else(|| html! {}, text::name);
    let by = || job.replica.as_deref().map_or_else(|| html! {}, text::replica);
    let live = id_of(job).map(|id| cells(asked, id, job).map(|(_, cell)| cell));
    let [state, tell, by] = live.unwrap_or_else(|| [state_of(job), happening(asked, job), by()]);
    vec![
        html! {
            @match link { Some(id) => a href={ "/jobs/" (id) } { (text::name(name)) }, None => (text::name(name)) }
        },
        state,
        tell,
        image,
        by,
        asked.at(job.appended_at_ms.unwrap_or(job.since_ms)),
    ]
}

fn state_of(job: &JobRow) -> Markup {
    let (tone, icon, word) = match job.state {
        JobState::Waiting => (Tone::None, Icon::Wait, "waiting"),
        JobState::InFlight => (Tone::Info, Icon::Run, "in flight"),
        JobState::BackingOff => (Tone::Warn, Icon::Retry, "backing off"),
        JobState::Failed => (Tone::Crit, Icon::Crit, "failed"),
    };
    tag(tone, icon, word)
}

/// What it is doing. Times count on by themselves, so a row changes only when something happens.
fn happening(asked: &Asked, job: &JobRow) -> Markup {
    let next_at_ms = job.next_at_ms.filter(|_| job.state == JobState::BackingOff);
    let note = JobRow { next_in_ms: None, ..job.clone() }.note();
    let note = note.map(|note| text::sentence(&text::visible(&note, text::WORDS_MAX)));
    let failures = job.failures.filter(|&failures| failures > 0);
    html! {
        @if let Some(next) = next_at_ms {
            @if job.next_in_ms == Some(0) { "The next try is due. " } @else { "Next try " (asked.at(next)) ". " }
        }
        @match (note, job.state) {
            (Some(note), _) => bdi { (note) },
            (None, _) if next_at_ms.is_some() => "",
            (None, JobState::Waiting) => { "No replica has read it yet, " (asked.when.since(job.since_ms)) "." }
            (None, JobState::InFlight) => { "In hand; sent " (asked.at(job.appended_at_ms.unwrap_or(job.since_ms))) "." }
            (None, JobState::BackingOff) => { "Waits for another try, " (asked.when.since(job.since_ms)) "." }
            (None, JobState::Failed) => { "Answered " (asked.at(job.since_ms)) "." }
        }
        @if let Some(failures) = failures { span.sub { " " (text::of(failures, "failure", "failures")) } }
        @if let Some(deliveries) = job.deliveries.filter(|&deliveries| deliveries > 1) {
            span.sub { " delivery " (deliveries) }
        }
    }
}
