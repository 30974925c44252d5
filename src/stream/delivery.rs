//! An entry as Redis hands it to this process.

use std::sync::Arc;

use super::entry_id::EntryId;
use crate::contract::Fields;
use crate::contract::dead_letter::size_of;

/// One entry, handed to this process by Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id in the jobs stream.
    pub id: EntryId,
    /// How it came to us.
    pub(crate) origin: Origin,
    /// The dead replica it was taken from; none where it was read, given back or left.
    pub dead_owner: Option<Arc<str>>,
    /// How often it has been delivered, this time included.
    pub deliveries: u64,
    /// How often a process died with it.
    pub crashes: u64,
    /// How often the start service failed with it.
    pub failures: u64,
    /// The payload; none while it is still in the stream alone, and has to be fetched.
    pub fields: Option<Fields>,
}

impl Delivery {
    /// Bytes of its payload, as far as it is here.
    pub(crate) fn bytes(&self) -> usize {
        self.fields.as_deref().map_or(0, size_of)
    }
}

/// How an entry came to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// Never delivered before.
    New,
    /// Taken over from a consumer that did not finish it.
    Claimed,
    /// Delivered to this process by a reply that was lost.
    Found,
    /// Handed over by a replica of another host.
    Handed,
}
