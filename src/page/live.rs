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

use super::frame::verdict::mini;
use super::judged::judged;
use super::screens::{overview, replicas};
use super::site::Asked;
use super::text;
use super::when::{absolute, unclocked};
use crate::ops::printable::time;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long one connection lasts: less than the listener lets any connection last.
const LIFETIME: Duration = Duration::from_secs(50);
/// After how long a browser asks again.
const RETRY_MS: u64 = 500;

/// One viewer.
struct Viewer {
    asked: Asked,
    /// What it was told last, by the id of the part, without what only counts on.
    told: HashMap<&'static str, String>,
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
    let viewer = Viewer { asked, told: HashMap::new(), due: now, until: now + LIFETIME, _place: place };
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
        if self.asked.query.get("screen") == Some("overview") {
            self.asked.load_history().await;
        }
        let mut text = if is_first { format!("retry: {RETRY_MS}\n\n") } else { String::new() };
        for (id, part) in parts(&self.asked) {
            let html = part.into_string();
            let kept = unclocked(&html);
            if self.told.get(id) != Some(&kept) {
                // Writing to a String cannot fail.
                _ = write!(text, "event: part\ndata: {}\n\n", json!({ "id": id, "html": html }));
                self.told.insert(id, kept);
            }
        }
        _ = write!(text, "event: seen\ndata: {}\n\n", seen(&self.asked));
        // A look that took long is not made up for.
        self.due = Instant::now() + EVERY;
        Some(text.into())
    }
}

/// The parts of a screen that renew themselves.
fn parts(asked: &Asked) -> Vec<(&'static str, Markup)> {
    let health = || ("health", mini(&judged(&asked.seen).0));
    match asked.query.get("screen") {
        Some("overview") => overview::parts(asked),
        Some("replicas") => std::iter::once(health()).chain(replicas::parts(asked)).collect(),
        _ => vec![health()],
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
