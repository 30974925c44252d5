//! The fleet's pause: a key that an operator sets and every replica looks at before it reads or claims.

use std::collections::HashMap;

use super::group::Group;
use crate::redis::{Kind, RedisError};

/// Who has paused the fleet, when, and why; empty and 0 if the key does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Pause {
    /// Since when, by the server's clock, in Unix milliseconds.
    pub(crate) at_ms: u64,
    /// `user@host`
    pub(crate) by: String,
    /// For people.
    pub(crate) reason: String,
}

impl Pause {
    /// From the fields of the key. Every other content of the key is a pause too, of which nothing is known.
    pub(crate) fn of_fields(fields: &HashMap<String, String>) -> Self {
        let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
        Self { at_ms: text("at_ms").parse().unwrap_or_default(), by: text("by"), reason: text("reason") }
    }
}

impl Group {
    /// Does an operator hold the fleet? Where so, a replica neither reads nor claims.
    pub(crate) async fn is_paused(&self) -> Result<bool, RedisError> {
        self.commands.exists(&self.keys.paused).await
    }

    /// The pause there is.
    pub(crate) async fn paused(&self) -> Result<Option<Pause>, RedisError> {
        if !self.is_paused().await? {
            return Ok(None);
        }
        match self.commands.hash(&self.keys.paused).await {
            Ok(fields) => Ok(Some(Pause::of_fields(&fields.into_iter().collect()))),
            // Set by hand, as something else: it holds all the same.
            Err(error) if error.kind == Kind::WrongType => Ok(Some(Pause::default())),
            Err(error) => Err(error),
        }
    }

    /// Pauses the fleet; answers the pause that was there before, which stays as it is.
    pub(crate) async fn pause(&self, by: &str, reason: &str) -> Result<Option<Pause>, RedisError> {
        if let Some(before) = self.paused().await? {
            return Ok(Some(before));
        }
        let at_ms = self.now_ms().await?.to_string();
        let fields = [("at_ms", at_ms.as_str()), ("by", by), ("reason", reason)];
        self.commands.set_hash(&self.keys.paused, &fields).await.map(|()| None)
    }

    /// Ends the pause; answers the one there was.
    pub(crate) async fn resume(&self) -> Result<Option<Pause>, RedisError> {
        let before = self.paused().await?;
        self.commands.remove(&self.keys.paused).await.map(|()| before)
    }
}
