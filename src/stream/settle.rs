//! Settling: the outcome, the dead letter, the ledger, the acknowledgement and the mirror of a batch, in one step.

use bytes::Bytes;

use super::entry_id::EntryId;
use super::{Group, count, millis};
use crate::contract::dead_letter::DeadLetter;
use crate::contract::job_result::{FIELDS, JobResult, ORIGINAL_FIELDS};
use crate::redis::{RedisError, Value};
use crate::settings::OutcomeFields;

/// Entries in one settle call. Beyond this nothing is gained, and Redis serves nobody else meanwhile.
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

/// What became of one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Published and acknowledged.
    Done,
    /// It had been settled before; nothing was published.
    Duplicate,
    /// Another consumer has it and will settle it; nothing was written.
    Lost,
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
    /// One per entry, in order.
    pub settled: Vec<Settled>,
}

impl Group {
    /// Settles at most [`BATCH_MAX`] entries of which this consumer holds `held` in all. After an error nothing is
    /// known, and calling again with the same entries is safe.
    pub async fn settle(&self, batch: &[(EntryId, Ending)], held: usize) -> Result<SettleReply, RedisError> {
        debug_assert!(!batch.is_empty() && batch.len() <= BATCH_MAX, "a batch is bounded and not empty");
        let dead_max = i64::try_from(self.settings.dead_max).unwrap_or(i64::MAX);
        let ids = || batch.iter().map(|(id, _)| *id);
        let (Some(first), Some(last)) = (ids().min(), ids().max()) else {
            return Err(RedisError::unexpected("an empty batch"));
        };
        let mut args: Vec<Value> = Vec::with_capacity(5 + batch.len() * 13);
        args.extend([
            count(held.saturating_add(BATCH_MAX)),
            dead_max.into(),
            millis(self.settings.ledger_ttl),
            first.to_string().into(),
            last.to_string().into(),
        ]);
        for (id, ending) in batch {
            args.push(id.to_string().into());
            self.push_ending(&mut args, ending);
        }
        let reply = self.call(&self.scripts.settle, args).await?;
        let (mirror_move, mirror, foreign, statuses): (String, String, String, Vec<String>) = reply.convert()?;
        if statuses.len() != batch.len() {
            return Err(RedisError::unexpected("settle count"));
        }
        Ok(SettleReply {
            mirror_move: match mirror_move.as_str() {
                "raised" => MirrorMove::Raised,
                "lowered" => MirrorMove::Lowered,
                _ => MirrorMove::Same,
            },
            mirror,
            foreign: Some(foreign).filter(|text| !text.is_empty()),
            settled: statuses.into_iter().map(settled_of).collect(),
        })
    }

    fn push_ending(&self, args: &mut Vec<Value>, ending: &Ending) {
        match ending {
            Ending::Known => args.push("known".into()),
            Ending::Outcome(result) => {
                args.push("outcome".into());
                self.push_outcome(args, result);
            }
            Ending::Dead(letter) => {
                args.push("dead".into());
                push_dead(args, letter);
            }
            Ending::Both(result, letter) => {
                args.push("both".into());
                self.push_outcome(args, result);
                push_dead(args, letter);
            }
        }
    }

    fn push_outcome(&self, args: &mut Vec<Value>, result: &JobResult) {
        let fields = match self.settings.outcome_fields {
            OutcomeFields::Original => ORIGINAL_FIELDS,
            OutcomeFields::Extended => FIELDS.len(),
        };
        args.push(count(fields));
        args.extend(result.values().into_iter().take(fields).map(Value::from));
    }
}

fn push_dead(args: &mut Vec<Value>, letter: &DeadLetter) {
    let bytes = |value: &Bytes| Value::Bytes(value.clone());
    args.extend(letter.head().iter().map(bytes));
    args.push(count(letter.kept().len() * 2));
    args.extend(letter.kept().iter().flat_map(|(name, value)| [bytes(name), bytes(value)]));
}

fn settled_of(status: String) -> Settled {
    match status.as_str() {
        "ok" => Settled::Done,
        "dup" => Settled::Duplicate,
        "lost" => Settled::Lost,
        "expired" => Settled::Expired,
        "skipped" => Settled::Skipped,
        _ => Settled::Refused(status),
    }
}
