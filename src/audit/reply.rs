//! Redis's replies as the auditor takes them apart: bytes and ids.

use bytes::Bytes;

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

/// A text, a number or nothing, as bytes; of anything else none.
pub(super) fn bytes(value: Value) -> Vec<u8> {
    value.convert::<Bytes>().map_or_else(|_| Vec::new(), Vec::from)
}

pub(super) fn text(value: Value) -> String {
    String::from_utf8_lossy(&bytes(value)).into_owned()
}

pub(super) fn texts(value: Value) -> Result<Vec<String>, RedisError> {
    Ok(value.into_list()?.into_iter().map(text).collect())
}

fn id(value: Value) -> Result<Id, RedisError> {
    let text = text(value);
    Id::parse(&text).ok_or_else(|| RedisError::unexpected(&format!("entry id {text:?}")))
}

/// The reply of XRANGE.
pub(super) fn rows(value: Value) -> Result<Vec<Row>, RedisError> {
    let row = |value: Value| {
        let (name, flat): (Value, Value) = value.convert()?;
        Ok(Row { id: id(name)?, flat: flat.into_list()?.into_iter().map(bytes).collect() })
    };
    value.into_list()?.into_iter().map(row).collect()
}

/// The reply of XPENDING with a range.
pub(super) fn pending_rows(value: Value) -> Result<Vec<PendingRow>, RedisError> {
    let row = |value: Value| {
        let (name, owner, idle_ms): (Value, Value, u64) = value.convert()?;
        Ok(PendingRow { id: id(name)?, owner: text(owner), idle_ms })
    };
    value.into_list()?.into_iter().map(row).collect()
}
