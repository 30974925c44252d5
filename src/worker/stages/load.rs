//! How much a replica has in hand, and how much it may have: what intake decides by.

use std::time::Duration;

use super::held::{HoldStage, Holdings};
use crate::stream::settle::BATCH_MAX;

/// A read brings no more than this, two batches: what is read is worked on while Redis settles what was read before.
const READ_MAX: usize = 2 * BATCH_MAX;

/// How much may come in, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Entries that wait or run.
    pub(crate) slots: usize,
    /// Entries that back off or wait outside their slots, beyond which nothing is taken.
    pub(crate) max_backing_off: usize,
    /// Bytes of payloads, beyond which nothing is taken.
    pub(crate) max_held_bytes: usize,
    /// How long one read waits.
    pub(crate) block: Duration,
    /// One sweep in the fleet per interval.
    pub(crate) sweep_interval: Duration,
    /// Deaths are noticed by subscriptions: a replica without room watches too.
    pub(crate) watches: bool,
}

impl Limits {
    /// A read brings half of what we could hold, so that the next is under way while this one is being worked on; but at
    /// least a batch, because one that brings less costs more than it brings.
    pub(crate) fn read_max(&self) -> usize {
        (self.slots / 2).clamp(BATCH_MAX, READ_MAX)
    }

    /// A read that has not returned by then, not even with nothing, never will. The client's own time-out comes first where
    /// BLOCK is short.
    pub(crate) fn read_limit(&self) -> Duration {
        (self.block * 3).max(self.block + Duration::from_secs(3))
    }
}

/// What the other stages have in hand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    /// Entries in all.
    pub(crate) held: usize,
    /// Of these, those that do not wait outside their slots.
    pub(crate) at_hand: usize,
    /// Those that wait or run.
    pub(crate) taken_slots: usize,
    /// Those that run.
    pub(crate) running: usize,
    /// Those that back off, or wait outside their slots.
    pub(crate) backing_off: usize,
    /// Those that have ended and are not settled.
    pub(crate) ending: usize,
    /// Bytes of payloads.
    pub(crate) bytes: usize,
    /// Settles under way.
    pub(crate) settles: usize,
    /// Hand-backs under way.
    pub(crate) hand_backs: usize,
}

impl Load {
    /// With so many settles and hand-backs under way.
    pub(crate) fn of(holdings: &Holdings, settles: usize, hand_backs: usize) -> Self {
        let running = holdings.count(HoldStage::Running);
        Self {
            held: holdings.len(),
            at_hand: holdings.at_hand(),
            taken_slots: holdings.count(HoldStage::Waiting) + running,
            running,
            backing_off: holdings.count(HoldStage::BackingOff) + holdings.count(HoldStage::Outside),
            ending: holdings.count(HoldStage::Ending),
            bytes: holdings.bytes(),
            settles,
            hand_backs,
        }
    }
}
