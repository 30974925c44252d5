//! Redis's replies as the auditor takes them apart: bytes and ids.

use super::id::Id;
use crate::redis::{RedisError, Value};

/// One stream entry: its id, and its names and values one after the other.
pub(super) struct Row {
    pub(super) id: Id,
    pub(super) flat: Vec<Vec<u8>>,
}

impl Row {
    /// The first value of this field.
    pub(super) fn first(&self, name: &str) -> Option<&[u8]> {
        let mut pairs = self.flat.chunks_exact(2);
        pairs.find(|pair| pair[0] == name.as_bytes()).map(|pair| pair[1].as_slice())
    }

    /// The first value of this field as a text; empty where there is none.
    pub(super) fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.first(name).unwrap_or_default()).into_owned()
    }
}

/// One entry of the pending list.
pub(super) struct PendingRow {
    pub(super) id: Id,
    pub(super) owner: String,
    pub(super) idle_ms: u64,
}

pub(super) fn list(value: Value) -> Result<Vec<Value>, RedisError> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Null => Ok(Vec::new()),
        _ => Err(RedisError::unexpected("not a list")),
    }
}

pub(super) fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.to_vec(),
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Integer(number) => number.to_string().into_bytes(),
        _ => Vec::new(),
    }
}

pub(super) fn text(value: Value) -> String {
    String::from_utf8_lossy(&bytes(value)).into_owned()
}

fn id(value: Value) -> Result<Id, RedisError> {
    let text = text(value);
    Id::parse(&text).ok_or_else(|| RedisError::unexpected(&format!("entry id {text:?}")))
}

/// The reply of XRANGE.
pub(super) fn rows(value: Value) -> Result<Vec<Row>, RedisError> {
    let row = |value| {
        let mut parts = list(value)?.into_iter();
        let id = id(parts.next().unwrap_or(Value::Null))?;
        let flat = list(parts.next().unwrap_or(Value::Null))?.into_iter().map(bytes).collect();
        Ok(Row { id, flat })
    };
    list(value)?.into_iter().map(row).collect()
}

/// The reply of XPENDING with a range.
pub(super) fn pending_rows(value: Value) -> Result<Vec<PendingRow>, RedisError> {
    let row = |value| {
        let mut parts = list(value)?.into_iter();
        let id = id(parts.next().unwrap_or(Value::Null))?;
        let owner = text(parts.next().unwrap_or(Value::Null));
        let idle_ms = parts.next().and_then(|idle| idle.as_u64()).unwrap_or(0);
        Ok(PendingRow { id, owner, idle_ms })
    };
    list(value)?.into_iter().map(row).collect()
}
