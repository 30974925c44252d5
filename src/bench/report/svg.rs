//! Line charts as SVG, coloured by the page's variables, so that they follow light and dark. Pure.

use std::fmt::Write as _;

/// A chart of lines over one horizontal axis.
#[derive(Debug, Clone)]
pub(crate) struct Chart<'a> {
    /// What it is called; unique on the page, because it names the elements that screen readers read.
    pub(crate) id: &'a str,
    /// What it shows, in a sentence.
    pub(crate) description: String,
    /// The horizontal axis.
    pub(crate) x: Axis<'a>,
    /// The vertical axis.
    pub(crate) y: Axis<'a>,
    /// The lines.
    pub(crate) lines: Vec<Line<'a>>,
    /// Moments that are marked, by their place on the horizontal axis.
    pub(crate) marks: Vec<(f64, &'static str)>,
}

/// An axis.
#[derive(Debug, Clone)]
pub(crate) struct Axis<'a> {
    /// What it measures.
    pub(crate) label: &'a str,
    /// Smallest and largest value.
    pub(crate) range: (f64, f64),
    /// Where it is marked, and how.
    pub(crate) ticks: Vec<(f64, String)>,
    /// By powers of ten.
    pub(crate) is_log: bool,
}

/// One line.
#[derive(Debug, Clone)]
pub(crate) struct Line<'a> {
    /// What it shows.
    pub(crate) name: &'a str,
    /// Which of the page's line styles.
    pub(crate) style: usize,
    /// Its points, from left to right.
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 42.0;
/// More points than pixels show nothing more.
const POINTS_MAX: usize = 1_500;

impl Axis<'_> {
    /// Where a value lies, from 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        let part = if self.is_log {
            let floor = low.max(f64::MIN_POSITIVE);
            (value.max(floor) / floor).ln() / (high / floor).ln()
        } else {
            (value - low) / (high - low)
        };
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// A linear axis from zero with round ticks that holds `largest`.
pub(crate) fn linear(label: &str, largest: f64) -> Axis<'_> {
    let largest = if largest.is_finite() && largest > 0.0 { largest } else { 1.0 };
    let rough = largest / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let count = (largest / step - 1e-9).ceil().max(1.0);
    let mut ticks = Vec::new();
    let mut number = 0.0;
    while number <= count {
        ticks.push((number * step, short(number * step)));
        number += 1.0;
    }
    Axis { label, range: (0.0, count * step), ticks, is_log: false }
}

/// A logarithmic axis of whole decades that holds both, in microseconds.
pub(crate) fn latency(label: &str, smallest: f64, largest: f64) -> Axis<'_> {
    let low = smallest.clamp(1.0, 1e9).log10().floor();
    let high = largest.clamp(1.0, 1e10).log10().ceil().max(low + 1.0);
    let mut ticks = Vec::new();
    let mut power = low;
    while power <= high {
        ticks.push((10_f64.powf(power), time(10_f64.powf(power))));
        power += 1.0;
    }
    Axis { label, range: (10_f64.powf(low), 10_f64.powf(high)), ticks, is_log: true }
}

/// Microseconds as an axis shows them.
fn time(us: f64) -> String {
    if us >= 1e6 {
        format!("{} s", short(us / 1e6))
    } else if us >= 1e3 {
        format!("{} ms", short(us / 1e3))
    } else {
        format!("{} µs", short(us))
    }
}

/// `1200000` as `1.2M`.
pub(crate) fn short(number: f64) -> String {
    let (scaled, unit) = match number.abs() {
        n if n >= 1e6 => (number / 1e6, "M"),
        n if n >= 1e4 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    let text = format!("{scaled:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Text between tags or in an attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

impl Chart<'_> {
    /// The element.
    pub(crate) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{0}-d\"><desc id=\"{0}-d\">{1}</desc>\n",
            escaped(self.id),
            escaped(&self.description)
        );
        self.grid(&mut svg);
        for (at, label) in &self.marks {
            let x = self.at_x(*at);
            // Writing to a String cannot fail.
            _ = writeln!(
                svg,
                "<g class=\"mark\"><title>{} at {:.1} s</title><line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
                 <path d=\"M{x:.1} {TOP} l-4 -7 h8 z\"/></g>",
                escaped(label),
                at,
                HEIGHT - BOTTOM,
            );
        }
        for line in &self.lines {
            _ = writeln!(svg, "<polyline class=\"line l{}\" points=\"{}\"/>", line.style, self.points(line));
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn grid(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, text) in &self.y.ticks {
            let y = self.at_y(*value);
            _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                escaped(text)
            );
        }
        for (value, text) in &self.x.ticks {
            let x = self.at_x(*value);
            _ = writeln!(
                svg,
                "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 4.0,
                bottom + 18.0,
                escaped(text)
            );
        }
        _ = writeln!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/><text class=\"label\" x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            HEIGHT - 6.0,
            escaped(self.x.label)
        );
    }

    fn at_x(&self, value: f64) -> f64 {
        LEFT + self.x.part(value) * (WIDTH - LEFT - RIGHT)
    }

    fn at_y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.part(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn points(&self, line: &Line<'_>) -> String {
        let every = line.points.len().div_ceil(POINTS_MAX).max(1);
        // Of neighbours the highest stays: a peak must not vanish.
        let kept = line.points.chunks(every).filter_map(|some| some.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)));
        kept.map(|(x, y)| format!("{:.1},{:.1}", self.at_x(x), self.at_y(y))).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escaped("<script>\"'&\u{7}"), "&lt;script&gt;&quot;&#39;&amp; ");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(["0", "2.5", "9999", "12.5k", "1.2M"], [0.0, 2.5, 9_999.0, 12_500.0, 1.2e6].map(short));
        assert_eq!(["10 µs", "1 ms", "10 s"], [10.0, 1e3, 1e7].map(time));
    }

    proptest! {
        #[test]
        fn axes_hold_what_they_are_for(largest in prop_oneof![0.0..1e9_f64, Just(f64::NAN)], low in 0.0..1e8_f64) {
            let axis = linear("x", largest);
            prop_assert!(axis.ticks.len() >= 2 && axis.ticks.len() <= 7, "{:?}", axis.ticks);
            prop_assert!(largest.is_nan() || axis.range.1 >= largest * 0.999_999);
            let axis = latency("y", low, low * 3.0);
            prop_assert!(axis.range.0 <= low.max(1.0) && axis.range.1 >= (low * 3.0).max(1.0) * 0.999_999);
            for value in [0.0, low, largest] {
                prop_assert!((0.0..=1.0).contains(&axis.part(value)));
            }
        }
    }
}
