//! The payloads of entries that came by their ids alone: claimed ones, and those whose reply was lost.
//!
//! One list of them is read at a time, and beside it one entry that did not arrive together with others.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::command::Command;
use super::held::{EntryKey, Held};
use super::turn::Turn;
use crate::stream::fetch::{Fetched, Payload, Want};

/// The entries whose payload has to be read.
#[derive(Debug)]
pub(crate) struct Payloads {
    /// An entry that crashed processes more often than this is not read whole again.
    crash_budget: u64,
    unread: Vec<Held>,
    stuck: VecDeque<Held>,
    due: Instant,
    is_reading: bool,
    is_reading_stuck: bool,
    end: End,
}

/// Whether what is under way is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    No,
    /// From this moment on it is.
    Wanted(Instant),
    /// It has been told, and what it brings goes back.
    Told,
}

/// What became of entries whose payload was read.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    /// With their payloads.
    pub(crate) payloads: Vec<(Held, Payload)>,
    /// To be given back unread.
    pub(crate) unread: Vec<Held>,
}

impl Payloads {
    /// Nothing to read yet.
    pub(crate) fn new(crash_budget: u64, now: Instant) -> Self {
        Self {
            crash_budget,
            unread: Vec::new(),
            stuck: VecDeque::new(),
            due: now,
            is_reading: false,
            is_reading_stuck: false,
            end: End::No,
        }
    }

    /// The payload of this entry has to be read.
    pub(crate) fn push(&mut self, held: Held) {
        self.unread.push(held);
    }

    fn has_next(&self) -> bool {
        self.end == End::No
            && ((!self.unread.is_empty() && !self.is_reading) || (!self.stuck.is_empty() && !self.is_reading_stuck))
    }

    /// When something may begin.
    pub(crate) fn wake(&self) -> Option<Instant> {
        match self.end {
            End::Wanted(since) => Some(since),
            End::No | End::Told => self.has_next().then_some(self.due),
        }
    }

    /// What begins.
    pub(crate) fn next(&mut self, turn: &Turn) -> Option<Command> {
        if let End::Wanted(_) = self.end {
            self.end = End::Told;
            return Some(Command::EndFetches);
        }
        if !self.has_next() || self.due > turn.now {
            return None;
        }
        if !self.is_reading_stuck
            && let Some(held) = self.stuck.pop_front()
        {
            self.is_reading_stuck = true;
            let want = self.want(&held);
            return Some(Command::FetchStuck(held, want));
        }
        self.is_reading = true;
        let mut entries = std::mem::take(&mut self.unread);
        entries.sort_by_key(Held::id);
        let wanted = entries.into_iter().map(|held| {
            let want = self.want(&held);
            (held, want)
        });
        Some(Command::Fetch(wanted.collect()))
    }

    fn want(&self, held: &Held) -> Want {
        // The whole has killed processes often enough.
        if held.crashes > self.crash_budget { Want::JobFields } else { Want::Whole }
    }

    /// A list of payloads was read, as far as it was.
    pub(crate) fn fetched(&mut self, entries: Vec<Held>, fetched: Fetched, retry: Option<Instant>) -> Unpacked {
        self.is_reading = false;
        self.take(entries, fetched, retry)
    }

    /// The one beside it was read, or not.
    pub(crate) fn fetched_stuck(&mut self, held: Held, fetched: Fetched, retry: Option<Instant>) -> Unpacked {
        self.is_reading_stuck = false;
        self.take(vec![held], fetched, retry)
    }

    fn take(&mut self, entries: Vec<Held>, fetched: Fetched, retry: Option<Instant>) -> Unpacked {
        if let Some(retry_at) = retry {
            self.due = retry_at;
        }
        let mut read = Unpacked::default();
        if self.end != End::No {
            read.unread = entries;
            if !self.is_reading && !self.is_reading_stuck {
                self.end = End::No;
            }
            return read;
        }
        let mut is_stuck = fetched.is_next_stuck;
        let mut payloads = fetched.payloads.into_iter();
        for held in entries {
            match payloads.next() {
                Some(payload) => read.payloads.push((held, payload)),
                // An entry that does not arrive is waited for alone, while the others go on.
                None if std::mem::take(&mut is_stuck) => self.stuck.push_back(held),
                None => self.unread.push(held),
            }
        }
        read
    }

    /// Everything that is not read yet, to be given back. What is being read comes back unread.
    pub(crate) fn give_up(&mut self, turn: &Turn) -> Vec<Held> {
        if self.end == End::No && (self.is_reading || self.is_reading_stuck) {
            self.end = End::Wanted(turn.now);
        }
        let stuck = std::mem::take(&mut self.stuck);
        std::mem::take(&mut self.unread).into_iter().chain(stuck).collect()
    }

    /// Another consumer has this entry; answers it, where it waits to be read.
    pub(crate) fn lost(&mut self, key: EntryKey) -> Option<Held> {
        if let Some(at) = self.unread.iter().position(|held| held.key() == key) {
            return Some(self.unread.remove(at));
        }
        let at = self.stuck.iter().position(|held| held.key() == key)?;
        self.stuck.remove(at)
    }

    /// Redis answers again.
    pub(crate) fn hurry(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::entry_id::EntryId;
    use crate::stream::{Delivery, Origin};
    use crate::worker::stages::held::Holdings;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// Every entry leaves once, read or unread; one list and one stuck entry are read at a time; waking and beginning agree.
        #[test]
        fn every_entry_leaves_once(steps in proptest::collection::vec((0..6_u8, 0..40_u64), 1..150)) {
            let start = Instant::now();
            let (mut payloads, mut holdings, mut now) = (Payloads::new(2, start), Holdings::default(), start);
            let (mut pushed, mut list, mut stuck, mut left) = (0, None::<Vec<Held>>, None::<Held>, Vec::new());
            for (step, number) in steps {
                now += Duration::from_millis(number);
                let turn = Turn { now, random: 0.0 };
                let retry = (number.is_multiple_of(4)).then_some(now + Duration::from_millis(number));
                match step {
                    0 | 1 => {
                        let (id, origin) = (EntryId { ms: pushed, seq: 0 }, Origin::Claimed);
                        let delivery = Delivery { id, origin, dead_owner: None, deliveries: 2, crashes: number % 5, failures: 0, fields: None };
                        payloads.push(holdings.take(delivery, now).expect("new"));
                        pushed += 1;
                    }
                    2 => if let Some(entries) = list.take() {
                        let count = usize::try_from(number).expect("few").min(entries.len());
                        let some = vec![Payload::Gone; count];
                        let fetched = Fetched { payloads: some, is_next_stuck: number.is_multiple_of(3), failed: None };
                        let read = payloads.fetched(entries, fetched, retry);
                        left.extend(read.payloads.into_iter().map(|(held, _)| held).chain(read.unread));
                    },
                    3 => if let Some(held) = stuck.take() {
                        let some = vec![Payload::Gone; usize::from(number.is_multiple_of(2))];
                        let fetched = Fetched { payloads: some, is_next_stuck: number % 2 == 1, failed: None };
                        let read = payloads.fetched_stuck(held, fetched, retry);
                        left.extend(read.payloads.into_iter().map(|(held, _)| held).chain(read.unread));
                    },
                    4 if number.is_multiple_of(4) => left.extend(payloads.give_up(&turn)),
                    _ => left.extend(payloads.lost(EntryKey::of(EntryId { ms: number, seq: 0 }))),
                }
                loop {
                    let is_due = payloads.wake().is_some_and(|due| due <= now);
                    let next = payloads.next(&turn);
                    prop_assert_eq!(is_due, next.is_some());
                    match next {
                        Some(Command::Fetch(entries)) => {
                            prop_assert!(list.is_none() && !entries.is_empty());
                            prop_assert!(entries.iter().all(|(held, want)| (*want == Want::JobFields) == (held.crashes > 2)));
                            list = Some(entries.into_iter().map(|(held, _)| held).collect());
                        }
                        Some(Command::FetchStuck(held, _)) => { prop_assert!(stuck.is_none()); stuck = Some(held); }
                        Some(_) => prop_assert!(list.is_some() || stuck.is_some()),
                        None => break,
                    }
                }
            }
            let all = left.iter().chain(list.iter().flatten()).chain(&stuck).chain(&payloads.unread).chain(&payloads.stuck);
            let mut ids: Vec<u64> = all.map(|held| held.id().ms).collect();
            ids.sort_unstable();
            prop_assert_eq!(ids, (0..pushed).collect::<Vec<_>>());
        }
    }
}
