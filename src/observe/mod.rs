//! What operators see of a process.

// what an operator decides about logs
pub(crate) mod config;
// log lines
pub mod log;
// how they leave the process
mod line_queue;
// what is served: probes, metrics, the fleet as JSON
pub(crate) mod http;
// who may ask for what is in the fleet
pub(crate) mod guard;
// how many connections at once, for how long
mod connections;
// the fleet, seen on a connection of its own
pub(crate) mod outlook;
// the gauges of the fleet's streams
pub(crate) mod sampler;
// readiness, status and watchdog
pub mod systemd;
// the socket for it
pub(crate) mod notify;
