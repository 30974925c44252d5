//! The load generator: what it sends, what it measures, and what it tells about it.
//!
//! It is no part of the fleet: it starts the very processes that production runs, sends through connections of its own
//! and reads what a reader of the streams can read. Every load is bounded in count and time, lives under its own
//! `bench:{uuid}` names, and is removed at the end.

// a redis-server, a directory and processes of its own
pub(crate) mod rig;
// what is sent, and what is done to the fleet meanwhile
pub(crate) mod generate;
// what is seen of it
pub(crate) mod observe;
// drains, loads, latency, scale, containers, recovery
pub(crate) mod measure;
// how a load is reported
pub(crate) mod report;

use std::io;

use crate::embedded::redis_server::StartError;
use crate::redis::RedisError;
use crate::settings::Report;

/// The version of the JSON forms.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
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
