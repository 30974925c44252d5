//! Server-sent events: the parts of a screen that have changed, at most once a second. A viewer has a place of a few,
//! and its connection ends by itself after a while; the browser then opens another one.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use maud::Markup;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::drawn::{Form, Part};
use super::frame::verdict::mini;
use super::judged::judged;
use super::lists::Watched;
use super::screens::{dead, jobs, overview, replicas};
use super::site::{Asked, as_it_was};
use super::text;
use super::when::absolute;
use crate::ops::printable::time;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long one connection lasts: less than the listener lets any connection last.
const LIFETIME: Duration = Duration::from_secs(50);
/// After how long a browser asks again.
const RETRY_MS: u64 = 500;

/// Screens with parts of their own.
const SCREENS: [&str; 4] = ["overview", "replicas", "jobs", "dead"];

/// One viewer.
struct Viewer {
    asked: Asked,
    /// The rows of a list that it has before it.
    watched: Watched,
    /// What it was told last, by the id of the part.
    told: HashMap<String, Arc<Part>>,
    due: Instant,
    until: Instant,
    /// Given back when the connection is gone.
    _place: OwnedSemaphorePermit,
}

/// The events of a screen, or why there is no place.
pub(crate) fn events(asked: Asked) -> Response {
    let Ok(place) = Arc::clone(&asked.site.viewers).try_acquire_owned() else {
        let headers = [(header::RETRY_AFTER, "30")];
        let said = "too many viewers are told of changes already; the page itself can be loaded\n";
        return (StatusCode::SERVICE_UNAVAILABLE, headers, said).into_response();
    };
    let now = Instant::now();
    let watched = Watched::read(&asked.query);
    let viewer = Viewer { asked, watched, told: HashMap::new(), due: now, until: now + LIFETIME, _place: place };
    let events = stream::unfold(viewer, |mut viewer| async {
        let events = viewer.next().await?;
        Some((Ok::<_, Infallible>(events), viewer))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

impl Viewer {
    /// What has changed since it was told last; none at the end of its time.
    async fn next(&mut self) -> Option<Bytes> {
        let is_first = self.told.is_empty();
        sleep_until(self.due).await;
        if self.due >= self.until {
            return None;
        }
        self.asked.again().await;
        let mut text = if is_first { format!("retry: {RETRY_MS}\n\n") } else { String::new() };
        for part in self.parts().await {
            if self.told.get(&part.id).is_none_or(|told| !told.is_like(&part)) {
                text.push_str(&part.event);
            }
            self.told.insert(part.id.clone(), part);
        }
        // Writing to a String cannot fail.
        _ = write!(text, "event: seen\ndata: {}\n\n", seen(&self.asked));
        // A look that took long is not made up for.
        self.due = Instant::now() + EVERY;
        Some(text.into())
    }

    /// The parts of its screen: those that all have, and the rows that it has itself.
    async fn parts(&mut self) -> Vec<Arc<Part>> {
        let screen = screen(&self.asked);
        if screen == "overview" {
            self.asked.load_history().await;
        }
        let asked = &self.asked;
        let (utc, range, may_act) = (asked.when.utc, asked.range(), asked.actor().is_some());
        let form = (Form { screen, utc, range, may_act }, asked.seen.look);
        let shared = asked.site.drawings.get(form, || parts(asked, screen)).await;
        let rows = match screen {
            "jobs" => jobs::renewed(&self.asked, &mut self.watched).await,
            "dead" => dead::renewed(&self.asked, &self.watched).await,
            _ => Vec::new(),
        };
        let rows = rows.into_iter().map(|(id, part)| Arc::new(Part::new(id, part)));
        shared.iter().map(Arc::clone).chain(rows).collect()
    }
}

/// The screen that is before the viewer, by its name.
fn screen(asked: &Asked) -> &'static str {
    let named = asked.query.get("screen").unwrap_or_default();
    SCREENS.into_iter().find(|&screen| screen == named).unwrap_or("other")
}

/// The parts of a screen that renew themselves, for all viewers.
fn parts(asked: &Asked, screen: &str) -> Vec<(&'static str, Markup)> {
    let above = || [("health", mini(&judged(&asked.seen).0)), ("asof", as_it_was(asked))];
    match screen {
        "overview" => overview::parts(asked),
        "replicas" => above().into_iter().chain(replicas::parts(asked)).collect(),
        _ => above().to_vec(),
    }
}

/// When the fleet was seen, and what the frame around a screen says.
fn seen(asked: &Asked) -> serde_json::Value {
    let overview = asked.seen.fleet.as_ref().map(|fleet| &fleet.overview);
    json!({
        "now": asked.seen.now_ms,
        "stale": asked.seen.failing.is_some(),
        "seen": overview.map(|overview| time(overview.at_ms)),
        "title": overview.map(|overview| absolute(overview.at_ms)),
        "dead": overview.map(|overview| text::count(overview.snapshot.dead_letters)),
    })
}
