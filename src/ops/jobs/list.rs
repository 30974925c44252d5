//! The list of jobs: what is held, what waits and what has failed, together.

use std::collections::{BTreeMap, HashSet};

use tokio::time::Instant;

use super::open::OpenView;
use super::row::{JobRow, JobState, Jobs, JobsQuery, LOOKED_MAX, Looked, Matched};
use super::sources::Limit;
use crate::ops::look::Look;
use crate::ops::{SCHEMA_VERSION, View};
use crate::redis::RedisError;
use crate::stream::entry_id::EntryId;

/// What was found in one state.
#[derive(Debug, Default)]
struct Found {
    rows: Vec<JobRow>,
    count: u64,
}

/// What was found so far.
#[derive(Debug)]
struct Finds<'a> {
    query: &'a JobsQuery,
    at_ms: u64,
    by_state: BTreeMap<JobState, Found>,
}

impl Finds<'_> {
    fn add(&mut self, row: JobRow) {
        if !self.query.takes(&row, self.at_ms) {
            return;
        }
        let found = self.by_state.entry(row.state).or_default();
        found.count += 1;
        // Those that back off are put in order at the end; there are not many.
        if found.rows.len() < self.query.limit || row.state == JobState::BackingOff {
            found.rows.push(row);
        }
    }
}

impl View {
    /// The jobs that the query asks for. Looks at 10,000 entries at most, until then at the latest, and says where it ended.
    pub(crate) async fn jobs(&self, query: &JobsQuery, until: Instant) -> Result<Jobs, RedisError> {
        let look = self.look().await?;
        let mut finds = Finds { query, at_ms: look.now_ms, by_state: BTreeMap::new() };
        let mut looked = Vec::new();
        let left = |looked: &[Looked]| {
            let seen: u64 = looked.iter().map(|one| one.looked_at).sum();
            LOOKED_MAX.saturating_sub(seen)
        };
        if look.group.is_some() && (query.wants(JobState::InFlight) || query.wants(JobState::BackingOff)) {
            looked.push(self.find_held(&look, Limit { entries: LOOKED_MAX, until }, &mut finds).await?);
        }
        let wants_waiting = query.wants(JobState::Waiting) && look.stream.is_some();
        let is_stream = |key: &str| look.types.get(key).is_some_and(|held| held == "stream");
        if query.wants(JobState::Failed) && is_stream(&self.keys.results) {
            // Most outcomes are no failures: they leave half of the rest to what waits.
            let entries = if wants_waiting { left(&looked).div_ceil(2) } else { left(&looked) };
            let times = (query.oldest_ms(JobState::Failed, look.now_ms), look.now_ms);
            let mut one = self.walk_failed(times, Limit { entries, until }, |row| finds.add(row)).await?;
            one.of = Some(look.results);
            looked.push(one);
        }
        if wants_waiting {
            let limit = Limit { entries: left(&looked), until };
            looked.push(self.find_waiting(&look, limit, &mut finds).await?);
        }
        Ok(together(finds, looked))
    }

    /// Every job of one game that has no answer, as far as one list looks.
    pub(crate) async fn open_jobs_of(&self, game: &str, until: Instant) -> Result<Jobs, RedisError> {
        let states = vec![JobState::BackingOff, JobState::InFlight, JobState::Waiting];
        let query = JobsQuery { states, game: Some(game.to_owned()), limit: 100, ..JobsQuery::default() };
        self.jobs(&query, until).await
    }

    async fn find_held(&self, look: &Look, limit: Limit, finds: &mut Finds<'_>) -> Result<Looked, RedisError> {
        let replicas = self.replicas(look).replicas;
        let open = self.open(&replicas, look.now_ms).await?;
        let alive: HashSet<&str> = replicas.iter().filter(|one| one.is_alive()).map(|one| one.name.as_str()).collect();
        let found = |mut row: JobRow| {
            row.replica_is_alive = row.replica.as_deref().map(|name| alive.contains(name));
            let id = row.entry_id.as_deref().and_then(|id| id.parse::<EntryId>().ok());
            let said = id.and_then(|id| open.get(&id)).filter(|said| row.replica.as_ref() == Some(&said.replica));
            if let Some(said) = said {
                put(said, &mut row, look.now_ms);
            }
            finds.add(row);
        };
        let mut looked = self.walk_held(look.now_ms, limit, found).await?;
        looked.of = Some(look.pending.count);
        Ok(looked)
    }

    async fn find_waiting(&self, look: &Look, limit: Limit, finds: &mut Finds<'_>) -> Result<Looked, RedisError> {
        let after: EntryId = look.after.as_deref().and_then(|id| id.parse().ok()).unwrap_or(EntryId::ZERO);
        let oldest_ms = finds.query.oldest_ms(JobState::Waiting, look.now_ms);
        let from = if oldest_ms > after.ms { format!("{oldest_ms}-0") } else { format!("({after}") };
        let mut looked = self.walk_waiting((from, look.now_ms), limit, |row| finds.add(row)).await?;
        looked.of = Self::waiting_about(look);
        Ok(looked)
    }
}

/// What its replica says of a job.
fn put(said: &OpenView, row: &mut JobRow, at_ms: u64) {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    row.failures = Some(said.job.failures);
    (row.error_code, row.error_message) = (text(&said.job.code), text(&said.job.text));
    if !said.backs_off() {
        row.waits_outside = true;
        return;
    }
    row.state = JobState::BackingOff;
    row.since_ms = said.since_ms();
    row.for_ms = at_ms.saturating_sub(row.since_ms);
    row.next_at_ms = said.next_at_ms();
    row.next_in_ms = row.next_at_ms.map(|next| next.saturating_sub(at_ms));
}

fn together(finds: Finds<'_>, looked: Vec<Looked>) -> Jobs {
    let Finds { query, at_ms, mut by_state } = finds;
    if let Some(found) = by_state.get_mut(&JobState::BackingOff) {
        found.rows.sort_by_key(|row| row.next_at_ms);
        found.rows.truncate(query.limit);
    }
    let (mut jobs, mut matched) = (Vec::new(), Vec::new());
    for state in JobState::ALL.into_iter().filter(|&state| query.wants(state)) {
        let found = by_state.remove(&state).unwrap_or_default();
        matched.push(Matched { state, count: found.count });
        jobs.extend(found.rows);
    }
    let looked_at = looked.iter().map(|one| one.looked_at).sum();
    Jobs { schema_version: SCHEMA_VERSION, at_ms, jobs, matched, looked_at, looked }
}
