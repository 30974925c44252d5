//! Charts. The drawing holds shapes only and stretches; all words are HTML around it, so they never shrink. The left
//! edge is the oldest, the range is always whole, and a time of which nothing is known is a gap and not zero.

// rows of values
pub(crate) mod series;
// from values to heights
pub(crate) mod scale;
// from heights to shapes
mod draw;

use maud::{Markup, PreEscaped, html};

use self::scale::Scale;
use self::series::Series;

/// One drawing.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    /// From values to heights.
    pub(crate) scale: Scale,
    /// How tall it is: `h-l`, `h-m`, `h-s` or `h-d`.
    pub(crate) height: &'static str,
    /// What is drawn.
    pub(crate) series: Vec<Series>,
    /// What the drawing shows, in one sentence.
    pub(crate) label: String,
}

/// One chart.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// The id of its heading.
    pub(crate) id: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// The current value.
    pub(crate) now: Markup,
    /// The drawings, one below the other.
    pub(crate) plots: Vec<Plot>,
    /// What is written below the last one, from left to right.
    pub(crate) x: Vec<String>,
    /// The time of each value, as it is written in the table and when the pointer rests on it.
    pub(crate) times: Vec<String>,
    /// How a value is written.
    pub(crate) shown: fn(f64) -> String,
}

/// The chart.
pub(crate) fn chart(chart: &Chart) -> Markup {
    html! {
        figure .panel.chart aria-labelledby=(chart.id) {
            figcaption { h3 id=(chart.id) { (chart.title) } " " span.now { (chart.now) } }
            @for (number, one) in chart.plots.iter().enumerate() {
                (plot(chart, one, number + 1 == chart.plots.len()))
            }
            (key(chart))
            details { summary { "As a table" } (table(chart)) }
        }
    }
}

fn plot(chart: &Chart, plot: &Plot, is_last: bool) -> Markup {
    html! {
        div.plot {
            div.y aria-hidden="true" { @for mark in plot.scale.marks().iter().rev() { span { (mark) } } }
            svg class=(plot.height) viewBox=(draw::VIEW) preserveAspectRatio="none" role="img" aria-label=(plot.label) {
                (draw::grid(plot.scale))
                @for series in &plot.series { (draw::series(series, plot.scale)) }
                (titles(chart, plot))
            }
            @if is_last { div.x aria-hidden="true" { @for word in &chart.x { span { (word) } } } }
        }
    }
}

/// Columns without colour that say what is there when the pointer rests on them.
fn titles(chart: &Chart, plot: &Plot) -> Markup {
    let count = chart.times.len();
    html! {
        @for (at, time) in chart.times.iter().enumerate() {
            (PreEscaped(draw::column(at, count)))
            title { (time) ": " (said(chart, plot, at)) }
            (PreEscaped("</rect>"))
        }
    }
}

fn said(chart: &Chart, plot: &Plot, at: usize) -> String {
    let one = |series: &Series| {
        let value = series.values.get(at).copied().flatten();
        format!("{} {}", series.name, value.map_or_else(|| "not known".to_owned(), chart.shown))
    };
    plot.series.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn key(chart: &Chart) -> Markup {
    html! {
        ul.key aria-hidden="true" {
            @for series in chart.plots.iter().flat_map(|plot| &plot.series) {
                li { (draw::sample(series)) (series.name) }
            }
        }
    }
}

fn table(chart: &Chart) -> Markup {
    let series: Vec<&Series> = chart.plots.iter().flat_map(|plot| &plot.series).collect();
    html! {
        div.scroll tabindex="0" role="region" aria-label={ (chart.title) ", as a table" } {
            table {
                caption.vh { (chart.title) }
                thead { tr { th scope="col" { "Time" } @for one in &series { th.num scope="col" { (one.name) } } } }
                tbody {
                    @for (at, time) in chart.times.iter().enumerate().rev() {
                        tr {
                            th scope="row" { (time) }
                            @for one in &series {
                                td.num { (one.values.get(at).copied().flatten().map_or_else(String::new, chart.shown)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::series::{Mark, Values};
    use super::*;
    use proptest::prelude::*;

    fn of(values: Values, mark: Mark) -> Chart {
        let count = values.len();
        let series = Series { name: "started", class: "c1", mark, values };
        let plot = Plot { scale: Scale::of(60.0), height: "h-m", series: vec![series], label: "a <label>".to_owned() };
        Chart {
            id: "c-test",
            title: "Answered",
            now: html! { "now" },
            plots: vec![plot],
            x: vec!["00:00".to_owned(), "00:02".to_owned()],
            times: (0..count).map(|minute| format!("00:0{minute}")).collect(),
            shown: |value| format!("{value:.0}"),
        }
    }

    #[test]
    fn what_is_not_known_is_a_gap_and_said_so() {
        let html = chart(&of(vec![Some(30.0), None, Some(60.0)], Mark::Bars)).into_string();
        assert!(html.contains("<title>00:00: started 30</title>"), "{html}");
        assert!(html.contains("<title>00:01: started not known</title>"), "{html}");
        assert!(html.contains("<th scope=\"row\">00:01</th><td class=\"num\"></td>"), "{html}");
        assert!(html.contains("aria-label=\"a &lt;label&gt;\"") && !html.contains("style="), "{html}");
    }

    #[test]
    fn zero_is_a_value() {
        let html = chart(&of(vec![Some(0.0)], Mark::Line)).into_string();
        assert!(html.contains("<title>00:00: started 0</title>"), "{html}");
    }

    proptest! {
        #[test]
        fn any_values_are_drawn_inside_of_the_view(values: Vec<Option<f64>>) {
            for mark in [Mark::Bars, Mark::Line, Mark::Area] {
                let html = chart(&of(values.clone(), mark)).into_string();
                prop_assert!(!html.contains("NaN") && !html.contains("inf") && !html.contains("e1"));
                prop_assert_eq!(html.matches("<rect class=\"hit\"").count(), html.matches("</rect>").count());
            }
        }
    }
}
