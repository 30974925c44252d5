//! Looking for what became of an entry: outcomes and dead letters have later ids than the entry, so a scan begins there.

use bytes::Bytes;
use tokio::time::Instant;

use crate::ops::View;
use crate::redis::RedisError;
use crate::redis::commands::{Entry, Order};

/// Entries in one step.
const PAGE: u64 = 500;

/// The largest possible id.
const ID_MAX: &str = "18446744073709551615-18446744073709551615";

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
            let page = PAGE.min(bound.entries - seen);
            let entries = self.connection.range(stream, (&start, "+"), page, Order::OldestFirst).await?;
            let Some(last) = entries.last() else { return Ok(Found { entry: None, is_whole: true }) };
            // Redis refuses a range that begins after the largest possible id.
            let is_last = (entries.len() as u64) < page || last.id == ID_MAX;
            start = format!("({}", last.id);
            let count = entries.len() as u64;
            // The first of repeated fields: ours stand before those of the original entry.
            let is_it = |entry: &Entry| {
                let mut pairs = entry.fields.iter();
                pairs.find(|pair| pair.0 == name.as_bytes()).is_some_and(|pair| pair.1 == value.as_bytes())
            };
            if let Some(entry) = entries.into_iter().find(is_it) {
                return Ok(Found { entry: Some((entry.id, texts(&entry.fields))), is_whole: true });
            }
            if is_last {
                return Ok(Found { entry: None, is_whole: true });
            }
            seen += count;
        }
        Ok(Found { entry: None, is_whole: false })
    }
}

fn texts(fields: &[(Bytes, Bytes)]) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|(name, value)| (text(name), text(value))).collect()
}
