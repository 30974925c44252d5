//! Entries of a stream as people are shown them. What is long is cut by the server: a payload of megabytes would fill the memory
//! of a replica that shows it.

use bytes::Bytes;

use super::entry_id::EntryId;
use super::lua;
use crate::contract::Fields;
use crate::contract::start_job::{Malformed, StartJob};
use crate::redis::commands::Order;
use crate::redis::{Connection, RedisError, Script, Value};

/// Bytes of a name or a value that are shown.
pub(crate) const SHOWN_MAX: usize = 4_096;
/// Bytes of entries behind which one call ends: Redis copies them, and serves no other client meanwhile.
const BYTES_MAX: usize = 1_048_576;

/// Reads excerpts.
#[derive(Debug)]
pub(crate) struct Excerpts(Script);

/// What is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The stream.
    pub(crate) stream: &'a str,
    /// From the first id to the last; `-`, `+` or `(id` too.
    pub(crate) range: (&'a str, &'a str),
    /// Which come first.
    pub(crate) order: Order,
    /// Entries that are looked at, at most.
    pub(crate) count: u64,
    /// Bytes of a name or a value; what is longer is cut.
    pub(crate) value_max: usize,
    /// Only the first entry whose field of this name has this value.
    pub(crate) with: Option<(&'a str, &'a str)>,
}

/// What one call has read.
#[derive(Debug)]
pub(crate) struct Page {
    /// The end of the range was reached, or the entry found.
    pub(crate) is_over: bool,
    /// How many entries were looked at.
    pub(crate) looked: u64,
    /// The id of the last one; empty where there was none.
    pub(crate) last: String,
    /// What is wanted of them.
    pub(crate) entries: Vec<Excerpt>,
}

/// An entry whose long names and values are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// Its id.
    pub(crate) id: String,
    /// Names and values, in order.
    pub(crate) fields: Fields,
    /// Where a name or a value is cut, and how long it is: names and values are counted together, from 0.
    cuts: Vec<(usize, u64)>,
}

type Row = (String, u64, Vec<Bytes>, Vec<u64>);

impl Excerpt {
    /// The same; what is cut ends with its length.
    pub(crate) fn shown(mut self) -> Self {
        for (at, length) in std::mem::take(&mut self.cuts) {
            let Some((name, value)) = self.fields.get_mut(at / 2) else { continue };
            let text = if at % 2 == 0 { name } else { value };
            let kept = String::from_utf8_lossy(text);
            // Half a character at the end would be shown as a damaged one.
            let kept = kept.trim_end_matches('\u{fffd}');
            *text = format!("{kept}\u{2026} ({length} bytes)").into();
        }
        self
    }

    /// How long the last value of this name is.
    pub(crate) fn length_of(&self, name: &str) -> Option<u64> {
        let at = self.fields.iter().rposition(|(field, _)| field == name.as_bytes())?;
        let cut = self.cuts.iter().find(|(place, _)| *place == 2 * at + 1);
        Some(cut.map_or_else(|| self.fields[at].1.len() as u64, |&(_, length)| length))
    }

    /// What it asks for, where its values are cut behind the limit of a field.
    pub(crate) fn decode(&self, max_field_bytes: usize) -> Result<StartJob, Malformed> {
        StartJob::decode(&self.fields, max_field_bytes).map_err(|malformed| match malformed {
            Malformed::TooLarge { field, size, limit } => {
                let length = self.length_of(field).and_then(|length| usize::try_from(length).ok());
                Malformed::TooLarge { field, size: length.unwrap_or(size), limit }
            }
            other => other,
        })
    }

    fn of((id, _bytes, flat, cuts): Row) -> Self {
        let fields = flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let place = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1);
        let cuts = cuts.chunks_exact(2).map(|cut| (place(cut[0]), cut[1])).collect();
        Self { id, fields, cuts }
    }
}

impl Excerpts {
    /// Touches nothing.
    pub(crate) fn new() -> Self {
        Self(lua::excerpt())
    }

    /// One call: ends behind a megabyte, so the next one may have to go on behind the last entry.
    pub(crate) async fn page(&self, connection: &Connection, wanted: Wanted<'_>) -> Result<Page, RedisError> {
        let Wanted { stream, range: (first, last), order, count, value_max, with } = wanted;
        let (order, from, to) = match order {
            Order::OldestFirst => ("XRANGE", first, last),
            Order::NewestFirst => ("XREVRANGE", last, first),
        };
        let (name, value) = with.unwrap_or_default();
        let (count, bytes_max, value_max) = (count.to_string(), BYTES_MAX.to_string(), value_max.to_string());
        let args = [order, from, to, &count, &bytes_max, &value_max, name, value].map(Value::from).to_vec();
        let reply = self.0.run(connection, vec![stream.to_owned()], args).await?;
        let (is_over, looked, last, rows): (u64, u64, String, Vec<Row>) = reply.convert()?;
        Ok(Page { is_over: is_over == 1, looked, last, entries: rows.into_iter().map(Excerpt::of).collect() })
    }

    /// The entry of a job, to be decoded; none where it is gone.
    pub(crate) async fn job(
        &self,
        connection: &Connection,
        stream: &str,
        id: EntryId,
        max_field_bytes: usize,
    ) -> Result<Option<Excerpt>, RedisError> {
        let (id, value_max) = (id.to_string(), SHOWN_MAX.max(max_field_bytes.saturating_add(1)));
        let (range, order) = ((id.as_str(), id.as_str()), Order::OldestFirst);
        let wanted = Wanted { stream, range, order, count: 1, value_max, with: None };
        Ok(self.page(connection, wanted).await?.entries.into_iter().next())
    }

    /// Everything of the range, as far as `count` goes.
    pub(crate) async fn all(&self, connection: &Connection, wanted: Wanted<'_>) -> Result<Vec<Excerpt>, RedisError> {
        let (mut found, mut behind, mut seen) = (Vec::new(), None::<String>, 0);
        while seen < wanted.count {
            let (first, last) = wanted.range;
            let range = match (&behind, wanted.order) {
                (None, _) => (first, last),
                (Some(behind), Order::OldestFirst) => (behind.as_str(), last),
                (Some(behind), Order::NewestFirst) => (first, behind.as_str()),
            };
            let page = self.page(connection, Wanted { range, count: wanted.count - seen, ..wanted }).await?;
            found.extend(page.entries);
            if page.is_over || page.looked == 0 {
                break;
            }
            (seen, behind) = (seen + page.looked, Some(format!("({}", page.last)));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_says_how_long_it_was() {
        let texts = |texts: &[&str]| texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
        let row = ("5-0".to_owned(), 99, texts(&["game_id", "abc", "lo", "x"]), vec![2, 70, 3, 20]);
        let excerpt = Excerpt::of(row);
        assert_eq!(
            (excerpt.length_of("game_id"), excerpt.length_of("lo"), excerpt.length_of("no")),
            (Some(70), Some(1), None)
        );
        let shown = excerpt.shown();
        assert_eq!(shown.fields[0].1, "abc\u{2026} (70 bytes)");
        assert_eq!(shown.fields[1].0, "lo\u{2026} (20 bytes)");
        let half = (String::new(), 9, vec![Bytes::from_static(b"a"), Bytes::from_static(b"\xc3\xa9\xc3")], vec![2, 9]);
        assert_eq!(Excerpt::of(half).shown().fields[0].1, "é\u{2026} (9 bytes)");
    }
}
