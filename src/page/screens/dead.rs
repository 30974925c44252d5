//! Dead letters: why are they here, and which can go back?

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use maud::{Markup, html};
use tokio::time::Instant;

use super::refused::unanswered;
use crate::ops::View;
use crate::page::frame::empty::empty;
use crate::page::frame::filters::{Field, filters, newer_rows};
use crate::page::frame::icons::Icon;
use crate::page::frame::problem::{Next, Problem, problem};
use crate::page::frame::shell::Tab;
use crate::page::frame::table::{Column, table};
use crate::page::frame::tag::tag;
use crate::page::frame::tone::Tone;
use crate::page::lists::{ROWS_MAX, Renewal, Watch, Watched};
use crate::page::query::Query;
use crate::page::site::{Asked, Frame, framed_list};
use crate::page::text;
use crate::redis::RedisError;
use crate::stream::config::Config;
use crate::stream::dead_letters::{ALL_IDS, DeadLetters, Letter, Order, before};
use crate::stream::entry_id::EntryId;

/// Dead letters that are looked at for a page.
const LOOKED_AT: usize = 2_000;
/// How long looking may take.
const WITHIN: Duration = Duration::from_secs(2);
/// Dead letters that are looked at again for viewers.
const RENEWED_MAX: usize = 500;
/// How long that may take.
const RENEWED_WITHIN: Duration = Duration::from_millis(500);
/// What a list is asked for by.
const NAMES: [&str; 4] = ["q", "reason", "since", "after"];
/// The reasons there are, with their words.
const REASONS: [(&str, &str); 4] = [
    ("retries_exhausted", "retries exhausted"),
    ("malformed", "malformed"),
    ("poison", "poison"),
    ("entry_lost", "entry lost"),
];

const COLUMNS: [Column; 4] = [
    Column::new("Game", "lead"),
    Column::new("Reason", "st"),
    Column::new("What happened", "tell"),
    Column::new("Died", "nw lab"),
];

/// What is asked for.
#[derive(Debug, Clone, Default)]
struct Wanted {
    q: String,
    reason: String,
    since_ms: Option<u64>,
    after: Option<EntryId>,
}

impl Wanted {
    fn of(query: &Query, now_ms: u64) -> Self {
        let text = |name| query.get(name).unwrap_or_default().to_owned();
        let hours = match query.get("since") {
            Some("hour") => Some(1),
            Some("day") => Some(24),
            _ => None,
        };
        Self {
            q: text("q"),
            reason: text("reason"),
            since_ms: hours.map(|hours: u64| now_ms.saturating_sub(hours * 3_600_000)),
            after: query.get("after").and_then(|id| id.parse().ok()),
        }
    }

    fn lets_through(&self, letter: &Letter) -> bool {
        let has_reason = self.reason.is_empty() || letter.head("reason") == self.reason.as_bytes();
        let game = game_of(letter);
        has_reason && (self.q.is_empty() || game.contains(&self.q) || letter.id.to_string().contains(&self.q))
    }

    fn ids(&self) -> Option<RangeInclusive<EntryId>> {
        let first = self.since_ms.map_or(*ALL_IDS.start(), |ms| EntryId { ms, seq: 0 });
        let last = match self.after {
            Some(id) => before(id)?,
            None => *ALL_IDS.end(),
        };
        Some(first..=last)
    }
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    rows: Vec<Letter>,
    /// How many there are of each reason among those that were looked at.
    reasons: BTreeMap<String, u64>,
    looked_at: usize,
    /// There are more, from the last row on.
    more: bool,
}

/// The page.
pub(crate) async fn page(asked: &Asked) -> Markup {
    let wanted = Wanted::of(&asked.query, asked.seen.now_ms);
    let streams = asked.site.settings.stream.clone();
    let asking = wanted.clone();
    let found = asked.ask(|view| Box::pin(find(view, streams, asking))).await;
    let frame = Frame {
        title: "Dead letters".to_owned(),
        tab: Tab::Dead,
        command: "startjobs dead list".to_owned(),
        live: "dead",
        has_mini: true,
    };
    let content = html! {
        div.head { h1 { "Dead letters" } (kept(asked)) }
        @match &found {
            Ok(found) => { (why(found)) (list(asked, &wanted, found)) }
            Err(error) => (unanswered(error)),
        }
    };
    let ids = found.iter().flat_map(|found| &found.rows).map(|letter| letter.id).collect();
    let watched = Watched { ids, from_ms: asked.seen.now_ms, answered: BTreeSet::new() };
    framed_list(asked, frame, (&watched, &NAMES), &content)
}

/// What has changed for a viewer: rows that are gone, and how many newer ones there are. Rows stay in their places.
pub(crate) async fn renewed(asked: &Asked, watched: &Watched) -> Vec<(String, Markup)> {
    let wanted = Wanted::of(&asked.query, asked.seen.now_ms);
    let start = EntryId { ms: watched.from_ms, seq: 0 };
    let newest = watched.ids.iter().copied().max();
    let watch = Watch { from: watched.ids.iter().copied().min().unwrap_or(start), q: wanted.q, reason: wanted.reason };
    let (streams, of) = (asked.site.settings.stream.clone(), watch.clone());
    let look = asked.ask(|view| Box::pin(look_again(view, streams, of)));
    let Some(found) = asked.site.dead.get((watch, Instant::now()), look).await else { return Vec::new() };
    let newer = found.wanted.iter().filter(|&&id| id > newest.unwrap_or(start)).count();
    let mut parts = vec![("newer".to_owned(), newer_ones(asked, newer))];
    for id in watched.ids.iter().filter(|id| **id >= found.reached && !found.kept.contains(id)) {
        let name = format!("state-{id}");
        let gone = html! { span id=(name) { (tag(Tone::None, Icon::Ok, "not here any more")) } };
        parts.push((name, gone));
    }
    parts
}

async fn look_again(view: &View, streams: Config, watch: Watch) -> Result<Renewal, RedisError> {
    let letters = DeadLetters::new(view.shared_connection(), &streams);
    let wanted = Wanted { q: watch.q, reason: watch.reason, ..Wanted::default() };
    let mut found = Renewal { kept: BTreeSet::new(), wanted: BTreeSet::new(), reached: *ALL_IDS.end() };
    let until = Instant::now() + RENEWED_WITHIN;
    let mut rest = Some(watch.from..=*ALL_IDS.end());
    while let Some(ids) = rest.take() {
        let page = letters.brief(&ids, Order::NewestFirst).await?;
        let Some(last) = page.last().map(|letter| letter.id) else {
            found.reached = watch.from;
            break;
        };
        found.reached = last;
        for letter in &page {
            found.kept.insert(letter.id);
            if wanted.lets_through(letter) {
                found.wanted.insert(letter.id);
            }
        }
        if found.kept.len() < RENEWED_MAX && Instant::now() < until {
            rest = before(last).filter(|end| *end >= watch.from).map(|end| watch.from..=end);
            if rest.is_none() {
                found.reached = watch.from;
            }
        }
    }
    Ok(found)
}

/// How many newer ones there are, with the way to them. On a later page there are none.
fn newer_ones(asked: &Asked, newer: usize) -> Markup {
    let newer = if asked.query.get("after").is_some() { 0 } else { newer };
    let at_least = if newer >= RENEWED_MAX { "at least " } else { "" };
    newer_rows(
        &format!("{at_least}{}", text::count(newer as u64)),
        newer > 0,
        &format!("/dead{}", asked.query.only(&NAMES)),
    )
}

fn kept(asked: &Asked) -> Markup {
    let Some(fleet) = &asked.seen.fleet else { return html! {} };
    let most = asked.site.settings.stream.dead_max;
    html! { span.muted { (text::count(fleet.overview.snapshot.dead_letters)) " kept; room for " (text::count(most)) } }
}

async fn find(view: &View, streams: Config, wanted: Wanted) -> Result<Found, RedisError> {
    let letters = DeadLetters::new(view.shared_connection(), &streams);
    let (mut found, until) = (Found::default(), Instant::now() + WITHIN);
    let mut rest = wanted.ids();
    while let Some(ids) = rest.take() {
        let page = letters.brief(&ids, Order::NewestFirst).await?;
        let Some(last) = page.last().map(|letter| letter.id) else { break };
        for letter in page {
            found.looked_at += 1;
            if found.looked_at > LOOKED_AT {
                found.more = true;
                return Ok(found);
            }
            take(&mut found, letter, &wanted);
        }
        if Instant::now() >= until {
            found.more = true;
            break;
        }
        rest = before(last).map(|end| *ids.start()..=end);
    }
    Ok(found)
}

fn take(found: &mut Found, letter: Letter, wanted: &Wanted) {
    let reason = String::from_utf8_lossy(letter.head("reason")).into_owned();
    if found.reasons.len() < 8 || found.reasons.contains_key(&reason) {
        *found.reasons.entry(reason).or_default() += 1;
    }
    if wanted.lets_through(&letter) {
        if found.rows.len() < ROWS_MAX {
            found.rows.push(letter);
        } else {
            found.more = true;
        }
    }
}

fn game_of(letter: &Letter) -> String {
    letter.original("game_id").map(|game| String::from_utf8_lossy(game).trim().to_owned()).unwrap_or_default()
}

/// One block a reason: what it means, and what helps.
fn why(found: &Found) -> Markup {
    if found.reasons.is_empty() {
        return html! {};
    }
    html! {
        section.panel aria-labelledby="h-why" {
            div.head { h2 #h-why { "Why they are here" } }
            div.probs {
                @for (reason, count) in &found.reasons { (problem(&about(reason, *count), |_| html! {})) }
            }
        }
    }
}

fn about(reason: &str, count: u64) -> Problem {
    let see = Next::screen("Show these", &format!("/dead?reason={}", text::encoded(reason)));
    let (tone, icon, what, detail) = match reason {
        "retries_exhausted" => (
            Tone::Info,
            Icon::Retry,
            "ran out of retries",
            "Lobby has read a failure for each. Put back what it still wants when the cause is gone.",
        ),
        "malformed" => (
            Tone::Warn,
            Icon::Unknown,
            "malformed",
            "Put back, they become the same dead letters: their sender must change. Then remove them.",
        ),
        "poison" => (
            Tone::Crit,
            Icon::Crit,
            "poison: read the story before you touch it",
            "Processes died with it again and again. Put back as it is, it may take replicas down again.",
        ),
        "entry_lost" => (
            Tone::Warn,
            Icon::Lost,
            "lost: the payload was deleted before a replica worked on it",
            "There is nothing to put back. Lobby has no answer for these: it must send them again.",
        ),
        _ => (Tone::None, Icon::Unknown, "not of the fleet's making", "Another program wrote them to this stream."),
    };
    Problem {
        tone,
        icon,
        title: format!("{} {} {what}", text::count(count), if count == 1 { "is" } else { "are" })
            .replace("is ran", "ran")
            .replace("are ran", "ran"),
        detail: detail.to_owned(),
        since_ms: None,
        next: see,
        runbook: if reason == "entry_lost" { "entrieslost" } else { "deadlettersgrowing" }.to_owned(),
    }
}

fn list(asked: &Asked, wanted: &Wanted, found: &Found) -> Markup {
    let choice = |value: &str, words: &str| (value.to_owned(), words.to_owned());
    let reasons: Vec<(String, String)> = std::iter::once(choice("", "any reason"))
        .chain(REASONS.iter().map(|(value, words)| choice(value, words)))
        .collect();
    let since = vec![choice("", "ever"), choice("hour", "in the last hour"), choice("day", "in the last day")];
    let fields = [
        Field::Text("q", "Part of a game's name, or an id", &wanted.q),
        Field::Choice("reason", "Reason", &wanted.reason, reasons),
        Field::Choice("since", "Died", asked.query.get("since").unwrap_or_default(), since),
    ];
    let rows: Vec<Vec<Markup>> = found.rows.iter().map(|letter| row(asked, letter)).collect();
    html! {
        section #rows .panel aria-labelledby="h-rows" {
            (filters("/dead", "Filter dead letters", &fields, "Filter"))
            div.head { h2 #h-rows { (text::of(found.rows.len() as u64, "dead letter", "dead letters"))
                " shown, newest first" }
                (newer_ones(asked, 0)) }
            @if rows.is_empty() {
                (empty(Icon::Ok, "No dead letter is found", &html! {
                    "Looked at " (text::of(found.looked_at as u64, "dead letter", "dead letters")) "."
                    @if found.more { " There are more than are looked at for one page." }
                }))
            } @else if let Some(person) = asked.actor() {
                (choosing(&person.form_code, found, &rows))
            } @else {
                (table("Dead letters, newest first", &COLUMNS, &rows))
                p.more { (without_right(asked)) }
            }
            (more(asked, found))
        }
    }
}

/// The same rows, each with a box to choose it, and what may be done to those that are chosen.
fn choosing(code: &str, found: &Found, rows: &[Vec<Markup>]) -> Markup {
    const PICK: Column = Column::silent("Choose", "pick");
    let columns: Vec<Column> = std::iter::once(PICK).chain(COLUMNS).collect();
    let with_box = |(letter, cells): (&Letter, &Vec<Markup>)| {
        let name = text::visible(&game_of(letter), text::NAME_MAX);
        let choose = html! {
            label.pick { input type="checkbox" name="id" value=(letter.id)
                aria-label={ "choose " (name) ", " (letter.id) }; }
        };
        std::iter::once(choose).chain(cells.iter().cloned()).collect()
    };
    let rows: Vec<Vec<Markup>> = found.rows.iter().zip(rows).map(with_box).collect();
    html! {
        form #choose method="post" action="/dead/requeue" {
            input type="hidden" name="code" value=(code);
            div.bulk {
                span.acts {
                    button.b type="submit" { "Requeue\u{2026}" }
                    button.b.bad type="submit" formaction="/dead/remove" { "Remove\u{2026}" }
                }
                span.sub { "Nothing changes before you confirm." }
            }
            (table("Dead letters, newest first", &columns, &rows))
        }
    }
}

/// Where nothing can be done here: what would allow it, and how it is done elsewhere.
fn without_right(asked: &Asked) -> Markup {
    html! {
        @if asked.site.tokens.is_on() {
            a href="/system#access" { "Sign in" } " to put dead letters back or to remove them, or use "
        } @else {
            "The setting " code { "admin-token-file" } " lets people act on this page. In a terminal: "
        }
        code { "startjobs dead requeue" } " and " code { "startjobs dead remove" }
    }
}

fn more(asked: &Asked, found: &Found) -> Markup {
    let Some(last) = found.rows.last().filter(|_| found.more) else { return html! {} };
    html! { p.more { a href=(asked.query.with(&[("after", &last.id.to_string())])) { "Older ones" } } }
}

fn row(asked: &Asked, letter: &Letter) -> Vec<Markup> {
    let head = |name: &str| String::from_utf8_lossy(letter.head(name)).into_owned();
    let (game, reason) = (game_of(letter), head("reason"));
    let source = head("source_ref");
    let (tone, icon) = match reason.as_str() {
        "poison" => (Tone::Crit, Icon::Crit),
        "retries_exhausted" => (Tone::Warn, Icon::Retry),
        "malformed" => (Tone::None, Icon::Unknown),
        _ => (Tone::Warn, Icon::Lost),
    };
    let word = REASONS.iter().find(|(name, _)| *name == reason).map_or("other", |(_, words)| words);
    let name = if game.is_empty() { "no game".to_owned() } else { game };
    vec![
        html! {
            @if source.is_empty() { (text::name(&name)) }
            @else { a href={ "/jobs/" (text::encoded(&source)) } { (text::name(&name)) } }
            " " span.sub.mono { (letter.id) }
        },
        html! { span id={ "state-" (letter.id) } { (tag(tone, icon, word)) } },
        html! {
            (text::words(&head("detail")))
            span.sub { " deliveries " (text::name(&head("deliveries"))) ", crashes " (text::name(&head("crashes")))
                ", failures " (text::name(&head("failures"))) }
        },
        asked.at(letter.id.ms),
    ]
}
