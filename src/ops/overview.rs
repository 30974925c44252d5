//! The whole fleet in one form: what `status` shows.

use serde::Serialize;

use super::alerts::{self, Alerts, Raised};
use super::replicas::Replica;
use super::snapshot::Snapshot;
use super::verdict::{self, Verdict};
use super::{SCHEMA_VERSION, View};
use crate::redis::RedisError;

/// The fleet at one moment, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Overview {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// Whether the fleet is healthy, and what is wrong.
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    /// The facts.
    #[serde(flatten)]
    pub(crate) snapshot: Snapshot,
    /// Alerts that fire or are about to, as far as Redis tells.
    pub(crate) alerts: Vec<Raised>,
}

/// Everything that one look shows: overview, alerts and replicas of the same moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Whole {
    /// Facts and verdict.
    pub(crate) overview: Overview,
    /// Every alert.
    pub(crate) alerts: Alerts,
    /// Every replica.
    pub(crate) replicas: Vec<Replica>,
}

impl View {
    /// Looks, and counts at most `counted_max` waiting entries one by one.
    pub(crate) async fn overview(&self, counted_max: u64) -> Result<Overview, RedisError> {
        Ok(self.whole(counted_max).await?.overview)
    }

    /// All alerts.
    pub(crate) async fn alerts(&self, counted_max: u64) -> Result<Alerts, RedisError> {
        Ok(self.whole(counted_max).await?.alerts)
    }

    /// One look, and everything that is made of it.
    pub(crate) async fn whole(&self, counted_max: u64) -> Result<Whole, RedisError> {
        let look = self.look().await?;
        let waiting = self.waiting(&look, counted_max).await?;
        let dead = self.lately_dead(&look).await?;
        let server = self.server().await?;
        let replicas = self.replicas(&look).replicas;
        let hosts = self.hosts(&look, &replicas).await?;
        let mut snapshot = self.snapshot_of(&look, waiting, server, (&replicas, hosts));
        if !snapshot.has_fleet() {
            snapshot.elsewhere = self.elsewhere().await;
        }
        let alerts = Alerts::new(look.now_ms, alerts::judge(&snapshot, &replicas, &dead));
        let overview = Overview {
            schema_version: SCHEMA_VERSION,
            at_ms: snapshot.at_ms,
            verdict: verdict::judge(&snapshot, &alerts.alerts),
            alerts: alerts.raised().map(Raised::of).collect(),
            snapshot,
        };
        Ok(Whole { overview, alerts, replicas })
    }
}
