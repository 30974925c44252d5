//! The commands that are made without a script, each with the types that it takes and answers.

use bytes::Bytes;
use fred::interfaces::StreamsInterface;
use fred::types::Value as Reply;

use super::{Connection, FromValue, RedisError, Value};

/// One entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its id.
    pub(crate) id: String,
    /// Its names and values, in order; empty where the entry was deleted while it was pending.
    pub(crate) fields: Vec<(Bytes, Bytes)>,
}

impl FromValue for Entry {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        let (id, fields): (String, Value) = value.convert()?;
        Ok(Self { id, fields: fields.pairs()? })
    }
}

/// One entry of a group's pending list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingEntry {
    /// Its id.
    pub(crate) id: String,
    /// The consumer that holds it: any bytes.
    pub(crate) consumer: Bytes,
    /// Milliseconds since it was last delivered or renewed.
    pub(crate) idle_ms: u64,
    /// How often it has been delivered.
    pub(crate) deliveries: u64,
}

impl FromValue for PendingEntry {
    fn from_value(value: Value) -> Result<Self, RedisError> {
        let (id, consumer, idle_ms, deliveries) = value.convert()?;
        Ok(Self { id, consumer, idle_ms, deliveries })
    }
}

/// Which way a stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From the smallest id on.
    OldestFirst,
    /// From the largest id on.
    NewestFirst,
}

/// A blocking read for a consumer of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupRead<'a> {
    /// The stream.
    pub(crate) stream: &'a str,
    /// The group.
    pub(crate) group: &'a str,
    /// The consumer.
    pub(crate) consumer: &'a str,
    /// Entries at most.
    pub(crate) count: u64,
    /// Waits for at most so many milliseconds; 0 would be for ever.
    pub(crate) block_ms: u64,
}

impl Connection {
    /// `XREADGROUP` of new entries: waits until there is one, and answers none where the time has passed.
    ///
    /// A future that is dropped leaves entries delivered that no one holds, until they are claimed.
    pub(crate) async fn read_group(&self, read: GroupRead<'_>) -> Result<Vec<Entry>, RedisError> {
        let GroupRead { stream, group, consumer, count, block_ms } = read;
        let client = self.client()?;
        let reply = client.xreadgroup(group, consumer, Some(count), Some(block_ms), false, stream, ">").await;
        self.entries_of_one(reply)
    }

    /// `XREAD` of a stream behind an id: waits until there is an entry, and answers none where the time has passed.
    pub(crate) async fn read_after(
        &self,
        stream: &str,
        id: &str,
        count: u64,
        block_ms: u64,
    ) -> Result<Vec<Entry>, RedisError> {
        self.entries_of_one(self.client()?.xread(Some(count), Some(block_ms), stream, id).await)
    }

    /// The entries of a read of one stream.
    fn entries_of_one(&self, reply: Result<Reply, fred::error::Error>) -> Result<Vec<Entry>, RedisError> {
        let streams: Vec<(Value, Vec<Entry>)> = Value(self.heard(reply)?).convert()?;
        Ok(streams.into_iter().next().map(|(_, entries)| entries).unwrap_or_default())
    }

    /// `XRANGE` or `XREVRANGE`: at most `count` entries from `first` to `last`, which may be `-`, `+` or `(id`.
    pub(crate) async fn range(
        &self,
        stream: &str,
        (first, last): (&str, &str),
        count: u64,
        order: Order,
    ) -> Result<Vec<Entry>, RedisError> {
        let count = count.to_string();
        let words = match order {
            Order::OldestFirst => ["XRANGE", stream, first, last, "COUNT", &count],
            Order::NewestFirst => ["XREVRANGE", stream, last, first, "COUNT", &count],
        };
        self.raw(&words).await?.convert()
    }

    /// The entry of this id.
    pub(crate) async fn entry(&self, stream: &str, id: &str) -> Result<Option<Entry>, RedisError> {
        Ok(self.range(stream, (id, id), 1, Order::OldestFirst).await?.pop())
    }

    /// `XADD`; answers the new id.
    pub(crate) async fn append(&self, stream: &str, fields: &[(&str, &str)]) -> Result<String, RedisError> {
        let fields = fields.iter().flat_map(|&(name, value)| [name, value]);
        self.raw(&["XADD", stream, "*"].into_iter().chain(fields).collect::<Vec<_>>()).await?.convert()
    }

    /// `XADD` to a stream that keeps about so many entries.
    pub(crate) async fn append_capped(
        &self,
        stream: &str,
        max: u64,
        fields: &[(&str, &str)],
    ) -> Result<(), RedisError> {
        let max = max.to_string();
        let fields = fields.iter().flat_map(|&(name, value)| [name, value]);
        let words = ["XADD", stream, "MAXLEN", "~", &max, "*"].into_iter().chain(fields).collect::<Vec<_>>();
        self.raw(&words).await.map(drop)
    }

    /// `XLEN`
    pub(crate) async fn stream_length(&self, stream: &str) -> Result<u64, RedisError> {
        self.raw(&["XLEN", stream]).await?.convert()
    }

    /// `XPENDING` of a range: at most `count` entries from `first` to `last`.
    pub(crate) async fn pending(
        &self,
        stream: &str,
        group: &str,
        (first, last): (&str, &str),
        count: u64,
    ) -> Result<Vec<PendingEntry>, RedisError> {
        self.raw(&["XPENDING", stream, group, first, last, &count.to_string()]).await?.convert()
    }

    /// `EXISTS`
    pub(crate) async fn exists(&self, key: &str) -> Result<bool, RedisError> {
        Ok(self.raw(&["EXISTS", key]).await?.convert::<u64>()? == 1)
    }

    /// `GET`
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, RedisError> {
        self.raw(&["GET", key]).await?.convert()
    }

    /// `DEL`
    pub(crate) async fn remove(&self, key: &str) -> Result<(), RedisError> {
        self.raw(&["DEL", key]).await.map(drop)
    }

    /// `HGETALL`, as texts: bytes that are none are replaced.
    pub(crate) async fn hash(&self, key: &str) -> Result<Vec<(String, String)>, RedisError> {
        let pairs: Vec<(Bytes, Bytes)> = self.raw(&["HGETALL", key]).await?.pairs()?;
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
        Ok(pairs.into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    /// `HSET`
    pub(crate) async fn set_hash(&self, key: &str, fields: &[(&str, &str)]) -> Result<(), RedisError> {
        let fields = fields.iter().flat_map(|&(name, value)| [name, value]);
        self.raw(&["HSET", key].into_iter().chain(fields).collect::<Vec<_>>()).await.map(drop)
    }

    /// `SISMEMBER`
    pub(crate) async fn is_member(&self, set: &str, member: &str) -> Result<bool, RedisError> {
        Ok(self.raw(&["SISMEMBER", set, member]).await?.convert::<u64>()? == 1)
    }

    /// `SADD`
    pub(crate) async fn add_member(&self, set: &str, member: &str) -> Result<(), RedisError> {
        self.raw(&["SADD", set, member]).await.map(drop)
    }

    /// `ZADD` of one member.
    pub(crate) async fn add_scored(&self, set: &str, member: &str, score: u64) -> Result<(), RedisError> {
        self.raw(&["ZADD", set, &score.to_string(), member]).await.map(drop)
    }

    /// `ZREM` of one member.
    pub(crate) async fn remove_scored(&self, set: &str, member: &str) -> Result<(), RedisError> {
        self.raw(&["ZREM", set, member]).await.map(drop)
    }

    /// `ZRANGEBYSCORE`: members by rising score, at most `count` behind the first `from`.
    pub(crate) async fn scored(&self, set: &str, from: u64, count: u64) -> Result<Vec<String>, RedisError> {
        let (from, count) = (from.to_string(), count.to_string());
        self.raw(&["ZRANGEBYSCORE", set, "-inf", "+inf", "LIMIT", &from, &count]).await?.convert()
    }

    /// `ZRANGEBYSCORE`: the score at this place, by rising score, as a whole number.
    pub(crate) async fn score_at(&self, set: &str, place: u64) -> Result<Option<u64>, RedisError> {
        let words = ["ZRANGEBYSCORE", set, "-inf", "+inf", "WITHSCORES", "LIMIT", &place.to_string(), "1"];
        let found: Vec<(String, Value)> = self.raw(&words).await?.pairs()?;
        Ok(found.into_iter().next().and_then(|(_, score)| score.as_string()?.parse().ok()))
    }

    /// `ZCARD`
    pub(crate) async fn scored_count(&self, set: &str) -> Result<u64, RedisError> {
        self.raw(&["ZCARD", set]).await?.convert()
    }

    /// `TIME`: the server's clock in Unix microseconds.
    pub(crate) async fn time_us(&self) -> Result<u64, RedisError> {
        let (seconds, micros): (u64, u64) = self.raw(&["TIME"]).await?.convert()?;
        Ok(seconds.saturating_mul(1_000_000).saturating_add(micros))
    }

    /// `TIME`: the server's clock in Unix milliseconds.
    pub(crate) async fn time_ms(&self) -> Result<u64, RedisError> {
        Ok(self.time_us().await? / 1_000)
    }

    /// `INFO`
    pub(crate) async fn info(&self) -> Result<String, RedisError> {
        self.raw(&["INFO"]).await?.convert()
    }
}
