//! Where there is no fleet: which streams of the database have a group. A mistyped name is found so.

use bytes::Bytes;
use serde::Serialize;

use super::View;
use crate::redis::RedisError;

/// Rounds of SCAN, and keys of one round.
const ROUNDS_MAX: u32 = 20;
const ROUND_KEYS: &str = "500";
/// Streams that are looked at, those that are told, and groups of each that are.
const LOOKED_MAX: usize = 50;
const TOLD_MAX: usize = 5;
const GROUPS_MAX: usize = 5;

/// A stream with groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Elsewhere {
    /// The stream.
    pub(crate) stream: String,
    /// Its groups; a bounded number.
    pub(crate) groups: Vec<String>,
}

impl View {
    /// Streams with a group, except our own results and dead letters. A user that may not look sees none.
    pub(super) async fn elsewhere(&self) -> Vec<Elsewhere> {
        let mut found = Vec::new();
        let (mut cursor, mut looked) = ("0".to_owned(), 0);
        for _ in 0..ROUNDS_MAX {
            let Ok((next, keys)) = self.streams_from(&cursor).await else { break };
            for stream in keys.into_iter().filter(|key| *key != self.keys.jobs) {
                looked += 1;
                let groups = self.groups_of(&stream).await.unwrap_or_default();
                if !groups.is_empty() {
                    found.push(Elsewhere { stream, groups });
                }
                if found.len() >= TOLD_MAX || looked >= LOOKED_MAX {
                    return found;
                }
            }
            if next == "0" {
                break;
            }
            cursor = next;
        }
        found.sort_by(|a, b| a.stream.cmp(&b.stream));
        found
    }

    async fn streams_from(&self, cursor: &str) -> Result<(String, Vec<String>), RedisError> {
        let reply = self.raw(&["SCAN", cursor, "COUNT", ROUND_KEYS, "TYPE", "stream"]).await?;
        let (next, keys): (String, Vec<Bytes>) = reply.convert()?;
        Ok((next, keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()))
    }

    async fn groups_of(&self, stream: &str) -> Result<Vec<String>, RedisError> {
        let groups: Vec<crate::redis::Value> = self.raw(&["XINFO", "GROUPS", stream]).await?.convert()?;
        let mut names = Vec::new();
        for group in groups.into_iter().take(GROUPS_MAX) {
            let fields: Vec<(Bytes, crate::redis::Value)> = group.pairs()?;
            let name = fields.into_iter().find(|(name, _)| name == "name").and_then(|(_, value)| value.as_string());
            names.extend(name);
        }
        Ok(names)
    }
}
