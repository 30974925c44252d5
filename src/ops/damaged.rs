//! What cannot be read: it is named, with what to do, and hides nothing else.

use serde::Serialize;

use super::printable::printable;
use crate::redis::{Kind, RedisError};

/// Damaged things that are named; of more only how many there are is told.
pub(crate) const NAMED_MAX: usize = 20;

/// Something in Redis that no version of the fleet wrote so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Damaged {
    /// The key.
    pub(crate) key: String,
    /// The field of a HASH; none where the whole key is meant.
    pub(crate) field: Option<String>,
    /// What is wrong with it.
    pub(crate) why: String,
    /// What to do, as a sentence.
    pub(crate) remedy: &'static str,
}

/// What helps against a damaged record of a game.
pub(crate) const GAME_RECORD: &str =
    "Attempts to start the game fail until then: keep a copy, stop the container of the game, then DEL the key";
/// What helps against a damaged stored answer.
pub(crate) const STORED_ANSWER: &str =
    "HDEL the field. If that job is delivered again, its game is started again; nothing else depends on it";
/// What helps against a damaged line of a host.
pub(crate) const HOST_LINE: &str =
    "HDEL the field, unless the host is alive: then its replicas write it again within host-heartbeat";
/// What helps against a list of a host's games that is none.
pub(crate) const PLACED: &str =
    "Starts on that host fail until then: keep a copy, then DEL the key, and the replicas there write it again";
/// What helps against a damaged record of a replica.
pub(crate) const REPLICA: &str =
    "HDEL the field, unless the replica is alive: then it writes its record again within claim-idle/3";
/// What helps where a whole key is of another type, and the fleet can write it again.
pub(crate) const WHOLE_KEY: &str =
    "Another program wrote it: keep a copy, then DEL the key; what is alive writes its own part again within seconds";
/// What helps against a log of requeued dead letters that cannot be read.
pub(crate) const LINKS: &str =
    "Let your user read the key. If it is of another type, RENAME it: the next requeue begins a new one";

impl Damaged {
    /// The whole key.
    pub(crate) fn key(key: &str, why: impl Into<String>, remedy: &'static str) -> Self {
        Self { key: key.to_owned(), field: None, why: why.into(), remedy }
    }

    /// One field of a HASH.
    pub(crate) fn field(key: &str, field: &str, why: impl Into<String>, remedy: &'static str) -> Self {
        Self { field: Some(field.to_owned()), ..Self::key(key, why, remedy) }
    }

    /// Where the key, and not the connection to Redis, is to blame.
    pub(crate) fn of_error(key: &str, error: &RedisError, remedy: &'static str) -> Option<Self> {
        (error.kind == Kind::WrongType).then(|| Self::key(key, error.text.clone(), remedy))
    }

    /// What and why, for people; safe on a terminal.
    pub(crate) fn what(&self) -> String {
        let key = printable(&self.key);
        let place = match &self.field {
            Some(field) => format!("field {} of {key}", printable(field)),
            None => key,
        };
        format!("{place} cannot be read: {}", printable(&self.why))
    }
}
