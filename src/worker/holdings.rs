//! The entries this process holds. Pure.
//!
//! A [`Held`] is the only proof that an entry is ours; it moves from stage to stage, cannot be copied, and ends here.
//! What is in no stage is in no map: the two sides are checked against each other.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::contract::Fields;
use crate::contract::dead_letter::Kept;
use crate::stream::entry_id::EntryId;
use crate::stream::{Delivery, Origin};

/// One entry in our hands.
#[must_use = "an entry that is held must be settled, given back, or let go"]
#[derive(Debug)]
pub struct Held {
    id: EntryId,
    /// How often it has been delivered.
    pub deliveries: u64,
    /// How often a process died with it.
    pub crashes: u64,
    /// How often the start service failed with it.
    pub failures: u64,
    /// Something may have been written down about its attempts in this process.
    pub was_counted: bool,
    /// When this process got it, or told the last failure of it.
    pub since: Instant,
    /// How it came.
    pub origin: Origin,
    /// The payload, until it is decoded; none while it is in the stream alone.
    pub fields: Option<Fields>,
    /// What is kept of it for a dead letter, from then on.
    pub kept: Kept,
}

pub use crate::stream::lua::SUSPECT_CRASHES;

impl Held {
    /// Has it been there when processes died, more often than chance would have it?
    pub fn is_suspect(&self) -> bool {
        self.crashes >= SUSPECT_CRASHES
    }

    /// May anything be written down about its attempts?
    pub fn may_have_attempts(&self) -> bool {
        // A claim may have written down more than crashes.
        self.crashes > 0 || self.failures > 0 || self.was_counted || self.origin == Origin::Claimed
    }

    /// The entry's id.
    pub fn id(&self) -> EntryId {
        self.id
    }
}

/// Where an entry is in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Read, not started: it takes a slot.
    Waiting,
    /// Being started: it takes a slot.
    Running,
    /// Waiting for its next attempt: its slot is free for others.
    BackingOff,
    /// Answered, not yet settled.
    Ending,
    /// Being given back, and not renewed any more: a renewal behind the hand-back would take it for ours again.
    GoingBack,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    stage: Stage,
    since: Instant,
    bytes: usize,
}

/// Everything this process holds.
#[derive(Debug, Default)]
pub struct Holdings {
    places: HashMap<EntryId, Place>,
    counts: [usize; 5],
    bytes: usize,
}

impl Holdings {
    /// Takes a delivery into our hands; nothing where we hold it already, and then it is only refreshed.
    pub fn take(&mut self, delivery: Delivery, now: Instant) -> Option<Held> {
        if self.places.contains_key(&delivery.id) {
            return None;
        }
        let bytes = delivery.bytes();
        self.places.insert(delivery.id, Place { stage: Stage::Waiting, since: now, bytes });
        self.bytes += bytes;
        self.counts[index(Stage::Waiting)] += 1;
        Some(Held {
            id: delivery.id,
            deliveries: delivery.deliveries,
            crashes: delivery.crashes,
            failures: delivery.failures,
            was_counted: false,
            since: now,
            origin: delivery.origin,
            fields: delivery.fields,
            kept: Kept::default(),
        })
    }

    /// The entry moves to another stage.
    pub fn enter(&mut self, held: &Held, stage: Stage) {
        let place = self.places.get_mut(&held.id).expect("a Held is always in the holdings that made it");
        self.counts[index(place.stage)] -= 1;
        self.counts[index(stage)] += 1;
        place.stage = stage;
    }

    /// What is held of the entry takes so many bytes now.
    pub fn resize(&mut self, held: &Held, bytes: usize) {
        let place = self.places.get_mut(&held.id).expect("a Held is always in the holdings that made it");
        self.bytes = self.bytes - place.bytes + bytes;
        place.bytes = bytes;
    }

    /// The entry leaves our hands: settled, given back, or another's.
    #[expect(clippy::needless_pass_by_value, reason = "a Held ends here and nowhere else")]
    pub fn let_go(&mut self, held: Held) {
        let place = self.places.remove(&held.id).expect("a Held is always in the holdings that made it");
        self.counts[index(place.stage)] -= 1;
        self.bytes -= place.bytes;
    }

    /// Is this entry in our hands?
    pub fn stage(&self, id: EntryId) -> Option<Stage> {
        self.places.get(&id).map(|place| place.stage)
    }

    /// How many entries are in this stage.
    pub fn count(&self, stage: Stage) -> usize {
        self.counts[index(stage)]
    }

    /// How many entries we hold in all.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of all payloads we hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Do we hold nothing?
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Of `slots`, how many are free for entries that are not here yet.
    pub fn free(&self, slots: usize) -> usize {
        slots.saturating_sub(self.count(Stage::Waiting) + self.count(Stage::Running))
    }

    /// What is to be renewed: everything that is not given back, unless it has been here for longer than `max_run`.
    pub fn to_renew(&self, now: Instant, max_run: Duration) -> Vec<EntryId> {
        let is_renewed = |place: &Place| place.stage != Stage::GoingBack && now.duration_since(place.since) < max_run;
        self.places.iter().filter(|(_, place)| is_renewed(place)).map(|(&id, _)| id).collect()
    }

    /// Every entry we hold.
    pub fn ids(&self) -> Vec<EntryId> {
        self.places.keys().copied().collect()
    }
}

fn index(stage: Stage) -> usize {
    match stage {
        Stage::Waiting => 0,
        Stage::Running => 1,
        Stage::BackingOff => 2,
        Stage::Ending => 3,
        Stage::GoingBack => 4,
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
            deliveries: 1,
            crashes: 0,
            failures: 0,
            fields: Some(vec![(Bytes::from_static(b"n"), vec![b'x'; usize::try_from(ms).expect("few")].into())]),
        }
    }

    const STAGES: [Stage; 5] = [Stage::Waiting, Stage::Running, Stage::BackingOff, Stage::Ending, Stage::GoingBack];

    proptest! {
        /// Against a model that is a plain list.
        #[test]
        fn nothing_is_forgotten_and_nothing_is_held_twice(steps in proptest::collection::vec((0..12_u64, 0..7_usize), 0..200)) {
            let now = Instant::now();
            let (mut holdings, mut model) = (Holdings::default(), Vec::<(Held, Stage)>::new());
            for (ms, step) in steps {
                let at = model.iter().position(|(held, _)| held.id.ms == ms);
                match (step, at) {
                    (0, _) => match holdings.take(delivery(ms), now) {
                        Some(held) => { prop_assert!(at.is_none()); model.push((held, Stage::Waiting)); }
                        None => prop_assert!(at.is_some()),
                    },
                    (6, Some(at)) => holdings.let_go(model.swap_remove(at).0),
                    (1..=5, Some(at)) => { let stage = STAGES[step - 1]; holdings.enter(&model[at].0, stage); model[at].1 = stage; }
                    _ => {}
                }
                prop_assert_eq!(holdings.len(), model.len());
                let bytes: usize = model.iter().map(|(held, _)| held.fields.as_deref().map_or(0, crate::contract::dead_letter::size_of)).sum();
                prop_assert_eq!(holdings.bytes(), bytes);
                for stage in STAGES {
                    prop_assert_eq!(holdings.count(stage), model.iter().filter(|(_, s)| *s == stage).count());
                }
                let used = model.iter().filter(|(_, s)| matches!(s, Stage::Waiting | Stage::Running)).count();
                prop_assert_eq!(holdings.free(4), 4_usize.saturating_sub(used));
            }
            let mut ids = holdings.to_renew(now, Duration::from_secs(1));
            ids.sort();
            let renewed = model.iter().filter(|(_, stage)| *stage != Stage::GoingBack);
            let mut expected: Vec<EntryId> = renewed.map(|(held, _)| held.id).collect();
            expected.sort();
            prop_assert_eq!(ids, expected);
            prop_assert!(holdings.to_renew(now + Duration::from_secs(1), Duration::from_secs(1)).is_empty());
        }
    }
}
