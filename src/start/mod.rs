//! The start service: one game's engine container, started exactly once in effect.
//!
//! Intent is written before the engine is touched, every write is fenced, the container's name is deterministic, and a
//! container is condemned in the record before it is removed. So any attempt may die, stop or be repeated anywhere.

// how a game engine is started
pub(crate) mod config;
// what may name a game
pub mod game_id;
// the game's record, lease and stored answers in Redis
pub mod record;
// their texts
mod text;
// which host this is, and for which fleet
pub(crate) mod host;
// which other hosts are alive, as far as this process can tell
mod outlook;
// which containers are the fleet's
mod ours;
// what an attempt does next
mod step;
// what a failed engine call means for the job
mod engine_failure;
// images, brought where they are missing
pub(crate) mod pulls;
// what an attempt gives up while it waits for an image
mod place;
// what failures are called in spans
mod error_type;
// how far an attempt has come
mod progress;
// how games are started here
pub(crate) mod launch;
// one attempt on the engine
mod attempt;
// the service: record and attempt together
pub(crate) mod service;
// several engines of one process
pub(crate) mod several;
// whether what runs is what the records say
mod compare;
// what was changed so that it is
pub(crate) mod change;
// keeps the records true, and removes containers that no record names
pub(crate) mod reconcile;
// tells that at once, from what the engine says
pub(crate) mod watch;
// for the fuzzer
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::contract::dead_letter::Reason;
use crate::contract::error_code::ErrorCode;
use crate::contract::job_result::Answer;
use crate::contract::trace::Trace;
use crate::redis::RedisError;
use crate::slot::{Dismissed, Slot};
use crate::telemetry::Scope;

/// What asks for a start, as it is written in the record.
pub(crate) const OP_SOURCE: &str = "lobby_stream";

/// A request to the start service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StartInput {
    /// Trimmed, not yet validated.
    pub(crate) game_id: String,
    /// Trimmed, not yet validated.
    pub(crate) image_ref: String,
    /// Always [`OP_SOURCE`] here.
    pub(crate) op_source: &'static str,
    /// The job's bare stream entry id.
    pub(crate) source_ref: String,
    /// The dead replica that the entry was taken from: its lease on the game is not waited for.
    pub(crate) dead_owner: Option<Arc<str>>,
    /// Passed on to the game engine.
    pub(crate) trace: Trace,
    /// Given up while the attempt waits for an image.
    pub(crate) slot: Slot,
    /// Where spans of the start go.
    pub(crate) scope: Scope,
}

/// Why nothing was decided about the job: its entry stays pending.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartError {
    /// Another attempt for this game is under way. Never counts against the job's budget.
    #[error("another attempt for this game is in progress")]
    InProgress {
        /// When it is worth asking again, at the latest.
        retry_after: Option<Duration>,
    },
    /// The replica has dismissed the attempt while it waited for its image. Never counts.
    #[error(transparent)]
    Dismissed(#[from] Dismissed),
    /// A newer attempt has taken over. Never counts.
    #[error("a newer attempt has taken over")]
    Fenced,
    /// The game is placed on another host, which is alive: the job is for a replica there. Never counts.
    #[error("the game is placed on host {host}")]
    Elsewhere {
        /// That host.
        host: Arc<str>,
    },
    /// The host has as many games as its policy allows. Never counts.
    #[error("{message}")]
    NoRoom {
        /// How many it has.
        message: String,
    },
    /// Redis did not answer, or refused. Never counts.
    #[error("state store: {0}")]
    Store(#[from] RedisError),
    /// The engine failed for a reason that may pass. Counts.
    #[error("{code}: {message}")]
    Engine {
        /// Published once the budget is spent.
        code: ErrorCode,
        /// The engine's words.
        message: String,
    },
    /// A service asks to be left alone for a while.
    #[error("{code}: {message}; not again for {after:?}")]
    NotBefore {
        /// Published once the budget is spent.
        code: ErrorCode,
        /// Its words.
        message: String,
        /// For how long.
        after: Duration,
        /// It said so to this attempt. Else it was not asked again, and nothing counts.
        is_counted: bool,
    },
}

/// The service's answer to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// What is published.
    pub answer: Answer,
    /// The job was given up for this reason: a copy goes to the dead letters. The stored answer holds the reason too, so
    /// that a process that dies between giving up and settling does not lose the dead letter.
    pub given_up: Option<Reason>,
}

impl From<Answer> for Answered {
    fn from(answer: Answer) -> Self {
        Self { answer, given_up: None }
    }
}

/// The narrow surface of the original worker's start service, and the call that ends a job's attempts.
pub(crate) trait StartService: Send + Sync + std::fmt::Debug {
    /// Starts the game's engine, or finds it running. Repeatable: at any point, by any replica.
    fn handle<'a>(&'a self, input: &'a StartInput) -> BoxFuture<'a, Result<Answered, StartError>>;

    /// Ends a job with this failure, so that it is not tried again and its game is free for later jobs. Returns what is
    /// to be published: the failure, or the answer that an earlier attempt has stored.
    fn give_up<'a>(&'a self, input: &'a StartInput, failure: Answered) -> BoxFuture<'a, Result<Answered, StartError>>;

    /// Checks that the engine answers. The replica asks this while it waits for one that does not.
    fn engine_answers(&self) -> BoxFuture<'_, Result<(), StartError>>;

    /// Checks that the store takes what a start writes. The replica asks this while it waits for one that does not.
    fn store_answers(&self) -> BoxFuture<'_, Result<(), StartError>>;

    /// Whether there is room for one more game. The replica asks this while its host is full.
    fn has_room(&self) -> BoxFuture<'_, Result<bool, StartError>> {
        std::future::ready(Ok(true)).boxed()
    }
}
