//! `startjobs demo`: jobs are sent, a replica is killed, and a summary shows that every job was answered once.

// from the flags to the exit code
pub(super) mod run;
// what is sent
mod plan;
// replicas, their streams and the books
mod progress;
mod stage;
// the two parts
mod engines;
mod simulated;
// what is looked at
mod crash;
mod lives;
// the summary
mod report;
