//! What the fleet has done in the last hour, day or month, as replicas have told it.

use bytes::Bytes;
use serde::Serialize;

use super::{SCHEMA_VERSION, View};
use crate::redis::{RedisError, Value};
use crate::stream::tally::{HOURS_KEPT, MINUTES_KEPT, Record};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// How far back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) enum Range {
    /// One hour, by minute.
    #[default]
    #[serde(rename = "1h")]
    Hour,
    /// One day, by minute.
    #[serde(rename = "24h")]
    Day,
    /// 30 days, by hour.
    #[serde(rename = "30d")]
    Month,
}

impl Range {
    /// Every one of them.
    pub(crate) const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// How long one point of it is, in milliseconds.
    pub(crate) fn step_ms(self) -> u64 {
        match self {
            Self::Hour | Self::Day => MINUTE_MS,
            Self::Month => HOUR_MS,
        }
    }

    /// How many points it has.
    pub(crate) fn points(self) -> u64 {
        match self {
            Self::Hour => HOUR_MS / MINUTE_MS,
            Self::Day => MINUTES_KEPT,
            Self::Month => HOURS_KEPT,
        }
    }

    /// As it is named in flags.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Month => "30d",
        }
    }

    /// Slots of the ring that it is read from.
    fn kept(self) -> u64 {
        match self {
            Self::Hour | Self::Day => MINUTES_KEPT,
            Self::Month => HOURS_KEPT,
        }
    }
}

/// What the fleet has done, in points of the same length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Timeline {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// How far it reaches back.
    pub(crate) range: Range,
    /// How long a point is, in milliseconds.
    pub(crate) step_ms: u64,
    /// All of it together; none where nothing is recorded.
    pub(crate) total: Option<Record>,
    /// The points without a gap between them, the oldest first. The last one still runs.
    pub(crate) points: Vec<Point>,
}

/// A minute, an hour, or several of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Point {
    /// When it begins, Unix milliseconds by the server's clock.
    pub(crate) start_ms: u64,
    /// What was done; none where nothing is recorded, because no replica was there or its value is damaged.
    pub(crate) recorded: Option<Record>,
}

impl View {
    /// Reads it in one step.
    pub(crate) async fn history(&self, range: Range) -> Result<Timeline, RedisError> {
        let key = match range {
            Range::Hour | Range::Day => &self.keys.minutes,
            Range::Month => &self.keys.hours,
        };
        let number = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        let args = [range.step_ms(), range.points(), range.kept()].map(number);
        let reply = self.scripts.history.run(&self.connection, [key.clone()], args).await?;
        let words: Vec<Bytes> = reply.convert()?;
        timeline(range, &words).ok_or_else(|| RedisError::unexpected("history"))
    }
}

fn timeline(range: Range, words: &[Bytes]) -> Option<Timeline> {
    let (at_ms, values) = words.split_first()?;
    let at_ms: u64 = std::str::from_utf8(at_ms).ok()?.parse().ok()?;
    let step_ms = range.step_ms();
    let last = at_ms / step_ms;
    let first = (last + 1).checked_sub(range.points())?;
    if u64::try_from(values.len()).ok()? != range.points() {
        return None;
    }
    let point = |(number, value): (u64, &Bytes)| {
        let value = std::str::from_utf8(value).ok();
        Point { start_ms: number * step_ms, recorded: value.and_then(|value| Record::read(value, number)) }
    };
    let points: Vec<Point> = (first..).zip(values).map(point).collect();
    Some(Timeline { schema_version: SCHEMA_VERSION, at_ms, range, step_ms, total: sum(&points), points })
}

/// What several points have together; none where nothing is recorded in any of them.
fn sum(points: &[Point]) -> Option<Record> {
    points.iter().filter_map(|point| point.recorded.as_ref()).fold(None, |sum: Option<Record>, record| {
        let mut sum = sum.unwrap_or_default();
        sum.add(record);
        Some(sum)
    })
}

impl Timeline {
    /// The same in longer points that begin at whole multiples of this length; the first one may be cut.
    pub(crate) fn in_steps_of(&self, step_ms: u64) -> Vec<Point> {
        let step_ms = step_ms.max(self.step_ms);
        let chunks = self.points.chunk_by(|one, next| one.start_ms / step_ms == next.start_ms / step_ms);
        chunks.map(|points| Point { start_ms: points[0].start_ms, recorded: sum(points) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_800_000_000_000;

    fn words(range: Range, at_ms: u64, values: &[(u64, &str)]) -> Vec<Bytes> {
        let last = at_ms / range.step_ms();
        let value_of = |number| values.iter().find(|(at, _)| *at == number).map_or("", |(_, value)| *value).to_owned();
        let values = (last + 1 - range.points()..=last).map(value_of);
        std::iter::once(at_ms.to_string()).chain(values).map(Bytes::from).collect()
    }

    #[test]
    fn minutes_without_a_record_are_gaps_and_a_damaged_one_hides_only_itself() {
        let minute = NOON / MINUTE_MS;
        let (a, b) = (format!("1 {} started=3 sent=4", minute - 59), format!("1 {minute} started=2 took.7=2"));
        let values = [(minute - 59, a.as_str()), (minute - 30, "junk"), (minute - 1, "1 5 started=9"), (minute, &b)];
        let timeline = timeline(Range::Hour, &words(Range::Hour, NOON, &values)).expect("a timeline");
        assert_eq!(timeline.points.len(), 60);
        assert_eq!(timeline.points.iter().filter(|point| point.recorded.is_some()).count(), 2);
        assert_eq!((timeline.points[0].start_ms, timeline.points[59].start_ms), (NOON - 59 * MINUTE_MS, NOON));
        let total = timeline.total.as_ref().expect("something");
        assert_eq!((total.sent, total.tally.started, total.tally.latency.p50_ms()), (Some(4), 5, Some(7)));
        // 1.8e12 ms is a whole hour: the first point is cut.
        let coarse = timeline.in_steps_of(15 * MINUTE_MS);
        let started = |point: &Point| point.recorded.as_ref().map(|record| record.tally.started);
        assert_eq!(coarse.iter().map(started).collect::<Vec<_>>(), [Some(3), None, None, None, Some(2)]);
        assert_eq!(coarse[1].start_ms, NOON - 45 * MINUTE_MS);
    }

    #[test]
    fn an_answer_of_another_form_is_none() {
        assert_eq!(timeline(Range::Hour, &[]), None);
        assert_eq!(timeline(Range::Hour, &words(Range::Hour, NOON, &[])[..60]), None);
        let empty = timeline(Range::Month, &words(Range::Month, NOON, &[])).expect("a timeline");
        assert_eq!((empty.points.len(), empty.total), (720, None));
    }
}
