//! What replicas say of jobs that they hold and that do not run. Only those that are there are believed: what a dead one said
//! may be long over.

use std::collections::HashMap;

use bytes::Bytes;

use crate::ops::View;
use crate::ops::replicas::Replica;
use crate::redis::packed::Strings;
use crate::redis::{RedisError, Value};
use crate::stream::entry_id::EntryId;
use crate::stream::open::{OpenJob, OpenRecord, OpenState, RECORD_MAX};

/// Replicas whose records one step of the server answers.
const AT_ONCE: usize = 16;
/// Replicas that are asked at most.
const REPLICAS_MAX: usize = 1_000;
/// A record that is older than this, or than two claim idles of its replica, is not believed: replicas with such jobs say so
/// three times in a claim idle.
const FRESH_MS: u64 = 10_000;

/// What one replica says of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenView {
    /// The replica.
    pub(crate) replica: String,
    /// When it said so, by the server's clock, Unix milliseconds.
    pub(crate) told_at_ms: u64,
    /// What it said.
    pub(crate) job: OpenJob,
}

impl OpenView {
    /// Since when it is so, Unix milliseconds.
    pub(crate) fn since_ms(&self) -> u64 {
        self.told_at_ms.saturating_sub(millis(self.job.since))
    }

    /// When it is tried again, Unix milliseconds; none where it waits for something else.
    pub(crate) fn next_at_ms(&self) -> Option<u64> {
        self.job.next_in.map(|next| self.told_at_ms.saturating_add(millis(next)))
    }

    /// It waits for its next attempt.
    pub(crate) fn backs_off(&self) -> bool {
        self.job.state == OpenState::BackingOff
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Is a record of this age believed?
pub(crate) fn is_fresh(told_at_ms: u64, at_ms: u64, replica: &Replica) -> bool {
    let limit = FRESH_MS.max(replica.claim_idle_ms.unwrap_or_default().saturating_mul(2));
    told_at_ms.saturating_add(limit) >= at_ms
}

impl View {
    /// What these replicas say, by entry; each says no more than the first 100.
    pub(crate) async fn open(
        &self,
        replicas: &[Replica],
        at_ms: u64,
    ) -> Result<HashMap<EntryId, OpenView>, RedisError> {
        let alive: Vec<&Replica> = replicas.iter().filter(|replica| replica.is_alive()).take(REPLICAS_MAX).collect();
        let mut open = HashMap::new();
        for some in alive.chunks(AT_ONCE) {
            for (name, record) in self.open_records(some).await? {
                let Some(replica) = some.iter().find(|replica| replica.name.as_bytes() == &name[..]) else { continue };
                let Some(OpenRecord { at_ms: told_at_ms, jobs, .. }) = OpenRecord::parse(&record) else { continue };
                if !is_fresh(told_at_ms, at_ms, replica) {
                    continue;
                }
                let views = jobs.into_iter().map(|job| OpenView { replica: replica.name.clone(), told_at_ms, job });
                open.extend(views.map(|view| (view.job.id, view)));
            }
        }
        Ok(open)
    }

    async fn open_records(&self, replicas: &[&Replica]) -> Result<Vec<(Bytes, Bytes)>, RedisError> {
        let mut names = Strings::expecting(replicas.len() * 64);
        for replica in replicas {
            names.push(replica.name.as_bytes());
        }
        let args = vec![Value::from(RECORD_MAX.to_string()), names.into_array()?.into()];
        self.scripts.open.run(&self.connection, vec![self.keys.open.clone()], args).await?.pairs()
    }
}
