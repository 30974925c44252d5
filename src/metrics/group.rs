//! The state of the fleet's streams when this process last looked. It is exported only while that look is recent: an old
//! number that looks like a new one is worse than none.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{HostStanding, Labelled};
use super::table::{Family, Fraction, Table};

/// How long a look is exported, so that a few samples may fail before the gauges disappear.
pub(crate) const FRESH_FOR: Duration = Duration::from_secs(20);

/// The state of the fleet's streams; the same from every replica.
#[derive(Debug)]
pub struct GroupGauges {
    registry: Registry,
    looked: Mutex<Option<Instant>>,
    /// Entries not yet delivered to any replica.
    pub(crate) backlog: Gauge,
    /// 1 while the backlog is exact, 0 while it is a lower bound.
    pub(crate) backlog_exact: Gauge,
    /// Age of the oldest of them.
    pub(crate) oldest_waiting: Fraction,
    /// Entries delivered and not settled.
    pub(crate) pending: Gauge,
    /// Age of the oldest of them, from its id.
    pub(crate) oldest_pending: Fraction,
    /// Entries in the dead-letter stream.
    pub(crate) dead_letters: Gauge,
    /// Streams that have used the largest possible id.
    pub(crate) exhausted: Gauge,
    /// Replicas present.
    pub(crate) replicas: Gauge,
    /// Replicas that ended without signing off.
    pub(crate) replicas_lost: Gauge,
    /// Hosts by what is known about them.
    hosts: Family<Labelled<HostStanding>, Gauge>,
    /// 1 while XINFO's own lag is known.
    pub(crate) lag_known: Gauge,
    /// XINFO's own lag, 0 where it is not known.
    pub(crate) lag: Gauge,
    /// How long the mirror has stood still with something pending.
    pub(crate) mirror_held: Fraction,
}

impl Default for GroupGauges {
    fn default() -> Self {
        let mut table = Table::new();
        Self {
            backlog: table.add(
                "backlog",
                "Entries of the jobs stream not yet delivered to any replica; the fleet's, not this process's",
            ),
            backlog_exact: table
                .add("backlog_exact", "1 while startjobs_backlog is exact, 0 while it is a lower bound"),
            oldest_waiting: table.add("oldest_waiting_seconds", "Age of the oldest undelivered entry, 0 without one"),
            pending: table.add("pending", "Entries delivered to a replica and not settled"),
            oldest_pending: table.add(
                "oldest_pending_seconds",
                "Age of the oldest pending entry, 0 without one; it holds the offset mirror where it is",
            ),
            dead_letters: table.add("dead_letter_entries", "Entries in the dead-letter stream"),
            exhausted: table.add(
                "streams_exhausted",
                "Streams of jobs, outcomes or dead letters that have used the largest possible id and accept no entry",
            ),
            replicas: table.add("replicas", "Replicas that are present, running or draining"),
            replicas_lost: table.add(
                "replicas_lost",
                "Replicas that ended without signing off (dead or lost), until they are forgotten (consumer-idle)",
            ),
            hosts: table.add(
                "hosts",
                "Hosts of the fleet by whether they have been heard of within their host-heartbeat, until they are evicted",
            ),
            lag_known: table.add("stream_lag_known", "1 while XINFO GROUPS knows its lag, 0 while it returns null"),
            lag: table.add(
                "stream_lag",
                "The lag of XINFO GROUPS if known, else 0; wrong after trims and deletions, use startjobs_backlog",
            ),
            mirror_held: table.add(
                "mirror_held_seconds",
                "For how long this process has seen the offset mirror unchanged with entries pending, 0 without any",
            ),
            registry: table.finish(),
            looked: Mutex::new(None),
        }
    }
}

impl GroupGauges {
    /// So many hosts have this standing.
    pub(crate) fn hosts(&self, standing: HostStanding, count: i64) {
        self.hosts.get_or_create(&Labelled(standing)).set(count);
    }

    /// The gauges hold what was seen just now.
    pub fn looked(&self) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_fresh(&self) -> bool {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.is_some_and(|looked| looked.elapsed() < FRESH_FOR)
    }

    /// Appends the gauges while they are fresh.
    pub(super) fn render(&self, text: &mut impl Write) {
        if self.is_fresh() {
            // Writing to a String cannot fail.
            prometheus_client::encoding::text::encode_registry(text, &self.registry).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(group: &GroupGauges) -> String {
        let mut text = String::new();
        group.render(&mut text);
        text
    }

    #[test]
    fn only_a_recent_look_is_shown() {
        let group = GroupGauges::default();
        assert_eq!(rendered(&group), "", "there was no look");
        group.looked();
        assert!(rendered(&group).contains("startjobs_backlog 0\n"));
        *group.looked.lock().expect("no panic under the lock") = Instant::now().checked_sub(FRESH_FOR);
        assert_eq!(rendered(&group), "", "the look is old");
    }
}
