//! Settling: the outcome, the dead letter, the ledger, the acknowledgement and the mirror of a batch, in one step.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::config::OutcomeFields;
use super::entry_id::EntryId;
use super::group::{Group, Member, count, delivered_of};
use super::lua::{PACKED_HEAD, SETTLE_KEYS};
use crate::contract::dead_letter::DeadLetter;
use crate::contract::job_result::{FIELDS, JobResult, ORIGINAL_FIELDS};
use crate::redis::packed::Strings;
use crate::redis::{RedisError, Value};

/// Entries in one settle call. More gain nothing, and Redis serves no other client meanwhile.
pub const BATCH_MAX: usize = 64;

/// How an entry ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was settled before it was read: acknowledge only.
    Known,
    /// Answered.
    Outcome(JobResult),
    /// Not answered: malformed.
    Dead(DeadLetter),
    /// Answered `failure`, and kept for people.
    Both(JobResult, DeadLetter),
}

impl Ending {
    /// Bytes of a payload that goes into the dead letters.
    pub fn kept_bytes(&self) -> usize {
        match self {
            Self::Known | Self::Outcome(_) => 0,
            Self::Dead(letter) | Self::Both(_, letter) => letter.original.bytes(),
        }
    }
}

/// What became of one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Published and acknowledged.
    Done,
    /// It had been settled before; nothing was published.
    Duplicate,
    /// Another consumer has it and will settle it; nothing was written.
    Lost,
    /// Redis has lost the job itself, in a failover: its id lies above all that the stream has ever had. Nothing was
    /// written.
    Unknown,
    /// Too old for the ledger to tell whether it was settled; it was put back.
    Expired,
    /// Redis refused this entry; try again.
    Refused(String),
    /// Not reached because an entry before it was refused; try again.
    Skipped,
}

/// Which way the mirror went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorMove {
    /// Not at all.
    Same,
    /// Forward.
    Raised,
    /// Back: the group or the stream itself went back.
    Lowered,
}

/// The answer to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleReply {
    /// Which way the mirror went.
    pub mirror_move: MirrorMove,
    /// Its value.
    pub mirror: String,
    /// What it held, where another program had written it.
    pub foreign: Option<String>,
    /// The group's last-delivered id.
    pub delivered: Option<EntryId>,
    /// One per entry, in order.
    pub settled: Vec<Settled>,
    /// This call has written the ledger's index: to be handed to the next one.
    pub index_mark: Option<IndexMark>,
}

/// When the ledger's index was last written for a bucket. One write is enough for a while: the janitor drops a bucket that
/// much later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexMark {
    hour: u64,
    at: Instant,
}

impl Member {
    /// Settles at most [`BATCH_MAX`] entries of one ledger hour, of which this consumer holds `held` in all. Where none
    /// `may_have_attempts`, there is nothing to forget. `mark` is the last [`SettleReply::index_mark`], or nothing where
    /// Redis may have lost the index. After an error nothing is known, and calling again with the same entries is safe.
    pub async fn settle(
        &self,
        batch: &[(EntryId, Ending)],
        held: usize,
        may_have_attempts: bool,
        mark: Option<IndexMark>,
    ) -> Result<SettleReply, RedisError> {
        debug_assert!(!batch.is_empty() && batch.len() <= BATCH_MAX, "a batch is bounded and not empty");
        let ids = || batch.iter().map(|(id, _)| *id);
        let (Some(first), Some(last)) = (ids().min(), ids().max()) else {
            return Err(RedisError::unexpected("an empty batch"));
        };
        let hour = first.ledger_hour();
        debug_assert_eq!(hour, last.ledger_hour(), "a batch has one ledger bucket");
        let group = &self.group;
        let sent_at = Instant::now();
        let is_marked = mark.is_some_and(|mark| mark.hour == hour && sent_at < mark.at + group.index_within());
        let keys = [&group.key_list[..SETTLE_KEYS], &[group.keys.ledger_bucket(hour).into()]].concat();
        let args = [
            count(held.saturating_add(BATCH_MAX)),
            first.to_string().into(),
            last.to_string().into(),
            Value::Bytes(group.packed(batch, !is_marked, may_have_attempts)?),
        ];
        let reply = group.call_with(&group.scripts.settle, keys, self.named(args)).await?;
        let (mirror_move, mirror, foreign, delivered, statuses): (String, String, String, String, Vec<String>) =
            reply.convert()?;
        let settled: Vec<Settled> = if statuses.is_empty() {
            vec![Settled::Done; batch.len()]
        } else {
            statuses.into_iter().map(settled_of).collect()
        };
        if settled.len() != batch.len() {
            return Err(RedisError::unexpected("settle count"));
        }
        let has_marked = !is_marked && settled.contains(&Settled::Done);
        Ok(SettleReply {
            mirror_move: match mirror_move.as_str() {
                "raised" => MirrorMove::Raised,
                "lowered" => MirrorMove::Lowered,
                _ => MirrorMove::Same,
            },
            mirror,
            foreign: Some(foreign).filter(|text| !text.is_empty()),
            delivered: delivered_of(&delivered)?,
            settled,
            index_mark: has_marked.then_some(IndexMark { hour, at: sent_at }),
        })
    }
}

impl Group {
    /// How long a bucket counts as written in the ledger's index; the janitor waits for so much longer.
    pub(super) fn index_within(&self) -> Duration {
        self.settings.ledger_ttl / 64
    }

    /// The batch as one MessagePack array of byte strings: what holds for all, the ids, then each entry's verb and values.
    fn packed(
        &self,
        batch: &[(EntryId, Ending)],
        writes_index: bool,
        may_have_attempts: bool,
    ) -> Result<Bytes, RedisError> {
        let outcome_values = match self.settings.outcome_fields {
            OutcomeFields::Original => ORIGINAL_FIELDS,
            OutcomeFields::Extended => FIELDS.len(),
        };
        let has_dead = batch.iter().any(|(_, ending)| matches!(ending, Ending::Dead(_) | Ending::Both(..)));
        let dead_max = if has_dead { self.settings.dead_max.to_string() } else { String::new() };
        let yes_or_empty = |yes: bool| if yes { "1".to_owned() } else { String::new() };
        let mut strings = Strings::expecting(batch.len() * BYTES_EXPECTED);
        let head: [String; PACKED_HEAD] = [
            batch.len().to_string(),
            outcome_values.to_string(),
            dead_max,
            self.settings.ledger_ttl.as_millis().to_string(),
            yes_or_empty(writes_index),
            yes_or_empty(may_have_attempts),
        ];
        for value in head {
            strings.push(value.as_bytes());
        }
        for (id, _) in batch {
            strings.push(id.to_string().as_bytes());
        }
        for (_, ending) in batch {
            match ending {
                Ending::Known => strings.push(b"known"),
                Ending::Outcome(result) => {
                    strings.push(b"outcome");
                    push_outcome(&mut strings, result, outcome_values);
                }
                Ending::Dead(letter) => {
                    strings.push(b"dead");
                    push_dead(&mut strings, letter);
                }
                Ending::Both(result, letter) => {
                    strings.push(b"both");
                    push_outcome(&mut strings, result, outcome_values);
                    push_dead(&mut strings, letter);
                }
            }
        }
        strings.into_array()
    }
}

/// What one ordinary entry packs to, roughly.
const BYTES_EXPECTED: usize = 320;

fn push_outcome(strings: &mut Strings, result: &JobResult, outcome_values: usize) {
    let mut left = outcome_values;
    result.each_value(|value| {
        if left > 0 {
            strings.push(value);
            left -= 1;
        }
    });
}

fn push_dead(strings: &mut Strings, letter: &DeadLetter) {
    for value in letter.head() {
        strings.push(&value);
    }
    strings.push((letter.kept().len() * 2).to_string().as_bytes());
    for (name, value) in letter.kept() {
        strings.push(name);
        strings.push(value);
    }
}

fn settled_of(status: String) -> Settled {
    match status.as_str() {
        "ok" => Settled::Done,
        "dup" => Settled::Duplicate,
        "lost" => Settled::Lost,
        "unknown" => Settled::Unknown,
        "expired" => Settled::Expired,
        "skipped" => Settled::Skipped,
        _ => Settled::Refused(status),
    }
}
