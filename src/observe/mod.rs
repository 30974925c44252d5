//! What operators see of a process.

// log lines
pub mod log;
// probes and metrics
pub mod http;
// readiness, status and watchdog
pub mod systemd;
