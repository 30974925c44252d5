//! From values to heights.

/// Heights of a drawing.
pub(super) const HEIGHT: f64 = 100.0;
/// Decades of the logarithmic scale, in seconds: 0.1 to 100.
const DECADES: [f64; 4] = [0.1, 1.0, 10.0, 100.0];

/// From values to heights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    /// From zero to this.
    Linear(f64),
    /// Seconds from 0.1 to 100, a decade each as tall as the next.
    Seconds,
}

impl Scale {
    /// A scale on which this is the largest value: it ends at 1, 2, 4, 6 or 8 times a power of ten.
    pub(crate) fn of(largest: f64) -> Self {
        const ENDS: [f64; 6] = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
        if !largest.is_finite() || largest <= 1.0 {
            return Self::Linear(1.0);
        }
        let power = 10_f64.powf(largest.log10().floor());
        let end = ENDS.iter().map(|end| end * power).find(|&end| end >= largest);
        Self::Linear(end.unwrap_or(largest))
    }

    /// How far from the top a value is drawn: 0 to [`HEIGHT`].
    pub(super) fn height_of(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear(end) => value / end,
            Self::Seconds => {
                let [first, .., last] = DECADES;
                (value.max(first) / first).log10() / (last / first).log10()
            }
        };
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        HEIGHT * (1.0 - share)
    }

    /// The values at the lines, lowest first.
    pub(super) fn lines(self) -> Vec<f64> {
        match self {
            Self::Linear(end) if end <= 1.0 => vec![0.0, end],
            Self::Linear(end) => vec![0.0, end / 2.0, end],
            Self::Seconds => DECADES.to_vec(),
        }
    }

    /// What is written beside the lines, lowest first.
    pub(super) fn marks(self) -> Vec<String> {
        let word = |value: f64| match self {
            Self::Linear(_) if value >= 10_000.0 => format!("{:.0}k", value / 1_000.0),
            Self::Linear(_) => format!("{value:.0}"),
            Self::Seconds if value < 1.0 => format!("{value:.1} s"),
            Self::Seconds => format!("{value:.0} s"),
        };
        self.lines().into_iter().map(word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        for (largest, end) in [(0.0, 1.0), (1.0, 1.0), (3.0, 4.0), (49.0, 60.0), (61.0, 80.0), (99.0, 100.0)] {
            assert_eq!(Scale::of(largest), Scale::Linear(end), "{largest}");
        }
        assert_eq!(Scale::of(f64::NAN), Scale::Linear(1.0));
        assert_eq!(Scale::of(450.0).marks(), ["0", "300", "600"]);
    }

    #[test]
    fn every_decade_is_equally_tall_and_what_is_beyond_is_at_the_edge() {
        let top = |value| format!("{:.0}", Scale::Seconds.height_of(value));
        assert_eq!([0.01, 0.1, 1.0, 10.0, 100.0, 1e9].map(top), ["100", "100", "67", "33", "0", "0"]);
        assert_eq!(Scale::Seconds.marks(), ["0.1 s", "1 s", "10 s", "100 s"]);
        assert!((Scale::Linear(10.0).height_of(f64::NAN) - HEIGHT).abs() < 0.01);
    }
}
