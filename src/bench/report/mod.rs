//! How a run under load is reported: numbers for machines, and what people look at.

// everything about one run
pub(crate) mod run_report;
// on the terminal
pub(crate) mod text;
// for other tools
pub(crate) mod csv;
pub(crate) mod hdr;
// one page to look at
pub(crate) mod html;
pub(crate) mod svg;
// runs side by side
pub(crate) mod runs;
