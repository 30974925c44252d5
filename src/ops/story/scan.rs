//! Looking for what became of an entry: outcomes and dead letters have later ids than the entry, so a scan begins there.

use bytes::Bytes;
use tokio::time::Instant;

use crate::ops::View;
use crate::redis::RedisError;

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
pub struct Bound {
    /// Entries at most.
    pub entries: u64,
    /// Until then.
    pub until: Instant,
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
            let reply = self.raw(&["XRANGE", stream, &start, "+", "COUNT", &page.to_string()]).await?;
            let entries: Vec<(String, Vec<Bytes>)> = reply.convert()?;
            let Some((last, _)) = entries.last() else { return Ok(Found { entry: None, is_whole: true }) };
            // Redis refuses a range that begins after the largest possible id.
            let is_last = (entries.len() as u64) < page || last == ID_MAX;
            start = format!("({last}");
            let count = entries.len() as u64;
            // The first of repeated fields: ours stand before those of the original entry.
            let is_it = |flat: &[Bytes]| {
                let mut pairs = flat.chunks_exact(2);
                pairs.find(|pair| pair[0] == name.as_bytes()).is_some_and(|pair| pair[1] == value.as_bytes())
            };
            if let Some((id, flat)) = entries.into_iter().find(|(_, flat)| is_it(flat)) {
                return Ok(Found { entry: Some((id, crate::ops::text_pairs(&flat))), is_whole: true });
            }
            if is_last {
                return Ok(Found { entry: None, is_whole: true });
            }
            seen += count;
        }
        Ok(Found { entry: None, is_whole: false })
    }
}
