//! What operators see of a process.

// log lines
pub mod log;
