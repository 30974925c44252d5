//! The claim sweep: entries that nobody has touched for claim idle change hands.

use std::time::Duration;

use super::{Delivery, Group, Origin, count, id_of, millis};
use crate::redis::{RedisError, Value};

/// What one sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// What we hold now.
    pub claimed: Vec<Delivery>,
    /// Entries whose payload had been deleted: dead-lettered as `entry_lost` without an outcome.
    pub lost: u64,
    /// From whom how many entries came.
    pub from: Vec<(String, u64)>,
    /// For how many of them this claim counted a crash.
    pub crashed: u64,
}

/// Which entries a sweep is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// None yet: is there anything?
    Look,
    /// Ordinary entries, as many as there are free slots.
    Take,
    /// One suspect, for a replica that holds nothing else.
    Alone,
}

/// What a sweep came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swept {
    /// Another replica has swept within the interval, or our own presence has expired.
    NotDue,
    /// There is something to take, and the tick is ours.
    Found,
    /// There are suspects and nothing else, and it is this replica's turn to run one alone.
    Suspects,
    /// Done.
    Done(Sweep),
}

impl Group {
    /// One sweep, if it is due; claims at most `want` entries.
    pub async fn sweep(
        &self,
        aim: Aim,
        claim_idle: Duration,
        interval: Duration,
        want: usize,
    ) -> Result<Swept, RedisError> {
        let dead_max = i64::try_from(self.settings.dead_max).unwrap_or(i64::MAX);
        let mode = match aim {
            Aim::Look => "look",
            Aim::Take => "take",
            Aim::Alone => "alone",
        };
        let args = [millis(claim_idle), millis(interval), count(want), mode.into(), dead_max.into()];
        let reply = self.call(&self.scripts.claim, &[], args).await?;
        match state_of(&reply)?.as_str() {
            "not-due" => return Ok(Swept::NotDue),
            "found" => return Ok(Swept::Found),
            "suspects" => return Ok(Swept::Suspects),
            _ => {}
        }
        let (_, claimed, lost, from): (String, Vec<Value>, u64, Vec<(String, u64)>) = reply.convert()?;
        let claimed = claimed.into_iter().map(delivery_of).collect::<Result<_, _>>()?;
        Ok(Swept::Done(Sweep { claimed, lost, from, crashed: 0 }))
    }
}

fn state_of(reply: &Value) -> Result<String, RedisError> {
    let Value::Array(parts) = reply else { return Err(RedisError::unexpected("claim")) };
    parts.first().and_then(Value::as_string).ok_or_else(|| RedisError::unexpected("claim state"))
}

fn delivery_of(value: Value) -> Result<Delivery, RedisError> {
    let (id, deliveries, crashes, failures): (String, u64, u64, u64) = value.convert()?;
    Ok(Delivery { id: id_of(&id)?, origin: Origin::Claimed, deliveries, crashes, failures, fields: None })
}
