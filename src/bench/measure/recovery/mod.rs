//! The figures of recovery: replicas that die or freeze while all slots are busy, jobs that kill the process that starts
//! them, and a rolling restart under load. Each runs a fleet of real processes on a private redis-server; every wait is
//! bounded.

// what can be measured, and what comes of it
pub(crate) mod experiment;
// a fleet, what is sent to it, and whether all of it was answered
mod fleet;
// a fleet of its own that drains backlogs meanwhile
mod beside;
// the experiments
mod kills;
mod poison;
mod rolling;
// one of them from its settings to its figures
pub(crate) mod run;
