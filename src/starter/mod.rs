//! Start jobs as a kind of job, and what a worker process that handles them is made of.

// from an entry to a start, and from its answer to an outcome
mod handler;
// whose fault a failed start may be
mod blame;
// what a process has for each of its engines
mod sides;
// what keeping the records true has changed, for log and metrics
mod told;
// the policy file, read again when it changes
mod policy_watch;
// from settings to a running replica
mod run;
// what a replica would change, for operators
pub(crate) mod survey;

pub(crate) use run::{run, run_with_service};
