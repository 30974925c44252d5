//! The start service: one game's engine container, started exactly once in effect.
//!
//! Intent is written before the engine is touched, every write is fenced, the container's name is deterministic, and a
//! container is condemned in the record before it is removed. So any attempt may die, stop or be repeated anywhere.

// how a game engine is started
pub mod config;
// what may name a game
pub mod game_id;
// what may name an image
pub mod image_ref;
// the game's record, lease and stored answers in Redis
pub mod record;
// their texts
mod text;
// one attempt on the engine
pub mod attempt;
// the service: record and attempt together
pub mod service;
// containers that no record stands for
pub mod reconcile;

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::contract::dead_letter::Reason;
use crate::contract::error_code::ErrorCode;
use crate::contract::job_result::Answer;
use crate::contract::start_job::Trace;
use crate::redis::RedisError;

pub use config::Config;
pub use service::Service;

/// Who asks for a start; stands in the container's labels and in the record.
pub const OP_SOURCE: &str = "lobby_stream";

/// What the start service is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartInput {
    /// Trimmed, not yet validated.
    pub game_id: String,
    /// Trimmed, not yet validated.
    pub image_ref: String,
    /// Always [`OP_SOURCE`] here.
    pub op_source: &'static str,
    /// The job's bare stream entry id.
    pub source_ref: String,
    /// Passed on to the game engine.
    pub trace: Trace,
}

/// Nothing was decided about the job: its entry stays pending.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Another attempt for this game is under way. Never counts against the job's budget.
    #[error("another attempt for this game is in progress")]
    InProgress {
        /// When it is worth asking again, at the latest.
        retry_after: Option<Duration>,
    },
    /// A newer attempt has taken over. Never counts.
    #[error("a newer attempt has taken over")]
    Fenced,
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
}

/// What the service has to say about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// What is published.
    pub answer: Answer,
    /// The job was given up for this reason: a copy goes to the dead letters. It stands in the stored answer, so that
    /// a process that dies between giving up and settling does not lose the dead letter.
    pub given_up: Option<Reason>,
}

impl From<Answer> for Answered {
    fn from(answer: Answer) -> Self {
        Self { answer, given_up: None }
    }
}

/// The narrow surface of the original worker's start service, and the word that ends a job's attempts.
pub trait StartService: Send + Sync + std::fmt::Debug {
    /// Starts the game's engine, or finds it running. Repeatable: at any point, by any replica.
    fn handle<'a>(&'a self, input: &'a StartInput) -> BoxFuture<'a, Result<Answered, StartError>>;

    /// Ends a job that shall not be tried again with this failure, so that its game is free for later jobs. Answers
    /// what is to be published: the failure, or the answer that an earlier attempt had stored.
    fn give_up<'a>(&'a self, input: &'a StartInput, failure: Answered) -> BoxFuture<'a, Result<Answered, StartError>>;

    /// Does the engine answer? What the replica asks while it waits for one that does not.
    fn engine_answers(&self) -> BoxFuture<'_, Result<(), StartError>>;

    /// Does the store take what a start writes? What the replica asks while it waits for one that does not.
    fn store_answers(&self) -> BoxFuture<'_, Result<(), StartError>>;
}
