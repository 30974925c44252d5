//! Settling: the outcome, the dead letter, the ledger, the acknowledgement and the mirror of a batch, in one step.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::config::OutcomeFields;
use super::entry_id::EntryId;
use super::{Group, Told, count, delivered_of};
use crate::contract::dead_letter::DeadLetter;
use crate::contract::job_result::{FIELDS, JobResult, ORIGINAL_FIELDS};
use crate::redis::packed::Strings;
use crate::redis::{RedisError, Value};

/// Entries in one settle call. Beyond this nothing is gained, and Redis serves nobody else meanwhile.
pub const BATCH_MAX: usize = 64;

/// Of the keys of every script those that this one takes too; its ledger bucket stands behind them.
const SHARED_KEYS: usize = 7;

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
    /// Where it stands.
    pub mirror: String,
    /// What it held, where somebody else had written it.
    pub foreign: Option<String>,
    /// The group's last-delivered id.
    pub delivered: Option<EntryId>,
    /// One per entry, in order.
    pub settled: Vec<Settled>,
}

impl Group {
    /// Settles at most [`BATCH_MAX`] entries of one ledger hour, of which this consumer holds `held` in all. Where none
    /// `may_have_attempts`, there is nothing to forget. After an error nothing is known, and calling again with the same
    /// entries is safe.
    pub async fn settle(
        &self,
        batch: &[(EntryId, Ending)],
        held: usize,
        may_have_attempts: bool,
    ) -> Result<SettleReply, RedisError> {
        debug_assert!(!batch.is_empty() && batch.len() <= BATCH_MAX, "a batch is bounded and not empty");
        let ids = || batch.iter().map(|(id, _)| *id);
        let (Some(first), Some(last)) = (ids().min(), ids().max()) else {
            return Err(RedisError::unexpected("an empty batch"));
        };
        let hour = first.ledger_hour();
        debug_assert_eq!(hour, last.ledger_hour(), "a batch has one ledger bucket");
        let (sent_at, tells_index) = (Instant::now(), self.is_telling_due(hour));
        let keys = [&self.key_list[..SHARED_KEYS], &[self.keys.ledger_bucket(hour).into()]].concat();
        let args = [
            count(held.saturating_add(BATCH_MAX)),
            first.to_string().into(),
            last.to_string().into(),
            Value::Bytes(self.packed(batch, tells_index, may_have_attempts)?),
        ];
        let reply = self.call_with(&self.scripts.settle, keys, args).await?;
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
        if tells_index && settled.contains(&Settled::Done) {
            *self.lock_told() = Some(Told { hour, at: sent_at });
        }
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
        })
    }

    /// The ledger's index says when something was last added to a bucket to within so much; the janitor waits for so much
    /// longer.
    pub(super) fn index_within(&self) -> Duration {
        self.settings.ledger_ttl / 64
    }

    fn is_telling_due(&self, hour: u64) -> bool {
        !self.lock_told().is_some_and(|told| told.hour == hour && told.at.elapsed() < self.index_within())
    }

    /// Redis may have lost what it was told of the index.
    pub fn tell_index_again(&self) {
        *self.lock_told() = None;
    }

    fn lock_told(&self) -> MutexGuard<'_, Option<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batch as one MessagePack array of byte strings: what holds for all, the ids, then each entry's verb and values.
    fn packed(
        &self,
        batch: &[(EntryId, Ending)],
        tells_index: bool,
        may_have_attempts: bool,
    ) -> Result<Bytes, RedisError> {
        let outcome_values = match self.settings.outcome_fields {
            OutcomeFields::Original => ORIGINAL_FIELDS,
            OutcomeFields::Extended => FIELDS.len(),
        };
        let has_dead = batch.iter().any(|(_, ending)| matches!(ending, Ending::Dead(_) | Ending::Both(..)));
        let dead_max = if has_dead { self.settings.dead_max.to_string() } else { String::new() };
        let yes_or_empty = |yes: bool| if yes { &b"1"[..] } else { b"" };
        let mut strings = Strings::expecting(batch.len() * BYTES_EXPECTED);
        strings.push(batch.len().to_string().as_bytes());
        strings.push(outcome_values.to_string().as_bytes());
        strings.push(dead_max.as_bytes());
        strings.push(self.settings.ledger_ttl.as_millis().to_string().as_bytes());
        strings.push(yes_or_empty(tells_index));
        strings.push(yes_or_empty(may_have_attempts));
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
