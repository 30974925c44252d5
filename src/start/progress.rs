//! How far an attempt has come, and what became of its steps.

use tokio::time::Instant;

use super::record::AttemptResult;
use super::step::Broken;
use crate::contract::job_result::{Answer, SuccessKind};
use crate::engine::Container;

/// What an attempt knows of the game's container without asking the engine.
pub(super) enum Known {
    /// Nothing.
    Nothing,
    /// The record has seen no attempt, so there should be no container. Where there is one all the same (Redis lost the
    /// record), the engine refuses the name.
    AssumedAbsent,
    /// The engine showed it with its start.
    Shown(Container),
}

/// How far an attempt has come.
pub(super) struct Progress {
    pub(super) began: Instant,
    pub(super) known: Known,
    /// Whether the engine has been asked for the container.
    pub(super) has_looked: bool,
    /// A success is a replay unless this attempt has started the container itself.
    pub(super) kind: SuccessKind,
    pub(super) replacements: u32,
}

impl Progress {
    /// It has started a container, which the engine may have shown.
    pub(super) fn started(&mut self, shown: Option<Container>) {
        self.kind = SuccessKind::Started;
        self.known = shown.map_or(Known::Nothing, Known::Shown);
    }
}

/// What became of a create or a start.
pub(super) enum Started {
    /// It runs, or has gone away again; the container, where the engine showed it.
    Yes(Option<Container>),
    /// Another container has the name.
    NameTaken,
    /// The engine refuses to create or to start it, for good; the container, where there is one.
    Refused(Option<String>, Answer),
    /// Its host port is not free; the container, and the engine's words. Another container gets another port, while some
    /// engines keep that of this one.
    PortTaken(String, String),
}

/// What became of the wait for a game engine.
pub(super) enum Awaited {
    /// The attempt is over.
    Over(AttemptResult),
    /// The container exited or went away, and may be replaced.
    Broken(Broken),
}

impl Awaited {
    /// The code of the failure that it came to.
    pub(super) fn error_type(&self) -> Option<&str> {
        let answer = match self {
            Self::Over(result) => &result.answer,
            Self::Broken(broken) => &broken.failure,
        };
        match answer {
            Answer::Failure { code, .. } => Some(code),
            Answer::Success { .. } => None,
        }
    }
}
