//! `startjobs history`: what the fleet has done in the last hour, day or month, without a Prometheus.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::exit;
use super::output;
use super::session::{FleetArgs, Session};
use crate::ops::history::{Point, Range, Timeline};
use crate::ops::printable::{json, time};
use crate::redis::RedisError;
use crate::stream::tally::Record;

const EXAMPLES: &str = "Examples:
  startjobs history
  startjobs history --range 24h
  startjobs history --range 30d --json | jq .total";

const NOTES: &str = "Replicas count what they have done and write it down about once a renewal interval; the last row still runs. A time for
which nothing is recorded is a gap and no zero: no replica was there. Times are UTC.
  sent      jobs that were appended; not known (-) on Redis 6.2
  p50, p99  from the entry of a job to its outcome, give or take 12.5 %; more than an hour counts as one hour

Exit codes: 0 shown; 1 there is no fleet here; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

/// Show what the fleet has done in the last hour, day or month
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct HistoryArgs {
    /// How far back: by minute for a day, by hour for 30 days
    #[arg(long, value_name = "RANGE", default_value = "1h", value_parser = ranges())]
    range: Range,
    /// Print JSON, with every minute or hour
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

fn ranges() -> impl TypedValueParser<Value = Range> {
    let names = PossibleValuesParser::new(Range::ALL.map(Range::as_str));
    names.map(|name| Range::ALL.into_iter().find(|range| range.as_str() == name).unwrap_or_default())
}

/// Runs it.
pub(super) fn run(args: HistoryArgs) -> ExitCode {
    let HistoryArgs { range, json: as_json, fleet } = args;
    Session::run(fleet, async |session| match read(session, range).await {
        Ok(Err(code)) => code,
        Ok(Ok(timeline)) => {
            output::print(&if as_json { json(&timeline) } else { text(&timeline, Glyphs::of_locale()) });
            if timeline.total.is_none() {
                let since = time(timeline.points.first().map_or(0, |point| point.start_ms));
                output::note(&format!("nothing is recorded since {since}: no replica of this version was there"));
            }
            exit::DONE
        }
        Err(error) => session.failed(&error),
    })
}

/// What was done, or the exit code where there is no fleet.
async fn read(session: &Session, range: Range) -> Result<Result<Timeline, u8>, RedisError> {
    let timeline = session.ask(session.view.history(range)).await?;
    // What was done is kept for longer than a stream that was moved aside.
    let missing = if timeline.total.is_none() { session.no_fleet(false).await? } else { None };
    Ok(missing.map_or(Ok(timeline), Err))
}

/// What bars are drawn with: nothing recorded, nothing done, then ever more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Glyphs([char; 9]);

/// Does the locale of the terminal have blocks?
pub(super) fn has_blocks() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

impl Glyphs {
    const UNICODE: Self = Self([' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']);
    const ASCII: Self = Self([' ', '_', '.', ':', '-', '=', '+', '*', '#']);

    fn of_locale() -> Self {
        if has_blocks() { Self::UNICODE } else { Self::ASCII }
    }

    fn bar(self, value: Option<u64>, most: u64) -> char {
        let Some(value) = value else { return self.0[0] };
        if value == 0 || most == 0 {
            return self.0[1];
        }
        let level = (u128::from(value) * 7).div_ceil(u128::from(most)).min(7);
        self.0[1 + usize::try_from(level).unwrap_or(7)]
    }
}

/// How long a row is, and how long a bar, in milliseconds.
fn steps(range: Range) -> (u64, u64) {
    const MINUTE: u64 = 60_000;
    match range {
        Range::Hour => (5 * MINUTE, 2 * MINUTE),
        Range::Day => (60 * MINUTE, 40 * MINUTE),
        Range::Month => (24 * 60 * MINUTE, 24 * 60 * MINUTE),
    }
}

fn text(timeline: &Timeline, glyphs: Glyphs) -> String {
    let (row_ms, bar_ms) = steps(timeline.range);
    let since = timeline.points.first().map_or(0, |point| point.start_ms);
    let mut text =
        format!("the last {}, since {} UTC\n\n", timeline.range.as_str(), &time(since)[..16].replace('T', " "));
    text += &charts(&timeline.in_steps_of(bar_ms), glyphs);
    text.push('\n');
    text += &rows(&timeline.in_steps_of(row_ms), timeline.range);
    if let Some(total) = &timeline.total {
        text.push('\n');
        text += &output::aligned(&totals(total));
    }
    text
}

/// What is drawn of a record, under its name.
type Drawn = (&'static str, fn(&Record) -> Option<u64>);

const DRAWN: [Drawn; 5] = [
    ("sent", |record| record.sent),
    ("started", |record| Some(record.tally.started)),
    ("failed", |record| Some(record.tally.failures())),
    ("p99", |record| record.tally.latency.p99_ms()),
    ("waiting", |record| record.max_waiting),
];

fn charts(points: &[Point], glyphs: Glyphs) -> String {
    let line = |(name, value): Drawn| {
        let values: Vec<Option<u64>> = points.iter().map(|point| point.recorded.as_ref().and_then(value)).collect();
        let most = values.iter().flatten().max().copied();
        let bars: String = values.iter().map(|&value| glyphs.bar(value, most.unwrap_or_default())).collect();
        let most = most.map_or_else(|| "-".to_owned(), if name == "p99" { took } else { short });
        format!("{name:7} |{bars}| {most}\n")
    };
    DRAWN.map(line).concat()
}

/// A table, with runs of points of which nothing is recorded in one line each.
fn rows(points: &[Point], range: Range) -> String {
    let moment = |ms: u64| match range {
        Range::Hour | Range::Day => time(ms)[11..16].to_owned(),
        Range::Month => time(ms)[5..10].to_owned(),
    };
    let mut text = "FROM    SENT  STARTED  REPLAY  FAILED   DEAD    P50    P99\n".to_owned();
    for run in points.chunk_by(|one, next| one.recorded.is_none() && next.recorded.is_none()) {
        let (first, last) = (&run[0], &run[run.len() - 1]);
        // Writing to a String cannot fail.
        _ = match &first.recorded {
            Some(record) => writeln!(text, "{}{}", moment(first.start_ms), cells(record)),
            None if run.len() == 1 => writeln!(text, "{}  nothing recorded", moment(first.start_ms)),
            None => writeln!(text, "{} - {}  nothing recorded", moment(first.start_ms), moment(last.start_ms)),
        };
    }
    text
}

fn cells(record: &Record) -> String {
    let tally = &record.tally;
    let [p50, p99] = [tally.latency.p50_ms(), tally.latency.p99_ms()].map(|ms| output::or_dash(ms.map(took)));
    let [started, replayed, failed, dead] =
        [tally.started, tally.replayed, tally.failures(), tally.dead_letters()].map(short);
    let sent = output::or_dash(record.sent.map(short));
    format!("  {sent:>5}  {started:>7}  {replayed:>6}  {failed:>6}  {dead:>5}  {p50:>5}  {p99:>5}")
}

fn totals(total: &Record) -> Vec<(String, String)> {
    let tally = &total.tally;
    let number = |number: Option<u64>| output::or_dash(number.map(|number| number.to_string()));
    let span = |ms: Option<u64>| output::or_dash(ms.map(took));
    let line = |name: &str, value: String| (name.to_owned(), value);
    let each = |(name, number): (&&str, &u64)| (format!("  {name}"), number.to_string());
    let mut lines = vec![
        line("sent", number(total.sent)),
        line("started", tally.started.to_string()),
        line("replayed", tally.replayed.to_string()),
        line("failed", tally.failures().to_string()),
    ];
    lines.extend(tally.failed.iter().map(each));
    lines.push(line("dead letters", tally.dead_letters().to_string()));
    lines.extend(tally.dead.iter().map(each));
    lines.extend([
        line("claimed", tally.claimed.to_string()),
        line("p50, p99", format!("{}, {}", span(tally.latency.p50_ms()), span(tally.latency.p99_ms()))),
        line("most waiting", number(total.max_waiting)),
        line("most in flight", number(total.max_in_flight)),
    ]);
    lines
}

/// A number in at most five characters, as exact as they allow.
pub(super) fn short(number: u64) -> String {
    match number {
        0..100_000 => number.to_string(),
        100_000..10_000_000 => format!("{}k", number / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

/// A length of time in at most five characters.
pub(super) fn took(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        10_000..100_000 => format!("{}s", ms / 1_000),
        _ => format!("{}m", ms / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::SCHEMA_VERSION;

    fn record(started: u64) -> Option<Record> {
        Record::read(
            &format!("1 0 sent=999999 started={started} failed.image_not_found=7 dead.malformed=1 took.30=2"),
            0,
        )
    }

    fn timeline(range: Range, recorded: impl Fn(u64) -> Option<Record>) -> Timeline {
        const LAST: u64 = 1_795_972_800_000;
        let step_ms = range.step_ms();
        let point = |at: u64| Point { start_ms: LAST - (range.points() - 1 - at) * step_ms, recorded: recorded(at) };
        Timeline {
            schema_version: SCHEMA_VERSION,
            at_ms: LAST + 1,
            range,
            step_ms,
            total: record(5_000_000_000),
            points: (0..range.points()).map(point).collect(),
        }
    }

    #[test]
    fn every_range_fits_sixty_columns_with_and_without_unicode() {
        for range in Range::ALL {
            for glyphs in [Glyphs::UNICODE, Glyphs::ASCII] {
                let text = text(&timeline(range, |at| record(at * 1_000_000).filter(|_| at % 97 > 30)), glyphs);
                assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
                assert_eq!(text.is_ascii(), glyphs == Glyphs::ASCII);
            }
        }
    }

    #[test]
    fn what_is_not_recorded_is_a_gap_and_no_zero() {
        let text = text(&timeline(Range::Hour, |at| record(at / 31).filter(|_| at > 29)), Glyphs::ASCII);
        let started = text.lines().find(|line| line.starts_with("started")).expect("a line");
        assert_eq!(started, "started |               _##############=| 2");
        assert!(text.contains("nothing recorded\n"), "{text}");
        assert_eq!(text.matches("nothing recorded").count(), 1, "one run of them is one line: {text}");
        let row = text.lines().rfind(|line| line.starts_with("17:20")).expect("a row");
        assert_eq!(row, "17:20   999k        1       0       7      1  415ms  415ms");
    }

    #[test]
    fn numbers_and_times_have_five_characters_at_most() {
        assert_eq!([0, 99_999, 100_000, 9_999_999, 10_000_000].map(short), ["0", "99999", "100k", "9999k", "10M"]);
        assert_eq!([999, 1_250, 59_999, 3_600_000].map(took), ["999ms", "1.2s", "59s", "60m"]);
    }
}
