//! The history of the fleet as charts: what was answered, how long it took, what waited.

use maud::{Markup, html};

use crate::ops::history::{Point, Range, Timeline};
use crate::page::frame::chart::scale::Scale;
use crate::page::frame::chart::series::{Mark, Series, Values};
use crate::page::frame::chart::{Chart, Plot, chart};
use crate::page::frame::filters::pills;
use crate::page::looks::Fleet;
use crate::page::site::Asked;
use crate::page::text;
use crate::page::when::{absolute, clock, lasting};
use crate::stream::tally::Record;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Words below a chart.
const X_WORDS: usize = 5;

/// The part of the overview.
pub(crate) fn charts(asked: &Asked, fleet: &Fleet) -> Markup {
    let range = asked.range();
    let timeline = if range == Range::Hour { fleet.hour.as_ref() } else { asked.longer.as_ref() };
    html! {
        section #charts .stack aria-labelledby="h-charts" {
            div.head {
                h2 #h-charts { (title(range)) }
                div.end { (ranges(asked, range)) }
            }
            @match timeline {
                Some(timeline) if timeline.total.is_some() => (drawn(timeline)),
                Some(_) => p.panel.empty
                    { "Nothing is recorded yet. Replicas write down each minute what they have done." }
                None => p.panel.empty
                    { "The history cannot be read: its key holds something else, or this user may not read it." }
            }
        }
    }
}

fn title(range: Range) -> &'static str {
    match range {
        Range::Hour => "The last hour",
        Range::Day => "The last 24 hours",
        Range::Month => "The last 30 days",
    }
}

fn ranges(asked: &Asked, current: Range) -> Markup {
    let choice = |range: Range, words| (words, asked.query.with(&[("range", range.as_str())]), range == current, None);
    pills("How far back", &[choice(Range::Hour, "Hour"), choice(Range::Day, "Day"), choice(Range::Month, "30 days")])
}

/// How long a point of a chart is: few enough to be told apart.
fn step_ms(range: Range) -> u64 {
    match range {
        Range::Hour => MINUTE_MS,
        Range::Day => 10 * MINUTE_MS,
        Range::Month => 6 * HOUR_MS,
    }
}

fn drawn(timeline: &Timeline) -> Markup {
    let points = timeline.in_steps_of(step_ms(timeline.range));
    let total = timeline.total.clone().unwrap_or_default();
    html! {
        div.charts {
            (chart(&answered(timeline, &points, &total)))
            (chart(&latency(timeline, &points, &total)))
            (chart(&load(timeline, &points)))
        }
    }
}

/// A number of a chart; larger ones than can be told apart do not come.
fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The nearest whole number, from zero on.
fn whole(value: f64) -> u64 {
    format!("{:.0}", value.max(0.0)).parse().unwrap_or(u64::MAX)
}

fn values(points: &[Point], of: impl Fn(&Record) -> Option<u64>) -> Values {
    points.iter().map(|point| point.recorded.as_ref().and_then(&of).map(number)).collect()
}

fn largest(values: &Values) -> f64 {
    values.iter().flatten().copied().fold(0.0, f64::max)
}

fn time(timeline: &Timeline, at_ms: u64) -> String {
    match timeline.range {
        Range::Hour | Range::Day => clock(at_ms),
        // `11-29 06:00`
        Range::Month => absolute(at_ms).get(5..16).unwrap_or_default().to_owned(),
    }
}

fn frame(timeline: &Timeline, points: &[Point], id: &'static str, title: &'static str) -> Chart {
    let last = points.len().saturating_sub(1);
    let word = |at: usize| points.get(last * at / (X_WORDS - 1)).map(|point| time(timeline, point.start_ms));
    Chart {
        id,
        title,
        now: html! {},
        plots: Vec::new(),
        x: (0..X_WORDS).filter_map(word).collect(),
        times: points.iter().map(|point| time(timeline, point.start_ms)).collect(),
        shown: |value| text::count(whole(value)),
    }
}

fn series(name: &'static str, class: &'static str, mark: Mark, values: Values) -> Series {
    Series { name, class, mark, values }
}

fn answered(timeline: &Timeline, points: &[Point], total: &Record) -> Chart {
    let started = values(points, |record| Some(record.tally.started + record.tally.replayed));
    let failed = values(points, |record| Some(record.tally.failures()));
    let (all, bad) = (total.tally.started + total.tally.replayed, total.tally.failures());
    let label = |words: &str, values: &Values| format!("{words}: at most {} at a time.", largest(values));
    let plot = |height, name, class, values: Values, label: String| Plot {
        scale: Scale::of(largest(&values)),
        height,
        series: vec![series(name, class, Mark::Bars, values)],
        label,
    };
    let labels = (label("Games started", &started), label("Jobs that failed", &failed));
    Chart {
        now: html! { b { (text::count(all)) } " started, " b { (text::count(bad)) } " failed" },
        plots: vec![
            plot("h-m", "started", "c1", started, labels.0),
            plot("h-s", "failed (own scale)", "c2", failed, labels.1),
        ],
        ..frame(timeline, points, "c-answered", "Answered")
    }
}

fn latency(timeline: &Timeline, points: &[Point], total: &Record) -> Chart {
    let seconds = |values: Values| -> Values { values.into_iter().map(|ms| ms.map(|ms| ms / 1_000.0)).collect() };
    let half = seconds(values(points, |record| record.tally.latency.p50_ms()));
    let most = seconds(values(points, |record| record.tally.latency.p99_ms()));
    let label =
        format!("Time from sent to answered on a logarithmic scale: 99 % within {:.1} s at worst.", largest(&most));
    let said = |ms: Option<u64>| ms.map_or_else(|| "not known".to_owned(), lasting);
    let latency = &total.tally.latency;
    Chart {
        now: html! { "half within " b { (said(latency.p50_ms())) } ", 99 % within " b { (said(latency.p99_ms())) } },
        plots: vec![Plot {
            scale: Scale::Seconds,
            height: "h-l",
            series: vec![
                series("99 % (dashed)", "c3", Mark::Line, most),
                series("half (solid)", "c1", Mark::Line, half),
            ],
            label,
        }],
        shown: |seconds| lasting(whole(seconds * 1_000.0)),
        ..frame(timeline, points, "c-latency", "From sent to answered")
    }
}

fn load(timeline: &Timeline, points: &[Point]) -> Chart {
    let in_flight = values(points, |record| record.max_in_flight);
    let waiting = values(points, |record| record.max_waiting);
    let now = |values: &Values| {
        values.iter().flatten().last().map_or_else(|| "not known".to_owned(), |last| format!("{last:.0}"))
    };
    let largest = largest(&in_flight).max(largest(&waiting));
    Chart {
        now: html! { "lately " b { (now(&waiting)) } " waiting, " b { (now(&in_flight)) } " in flight" },
        plots: vec![Plot {
            scale: Scale::of(largest),
            height: "h-l",
            label: format!("The most jobs in flight and waiting: at most {largest:.0} at a time."),
            series: vec![
                series("in flight (filled)", "c1", Mark::Area, in_flight),
                series("waiting (dashed)", "c3", Mark::Line, waiting),
            ],
        }],
        ..frame(timeline, points, "c-load", "Waiting and in flight")
    }
}
