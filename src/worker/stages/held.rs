//! The entries this process holds.
//!
//! A [`Held`] is the only proof that an entry is ours. It moves from stage to stage, cannot be copied, and ends here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::contract::Fields;
use crate::contract::dead_letter::Kept;
use crate::stream::entry_id::EntryId;
use crate::stream::lua::SUSPECT_CRASHES;
use crate::stream::mark::Cancel;
use crate::stream::{Delivery, Origin};
use crate::worker::spans::Traced;

/// Which of the streams a worker reads an entry came from. There is one for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Partition(pub(crate) u16);

impl Partition {
    /// The one that there is.
    pub(crate) const ONLY: Self = Self(0);
}

/// An entry among all that this process holds: ids are unique in their stream alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryKey {
    /// Its stream.
    pub(crate) partition: Partition,
    /// Its id there.
    pub(crate) id: EntryId,
}

impl EntryKey {
    /// The key of an entry of the one stream that there is.
    pub(crate) fn of(id: EntryId) -> Self {
        Self { partition: Partition::ONLY, id }
    }
}

/// One entry in our hands.
#[must_use = "an entry that is held must be settled, given back, or let go"]
#[derive(Debug)]
pub(crate) struct Held {
    key: EntryKey,
    /// How often it has been delivered.
    pub(crate) deliveries: u64,
    /// How often a process died with it.
    pub(crate) crashes: u64,
    /// How often the start service failed with it.
    pub(crate) failures: u64,
    /// Something may have been written down about its attempts in this process.
    pub(crate) was_counted: bool,
    /// When this process got it, or told the last failure of it.
    pub(crate) since: Instant,
    /// It came alone, while the host was sick or full, to find out whether the host still is.
    pub(crate) is_canary: bool,
    /// How it came.
    pub(crate) origin: Origin,
    /// The dead replica it was taken from; a lease of that replica is not waited for.
    pub(crate) dead_owner: Option<Arc<str>>,
    /// The payload, until it is decoded; none while it is in the stream alone.
    pub(crate) fields: Option<Fields>,
    /// What is kept of it for a dead letter, from then on.
    pub(crate) kept: Kept,
    /// What is recorded of it, from then on.
    pub(crate) traced: Traced,
}

impl Held {
    /// Has it been there when processes died, more often than chance would have it?
    pub(crate) fn is_suspect(&self) -> bool {
        self.crashes >= SUSPECT_CRASHES
    }

    /// May anything be written down about its attempts?
    pub(crate) fn may_have_attempts(&self) -> bool {
        // A claim may have written down more than crashes, and what was handed over may be found as if its delivery was lost.
        self.crashes > 0 || self.failures > 0 || self.was_counted || self.origin != Origin::New
    }

    /// The entry's id in its stream.
    pub(crate) fn id(&self) -> EntryId {
        self.key.id
    }

    /// The entry among all that this process holds.
    pub(crate) fn key(&self) -> EntryKey {
        self.key
    }
}

/// Where an entry is in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldStage {
    /// Read, not started: it takes a slot.
    Waiting,
    /// Being started: it takes a slot.
    Running,
    /// Being started, and waiting for something that takes nothing from this replica: its slot is free for others.
    Outside,
    /// Waiting for its next attempt: its slot is free for others.
    BackingOff,
    /// Answered, not yet settled.
    Ending,
    /// Being given back, and not renewed any more: a renewal behind the hand-back would take it for ours again.
    GoingBack,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    stage: HoldStage,
    since: Instant,
    bytes: usize,
}

/// Everything this process holds.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    places: HashMap<EntryKey, Place>,
    counts: [usize; 6],
    bytes: usize,
    /// Those that an operator wants cancelled.
    cancelled: HashMap<EntryKey, Arc<Cancel>>,
}

impl Holdings {
    /// Takes a delivery into our hands; nothing where we hold it already, and then it is only refreshed.
    pub(crate) fn take(&mut self, delivery: Delivery, now: Instant) -> Option<Held> {
        let key = EntryKey::of(delivery.id);
        if self.places.contains_key(&key) {
            return None;
        }
        let bytes = delivery.bytes();
        self.places.insert(key, Place { stage: HoldStage::Waiting, since: now, bytes });
        self.bytes += bytes;
        self.counts[index(HoldStage::Waiting)] += 1;
        Some(Held {
            key,
            deliveries: delivery.deliveries,
            crashes: delivery.crashes,
            failures: delivery.failures,
            was_counted: false,
            since: now,
            is_canary: false,
            origin: delivery.origin,
            dead_owner: delivery.dead_owner,
            fields: delivery.fields,
            kept: Kept::default(),
            traced: Traced::default(),
        })
    }

    /// The entry moves to another stage.
    pub(crate) fn enter(&mut self, held: &Held, stage: HoldStage) {
        self.enter_key(held.key, stage);
    }

    /// An entry that a stage has in hand moves to another stage of its own there.
    pub(crate) fn enter_key(&mut self, key: EntryKey, stage: HoldStage) {
        let place = self.places.get_mut(&key).expect("what a stage has in hand is held");
        self.counts[index(place.stage)] -= 1;
        self.counts[index(stage)] += 1;
        place.stage = stage;
    }

    /// What is held of the entry takes so many bytes now.
    pub(crate) fn resize(&mut self, held: &Held, bytes: usize) {
        let place = self.places.get_mut(&held.key).expect("a Held is always in the holdings that made it");
        self.bytes = self.bytes - place.bytes + bytes;
        place.bytes = bytes;
    }

    /// The entry leaves our hands: settled, given back, or another's.
    #[expect(clippy::needless_pass_by_value, reason = "a Held ends here and nowhere else")]
    pub(crate) fn let_go(&mut self, held: Held) {
        let place = self.places.remove(&held.key).expect("a Held is always in the holdings that made it");
        self.counts[index(place.stage)] -= 1;
        self.bytes -= place.bytes;
        self.cancelled.remove(&held.key);
    }

    /// An operator wants this entry cancelled. False where that was known, or the entry is on its way out of our hands.
    pub(crate) fn cancel(&mut self, key: EntryKey, cancel: Arc<Cancel>) -> bool {
        let is_open = !matches!(self.stage(key), None | Some(HoldStage::Ending | HoldStage::GoingBack));
        is_open && self.cancelled.insert(key, cancel).is_none()
    }

    /// Who wants this entry cancelled, and why.
    pub(crate) fn cancelled(&self, key: EntryKey) -> Option<&Arc<Cancel>> {
        self.cancelled.get(&key)
    }

    /// In which stage this entry is; nothing where we do not hold it.
    pub(crate) fn stage(&self, key: EntryKey) -> Option<HoldStage> {
        self.places.get(&key).map(|place| place.stage)
    }

    /// How many entries are in this stage.
    pub(crate) fn count(&self, stage: HoldStage) -> usize {
        self.counts[index(stage)]
    }

    /// How many entries we hold in all.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many entries we hold that do not wait outside their slots.
    pub(crate) fn at_hand(&self) -> usize {
        self.len() - self.count(HoldStage::Outside)
    }

    /// Bytes of all payloads we hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Do we hold nothing?
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What is to be renewed: everything that is not given back, unless it has been here for longer than `max_run`.
    pub(crate) fn to_renew(&self, now: Instant, max_run: Duration) -> Vec<EntryId> {
        let is_renewed =
            |place: &Place| place.stage != HoldStage::GoingBack && now.duration_since(place.since) < max_run;
        self.places.iter().filter(|(_, place)| is_renewed(place)).map(|(key, _)| key.id).collect()
    }

    /// Every entry we hold.
    pub(crate) fn ids(&self) -> Vec<EntryId> {
        self.places.keys().map(|key| key.id).collect()
    }
}

fn index(stage: HoldStage) -> usize {
    match stage {
        HoldStage::Waiting => 0,
        HoldStage::Running => 1,
        HoldStage::BackingOff => 2,
        HoldStage::Ending => 3,
        HoldStage::GoingBack => 4,
        HoldStage::Outside => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn delivery(ms: u64) -> Delivery {
        Delivery {
            id: EntryId { ms, seq: 0 },
            origin: Origin::New,
            dead_owner: None,
            deliveries: 1,
            crashes: 0,
            failures: 0,
            fields: Some(vec![(Bytes::from_static(b"n"), vec![b'x'; usize::try_from(ms).expect("few")].into())]),
        }
    }

    const STAGES: [HoldStage; 6] = [
        HoldStage::Waiting,
        HoldStage::Running,
        HoldStage::Outside,
        HoldStage::BackingOff,
        HoldStage::Ending,
        HoldStage::GoingBack,
    ];

    proptest! {
        /// Against a model that is a plain list.
        #[test]
        fn nothing_is_forgotten_and_nothing_is_held_twice(steps in proptest::collection::vec((0..12_u64, 0..8_usize), 0..200)) {
            let now = Instant::now();
            let (mut holdings, mut model) = (Holdings::default(), Vec::<(Held, HoldStage)>::new());
            for (ms, step) in steps {
                let at = model.iter().position(|(held, _)| held.id().ms == ms);
                match (step, at) {
                    (0, _) => match holdings.take(delivery(ms), now) {
                        Some(held) => { prop_assert!(at.is_none()); model.push((held, HoldStage::Waiting)); }
                        None => prop_assert!(at.is_some()),
                    },
                    (7, Some(at)) => holdings.let_go(model.swap_remove(at).0),
                    (1..=6, Some(at)) => { let stage = STAGES[step - 1]; holdings.enter(&model[at].0, stage); model[at].1 = stage; }
                    _ => {}
                }
                prop_assert_eq!(holdings.len(), model.len());
                let bytes: usize = model.iter().map(|(held, _)| held.fields.as_deref().map_or(0, crate::contract::dead_letter::size_of)).sum();
                prop_assert_eq!(holdings.bytes(), bytes);
                for stage in STAGES {
                    prop_assert_eq!(holdings.count(stage), model.iter().filter(|(_, s)| *s == stage).count());
                }
            }
            let mut ids = holdings.to_renew(now, Duration::from_secs(1));
            ids.sort();
            let renewed = model.iter().filter(|(_, stage)| *stage != HoldStage::GoingBack);
            let mut expected: Vec<EntryId> = renewed.map(|(held, _)| held.id()).collect();
            expected.sort();
            prop_assert_eq!(ids, expected);
            prop_assert!(holdings.to_renew(now + Duration::from_secs(1), Duration::from_secs(1)).is_empty());
        }
    }
}
