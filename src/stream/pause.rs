//! The fleet's pause: a key that an operator sets and every replica looks at before it reads or claims.

use std::collections::HashMap;

use fred::interfaces::{HashesInterface, KeysInterface};

use super::group::Group;
use crate::redis::{Kind, RedisError};

/// Who has paused the fleet, when, and why; empty and 0 where whoever set the key did not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pause {
    /// Since when, by the server's clock, in Unix milliseconds.
    pub at_ms: u64,
    /// `user@host`
    pub by: String,
    /// For people.
    pub reason: String,
}

impl Pause {
    /// From the fields of the key. Every other content of the key is a pause too, of which nothing is known.
    pub fn of_fields(fields: &HashMap<String, String>) -> Self {
        let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
        Self { at_ms: text("at_ms").parse().unwrap_or_default(), by: text("by"), reason: text("reason") }
    }
}

impl Group {
    /// Does an operator hold the fleet? Where so, a replica neither reads nor claims.
    pub async fn is_paused(&self) -> Result<bool, RedisError> {
        self.commands.client().exists(self.keys.paused.as_str()).await.map_err(|error| self.commands.failed(error))
    }

    /// The pause there is.
    pub async fn paused(&self) -> Result<Option<Pause>, RedisError> {
        if !self.is_paused().await? {
            return Ok(None);
        }
        let fields = self.commands.client().hgetall(self.keys.paused.as_str()).await;
        match fields.map_err(|error| self.commands.failed(error)) {
            Ok(fields) => Ok(Some(Pause::of_fields(&fields))),
            // Set by hand, as something else: it holds all the same.
            Err(error) if error.kind == Kind::WrongType => Ok(Some(Pause::default())),
            Err(error) => Err(error),
        }
    }

    /// Pauses the fleet; answers the pause that was there before, which stays as it is.
    pub async fn pause(&self, by: &str, reason: &str) -> Result<Option<Pause>, RedisError> {
        if let Some(before) = self.paused().await? {
            return Ok(Some(before));
        }
        let at_ms = self.now_ms().await?.to_string();
        let fields = vec![("at_ms", at_ms.as_str()), ("by", by), ("reason", reason)];
        let set: Result<i64, _> = self.commands.client().hset(self.keys.paused.as_str(), fields).await;
        set.map(|_| None).map_err(|error| self.commands.failed(error))
    }

    /// Ends the pause; answers the one there was.
    pub async fn resume(&self) -> Result<Option<Pause>, RedisError> {
        let before = self.paused().await?;
        let removed: Result<i64, _> = self.commands.client().del(self.keys.paused.as_str()).await;
        removed.map(|_| before).map_err(|error| self.commands.failed(error))
    }
}
