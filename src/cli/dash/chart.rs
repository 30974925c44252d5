//! Charts of the history: one column or more for each point, or several points in a column.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar;
use ratatui::text::Line;
use ratatui::widgets::Sparkline;

use crate::cli::history::{short, took};
use crate::ops::history::Timeline;
use crate::stream::tally::Record;

/// What is drawn.
#[derive(Clone, Copy)]
pub(super) struct Chart {
    /// Its name.
    pub(super) name: &'static str,
    value: fn(&Record) -> Option<u64>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Counts add up.
    Count,
    /// Of a height the largest is shown.
    Height,
    /// The same, in milliseconds.
    Time,
}

/// All of them, the most important first.
pub(super) const CHARTS: [Chart; 8] = [
    Chart { name: "started", value: |record| Some(record.tally.started), kind: Kind::Count },
    Chart { name: "failed", value: |record| Some(record.tally.failures()), kind: Kind::Count },
    Chart { name: "p99", value: |record| record.tally.latency.p99_ms(), kind: Kind::Time },
    Chart { name: "waiting", value: |record| record.max_waiting, kind: Kind::Height },
    Chart { name: "sent", value: |record| record.sent, kind: Kind::Count },
    Chart { name: "dead letters", value: |record| Some(record.tally.dead_letters()), kind: Kind::Count },
    Chart { name: "claimed", value: |record| Some(record.tally.claimed), kind: Kind::Count },
    Chart { name: "in flight", value: |record| record.max_in_flight, kind: Kind::Height },
];

const ASCII: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "*",
    three_quarters: "+",
    five_eighths: "=",
    half: "-",
    three_eighths: ":",
    one_quarter: ".",
    one_eighth: "_",
    empty: " ",
};

impl Chart {
    /// Draws it with its name above.
    pub(super) fn draw(self, frame: &mut Frame<'_>, area: Rect, timeline: &Timeline, has_blocks: bool) {
        let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
        let bars = self.bars(timeline, usize::from(body.width));
        frame.render_widget(Line::styled(self.title(timeline, &bars), Modifier::BOLD), head);
        let sparkline = Sparkline::default()
            .data(bars)
            .bar_set(if has_blocks { bar::NINE_LEVELS } else { ASCII })
            .style(Style::new().fg(Color::Cyan))
            .absent_value_symbol(if has_blocks { "·" } else { "." })
            .absent_value_style(Style::new().add_modifier(Modifier::DIM));
        frame.render_widget(sparkline, body);
    }

    fn title(self, timeline: &Timeline, bars: &[Option<u64>]) -> String {
        let most = bars.iter().flatten().max().copied();
        let all = timeline.total.as_ref().and_then(self.value);
        let range = timeline.range.as_str();
        match (self.kind, all) {
            (_, None) => format!("{}, {range}: not known", self.name),
            (Kind::Count, Some(all)) => {
                format!("{}, {range}: {all} (bars to {})", self.name, short(most.unwrap_or_default()))
            }
            (Kind::Height, Some(all)) => format!("{}, {range}: {all} at most", self.name),
            (Kind::Time, Some(all)) => format!("{}, {range}: {}", self.name, took(all)),
        }
    }

    /// As many as there is room for.
    fn bars(self, timeline: &Timeline, width: usize) -> Vec<Option<u64>> {
        let values: Vec<Option<u64>> =
            timeline.points.iter().map(|point| point.recorded.as_ref().and_then(self.value)).collect();
        if width == 0 || values.is_empty() {
            return Vec::new();
        }
        let each = values.len().div_ceil(width);
        let wide = (width / values.len()).max(1);
        let joined = |values: &[Option<u64>]| {
            let known = values.iter().flatten().copied();
            match self.kind {
                Kind::Count => known.reduce(u64::saturating_add),
                Kind::Height | Kind::Time => known.max(),
            }
        };
        // Of the newest points none is left out, and each bar but the oldest has as many.
        let mut bars: Vec<Option<u64>> = values.rchunks(each).map(joined).collect();
        bars.reverse();
        bars.into_iter().flat_map(|bar| std::iter::repeat_n(bar, wide)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::SCHEMA_VERSION;
    use crate::ops::history::{Point, Range};

    fn timeline(range: Range) -> Timeline {
        let record = |started: u64| Record::read(&format!("1 0 started={started} took.9={started}"), 0);
        let point = |at| Point { start_ms: at, recorded: record(at).filter(|_| at > 9) };
        Timeline {
            schema_version: SCHEMA_VERSION,
            at_ms: 0,
            range,
            step_ms: range.step_ms(),
            total: record(3),
            points: (0..range.points()).map(point).collect(),
        }
    }

    #[test]
    fn bars_fit_any_width_and_lose_nothing() {
        for range in Range::ALL {
            let timeline = timeline(range);
            let all: u64 = (10..range.points()).sum();
            for width in 1..400 {
                let bars = CHARTS[0].bars(&timeline, width);
                assert!(bars.len() <= width, "{} of {width}", bars.len());
                let wide = (width / timeline.points.len()).max(1) as u64;
                assert_eq!(bars.iter().flatten().sum::<u64>(), all * wide, "{width}");
            }
            assert_eq!(CHARTS[0].bars(&timeline, 0), []);
            assert_eq!(CHARTS[0].bars(&timeline, 1_440)[0], None, "a gap");
        }
    }
}
