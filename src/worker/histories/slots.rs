//! Attempts that have given up their slots for a while.

use std::collections::BTreeSet;

use crate::stream::entry_id::EntryId;
use crate::worker::stages::held::EntryKey;
use crate::worker::work::Ticket;

/// The attempts outside their slots, and which of them want one again; and the entries of all that ever were.
#[derive(Debug, Default)]
pub(super) struct Outside(Vec<(Ticket, bool)>, BTreeSet<EntryId>);

impl Outside {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has_lane(&self, lane: &str) -> bool {
        self.0.iter().any(|(ticket, _)| ticket.request.lane() == lane)
    }

    /// Whether an attempt at this entry has ever been outside its slot.
    pub(super) fn has_had(&self, id: EntryId) -> bool {
        self.1.contains(&id)
    }

    /// It has given up its slot.
    pub(super) fn push(&mut self, ticket: Ticket) {
        self.1.insert(ticket.id);
        self.0.push((ticket, false));
    }

    /// One of them asks for a slot; nothing where it has done so before.
    pub(super) fn asks(&mut self, number: usize) -> Option<EntryKey> {
        let at = number.checked_rem(self.0.len())?;
        let (ticket, asks) = &mut self.0[at];
        (!std::mem::replace(asks, true)).then(|| EntryKey::of(ticket.id))
    }

    /// One of them ends without a slot.
    pub(super) fn ended(&mut self, number: usize) -> Option<Ticket> {
        let at = number.checked_rem(self.0.len())?;
        Some(self.0.swap_remove(at).0)
    }

    /// It has a slot again; nothing where it had not asked for one.
    pub(super) fn resumed(&mut self, key: EntryKey) -> Option<Ticket> {
        let at = self.0.iter().position(|(ticket, asks)| *asks && EntryKey::of(ticket.id) == key)?;
        Some(self.0.swap_remove(at).0)
    }
}
