//! Marks of operators: those that the stream has, and what the replica was told of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::answers::Dice;
use crate::stream::entry_id::EntryId;
use crate::stream::mark::{Cancel, Mark, Wish};
use crate::stream::tell::Wanted;
use crate::worker::work::Ticket;

/// The marks at entries of a history.
#[derive(Default)]
pub(super) struct Marks {
    /// Entries that are to be cancelled.
    placed: BTreeSet<EntryId>,
    /// Those of them of which this replica was told since it got them.
    told: BTreeSet<EntryId>,
}

impl Marks {
    /// An operator wants this entry cancelled.
    pub(super) fn place(&mut self, id: EntryId) {
        self.placed.insert(id);
    }

    /// The answer to a look-up of this entry.
    pub(super) fn looked_up(&mut self, id: EntryId, fails: bool) -> Option<Arc<Cancel>> {
        let is_marked = self.placed.contains(&id);
        if is_marked && !fails {
            self.told.insert(id);
        }
        is_marked.then(|| Arc::new(Cancel::new("ann@host", "")))
    }

    /// The answer to a report that asks for the marks of these entries.
    pub(super) fn of(&mut self, asks: &[EntryId], dice: Dice, fails: bool) -> Wanted {
        let cancelled = asks.iter().filter(|id| self.placed.contains(id)).copied();
        let mut marks: Vec<Mark> =
            cancelled.map(|id| Mark { id, wish: Wish::Cancel(Cancel::new("ann@host", "")) }).collect();
        if !fails {
            self.told.extend(marks.iter().map(|mark| mark.id));
        }
        if let Some(&id) = asks.get(usize::from(dice) % asks.len().max(1)) {
            marks.push(Mark { id, wish: Wish::Retry { by: "ann@host".to_owned() } });
        }
        Wanted { marks, drain: None }
    }

    /// What this replica does not hold any more it was told nothing of.
    pub(super) fn forget(&mut self, is_held: impl Fn(EntryId) -> bool) {
        self.told.retain(|id| is_held(*id));
    }

    /// An attempt at a job that is to be cancelled is told so, and no other.
    pub(super) fn check(&self, ticket: &Ticket) -> Result<(), TestCaseError> {
        prop_assert_eq!(ticket.cancel.is_some(), self.told.contains(&ticket.id), "told of its mark");
        Ok(())
    }
}
