//! The auditor: proves from the outside, on any live system, that the fleet lost nothing and answered nothing twice.
//!
//! It shares no code with the way an entry takes through the worker: ids, the shape of a job, the ledger's buckets and
//! every stream are read by code of its own, written from the contract. Facts go in, findings come out: `read` collects
//! the facts in an order in which an entry that moves meanwhile is never seen wrongly, `judge` is pure, and `run` looks
//! again at everything suspicious before it calls it a violation. Nothing here writes to Redis.

// an entry's id, and its ledger bucket
pub mod id;
// is it a job?
pub(crate) mod shape;
// where a stream begins and ends
pub(crate) mod ends;
// what was seen
pub(crate) mod facts;
// what may be wrong with it
pub mod finding;
// facts in, findings out; pure
pub(crate) mod judge;
// the mirror in one atomic look
pub(crate) mod moment;
// at most one live container per game
pub(crate) mod containers;
// Redis's replies
mod reply;
// what outcomes and dead letters say
mod answers;
// how the facts are collected
mod read;
// which engines the fleet has
mod sites;
// containers, and what they contradict
mod engines;
// records and containers beside each other
mod records;
// looking again before reporting
pub(crate) mod run;
// what is told
pub mod report;

pub use run::{AuditError, Options, Since, audit};
