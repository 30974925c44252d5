//! The claim sweep: entries that nobody has touched for claim idle change hands.

use std::time::Duration;

use bytes::Bytes;

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
}

/// What a look before a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Another replica has swept within the interval, or just looked.
    NotDue,
    /// Nothing to claim in this window; the fleet's cursor has moved on.
    Nothing,
    /// There is something to claim, and the tick is ours: [`Group::sweep`] may follow.
    Found,
}

impl Group {
    /// Takes the fleet's tick, if it is due, and looks whether there is anything to claim; takes nothing.
    pub async fn look(&self, claim_idle: Duration, interval: Duration, want: usize) -> Result<Look, RedisError> {
        let reply = self.sweep_call(claim_idle, interval, want, "look").await?;
        Ok(match state_of(&reply)?.as_str() {
            "found" => Look::Found,
            "swept" => Look::Nothing,
            _ => Look::NotDue,
        })
    }

    /// Takes the fleet's tick, if it is due or already ours, and claims at most `want` entries.
    pub async fn sweep(&self, claim_idle: Duration, interval: Duration, want: usize) -> Result<Sweep, RedisError> {
        let reply = self.sweep_call(claim_idle, interval, want, "take").await?;
        if state_of(&reply)? != "swept" {
            return Ok(Sweep::default());
        }
        let (_, claimed, lost, from): (String, Vec<Value>, u64, Vec<(String, u64)>) = reply.convert()?;
        let claimed = claimed.into_iter().map(delivery_of).collect::<Result<_, _>>()?;
        Ok(Sweep { claimed, lost, from })
    }

    async fn sweep_call(
        &self,
        claim_idle: Duration,
        interval: Duration,
        want: usize,
        mode: &str,
    ) -> Result<Value, RedisError> {
        let dead_max = i64::try_from(self.settings.dead_max).unwrap_or(i64::MAX);
        let args = [millis(claim_idle), millis(interval), count(want), mode.into(), dead_max.into()];
        self.call(&self.scripts.claim, args).await
    }
}

fn state_of(reply: &Value) -> Result<String, RedisError> {
    let Value::Array(parts) = reply else { return Err(RedisError::unexpected("claim")) };
    parts.first().and_then(Value::as_string).ok_or_else(|| RedisError::unexpected("claim state"))
}

fn delivery_of(value: Value) -> Result<Delivery, RedisError> {
    let (id, deliveries, crashes, failures, failing_ms, flat): (String, u64, u64, u64, u64, Vec<Bytes>) =
        value.convert()?;
    Ok(Delivery {
        id: id_of(&id)?,
        origin: Origin::Claimed,
        deliveries,
        crashes,
        failures,
        failing_for: Duration::from_millis(failing_ms),
        fields: flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
    })
}
