//! One replica: it takes entries from the jobs stream to their outcomes, whatever kind of job they ask for.
//!
//! One task owns the [`state`]. It waits for a call to end ([`calls`]), hands what came of it from stage to stage
//! ([`replica`], [`passage`], [`handovers`], [`housekeeping`], [`breakers`]), and begins what the [`stages`] want next. What a job asks for,
//! and how that is done, a [`handler`] knows.
//!
//! ```text
//!              Event                                                       Command
//!   calls ─────────────► replica::route ─► passage, housekeeping, breakers          ┌───────────► calls
//!                                           │  hand entries on                      │
//!                                           └─► stages: intake  lookups  payloads  starts  settler
//!                                                       health  returns  keeper  doubt  teller  upkeep
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
// what operators are told while it happens
mod happenings;
// the state that events change, and the moves that every event may lead to
pub(crate) mod state;
// while the engine or the handler's store fails everyone
mod breakers;
// an entry's way through the stages
mod passage;
// what is handed over to replicas of other hosts, and by them
mod handovers;
// what the other events change
mod housekeeping;
// what operators want done with single jobs
mod wishes;
// the loop, and the table of which event goes where
pub mod replica;
// what its spans are called, and what they tell
pub(crate) mod spans;
// those of a settle call
mod settling;
// the subscription by which others notice that this replica has died
mod listening;
// every log line and metric of an entry's way
pub(crate) mod journal;
// troubles are logged when they begin, at a slow pace, and when they end
pub mod troubles;
// signs of life
pub(crate) mod vitals;
// the server's clock
pub(crate) mod clock;
// why a worker cannot run
pub(crate) mod error;
// random histories of a whole replica
#[cfg(test)]
mod histories;
// until a replica can run
mod boot;
// wiring
pub mod run;

pub use config::Config;

/// The value of the original worker's `worker` log field.
pub(crate) const WORKER: &str = "rtmanager.startjobs";
