//! Looking for what became of an entry: outcomes and dead letters have later ids than the entry, so a scan begins there.

use bytes::Bytes;
use tokio::time::Instant;

use crate::ops::View;
use crate::redis::RedisError;
use crate::redis::commands::Order;
use crate::stream::excerpt::{Excerpt, SHOWN_MAX, Wanted};

/// Entries in one step.
const PAGE: u64 = 500;

/// The first entry that matches, and whether the scan was whole.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) entry: Option<(String, Vec<(String, String)>)>,
    /// The end of the stream was reached, or the entry found.
    pub(super) is_whole: bool,
}

/// How far a scan goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// Entries at most.
    pub(crate) entries: u64,
    /// Until then.
    pub(crate) until: Instant,
}

impl View {
    /// The first entry of `stream` from this moment on, Unix milliseconds, that has this field with this value.
    pub(super) async fn find(
        &self,
        stream: &str,
        from_ms: u64,
        (name, value): (&str, &str),
        bound: Bound,
    ) -> Result<Found, RedisError> {
        let mut start = format!("{from_ms}-0");
        let mut seen = 0;
        while seen < bound.entries && Instant::now() < bound.until {
            let (range, count) = ((start.as_str(), "+"), PAGE.min(bound.entries - seen));
            // The first of repeated fields counts: ours stand before those of the original entry.
            let with = Some((name, value));
            let wanted = Wanted { stream, range, order: Order::OldestFirst, count, value_max: SHOWN_MAX, with };
            let page = self.scripts.excerpts.page(&self.connection, wanted).await?;
            if let Some(entry) = page.entries.into_iter().next() {
                let Excerpt { id, fields, .. } = entry.shown();
                return Ok(Found { entry: Some((id, texts(&fields))), is_whole: true });
            }
            if page.is_over || page.looked == 0 {
                return Ok(Found { entry: None, is_whole: true });
            }
            start = format!("({}", page.last);
            seen += page.looked;
        }
        Ok(Found { entry: None, is_whole: false })
    }
}

fn texts(fields: &[(Bytes, Bytes)]) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|(name, value)| (text(name), text(value))).collect()
}
