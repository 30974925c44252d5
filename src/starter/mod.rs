//! Start jobs as a kind of job, and what a worker process that handles them is made of.

// from an entry to a start, and from its answer to an outcome
mod handler;
// from settings to a running replica
mod run;

pub(crate) use run::{run, run_with_service};
