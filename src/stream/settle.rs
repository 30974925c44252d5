//! Settling: the outcome, the dead letter, the ledger, the acknowledgement and the mirror of a batch, in one step.

use std::borrow::Borrow;
use std::time::Duration;

use bytes::Bytes;

use super::entry_id::EntryId;
use super::group::{Group, Member, count, delivered_of};
use super::lua::{PACKED_HEAD, SETTLE_KEYS};
use crate::contract::dead_letter::DeadLetter;
use crate::contract::job_result::{FIELDS, ORIGINAL_FIELDS};
use crate::redis::RedisError;
use crate::redis::packed::Strings;

/// Entries in one settle call. More gain nothing, and Redis serves no other client meanwhile.
pub(crate) const BATCH_MAX: usize = 64;

/// How an entry ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was settled before it was read: acknowledge only.
    Known,
    /// Answered.
    Outcome(Outcome),
    /// Not answered: malformed.
    Dead(DeadLetter),
    /// Answered `failure`, and kept for people.
    Both(Outcome, DeadLetter),
}

/// The values of an outcome's fields, as they travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    values: Strings,
    /// A further field, `traceparent`.
    traceparent: Option<String>,
}

impl Outcome {
    /// Of the values that `write` hands over, in the order of the outcome's fields.
    pub fn of(write: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Self {
        let mut strings = Strings::expecting(BYTES_EXPECTED);
        write(&mut |value| strings.push(value));
        Self { values: strings, traceparent: None }
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// With a context by which its reader continues the trace. Only outcomes of start jobs with all their fields have it.
    pub fn carry(&mut self, traceparent: Option<String>) {
        self.traceparent = traceparent;
    }
}

/// What holds for a whole batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// How many entries this consumer holds in all.
    pub held: usize,
    /// Something may be written down about the attempts of one of them, and is to be forgotten.
    pub may_have_attempts: bool,
    /// The batch's bucket is written into the ledger's index.
    pub marks_index: bool,
}

impl Ending {
    /// Bytes of a payload that goes into the dead letters.
    pub(crate) fn kept_bytes(&self) -> usize {
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
pub(crate) enum MirrorMove {
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
    pub(crate) mirror_move: MirrorMove,
    /// Its value.
    pub(crate) mirror: String,
    /// What it held, where another program had written it.
    pub(crate) foreign: Option<String>,
    /// The group's last-delivered id.
    pub(crate) delivered: Option<EntryId>,
    /// One per entry, in order.
    pub settled: Vec<Settled>,
}

/// How long a bucket counts as written in the ledger's index; the janitor waits for so much longer.
pub(crate) fn index_within(ledger_ttl: Duration) -> Duration {
    ledger_ttl / 64
}

impl Member {
    /// Settles at most [`BATCH_MAX`] entries of one ledger hour. After an error nothing is known, and calling again with the
    /// same entries is safe.
    pub async fn settle<E: Borrow<Ending> + Sync>(
        &self,
        batch: &[(EntryId, E)],
        terms: Terms,
    ) -> Result<SettleReply, RedisError> {
        debug_assert!(!batch.is_empty() && batch.len() <= BATCH_MAX, "a batch is bounded and not empty");
        let ids = || batch.iter().map(|(id, _)| *id);
        let (Some(first), Some(last)) = (ids().min(), ids().max()) else {
            return Err(RedisError::unexpected("an empty batch"));
        };
        let hour = first.ledger_hour();
        debug_assert_eq!(hour, last.ledger_hour(), "a batch has one ledger bucket");
        let group = &self.group;
        let keys = [&group.key_list[..SETTLE_KEYS], &[group.keys.ledger_bucket(hour).into()]].concat();
        let args = [
            count(terms.held.saturating_add(BATCH_MAX)),
            first.to_string().into(),
            last.to_string().into(),
            group.packed(batch, terms)?.into(),
        ];
        let reply = group.call_with(&group.scripts.settle, keys, self.named(args)).await?;
        let (mirror_move, mirror, foreign, delivered, statuses): (String, String, String, String, Vec<String>) =
            reply.convert()?;
        let settled: Vec<Settled> = if statuses.is_empty() {
            vec![Settled::Done; batch.len()]
        } else {
            statuses.iter().map(|status| settled_of(status)).collect()
        };
        if settled.len() != batch.len() {
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
            delivered: delivered_of(&delivered)?,
            settled,
        })
    }
}

impl Group {
    /// The batch as one MessagePack array of byte strings: what holds for all, the ids, then each entry's verb and values.
    fn packed<E: Borrow<Ending>>(&self, batch: &[(EntryId, E)], terms: Terms) -> Result<Bytes, RedisError> {
        let names = self.outcome_fields;
        // The script knows the names of these by heart.
        let are_known = *names == FIELDS || *names == FIELDS[..ORIGINAL_FIELDS];
        let given: &[&str] = if are_known { &[] } else { names };
        let has_dead = batch.iter().any(|(_, ending)| matches!(ending.borrow(), Ending::Dead(_) | Ending::Both(..)));
        let dead_max = if has_dead { self.settings.dead_max.to_string() } else { String::new() };
        let yes_or_empty = |yes: bool| if yes { "1".to_owned() } else { String::new() };
        let mut strings = Strings::expecting(batch.len() * BYTES_EXPECTED);
        let head: [String; PACKED_HEAD] = [
            batch.len().to_string(),
            names.len().to_string(),
            dead_max,
            self.settings.ledger_ttl.as_millis().to_string(),
            yes_or_empty(terms.marks_index),
            yes_or_empty(terms.may_have_attempts),
            given.len().to_string(),
        ];
        for value in head {
            strings.push(value.as_bytes());
        }
        for name in given {
            strings.push(name.as_bytes());
        }
        for (id, _) in batch {
            strings.push(id.to_string().as_bytes());
        }
        for (_, ending) in batch {
            match ending.borrow() {
                Ending::Known => strings.push(b"known"),
                Ending::Outcome(outcome) => self.push_outcome(&mut strings, ["outcome", "traced_outcome"], outcome)?,
                Ending::Dead(letter) => {
                    strings.push(b"dead");
                    push_dead(&mut strings, letter);
                }
                Ending::Both(outcome, letter) => {
                    self.push_outcome(&mut strings, ["both", "traced_both"], outcome)?;
                    push_dead(&mut strings, letter);
                }
            }
        }
        strings.into_array()
    }

    /// An outcome of another shape would shift whatever follows it.
    fn push_outcome(&self, strings: &mut Strings, verbs: [&str; 2], outcome: &Outcome) -> Result<(), RedisError> {
        if outcome.len() != self.outcome_fields.len() {
            return Err(RedisError::unexpected("an outcome with another number of fields"));
        }
        let traceparent = outcome.traceparent.as_ref().filter(|_| *self.outcome_fields == FIELDS);
        strings.push(verbs[usize::from(traceparent.is_some())].as_bytes());
        strings.append(&outcome.values);
        if let Some(traceparent) = traceparent {
            strings.push(traceparent.as_bytes());
        }
        Ok(())
    }
}

/// What one ordinary entry packs to, roughly.
const BYTES_EXPECTED: usize = 320;

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

fn settled_of(status: &str) -> Settled {
    match status {
        "ok" => Settled::Done,
        "dup" => Settled::Duplicate,
        "lost" => Settled::Lost,
        "unknown" => Settled::Unknown,
        "expired" => Settled::Expired,
        "skipped" => Settled::Skipped,
        _ => Settled::Refused(RedisError::of_server(status).text),
    }
}
