//! What was sent and what has been seen of it: one book for the sending and the observing side.
//!
//! Times are counted from the beginning of the run; latencies from when an entry was due, not from when it left. So a
//! system that makes its senders wait does not look faster for it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::lobby::accounting::Sent;
use crate::stream::entry_id::EntryId;

/// One entry that Redis has taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// What is due for it.
    pub(crate) due: Sent,
    /// When it was to be sent.
    pub(crate) intended: Duration,
    /// When it left.
    pub(crate) left: Duration,
    /// When its first answer was seen.
    pub(crate) seen: Option<Duration>,
}

/// An answer as it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// The entry it is for.
    pub(crate) source: EntryId,
    /// When it was read.
    pub(crate) seen: Duration,
    /// When Redis took it, Unix ms by Redis's clock.
    pub(crate) settled_ms: u64,
    /// When the start service had answered, Unix ms by the worker's clock; none in a dead letter.
    pub(crate) finished_ms: Option<u64>,
    /// An outcome that is a success.
    pub(crate) is_success: bool,
    /// A dead letter.
    pub(crate) is_dead_letter: bool,
}

/// One second of the run.
#[derive(Debug, Clone)]
pub(crate) struct Second {
    /// Entries that left.
    pub(crate) sent: u64,
    /// Outcomes seen, and dead letters of entries that are no jobs.
    pub(crate) answered: u64,
    /// Sent and not answered at its end.
    pub(crate) in_flight: u64,
    /// Latencies of the outcomes seen in it.
    pub(crate) latency: Histogram<u64>,
}

/// Latencies by stage, microseconds, all from the intended send.
#[derive(Debug, Clone)]
pub(crate) struct Stages {
    /// Until Redis's answer to the XADD was read.
    pub(crate) appended: Histogram<u64>,
    /// Until the start service had answered, by the worker's clock in whole milliseconds.
    pub(crate) finished: Histogram<u64>,
    /// Until Redis took the outcome, by its clock in whole milliseconds.
    pub(crate) settled: Histogram<u64>,
    /// Until a blocked reader had the outcome.
    pub(crate) seen: Histogram<u64>,
    /// The same from when the entry really left.
    pub(crate) service: Histogram<u64>,
}

/// The book.
#[derive(Debug)]
pub(crate) struct Books {
    /// The beginning of the run, Unix ms.
    pub(crate) began_at_ms: u64,
    /// Entries that were due before this are sent and accounted for, and not measured.
    warmup: Duration,
    /// Every entry that Redis has taken.
    pub(crate) entries: HashMap<EntryId, Entry>,
    /// Answers read before the reply to their XADD.
    early: HashMap<EntryId, Answer>,
    /// Entries that Redis had taken and no longer has, and what was due for them: what it lost when it was killed, or
    /// when a replica that lagged took its place.
    pub(crate) forgotten: HashMap<EntryId, Sent>,
    /// Sends that left.
    pub(crate) left: u64,
    /// Sends that left later than allowed.
    pub(crate) late: u64,
    /// Sends that Redis refused, that could not leave, or whose reply was lost.
    pub(crate) failed: u64,
    /// Entries with an answer.
    pub(crate) answered: u64,
    /// Jobs whose answer was a success.
    pub(crate) successes: u64,
    /// By stage.
    pub(crate) stages: Stages,
    /// By second.
    pub(crate) seconds: Vec<Second>,
}

/// Longer is recorded as this.
const LATENCY_MAX_US: u64 = 3_600_000_000;

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("the bounds are in order and three digits are allowed")
}

fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US);
    histogram.saturating_record(micros.clamp(1, LATENCY_MAX_US));
}

impl Books {
    /// An empty book.
    pub(crate) fn new(began_at_ms: u64, warmup: Duration) -> Self {
        let stages = Stages {
            appended: histogram(),
            finished: histogram(),
            settled: histogram(),
            seen: histogram(),
            service: histogram(),
        };
        Self {
            began_at_ms,
            warmup,
            entries: HashMap::new(),
            early: HashMap::new(),
            forgotten: HashMap::new(),
            left: 0,
            late: 0,
            failed: 0,
            answered: 0,
            successes: 0,
            stages,
            seconds: Vec::new(),
        }
    }

    /// Sent and neither answered nor failed.
    pub(crate) fn in_flight(&self) -> u64 {
        let gone = self.answered + self.failed + self.forgotten.len() as u64;
        (self.left + self.early.len() as u64).saturating_sub(gone)
    }

    /// Entries left at this moment, of which so many were late.
    pub(crate) fn departed(&mut self, at: Duration, count: u64, late: u64) {
        self.left += count;
        self.late += late;
        self.second(at).sent += count;
    }

    /// Redis has taken an entry.
    pub(crate) fn appended(&mut self, id: EntryId, entry: Entry, at: Duration) {
        if entry.intended >= self.warmup {
            record(&mut self.stages.appended, at.saturating_sub(entry.intended));
        }
        self.entries.insert(id, entry);
        if let Some(answer) = self.early.remove(&id) {
            self.saw(&answer);
        }
    }

    /// An answer was read.
    pub(crate) fn saw(&mut self, answer: &Answer) {
        if self.forgotten.contains_key(&answer.source) {
            return;
        }
        let Some(entry) = self.entries.get_mut(&answer.source) else {
            self.early.insert(answer.source, *answer);
            return;
        };
        // Poison has an outcome and a dead letter, in one step; the outcome is what is due.
        if answer.is_dead_letter && entry.due == Sent::Job || entry.seen.is_some() {
            return;
        }
        entry.seen = Some(answer.seen);
        let entry = *entry;
        self.answered += 1;
        self.successes += u64::from(answer.is_success);
        let is_measured = entry.intended >= self.warmup && entry.due == Sent::Job;
        let latency = answer.seen.saturating_sub(entry.intended);
        let second = self.second(answer.seen);
        second.answered += 1;
        if is_measured {
            record(&mut second.latency, latency);
            record(&mut self.stages.seen, latency);
            record(&mut self.stages.service, answer.seen.saturating_sub(entry.left));
            let settled = self.since(entry.intended, answer.settled_ms);
            record(&mut self.stages.settled, settled);
            if let Some(finished) = answer.finished_ms {
                let finished = self.since(entry.intended, finished);
                record(&mut self.stages.finished, finished);
            }
        }
    }

    /// From the intended send to a moment on the wall clock.
    fn since(&self, intended: Duration, wall_ms: u64) -> Duration {
        Duration::from_millis(wall_ms.saturating_sub(self.began_at_ms)).saturating_sub(intended)
    }

    fn second(&mut self, at: Duration) -> &mut Second {
        let index = usize::try_from(at.as_secs()).unwrap_or(usize::MAX);
        self.seconds_until(index);
        &mut self.seconds[index]
    }

    fn seconds_until(&mut self, index: usize) {
        let in_flight = self.in_flight();
        while self.seconds.len() <= index {
            if let Some(last) = self.seconds.last_mut() {
                last.in_flight = in_flight;
            }
            self.seconds.push(Second { sent: 0, answered: 0, in_flight, latency: histogram() });
        }
    }

    /// Keeps the series going while nothing happens.
    pub(crate) fn tick(&mut self, at: Duration) {
        let in_flight = self.in_flight();
        self.second(at).in_flight = in_flight;
    }

    /// The latencies of the last whole seconds.
    pub(crate) fn recent(&self, seconds: usize) -> Histogram<u64> {
        let mut sum = histogram();
        for second in self.seconds.iter().rev().take(seconds) {
            // Both have the same bounds.
            sum.add(&second.latency).ok();
        }
        sum
    }

    /// Entries that Redis has taken and that have no answer.
    pub(crate) fn unanswered(&self) -> Vec<EntryId> {
        self.entries.iter().filter(|(_, entry)| entry.seen.is_none()).map(|(id, _)| *id).collect()
    }

    /// Takes out what Redis does not have any more and what has no answer.
    pub(crate) fn forget_absent(&mut self, present: &HashSet<EntryId>) {
        let absent = |(id, entry): (&EntryId, &Entry)| (entry.seen.is_none() && !present.contains(id)).then_some(*id);
        let gone: Vec<EntryId> = self.entries.iter().filter_map(absent).collect();
        for id in gone {
            let due = self.entries.remove(&id).map(|entry| entry.due);
            self.forgotten.extend(due.map(|due| (id, due)));
        }
    }

    /// From a moment until the last of these was answered, but for those that Redis lost; none where one was not.
    pub(crate) fn recovery(&self, ids: &[EntryId], from: Duration) -> Option<Duration> {
        let mut last = Duration::ZERO;
        for id in ids.iter().filter(|id| !self.forgotten.contains_key(id)) {
            last = last.max(self.entries.get(id)?.seen?.saturating_sub(from));
        }
        Some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn entry(intended: u64, due: Sent) -> Entry {
        Entry { due, intended: MS(intended), left: MS(intended + 2), seen: None }
    }

    fn answer(source: u64, seen: u64) -> Answer {
        Answer {
            source: id(source),
            seen: MS(seen),
            settled_ms: 1_000 + seen - 1,
            finished_ms: Some(1_000 + seen - 3),
            is_success: true,
            is_dead_letter: false,
        }
    }

    #[test]
    fn latency_counts_from_the_intended_send_whichever_side_is_first() {
        let mut books = Books::new(1_000, MS(0));
        books.departed(MS(12), 2, 0);
        books.saw(&answer(1, 30));
        assert_eq!(books.answered, 0);
        books.appended(id(1), entry(10, Sent::Job), MS(13));
        books.appended(id(2), entry(10, Sent::Job), MS(13));
        books.saw(&answer(2, 30));
        books.saw(&answer(2, 90));
        assert_eq!((books.answered, books.in_flight(), books.unanswered().len()), (2, 0, 0));
        let near = |histogram: &Histogram<u64>, ms: u64| histogram.max().abs_diff(ms * 1_000) <= 20;
        assert!(near(&books.stages.seen, 20) && near(&books.stages.service, 18), "{:?}", books.stages.seen.max());
        assert!(near(&books.stages.settled, 19) && near(&books.stages.finished, 17) && near(&books.stages.appended, 3));
        assert_eq!(books.recovery(&[id(1), id(2)], MS(20)), Some(MS(10)));
        assert_eq!(books.recovery(&[id(3)], MS(20)), None);
        books.departed(MS(40), 1, 0);
        books.appended(id(3), entry(40, Sent::Job), MS(41));
        books.forget_absent(&HashSet::from([id(2)]));
        assert_eq!((books.in_flight(), books.entries.len(), books.forgotten.len()), (0, 2, 1));
        assert_eq!(books.recovery(&[id(1), id(3)], MS(20)), Some(MS(10)));
        // A worker that held it answers it all the same: it is no answer from before its XADD.
        books.saw(&answer(3, 95));
        assert_eq!((books.in_flight(), books.answered, &books.forgotten), (0, 2, &HashMap::from([(id(3), Sent::Job)])));
    }

    #[test]
    fn the_warm_up_is_accounted_for_and_not_measured() {
        let mut books = Books::new(1_000, MS(100));
        books.departed(MS(50), 1, 0);
        books.appended(id(1), entry(50, Sent::Job), MS(51));
        books.saw(&answer(1, 60));
        assert_eq!((books.answered, books.stages.seen.len()), (1, 0));
    }

    #[test]
    fn a_dead_letter_answers_only_what_is_no_job() {
        let mut books = Books::new(1_000, MS(0));
        books.departed(MS(1), 2, 0);
        books.appended(id(1), entry(1, Sent::Job), MS(2));
        books.appended(id(2), entry(1, Sent::Malformed), MS(2));
        for source in [1, 2] {
            books.saw(&Answer { is_dead_letter: true, is_success: false, ..answer(source, 9) });
        }
        assert_eq!((books.answered, books.unanswered()), (1, vec![id(1)]));
    }
}
