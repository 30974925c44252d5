//! The claim sweep: entries whose owner died, left or gave them back change hands.

use std::time::Duration;

use super::delivery::{Delivery, Origin};
use super::group::{Member, count, id_of, millis};
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
    /// One more suspect after one has ended, unless ordinary jobs need this replica.
    Another,
}

impl Aim {
    /// Is it a suspect, which runs alone?
    pub(crate) fn is_suspect(self) -> bool {
        matches!(self, Self::Alone | Self::Another)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Take => "take",
            Self::Alone => "alone",
            Self::Another => "another",
        }
    }
}

/// What a sweep came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swept {
    /// Another replica has swept within the interval, or our own presence has expired.
    NotDue,
    /// There is something to take, and the tick is ours.
    Found,
    /// There are suspects and nothing else, and this replica may run one alone.
    Suspects,
    /// Done.
    Done(Sweep),
}

impl Member {
    /// One sweep, if it is due; claims at most `want` entries. A replica that holds nothing is offered suspects first.
    pub async fn sweep(
        &self,
        aim: Aim,
        claim_idle: Duration,
        interval: Duration,
        want: usize,
        holds_nothing: bool,
    ) -> Result<Swept, RedisError> {
        let dead_max = i64::try_from(self.group.settings.dead_max).unwrap_or(i64::MAX);
        let args = [
            millis(claim_idle),
            millis(interval),
            count(want),
            aim.as_str().into(),
            dead_max.into(),
            i64::from(holds_nothing).into(),
        ];
        let reply = self.call(&self.group.scripts.claim, &[], args).await?;
        match state_of(&reply)?.as_str() {
            "not-due" => return Ok(Swept::NotDue),
            "found" => return Ok(Swept::Found),
            "suspects" => return Ok(Swept::Suspects),
            _ => {}
        }
        let (_, claimed, lost, from, crashed): (String, Vec<Value>, u64, Vec<(String, u64)>, u64) = reply.convert()?;
        let claimed = claimed.into_iter().map(delivery_of).collect::<Result<_, _>>()?;
        Ok(Swept::Done(Sweep { claimed, lost, from, crashed }))
    }
}

fn state_of(reply: &Value) -> Result<String, RedisError> {
    reply.first().and_then(|state| state.as_string()).ok_or_else(|| RedisError::unexpected("claim state"))
}

fn delivery_of(value: Value) -> Result<Delivery, RedisError> {
    let (id, deliveries, crashes, failures): (String, u64, u64, u64) = value.convert()?;
    Ok(Delivery { id: id_of(&id)?, origin: Origin::Claimed, deliveries, crashes, failures, fields: None })
}
