//! Entries that are pending for this process although it does not hold them. Pure.
//!
//! A renewal tells of them. Either the reply that brings them is on its way, and then they are in our hands soon, or it was
//! lost, and then they are taken in by their ids: no other consumer claims what a live one keeps.

use std::collections::BTreeMap;

use crate::stream::entry_id::EntryId;
use crate::stream::renew::Stray;

/// Calls that may bring entries, counted as they begin. Of each kind at most one is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Begun {
    reads: u64,
    sweeps: u64,
}

/// The strays of late.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    begun: Begun,
    /// By entry: what had begun when a renewal first told of it. No more than one renewal tells of.
    seen: BTreeMap<EntryId, Begun>,
}

impl Strays {
    /// A read begins.
    pub(crate) fn read_begins(&mut self) {
        self.begun.reads += 1;
    }

    /// A sweep begins.
    pub(crate) fn sweep_begins(&mut self) {
        self.begun.sweeps += 1;
    }

    /// Those of `told` whose reply cannot be under way any more. `reading` and `sweeping` say whether the last read and the
    /// last sweep that began still are.
    pub(crate) fn lost(&mut self, told: Vec<Stray>, reading: bool, sweeping: bool) -> Vec<Stray> {
        let (mut seen, mut lost) = (BTreeMap::new(), Vec::new());
        for stray in told {
            let first = self.seen.get(&stray.id).copied().unwrap_or(self.begun);
            let may_come =
                (reading && first.reads == self.begun.reads) || (sweeping && first.sweeps == self.begun.sweeps);
            if may_come {
                seen.insert(stray.id, first);
            } else {
                lost.push(stray);
            }
        }
        self.seen = seen;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(ids: &[u64]) -> Vec<Stray> {
        let stray = |&ms| Stray { id: EntryId { ms, seq: 0 }, deliveries: 1, was_handed: false, dead_owner: None };
        ids.iter().map(stray).collect()
    }

    #[test]
    fn an_entry_is_lost_when_whatever_may_bring_it_has_ended() {
        let mut strays = Strays::default();
        strays.read_begins();
        assert_eq!(strays.lost(told(&[1]), true, false), []);
        // The same read goes on.
        assert_eq!(strays.lost(told(&[1]), true, false), []);
        strays.read_begins();
        assert_eq!(strays.lost(told(&[1, 2]), true, false), told(&[1]));
        assert_eq!(strays.lost(told(&[2]), false, false), told(&[2]));
        strays.sweep_begins();
        assert_eq!(strays.lost(told(&[3]), false, true), []);
        assert_eq!(strays.lost(told(&[3]), false, false), told(&[3]));
    }

    proptest! {
        /// Nothing is taken while its reply may come, and everything lost is taken once two renewals have told of it with
        /// no call spanning both.
        #[test]
        fn nothing_is_taken_early_and_nothing_is_forgotten(steps in proptest::collection::vec(0..5_u8, 1..200)) {
            let mut strays = Strays::default();
            let (mut reading, mut sweeping) = (false, false);
            // Entry 7 was brought by the read that began last before this moment, and its reply is lost when that ends.
            let mut spanning = None::<(bool, bool)>;
            for step in steps {
                match step {
                    0 if !reading => { strays.read_begins(); reading = true; }
                    1 if !sweeping => { strays.sweep_begins(); sweeping = true; }
                    2 => { reading = false; if let Some(span) = &mut spanning { span.0 = false; } }
                    3 => { sweeping = false; if let Some(span) = &mut spanning { span.1 = false; } }
                    4 => {
                        let span = spanning.unwrap_or((reading, sweeping));
                        let lost = strays.lost(told(&[7]), reading, sweeping);
                        prop_assert_eq!(!lost.is_empty(), span == (false, false));
                        spanning = lost.is_empty().then_some(span);
                    }
                    _ => {}
                }
            }
        }
    }
}
