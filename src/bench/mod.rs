//! The load generator: what it sends, what it measures, and what it tells about it.
//!
//! It stands outside the fleet: it starts the very processes that production runs, sends through connections of its
//! own and reads what a reader of the streams can read. Every load is bounded in count and time, lives under its own
//! `bench:{uuid}` names, and is removed at the end.

// Redis as the bench speaks it: where it is, and a bare connection
pub mod target;
pub mod wire;
// where a run lives: a redis-server, a directory, names of its own
pub mod place;
// the processes under load
pub mod children;
// what is measured instead of the whole worker: a no-op start service, a bare client
pub mod floor;
pub mod noop;
// what processor time the entries cost
pub mod cost;
pub mod memory;
// a backlog, and how fast it is answered
pub mod backlog;
pub mod compare;
pub mod drain;
pub mod scale;
// what is sent, and when
pub mod mix;
pub mod profile;
pub mod sender;
// what is seen of it
pub mod books;
pub mod observer;
// what is done to the fleet meanwhile
pub mod faults;
// real containers, against a bare client of the engine
pub mod containers;
// kills, poison and rolling restarts, one figure each
pub mod recovery;
// all of it together
pub mod latency;
pub mod load;
pub mod slo;
// what is told
pub mod progress;
pub mod report;

use std::io;

use crate::embedded::redis_server::StartError;
use crate::redis::RedisError;
use crate::settings::Report;

/// The version of the JSON forms.
pub const SCHEMA_VERSION: u32 = 1;

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A connection of the bench's own, a process or a file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Redis, as the bench's reading side sees it.
    #[error("Redis: {0}")]
    Redis(#[from] RedisError),
    /// There is no redis-server.
    #[error("{0}")]
    NoServer(#[from] StartError),
    /// A setting given for the replicas is wrong.
    #[error("{0}")]
    Settings(#[from] Report),
    /// The processes under load did not do their work.
    #[error("{0}")]
    Subject(String),
}
