//! One replica: it takes entries from the jobs stream to their outcomes, whatever kind of job they ask for.
//!
//! One task owns all state. It waits for a call to end ([`calls`]), hands what came of it from stage to stage
//! ([`replica`], [`passage`], [`housekeeping`]), and begins what the stages want next ([`stages`]). What a job asks for, and
//! how that is done, a [`handler`] knows.
//!
//! ```text
//!             calls::Event                                    stages::command::Command
//!   calls ───────────────────► replica::route                  ┌────────────────────────► calls
//!                                │  passage, housekeeping       │ next
//!                                └───► intake  lookups  payloads  starts  settler  returns
//!                                      keeper  doubt  upkeep             (gate, held)
//! ```

// limits and rhythms
pub mod config;
// what a kind of job is to the worker
pub mod handler;
// the stages: they decide, and do nothing else
pub(crate) mod stages;
// one attempt at a job
pub(crate) mod work;
// commands become calls, calls end with events
pub(crate) mod calls;
// the loop, and the table of who hands what to whom
pub mod replica;
// an entry's way through the stages
mod passage;
// the other events
mod housekeeping;
// every log line and metric of an entry's way
pub(crate) mod journal;
// troubles are logged when they begin, at a slow pace, and when they end
pub mod troubles;
// signs of life
pub mod vitals;
// the server's clock
pub(crate) mod clock;
// until a replica can run
mod boot;
// wiring
pub mod run;

pub use config::Config;

/// The value of the original worker's `worker` log field.
pub(crate) const WORKER: &str = "rtmanager.startjobs";
