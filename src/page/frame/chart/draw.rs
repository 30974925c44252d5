//! From heights to shapes. Colours come from classes alone: the page allows no style in its HTML.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped};

use super::scale::{HEIGHT, Scale};
use super::series::{Mark, Series};

/// Width and height of every drawing; it is stretched.
pub(super) const VIEW: &str = "0 0 600 100";
const WIDTH: f64 = 600.0;
/// How much of its column a bar takes.
const BAR: f64 = 0.75;

// Writing to a String cannot fail, so those results are not looked at.

/// The lines behind the values.
pub(super) fn grid(scale: Scale) -> Markup {
    let mut shapes = String::new();
    for (number, value) in scale.lines().into_iter().enumerate() {
        let (class, y) = (if number == 0 { "base" } else { "g" }, scale.height_of(value));
        _ = write!(shapes, "<line class=\"{class}\" x1=\"0\" x2=\"600\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
    }
    PreEscaped(shapes)
}

/// One row of values.
pub(super) fn series(series: &Series, scale: Scale) -> Markup {
    let step = WIDTH / count(series.values.len());
    let heights: Vec<Option<f64>> =
        series.values.iter().map(|value| value.map(|value| scale.height_of(value))).collect();
    PreEscaped(match series.mark {
        Mark::Bars => path(&format!("bar {}", series.class), &bars(&heights, step)),
        Mark::Line => path(&format!("line {}", series.class), &lines(&heights, step)),
        Mark::Area => {
            let area = path(&format!("area {}", series.class), &areas(&heights, step));
            area + &path(&format!("line {}", series.class), &lines(&heights, step))
        }
    })
}

fn path(class: &str, shape: &str) -> String {
    if shape.is_empty() { String::new() } else { format!("<path class=\"{class}\" d=\"{shape}\"/>") }
}

fn count(values: usize) -> f64 {
    f64::from(u32::try_from(values.max(1)).unwrap_or(u32::MAX))
}

fn bars(heights: &[Option<f64>], step: f64) -> String {
    let (width, mut left, mut shape) = (step * BAR, step * (1.0 - BAR) / 2.0, String::new());
    for top in heights {
        if let Some(top) = top.filter(|&top| top < HEIGHT) {
            _ = write!(shape, "M{left:.1} 100V{top:.1}h{width:.1}V100z");
        }
        left += step;
    }
    shape
}

/// Values without a gap between them: where the first one is, and how far from the top they are.
fn runs(heights: &[Option<f64>], step: f64) -> Vec<Vec<(f64, f64)>> {
    let (mut runs, mut run, mut x) = (Vec::new(), Vec::new(), step / 2.0);
    for top in heights {
        match top {
            Some(top) => run.push((x, *top)),
            None => runs.push(std::mem::take(&mut run)),
        }
        x += step;
    }
    runs.push(run);
    runs.retain(|run| !run.is_empty());
    runs
}

fn lines(heights: &[Option<f64>], step: f64) -> String {
    let mut shape = String::new();
    for run in runs(heights, step) {
        for (number, (x, y)) in run.iter().enumerate() {
            _ = write!(shape, "{}{x:.1} {y:.1}", if number == 0 { 'M' } else { 'L' });
        }
        if let [(_, y)] = run[..] {
            // A value between two gaps would be a point that is not seen.
            _ = write!(shape, "h{:.1}M0 {y:.1}", step / 2.0);
        }
    }
    shape
}

fn areas(heights: &[Option<f64>], step: f64) -> String {
    let mut shape = String::new();
    for run in runs(heights, step) {
        let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { continue };
        _ = write!(shape, "M{first:.1} 100");
        for (x, y) in &run {
            _ = write!(shape, "L{x:.1} {y:.1}");
        }
        _ = write!(shape, "L{last:.1} 100z");
    }
    shape
}

/// The beginning of the column that has the title of a value.
pub(super) fn column(at: usize, of: usize) -> String {
    let step = WIDTH / count(of);
    let left = step * f64::from(u32::try_from(at).unwrap_or(u32::MAX));
    format!("<rect class=\"hit\" x=\"{left:.1}\" y=\"0\" width=\"{step:.1}\" height=\"100\">")
}

/// What a row looks like, for the key.
pub(super) fn sample(series: &Series) -> Markup {
    let class = series.class;
    let shape = match series.mark {
        Mark::Bars => format!("<rect class=\"bar {class}\" width=\"18\" height=\"8\"/>"),
        Mark::Line | Mark::Area => format!("<path class=\"line {class}\" d=\"M0 4h18\"/>"),
    };
    PreEscaped(format!("<svg viewBox=\"0 0 18 8\" aria-hidden=\"true\" focusable=\"false\">{shape}</svg>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_from_the_base_and_nothing_is_drawn_for_zero() {
        let heights = [Some(40.0), None, Some(HEIGHT)];
        assert_eq!(bars(&heights, 200.0), "M25.0 100V40.0h150.0V100z");
    }

    #[test]
    fn a_gap_ends_a_line_and_begins_another() {
        let heights = [Some(1.0), Some(2.0), None, Some(3.0)];
        assert_eq!(lines(&heights, 10.0), "M5.0 1.0L15.0 2.0M35.0 3.0h5.0M0 3.0");
        assert_eq!(areas(&heights[..3], 10.0), "M5.0 100L5.0 1.0L15.0 2.0L15.0 100z");
        assert_eq!((lines(&[None], 1.0), areas(&[], 1.0)), (String::new(), String::new()));
    }

    #[test]
    fn columns_fill_the_width() {
        assert_eq!(column(59, 60), "<rect class=\"hit\" x=\"590.0\" y=\"0\" width=\"10.0\" height=\"100\">");
    }
}
