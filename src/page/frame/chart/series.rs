//! Rows of values, and how they are drawn.

/// Values in the order of time; none where nothing is known.
pub(crate) type Values = Vec<Option<f64>>;

/// How values are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// One column each.
    Bars,
    /// A line through them.
    Line,
    /// A line, and the area below it.
    Area,
}

/// One row of values in a plot.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// What it is called in the key and in the table.
    pub(crate) name: &'static str,
    /// The class of its colour: `c1` to `c4`.
    pub(crate) class: &'static str,
    /// How it is drawn.
    pub(crate) mark: Mark,
    /// The values.
    pub(crate) values: Values,
}
