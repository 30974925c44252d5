//! What a replica has done since it last told, and what the fleet has done in a minute or an hour: the history of the fleet.
//!
//! Each minute and hour has one value in a ring of slots: the version, the number of the minute or hour since 1970, and words
//! `<name>=<number>`. The names are those of [`Tally::each`] and [`Record`]. The script adds what it is told to what it finds.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::latency::{BUCKETS, Latency};
use crate::contract::dead_letter::Reason;
use crate::contract::error_code::ErrorCode;
use crate::redis::packed::Strings;

/// Slots of the minutes: a day.
pub(crate) const MINUTES_KEPT: u64 = 24 * 60;
/// Slots of the hours: 30 days.
pub(crate) const HOURS_KEPT: u64 = 30 * 24;
/// What a value begins with. Names that a version does not know need no other one.
pub(super) const VALUE_VERSION: u64 = 1;
/// The longest value that is believed, in bytes. One with every name is half as long.
pub(crate) const VALUE_MAX: usize = 4_096;
/// The largest number that is believed: Lua's numbers are doubles.
const NUMBER_MAX: u64 = 1_000_000_000_000_000;

/// Between two looks at the stream, by one replica for the whole fleet.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// A code that is not in this version's list.
pub(crate) const OTHER: &str = "other";

/// What an outcome says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// A game was started.
    Started,
    /// A game ran already.
    Replayed,
    /// It failed so.
    Failed(ErrorCode),
    /// It failed with a code of another version.
    FailedOtherwise,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// Games that were started.
    pub(crate) started: u64,
    /// Games that ran already.
    pub(crate) replayed: u64,
    /// Failures, by their error code; a code of another version is [`OTHER`].
    pub(crate) failed: BTreeMap<&'static str, u64>,
    /// Dead letters, by their reason.
    pub(crate) dead: BTreeMap<&'static str, u64>,
    /// Entries claimed from other replicas.
    pub(crate) claimed: u64,
    /// How long outcomes took, from the entry of the job on.
    #[serde(flatten)]
    pub(crate) latency: Latency,
}

impl Tally {
    /// Is there nothing to tell?
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// An outcome was published, so long after its entry was appended.
    pub(crate) fn outcome(&mut self, told: Told, after: Duration) {
        match told {
            Told::Started => self.started += 1,
            Told::Replayed => self.replayed += 1,
            Told::Failed(code) => *self.failed.entry(code.as_str()).or_default() += 1,
            Told::FailedOtherwise => *self.failed.entry(OTHER).or_default() += 1,
        }
        self.latency.took(after);
    }

    /// So many dead letters were written.
    pub(crate) fn dead(&mut self, reason: Reason, letters: u64) {
        if letters > 0 {
            *self.dead.entry(reason.as_str()).or_default() += letters;
        }
    }

    /// So many entries were claimed.
    pub(crate) fn claimed(&mut self, entries: usize) {
        self.claimed += u64::try_from(entries).unwrap_or(u64::MAX);
    }

    /// Failures of all codes.
    pub(crate) fn failures(&self) -> u64 {
        self.failed.values().fold(0, |sum, &number| sum.saturating_add(number))
    }

    /// Dead letters of all reasons.
    pub(crate) fn dead_letters(&self) -> u64 {
        self.dead.values().fold(0, |sum, &number| sum.saturating_add(number))
    }

    /// Adds what another one counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.started = self.started.saturating_add(other.started);
        self.replayed = self.replayed.saturating_add(other.replayed);
        self.claimed = self.claimed.saturating_add(other.claimed);
        add_by_name(&mut self.failed, &other.failed);
        add_by_name(&mut self.dead, &other.dead);
        self.latency.add(&other.latency);
    }

    /// Each count that is not zero, under its name.
    fn each(&self, mut tell: impl FnMut(String, u64)) {
        let plain = [("started", self.started), ("replayed", self.replayed), ("claimed", self.claimed)];
        plain.into_iter().filter(|&(_, number)| number > 0).for_each(|(name, number)| tell(name.to_owned(), number));
        self.failed.iter().for_each(|(code, &number)| tell(format!("failed.{code}"), number));
        self.dead.iter().for_each(|(reason, &number)| tell(format!("dead.{reason}"), number));
        self.latency.buckets().for_each(|(bucket, number)| tell(format!("took.{bucket}"), number));
    }

    /// As the script takes it: each name, and its number.
    pub(super) fn push(&self, strings: &mut Strings) {
        self.each(|name, number| {
            strings.push(name.as_bytes());
            strings.push(number.min(NUMBER_MAX).to_string().as_bytes());
        });
    }

    /// The count under this name is so large. A name of a later version changes nothing.
    fn set(&mut self, name: &str, number: u64) {
        match name.split_once('.') {
            None => match name {
                "started" => self.started = number,
                "replayed" => self.replayed = number,
                "claimed" => self.claimed = number,
                _ => {}
            },
            Some(("failed", code)) => {
                let known = ErrorCode::ALL.into_iter().map(ErrorCode::as_str).find(|&known| known == code);
                *self.failed.entry(known.unwrap_or(OTHER)).or_default() += number;
            }
            Some(("dead", reason)) => {
                let known = Reason::ALL.into_iter().map(Reason::as_str).find(|&known| known == reason);
                *self.dead.entry(known.unwrap_or(OTHER)).or_default() += number;
            }
            Some(("took", bucket)) => {
                if let Some(bucket) = bucket.parse().ok().filter(|&bucket| bucket < BUCKETS) {
                    self.latency.add_to(bucket, number);
                }
            }
            Some(_) => {}
        }
    }
}

fn add_by_name(sums: &mut BTreeMap<&'static str, u64>, others: &BTreeMap<&'static str, u64>) {
    for (name, number) in others {
        let sum = sums.entry(name).or_default();
        *sum = sum.saturating_add(*number);
    }
}

/// What the fleet has done in a minute, an hour, or several of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    /// Jobs that were appended; none where the server does not count them (6.2), or was not asked.
    pub(crate) sent: Option<u64>,
    /// What was done.
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// The most jobs that were seen waiting; none where their number was not known.
    pub(crate) max_waiting: Option<u64>,
    /// The most entries that were seen pending.
    pub(crate) max_in_flight: Option<u64>,
}

impl Record {
    /// What the value of this minute or hour says; none where it is damaged, of another version, or of another time.
    pub(crate) fn read(value: &str, number: u64) -> Option<Self> {
        if value.len() > VALUE_MAX {
            return None;
        }
        let mut words = value.split(' ');
        let head = [words.next()?, words.next()?].map(str::parse::<u64>);
        if head != [Ok(VALUE_VERSION), Ok(number)] {
            return None;
        }
        let mut record = Self::default();
        for word in words {
            let (name, number) = word.split_once('=')?;
            let number = number.parse().ok().filter(|&number| number <= NUMBER_MAX)?;
            match name {
                "sent" => record.sent = Some(number),
                "max_waiting" => record.max_waiting = Some(number),
                "max_in_flight" => record.max_in_flight = Some(number),
                _ => record.tally.set(name, number),
            }
        }
        Some(record)
    }

    /// Adds what another time has: counts add up, and of the most the larger one stays.
    pub(crate) fn add(&mut self, other: &Self) {
        let sum = |one: u64, other: u64| one.saturating_add(other);
        self.sent = either(self.sent, other.sent, sum);
        self.max_waiting = either(self.max_waiting, other.max_waiting, u64::max);
        self.max_in_flight = either(self.max_in_flight, other.max_in_flight, u64::max);
        self.tally.add(&other.tally);
    }
}

fn either(one: Option<u64>, other: Option<u64>, both: impl Fn(u64, u64) -> u64) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(both(one, other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(tally: &Tally, number: u64) -> String {
        let mut value = format!("{VALUE_VERSION} {number}");
        tally.each(|name, number| {
            for part in [" ", &name, "=", &number.to_string()] {
                value.push_str(part);
            }
        });
        value
    }

    fn full(number: u64) -> Tally {
        let codes = ErrorCode::ALL.into_iter().map(ErrorCode::as_str).chain([OTHER]);
        let mut latency = Latency::default();
        (0..BUCKETS).for_each(|bucket| latency.add_to(bucket, number));
        Tally {
            started: number,
            replayed: number,
            failed: codes.map(|code| (code, number)).collect(),
            dead: Reason::ALL.into_iter().map(|reason| (reason.as_str(), number)).collect(),
            claimed: number,
            latency,
        }
    }

    #[test]
    fn a_value_with_every_name_is_half_as_long_as_the_longest() {
        let value =
            written(&full(99_999_999), 30_000_000) + " sent=99999999 max_waiting=99999999 max_in_flight=99999999";
        assert!(value.len() <= VALUE_MAX / 4 * 3, "{} bytes", value.len());
        let read = Record::read(&value, 30_000_000).expect("a record");
        assert_eq!((read.tally, read.sent), (full(99_999_999), Some(99_999_999)));
    }

    #[test]
    fn what_is_damaged_or_of_another_time_is_nothing() {
        let ok = "1 7 started=3 later=5 later.too=6 failed.later=2 took.250=1";
        let record = Record::read(ok, 7).expect("a record");
        assert_eq!((record.tally.started, record.tally.failed[OTHER]), (3, 2), "names of later versions do no harm");
        let long = format!("1 7 x={}", "0".repeat(VALUE_MAX));
        for damaged in [
            "",
            "1",
            "1 8 started=3",
            "2 7 started=3",
            "1 7 ",
            "1 7 started",
            "1 7 started=-3",
            "1 7 started=3\n",
            "1 7 started=1000000000000001",
            "{}",
            &long,
        ] {
            assert_eq!(Record::read(damaged, 7), None, "{damaged:?}");
        }
        assert_eq!(Record::read("1 7", 7), Some(Record::default()), "nothing happened");
    }

    #[test]
    fn of_what_is_not_known_the_rest_counts() {
        let mut sum = Record { sent: Some(2), max_waiting: Some(9), ..Record::default() };
        sum.add(&Record { sent: None, max_waiting: Some(3), max_in_flight: Some(4), ..Record::default() });
        assert_eq!((sum.sent, sum.max_waiting, sum.max_in_flight), (Some(2), Some(9), Some(4)));
    }

    fn tally() -> impl Strategy<Value = Tally> {
        let told = prop_oneof![
            Just(Told::Started),
            Just(Told::Replayed),
            (0..ErrorCode::ALL.len()).prop_map(|at| Told::Failed(ErrorCode::ALL[at])),
            Just(Told::FailedOtherwise),
        ];
        proptest::collection::vec((told, 0..5_000_000_u64, 0..5_usize), 0..60).prop_map(|steps| {
            let mut tally = Tally::default();
            for (told, ms, which) in steps {
                tally.outcome(told, Duration::from_millis(ms));
                tally.dead(Reason::ALL[which], which as u64);
                tally.claimed(which);
            }
            tally
        })
    }

    proptest! {
        /// What is written is read again; sums do not depend on the order.
        #[test]
        fn tallies_are_told_whole_and_add_up(one in tally(), other in tally()) {
            prop_assert_eq!(Record::read(&written(&one, 5), 5).map(|record| record.tally), Some(one.clone()));
            let (mut sum, mut reverse) = (one.clone(), other.clone());
            sum.add(&other);
            reverse.add(&one);
            prop_assert_eq!(&sum, &reverse);
            prop_assert_eq!(sum.failures(), one.failures() + other.failures());
            prop_assert_eq!(sum.dead_letters(), one.dead_letters() + other.dead_letters());
            prop_assert_eq!(sum.is_empty(), one.is_empty() && other.is_empty());
        }
    }
}
