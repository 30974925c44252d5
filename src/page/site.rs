//! What a process has for its page, and what one request has of it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use maud::{Markup, html};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::assets::Assets;
use super::drawn::Drawings;
use super::frame::icons::Icon;
use super::frame::shell::{Shell, Tab, shell};
use super::frame::strip::strip;
use super::frame::tone::Tone;
use super::frame::verdict::mini;
use super::judged::judged;
use super::lists::{Lists, Renewal, Watch, Watched};
use super::looks::{Looks, Seen, wall_ms};
use super::query::{Query, WATCH_MAX};
use super::text;
use super::token::{Person, Tokens};
use super::when::When;
use crate::observe::guard::Guard;
use crate::observe::outlook::Answer;
use crate::ops::View;
use crate::ops::doctor::Finding;
use crate::ops::history::{Range, Timeline};
use crate::ops::jobs::row::{Jobs, JobsQuery};
use crate::redis::RedisError;
use crate::settings::{Loaded, ResolvedSetting, Settings};

/// Viewers that are told of changes at once.
const VIEWERS_MAX: usize = 16;
/// Bytes of a Cookie header that are looked at.
const COOKIE_MAX: usize = 2_048;
/// The cookie of a session.
pub(crate) const SESSION: &str = "startjobs_session";
/// Seconds after which a page may ask to be loaded again.
const REFRESH: std::ops::RangeInclusive<u64> = 5..=300;

/// What a process has for its page.
#[derive(Debug)]
pub(crate) struct Site {
    /// The fleet.
    pub(crate) looks: Looks,
    /// Who may ask.
    pub(crate) guard: Guard,
    /// Stylesheet, script, logo.
    pub(crate) assets: Assets,
    /// The settings of this process.
    pub(crate) settings: Settings,
    /// The same as they may be shown.
    pub(crate) resolved: Vec<ResolvedSetting>,
    /// What looks like a mistake in them.
    pub(crate) warnings: Vec<String>,
    /// This process: `host, pid 17`.
    pub(crate) served_by: String,
    /// Who may act.
    pub(crate) tokens: Tokens,
    /// Places for viewers.
    pub(crate) viewers: Arc<Semaphore>,
    /// Lists of jobs that viewers have before them.
    pub(crate) jobs: Lists<JobsQuery, Jobs>,
    /// Lists of dead letters that viewers have before them.
    pub(crate) dead: Lists<Watch, Renewal>,
    /// Parts of screens for all viewers.
    pub(crate) drawings: Drawings,
    /// What doctor found, and when.
    pub(crate) found: Mutex<Option<(Instant, Arc<Vec<Finding>>)>>,
}

impl Site {
    /// Nothing is connected yet.
    pub(crate) fn new(loaded: &Loaded) -> Self {
        let settings = &loaded.settings;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            looks: Looks::new(settings),
            guard: Guard::new(&settings.page.hosts),
            assets: Assets::new(),
            settings: settings.clone(),
            resolved: loaded.resolved.clone(),
            warnings: loaded.warnings.clone(),
            served_by: format!("{host}, pid {}", std::process::id()),
            tokens: Tokens::new(settings.page.token_file.as_deref()),
            viewers: Arc::new(Semaphore::new(VIEWERS_MAX)),
            jobs: Lists::new(),
            dead: Lists::new(),
            drawings: Drawings::default(),
            found: Mutex::default(),
        }
    }

    /// The group and the stream that are shown.
    fn fleet(&self) -> String {
        format!("{} on {}", self.settings.stream.group, self.settings.stream.jobs)
    }
}

/// What one request has.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The process's part.
    pub(crate) site: Arc<Site>,
    /// What was seen of the fleet.
    pub(crate) seen: Seen,
    /// How times are written.
    pub(crate) when: When,
    /// Who asks, where they have said the token.
    pub(crate) person: Option<Person>,
    /// What it was asked for beyond its path.
    pub(crate) query: Query,
    /// The history of a day or a month, where that is asked for and was loaded.
    pub(crate) longer: Option<Arc<Timeline>>,
}

impl Asked {
    /// Looks, where no other request has done so within the last second.
    pub(crate) async fn new(site: &Arc<Site>, query: Query, headers: &HeaderMap) -> Self {
        Self::of(site, site.looks.seen().await, query, headers).await
    }

    /// Waits for no look: for a screen that needs nothing of the fleet.
    pub(crate) async fn unseen(site: &Arc<Site>, query: Query, headers: &HeaderMap) -> Self {
        Self::of(site, site.looks.known().await, query, headers).await
    }

    async fn of(site: &Arc<Site>, seen: Seen, query: Query, headers: &HeaderMap) -> Self {
        let person = match cookie(headers, SESSION) {
            Some(value) => site.tokens.person(value, wall_ms()).await,
            None => None,
        };
        let utc = match query.get("times") {
            Some(form) => form == "utc",
            None => cookie(headers, "times").is_some_and(|form| form == "utc"),
        };
        let when = When { now_ms: seen.now_ms, utc };
        Self { site: Arc::clone(site), seen, when, person, query, longer: None }
    }

    /// The same request, of what is seen now.
    pub(crate) async fn again(&mut self) {
        let seen = self.site.looks.seen().await;
        self.sees(seen);
    }

    /// The same request after something was changed: health is looked at once more before the answer tells it.
    pub(crate) async fn anew(&mut self) {
        let seen = self.site.looks.seen_anew().await;
        self.sees(seen);
    }

    fn sees(&mut self, seen: Seen) {
        self.when.now_ms = seen.now_ms;
        self.seen = seen;
    }

    /// Who may change something now: nothing can be changed while Redis does not answer.
    pub(crate) fn actor(&self) -> Option<&Person> {
        self.person.as_ref().filter(|_| self.seen.failing.is_none())
    }

    /// Asks the fleet something else. While Redis does not answer, the question is not put at all.
    pub(crate) async fn ask<T>(
        &self,
        question: impl for<'a> FnOnce(&'a View) -> Answer<'a, T>,
    ) -> Result<T, RedisError> {
        match &self.seen.failing {
            Some(failing) => Err(RedisError::unreachable(failing.why.clone())),
            None => self.site.looks.ask(question).await,
        }
    }

    /// How far back charts go.
    pub(crate) fn range(&self) -> Range {
        let named = |range: &Range| Some(range.as_str()) == self.query.get("range");
        Range::ALL.into_iter().find(named).unwrap_or_default()
    }

    /// The same request with the history that its charts show.
    pub(crate) async fn with_history(mut self) -> Self {
        self.load_history().await;
        self
    }

    /// Loads the history that charts show, where it is not part of every look.
    pub(crate) async fn load_history(&mut self) {
        self.longer = match self.range() {
            Range::Hour => None,
            range => self.site.looks.longer(range, self.seen.failing.is_some()).await,
        };
    }

    /// A time.
    pub(crate) fn at(&self, at_ms: u64) -> Markup {
        self.when.at(at_ms)
    }

    /// Seconds after which the page is to be loaded again.
    pub(crate) fn refresh(&self) -> Option<u64> {
        let seconds: u64 = self.query.get("refresh")?.parse().ok()?;
        Some(seconds.clamp(*REFRESH.start(), *REFRESH.end()))
    }
}

/// What is different from screen to screen.
#[derive(Debug)]
pub(crate) struct Frame {
    /// What the window is called.
    pub(crate) title: String,
    /// The tab.
    pub(crate) tab: Tab,
    /// The command that shows the same.
    pub(crate) command: String,
    /// The name under which changes come.
    pub(crate) live: &'static str,
    /// Health is a line above the screen, and not a part of it.
    pub(crate) has_mini: bool,
}

/// The whole page of a screen.
pub(crate) fn framed(asked: &Asked, frame: Frame, content: &Markup) -> Markup {
    whole(asked, frame, "", content)
}

/// The same of a list: `names` are the values of its query.
pub(crate) fn framed_list(
    asked: &Asked,
    frame: Frame,
    (watched, names): (&Watched, &[&str]),
    content: &Markup,
) -> Markup {
    let only = asked.query.only(names).replacen('?', "&", 1);
    whole(asked, frame, &format!("{}{}", only.trim_end_matches('&'), watched.written()), content)
}

fn whole(asked: &Asked, frame: Frame, rows: &str, content: &Markup) -> Markup {
    let (seen, site) = (&asked.seen, &asked.site);
    let fleet_name = site.fleet();
    let others = if asked.when.utc { ("Show times as ages", "ago") } else { ("Show times as UTC", "utc") };
    let every = asked.refresh().map_or(("Load every 10 s", "10"), |_| ("Load no more by itself", ""));
    let shell_of = Shell {
        title: frame.title,
        tab: frame.tab,
        fleet: &fleet_name,
        seen: seen.fleet.as_ref().map(|fleet| asked.at(fleet.overview.at_ms)),
        is_stale: seen.failing.is_some(),
        now_ms: seen.now_ms,
        events: Some(events_of(asked, frame.live, rows)).filter(|_| asked.refresh().is_none()),
        dead: seen.fleet.as_ref().map(|fleet| fleet.overview.snapshot.dead_letters),
        access: access(asked),
        command: frame.command,
        links: [
            (others.0, asked.query.with(&[("times", others.1)])),
            ("Load again", asked.query.with(&[])),
            (every.0, asked.query.with(&[("refresh", every.1)])),
        ],
        served_by: &site.served_by,
        assets: site.assets.paths(),
    };
    let above = if frame.has_mini {
        mini(&judged(seen).0)
    } else {
        html! {}
    };
    let content = html! { @if frame.has_mini { (as_it_was(asked)) } (content) };
    shell(&shell_of, &above, &content)
}

/// From when what is shown is, while Redis does not answer; an empty place at all other times.
pub(crate) fn as_it_was(asked: &Asked) -> Markup {
    let shown = asked.seen.fleet.as_ref().filter(|_| asked.seen.failing.is_some());
    html! {
        div #asof {
            @if let Some(fleet) = shown {
                (strip(Tone::None, Icon::Wait, &html! {
                    "Everything below is as it was at " (asked.when.exactly(fleet.overview.at_ms))
                    ", before Redis went away. Nothing can be changed until it is back."
                }))
            }
        }
    }
}

fn events_of(asked: &Asked, live: &str, rows: &str) -> String {
    let times = if asked.when.utc { "utc" } else { "ago" };
    let mut url = format!("/events?screen={live}&times={times}");
    if let Some(range) = asked.query.get("range") {
        // Writing to a String cannot fail.
        _ = write!(url, "&range={}", text::encoded(range));
    }
    // What is too long to be asked for is not renewed.
    if url.len() + rows.len() <= WATCH_MAX {
        url.push_str(rows);
    }
    url
}

fn access(asked: &Asked) -> Markup {
    html! {
        @match &asked.person {
            Some(person) => { (text::name(&person.name)) ", " a href="/system#access" { "may act" } }
            None => a href="/system#access" { "read only" },
        }
    }
}

/// A cookie of the request.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get(header::COOKIE)?.to_str().ok().filter(|all| all.len() <= COOKIE_MAX)?;
    all.split(';').filter_map(|pair| pair.trim().split_once('=')).find(|(one, _)| *one == name).map(|(_, value)| value)
}

/// How long what doctor found is shown before it looks again.
pub(crate) const FOUND_FOR: Duration = Duration::from_secs(15);
