//! New entries: the blocking read, on a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::StreamsInterface;

use super::{Delivery, Group, Origin, id_of};
use crate::redis::{Connection, RedisError};

/// `XREADGROUP`'s reply as the client decodes it on every server version: nothing when BLOCK expired; a payload of
/// nothing where the entry was deleted.
type Reply = Option<Vec<(Bytes, Vec<(String, Option<Vec<(Bytes, Bytes)>>)>)>>;

/// Reads new entries for one consumer.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    jobs: String,
    group: String,
    consumer: String,
    block: Duration,
}

impl Reader {
    /// A reader for the consumer of `group`, blocking for at most `block`.
    pub fn new(connection: Connection, group: &Group, block: Duration) -> Self {
        Self {
            connection,
            jobs: group.keys.jobs.clone(),
            group: group.settings.group.clone(),
            consumer: group.consumer.to_string(),
            block,
        }
    }

    /// Waits for at most `count` new entries; returns as soon as there is one, and with none when BLOCK expired.
    ///
    /// The future must be awaited to its end: a dropped one leaves entries delivered to nobody until they are claimed.
    pub async fn read(&self, count: usize) -> Result<Vec<Delivery>, RedisError> {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        // Rounded up: BLOCK 0 would wait for ever.
        let block = u64::try_from(self.block.as_millis()).unwrap_or(u64::MAX).max(1);
        self.connection.usable().await?;
        let reply: Reply = self
            .connection
            .client()
            .xreadgroup(
                self.group.as_str(),
                self.consumer.as_str(),
                Some(count),
                Some(block),
                false,
                self.jobs.as_str(),
                ">",
            )
            .await
            .map_err(|error| self.connection.failed(error))?;
        self.connection.answered();
        let entries = reply.into_iter().flatten().flat_map(|(_, entries)| entries);
        entries
            .map(|(id, fields)| {
                Ok(Delivery {
                    id: id_of(&id)?,
                    origin: Origin::New,
                    deliveries: 1,
                    crashes: 0,
                    failures: 0,
                    fields: Some(fields.unwrap_or_default()),
                })
            })
            .collect()
    }

    /// Makes a read that is under way return now.
    pub async fn unblock(&self) {
        self.connection.unblock().await;
    }

    /// Drops the connection: a read that is under way fails, and the next has a new one.
    pub fn replace_connection(&self) {
        self.connection.replace();
    }
}
