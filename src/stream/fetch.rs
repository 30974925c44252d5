//! Payloads of entries that came into our hands by their ids alone: claimed ones, and those whose reply was lost.
//!
//! They may be of any size, so they are read on a connection of their own, which is dropped with them: whatever waits behind a
//! large reply on the same connection waits with it, and what a connection has needed for one stays with it. An entry that
//! does not arrive although Redis answers is not read whole again: a script takes the job's fields out of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until, timeout};

use super::entry_id::EntryId;
use super::group::Member;
use super::lua;
use crate::contract::Fields;
use crate::contract::dead_letter::size_of;
use crate::redis::{self, Connection, Kind, RedisError, Role, Script, Value};

/// How long one reply may take, first and at last, in claim idles: what the fleet takes for a stall anyway, and six times as
/// long as that.
const PATIENCE_MIN: f64 = 0.8;
const PATIENCE_MAX: f64 = 6.0;
/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Bytes after which what has been read is handed over first.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries asked for at once; doubles up to this while they are small.
const AT_ONCE_MAX: usize = 64;
/// An entry from this size on is read alone.
const LARGE_ENTRY: usize = 4 * 1024;

/// What is wanted of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// All of it.
    Whole,
    /// The fields of a job alone: the whole has killed too many processes, or does not arrive.
    JobFields,
}

/// What came of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// All of it.
    Whole(Fields),
    /// The fields of a job alone, each cut behind what is allowed.
    JobFields(Fields),
    /// It is not in the stream any more.
    Gone,
}

/// What came of a list of entries.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Of the first ones, in order.
    pub payloads: Vec<Payload>,
    /// The one behind those does not arrive although Redis answers; the others are better off without it.
    pub(crate) is_next_stuck: bool,
    /// Why the others were not read, if not because there were many bytes already.
    pub(crate) failed: Option<RedisError>,
}

/// Reads payloads for one consumer.
#[derive(Debug, Clone)]
pub struct Fetcher {
    redis: redis::Config,
    member: Member,
    /// Takes the fields of a job out of an entry.
    job_fields: Arc<Script>,
    /// How many bytes of each.
    max_field_bytes: usize,
    patience_min: Duration,
    patience_max: Duration,
}

impl Fetcher {
    /// A fetcher for this consumer, whose jobs have these fields, of which so many bytes each are taken. Touches nothing.
    pub fn new(
        redis: &redis::Config,
        member: &Member,
        claim_idle: Duration,
        (fields, max_field_bytes): (&'static [&'static str], usize),
    ) -> Self {
        Self {
            redis: redis.clone(),
            job_fields: Arc::new(lua::known_fields(fields)),
            max_field_bytes,
            member: member.clone(),
            patience_min: claim_idle.mul_f64(PATIENCE_MIN),
            patience_max: claim_idle.mul_f64(PATIENCE_MAX),
        }
    }

    /// Reads these entries, in order, as far as they fit and arrive.
    pub async fn fetch(&self, wanted: &[(EntryId, Want)]) -> Fetched {
        let mut fetched = Fetched::default();
        let (mut at_once, mut bytes) = (1, 0);
        let mut open: Option<Connection> = None;
        while fetched.payloads.len() < wanted.len() && bytes < BYTES_MAX {
            let connection = match open.take() {
                Some(connection) => connection,
                None => match self.connect(self.patience_min).await {
                    Ok(connection) => connection,
                    Err(error) => {
                        fetched.failed = Some(error);
                        break;
                    }
                },
            };
            let rest = &wanted[fetched.payloads.len()..];
            let asked = &rest[..at_once.min(rest.len())];
            let replies = join_all(asked.iter().map(|&(id, want)| self.read(&connection, id, want))).await;
            let (mut largest, mut failed) = (0, None);
            for reply in replies {
                match reply {
                    Ok(payload) => {
                        let size = payload.bytes();
                        (bytes, largest) = (bytes + size, largest.max(size));
                        fetched.payloads.push(payload);
                    }
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            let Some(error) = failed else {
                at_once = if largest < LARGE_ENTRY { (at_once * 2).min(AT_ONCE_MAX) } else { 1 };
                open = Some(connection);
                continue;
            };
            let was_alone = at_once == 1;
            at_once = 1;
            if error.kind != Kind::Unreachable || (was_alone && !self.redis_answers().await) {
                fetched.failed = Some(error);
                break;
            }
            if was_alone {
                fetched.is_next_stuck = true;
                break;
            }
        }
        fetched
    }

    /// Reads an entry that did not arrive, with more and more patience; at last the fields of a job alone.
    pub(crate) async fn fetch_stuck(&self, (id, want): (EntryId, Want)) -> Fetched {
        let payload = match want {
            Want::Whole => self.whole_at_last(id).await,
            Want::JobFields => self.job_fields_alone(id).await,
        };
        match payload {
            Ok(payload) => Fetched { payloads: vec![payload], ..Fetched::default() },
            Err(error) => Fetched { failed: Some(error), ..Fetched::default() },
        }
    }

    async fn whole_at_last(&self, id: EntryId) -> Result<Payload, RedisError> {
        let mut patience = self.patience_min;
        loop {
            let began = Instant::now();
            match self.whole(&self.connect(patience).await?, id).await {
                Err(error) if error.kind == Kind::Unreachable && self.redis_answers().await => {}
                answer => return answer,
            }
            // A connection that is cut says so sooner than a time-out; what cuts it may pass.
            sleep_until(began + patience).await;
            if patience >= self.patience_max {
                return self.job_fields_alone(id).await;
            }
            patience = (patience * 2).min(self.patience_max);
        }
    }

    async fn connect(&self, patience: Duration) -> Result<Connection, RedisError> {
        let name = format!("startjobs:{}", self.member.consumer());
        let opening = Connection::open(&self.redis, Role::Bulk(patience), &name, |_| {});
        timeout(CONNECT_WITHIN, opening)
            .await
            .unwrap_or_else(|_| Err(RedisError::unreachable("no connection for reading payloads")))
    }

    async fn redis_answers(&self) -> bool {
        self.member.group().is_paused().await.is_ok()
    }

    async fn read(&self, connection: &Connection, id: EntryId, want: Want) -> Result<Payload, RedisError> {
        match want {
            Want::Whole => self.whole(connection, id).await,
            Want::JobFields => self.job_fields(connection, id).await,
        }
    }

    async fn whole(&self, connection: &Connection, id: EntryId) -> Result<Payload, RedisError> {
        let entry = connection.entry(&self.member.group().keys().jobs, &id.to_string()).await?;
        Ok(entry.map_or(Payload::Gone, |entry| Payload::Whole(entry.fields)))
    }

    async fn job_fields_alone(&self, id: EntryId) -> Result<Payload, RedisError> {
        let connection = self.connect(self.patience_max).await?;
        self.job_fields(&connection, id).await
    }

    async fn job_fields(&self, connection: &Connection, id: EntryId) -> Result<Payload, RedisError> {
        let limit = i64::try_from(self.max_field_bytes).unwrap_or(i64::MAX);
        let args: Vec<Value> = vec![id.to_string().into(), limit.into()];
        let keys = vec![self.member.group().keys().jobs.clone()];
        let reply = self.job_fields.run(connection, keys, args).await?;
        if reply.is_null() { Ok(Payload::Gone) } else { reply.pairs().map(Payload::JobFields) }
    }
}

impl Payload {
    fn bytes(&self) -> usize {
        match self {
            Self::Whole(fields) | Self::JobFields(fields) => size_of(fields),
            Self::Gone => 0,
        }
    }
}
