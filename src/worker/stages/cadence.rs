//! What gives way to what. At low rates everything that is done before an outcome delays it; at high rates reads and
//! settles go in step (decision 17).

use std::time::Duration;

/// So many entries in hand are few: there is time between them.
pub(crate) const FEW: usize = 4;
/// A read that has waited for so long, and brought few, brought what came by itself.
const TRICKLE_AFTER: Duration = Duration::from_micros(500);

/// How entries have come of late.
#[derive(Debug, Default)]
pub(crate) struct Cadence {
    /// A read could go out, and lets whatever can be settled at once go first.
    defer_read: bool,
    /// How many entries the last read asked for.
    requested: usize,
    /// Entries come one by one, with time between them.
    is_trickle: bool,
}

impl Cadence {
    /// May a read go out that could, with so many starts running? With little in hand its latency counts: then it waits for
    /// one turn, so that whatever can be settled at once goes first.
    pub(crate) fn lets_read(&mut self, running: usize) -> bool {
        let has_waited = std::mem::replace(&mut self.defer_read, false);
        self.defer_read = !has_waited && (1..=FEW).contains(&running);
        !self.defer_read
    }

    /// The read that was deferred cannot go out any more.
    pub(crate) fn read_is_off(&mut self) {
        self.defer_read = false;
    }

    /// Does a read wait for the next turn?
    pub(crate) fn is_deferring(&self) -> bool {
        self.defer_read
    }

    /// A read goes out that asks for so many entries.
    pub(crate) fn read_begins(&mut self, requested: usize) {
        self.requested = requested;
    }

    /// How many entries the last read asked for.
    pub(crate) fn requested(&self) -> usize {
        self.requested
    }

    /// The read has returned with so many entries after so long.
    pub(crate) fn read_returned(&mut self, entries: usize, waited: Duration) {
        self.is_trickle = waited >= TRICKLE_AFTER && entries <= FEW && entries < self.requested;
    }

    /// Is the next read better sent when the settles under way are back?
    pub(crate) fn waits_for_settles(&self, settles: usize, held: usize) -> bool {
        self.is_trickle && settles > 0 && held <= FEW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_deferred_by_one_turn_and_only_beside_few_starts() {
        let mut cadence = Cadence::default();
        for running in [0, FEW + 1] {
            assert!(cadence.lets_read(running) && !cadence.is_deferring());
        }
        assert!(!cadence.lets_read(1) && cadence.is_deferring());
        assert!(cadence.lets_read(1) && !cadence.is_deferring());
        assert!(!cadence.lets_read(FEW));
        cadence.read_is_off();
        assert!(!cadence.lets_read(FEW), "what could not go out is deferred anew");
    }

    #[test]
    fn entries_trickle_where_the_read_waited_for_the_few_that_it_brought() {
        let (long, short) = (TRICKLE_AFTER, TRICKLE_AFTER / 2);
        for (requested, entries, waited, trickles) in [
            (8, 1, long, true),
            (8, 1, short, false),
            (1, 1, long, false),
            (8, FEW + 1, long, false),
            (8, 0, long, true),
        ] {
            let mut cadence = Cadence::default();
            cadence.read_begins(requested);
            cadence.read_returned(entries, waited);
            assert_eq!(cadence.waits_for_settles(1, FEW), trickles, "{requested} {entries} {waited:?}");
            assert!(!cadence.waits_for_settles(0, FEW) && !cadence.waits_for_settles(1, FEW + 1));
        }
    }
}
