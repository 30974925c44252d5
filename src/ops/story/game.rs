//! One game: its record, and its jobs as far as stored answers tell.

use serde::Serialize;

use super::{Record, Stored};
use crate::ops::printable::time;
use crate::ops::{SCHEMA_VERSION, View};
use crate::redis::RedisError;

/// Everything that is known about one game.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GameStory {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// The id of the game.
    pub(crate) game_id: String,
    /// What is known, for people.
    pub(crate) sentence: String,
    /// Its record.
    pub(crate) record: Option<Record>,
    /// The answers its record keeps, oldest first.
    pub(crate) jobs: Vec<Stored>,
}

impl GameStory {
    /// Something is known.
    pub(crate) fn is_known(&self) -> bool {
        self.record.is_some() || !self.jobs.is_empty()
    }
}

impl View {
    /// The story of one game.
    pub(crate) async fn game_story(&self, game: &str) -> Result<GameStory, RedisError> {
        let at_ms = self.connection.time_ms().await?;
        let (record, jobs) = self.game(game, at_ms).await?;
        Ok(GameStory {
            schema_version: SCHEMA_VERSION,
            at_ms,
            game_id: game.to_owned(),
            sentence: sentence(record.as_ref()),
            record,
            jobs,
        })
    }
}

fn sentence(record: Option<&Record>) -> String {
    let Some(record) = record else { return "no record: no attempt to start this game is known".to_owned() };
    let since = time(record.updated_at_ms);
    match (record.state.as_str(), &record.lease) {
        ("running", _) => {
            format!("running since {since}: container {} at {}", record.container_id, record.engine_endpoint)
        }
        ("starting", Some(lease)) => format!("starting since {since}: the lease is {}'s", lease.holder),
        ("starting", None) => format!("starting since {since}: no replica holds the lease"),
        (state, _) => format!("{state} since {since}"),
    }
}
