//! What keeping the records true has changed, for log, metrics, operators and Lobby.

use std::sync::Arc;

use serde::Serialize;

use super::game_id::GameId;
use super::record::{RecordView, Records};
use crate::redis::RedisError;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(crate) enum Change {
    /// A game has ended: its record says `stopped`.
    Ended {
        /// The game.
        game_id: String,
        /// Its container.
        container_id: String,
        /// Its exit code, where the engine still has it.
        exit_code: Option<i64>,
    },
    /// A game answers elsewhere on its host.
    Moved {
        /// The game.
        game_id: String,
        /// Its container.
        container_id: String,
        /// Where it answers now.
        engine_endpoint: String,
    },
    /// A game that had ended runs again.
    Revived {
        /// The game.
        game_id: String,
        /// Its container.
        container_id: String,
        /// Where it answers now.
        engine_endpoint: String,
    },
    /// A game that runs had no record.
    Rebuilt {
        /// The game.
        game_id: String,
        /// Its container.
        container_id: String,
    },
    /// A container that no record names is removed.
    Removed {
        /// Its game.
        game_id: String,
        /// The container.
        container_id: String,
        /// The operator who has stopped its game; empty where none has.
        #[serde(skip_serializing_if = "String::is_empty")]
        stopped_by: String,
    },
    /// The engine did not remove such a container.
    NotRemoved {
        /// Its game.
        game_id: String,
        /// The container.
        container_id: String,
        /// The engine's words.
        why: String,
    },
}

/// Is called with each change.
#[derive(Clone)]
pub(crate) struct Told(Arc<dyn Fn(&Change) + Send + Sync>);

impl Told {
    /// This is called.
    pub(crate) fn new(told: impl Fn(&Change) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    /// Tells one.
    pub(super) fn tell(&self, change: &Change) {
        (self.0)(change);
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

/// Events that are kept, about.
const EVENTS_MAX: u64 = 100_000;

/// The stream in which Lobby reads that games have ended; none where that is off.
#[derive(Debug, Clone)]
pub(crate) struct GameEvents(pub(crate) Option<String>);

impl GameEvents {
    /// A game has ended, as its record says. Said at least once.
    pub(crate) async fn ended(&self, records: &Records, game: &GameId, record: &RecordView) -> Result<(), RedisError> {
        let Some(stream) = &self.0 else { return Ok(()) };
        let fields = [
            ("event", "ended"),
            ("game_id", game.as_str()),
            ("container_id", &record.container_id),
            ("host", &record.host),
            ("exit_code", &record.exit_code),
            ("ended_at_ms", &record.ended_at_ms),
            ("stopped_by", &record.stopped_by),
        ];
        records.announce(stream, EVENTS_MAX, &fields).await
    }
}
