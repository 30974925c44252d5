//! How a run under load is reported: numbers for machines, and what people look at.

// everything about one run
pub mod run_report;
// on the terminal
pub mod text;
// for other tools
pub mod csv;
pub mod hdr;
// one page to look at
pub mod html;
pub mod svg;
// runs side by side
pub mod runs;
