//! Collecting the facts on a live system, in pages.
//!
//! The order is what keeps an entry that moves meanwhile from being seen wrongly. An entry only ever goes from waiting
//! to pending to settled, and settling is one step. So first the atomic look (what is delivered, where the stream ends),
//! then the pending list, and only then results, dead letters and, last, the ledger: what was delivered and not pending
//! at the first two was settled before, and its outcome must be found after. What is pending and was settled meanwhile
//! may be found either way. Ends of streams are looked at last, so that what was trimmed meanwhile counts as trimmed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::{Instant, sleep};

use super::answers::Answers;
use super::facts::{Entry, Facts, Form, Ledger, Pending};
use super::finding::Finding;
use super::id::Id;
use super::moment::{Moment, SCRIPT};
use super::reply::{self, PendingRow, Row};
use super::shape::{Shape, shape_of};
use crate::redis::{Connection, Kind, RedisError, Value};
use crate::settings::Settings;
use crate::stream::config::OutcomeFields;

/// Entries in one page at most, and what a page should take.
const PAGE_MAX: usize = 1_000;
const PAGE_SLOW: Duration = Duration::from_millis(300);
/// Single questions that are under way at once.
pub(super) const AT_ONCE: usize = 256;
/// How often one question is asked while Redis does not answer.
const ASKED_MAX: u32 = 5;
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// Reads one system.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    connection: &'a Connection,
    pub(super) settings: &'a Settings,
    pub(super) hasher: RandomState,
    page: usize,
    results_read: Id,
    dead_read: Id,
    requeued_read: Id,
    jobs_read: Id,
    /// Buckets of the ledger that the looks at the mirror have needed.
    buckets: BTreeSet<String>,
    /// What was found.
    pub(super) facts: Facts,
    /// Replicas whose presence has not expired.
    pub(super) live: HashSet<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(connection: &'a Connection, settings: &'a Settings, stuck_after: Duration) -> Self {
        let is_by_game = settings.stream.outcome_fields == OutcomeFields::Original;
        let facts = Facts {
            is_by_game,
            delivered: Id::MAX,
            claim_idle_ms: millis(settings.worker.claim_idle),
            stuck_after_ms: millis(stuck_after),
            dead_max: settings.stream.dead_max,
            ..Facts::default()
        };
        Self {
            connection,
            settings,
            hasher: RandomState::new(),
            page: PAGE_MAX,
            results_read: Id::ZERO,
            dead_read: Id::ZERO,
            requeued_read: Id::ZERO,
            jobs_read: Id::ZERO,
            buckets: BTreeSet::new(),
            facts,
            live: HashSet::new(),
        }
    }

    /// The first atomic look; fixes what the audit is about.
    pub(super) async fn begin(&mut self) -> Result<Moment, RedisError> {
        let moment = self.look().await?;
        self.facts.horizon = moment.jobs.last;
        Ok(moment)
    }

    /// Everything once. The scope is set.
    pub(super) async fn everything(&mut self) -> Result<(), RedisError> {
        self.presences().await?;
        self.whole_pending_list().await?;
        self.jobs().await?;
        self.look().await?;
        self.answers().await?;
        let ids = self.facts.entries.iter().chain(self.facts.absent.values()).map(|entry| entry.id).collect();
        self.ledger(ids).await?;
        if self.facts.is_by_game {
            self.newer_jobs().await?;
        }
        self.look().await.map(drop)
    }

    /// What is known about these entries once more, in the same order.
    pub(super) async fn again(&mut self, ids: Vec<Id>) -> Result<(), RedisError> {
        self.look().await?;
        self.presences().await?;
        self.pending_of(&ids).await?;
        self.answers().await?;
        let absent: Vec<Id> = self.facts.absent.keys().copied().collect();
        let untold = absent.into_iter().filter(|id| self.facts.absent[id].ledger == Ledger::Untold);
        let all: HashSet<Id> = ids.into_iter().chain(untold).collect();
        self.ledger(all.into_iter().collect()).await?;
        if self.facts.is_by_game {
            self.newer_jobs().await?;
        }
        self.look().await.map(drop)
    }

    /// One atomic look at the mirror.
    async fn look(&mut self) -> Result<Moment, RedisError> {
        let streams = &self.settings.stream;
        let shadow = format!("{}:shadow", streams.offset_key);
        let verified = format!("{}:verified", streams.jobs);
        let prefix = format!("{}:ledger:", streams.jobs);
        let keys = [&streams.jobs, &streams.results, &streams.dead, &streams.offset_key, &shadow, &verified];
        let moment = loop {
            let count = (keys.len() + self.buckets.len()).to_string();
            let mut words = vec!["EVAL", SCRIPT, &count];
            words.extend(keys.map(String::as_str));
            words.extend(self.buckets.iter().map(String::as_str));
            words.extend([streams.group.as_str(), &prefix]);
            let words = reply::texts(self.ask(&words).await?)?;
            let Some(hours) = Moment::hours_needed(&words) else {
                break Moment::read(&words).ok_or_else(|| RedisError::unexpected("the look at the mirror"))?;
            };
            // The pending list may have moved on since; but every call names more, and those of one page at once.
            let before = self.buckets.len();
            self.buckets.extend(hours.iter().map(|hour| format!("{prefix}{hour}")));
            if self.buckets.len() == before {
                return Err(RedisError::unexpected("a look that needs no further keys"));
            }
        };
        // Where the group is missing it will begin at the mirror.
        let delivered = if moment.has_group {
            moment.delivered
        } else {
            moment.mirror_id().unwrap_or_default().min(moment.jobs.last)
        };
        let facts = &mut self.facts;
        facts.delivered = facts.delivered.min(delivered);
        (facts.jobs, facts.results, facts.dead) = (moment.jobs, moment.results, moment.dead);
        // A minute's margin, so that a bucket that goes just now is not missed.
        let ttl = millis(self.settings.stream.ledger_ttl).saturating_sub(60_000);
        facts.ledger_from_ms = moment.now_ms.saturating_sub(ttl);
        facts.moments.push(moment.clone());
        Ok(moment)
    }

    /// The hash by which games are told apart.
    pub(super) fn hash_of(&self, game: &str) -> u64 {
        self.hasher.hash_one(game.as_bytes())
    }

    async fn presences(&mut self) -> Result<(), RedisError> {
        let key = format!("{}:replicas", self.settings.stream.jobs);
        let flat = reply::texts(self.ask(&["HGETALL", &key]).await?)?;
        let now_ms = self.facts.moments.last().map_or(0, |moment| moment.now_ms);
        let ours = millis(self.settings.worker.claim_idle);
        let mut claim_idle_ms = None;
        self.live.clear();
        for pair in flat.chunks_exact(2) {
            let mut words = pair[1].splitn(3, ' ');
            let seen: u64 = words.next().and_then(|seen| seen.parse().ok()).unwrap_or(0);
            let has_ended = matches!(words.next(), Some("left" | "dead"));
            // A replica's own setting, where its record says it: ours may be another.
            let about = words.next().and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok());
            let own = about.and_then(|about| about["claim_idle_ms"].as_u64());
            if !has_ended && seen.saturating_add(own.unwrap_or(ours)) >= now_ms {
                self.live.insert(pair[0].clone());
                claim_idle_ms = claim_idle_ms.max(own);
            }
        }
        // The longest of the live replicas: until it has passed, no replica need have claimed.
        self.facts.claim_idle_ms = claim_idle_ms.unwrap_or(ours);
        Ok(())
    }

    async fn whole_pending_list(&mut self) -> Result<(), RedisError> {
        let (mut from, horizon) = (self.facts.since, self.facts.horizon);
        let (to, page) = (horizon.to_string(), PAGE_MAX.to_string());
        // Nothing is after the largest possible id, and Redis refuses to be asked for it.
        while from < horizon {
            let rows = self.pending_range(&exclusive(from), &to, &page).await?;
            from = rows.last().filter(|_| rows.len() == PAGE_MAX).map_or(horizon, |last| last.id);
            for row in rows {
                self.note_pending(&row);
            }
        }
        Ok(())
    }

    async fn pending_range(&self, from: &str, to: &str, count: &str) -> Result<Vec<PendingRow>, RedisError> {
        let streams = &self.settings.stream;
        match self.ask(&["XPENDING", &streams.jobs, &streams.group, from, to, count]).await {
            Ok(value) => reply::pending_rows(value),
            Err(error) if error.kind == Kind::GroupLost => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn note_pending(&mut self, row: &PendingRow) {
        let pending = Pending { idle_ms: row.idle_ms, is_owner_live: self.live.contains(&row.owner) };
        self.facts.pending.insert(row.id, pending);
    }

    async fn pending_of(&mut self, ids: &[Id]) -> Result<(), RedisError> {
        for some in ids.chunks(AT_ONCE) {
            let one = async |id: &Id| {
                let id = id.to_string();
                self.pending_range(&id, &id, "1").await
            };
            let rows = try_join_all(some.iter().map(one)).await?;
            for (id, rows) in some.iter().zip(rows) {
                self.facts.pending.remove(id);
                for row in rows {
                    self.note_pending(&row);
                }
            }
        }
        Ok(())
    }

    /// The jobs in scope, and ids in the pending list that are not among them.
    async fn jobs(&mut self) -> Result<(), RedisError> {
        self.jobs_read = self.facts.since;
        while let Some(rows) = self.rows_after(&self.settings.stream.jobs, self.jobs_read, self.facts.horizon).await? {
            for row in rows {
                self.jobs_read = row.id;
                let entry = match shape_of(&row.flat, self.settings.stream.max_field_bytes) {
                    Shape::Job(game) => Entry::new(row.id, Form::Job, self.hash_of(&game)),
                    Shape::Malformed => Entry::new(row.id, Form::Malformed, 0),
                };
                self.facts.entries.push(entry);
            }
        }
        self.jobs_read = self.facts.horizon;
        let gone: Vec<Id> = self.facts.pending.keys().copied().filter(|&id| !self.facts.is_there(id)).collect();
        for id in gone {
            self.facts.entry_mut(id);
        }
        Ok(())
    }

    /// Outcomes and dead letters since the last time.
    async fn answers(&mut self) -> Result<(), RedisError> {
        let streams = &self.settings.stream;
        let end = self.end_of(&streams.results).await?;
        while let Some(rows) = self.rows_after(&streams.results, self.results_read, end).await? {
            for row in rows {
                self.results_read = row.id;
                self.noted().outcome(&row);
            }
        }
        let end = self.end_of(&streams.dead).await?;
        while let Some(rows) = self.rows_after(&streams.dead, self.dead_read, end).await? {
            for row in rows {
                self.dead_read = row.id;
                self.noted().letter(&row);
            }
        }
        let links = format!("{}:requeued", streams.dead);
        let end = self.end_of(&links).await?;
        while let Some(rows) = self.rows_after(&links, self.requeued_read, end).await? {
            for row in rows {
                self.requeued_read = row.id;
                self.noted().requeued(&row);
            }
        }
        Ok(())
    }

    fn noted(&mut self) -> Answers<'_> {
        Answers { facts: &mut self.facts, hasher: &self.hasher }
    }

    /// The games of jobs after the horizon: an outcome without `source_ref` may be theirs.
    async fn newer_jobs(&mut self) -> Result<(), RedisError> {
        while let Some(rows) = self.rows_after(&self.settings.stream.jobs, self.jobs_read, Id::MAX).await? {
            for row in rows {
                self.jobs_read = row.id;
                if let Shape::Job(game) = shape_of(&row.flat, self.settings.stream.max_field_bytes) {
                    *self.facts.newer.entry(self.hash_of(&game)).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    /// What the ledger says about these ids. Of those older than itself it tells nothing, even if it just did.
    async fn ledger(&mut self, ids: Vec<Id>) -> Result<(), RedisError> {
        let mut by_hour: BTreeMap<String, Vec<Id>> = BTreeMap::new();
        for id in ids {
            if id.0 >= self.facts.ledger_from_ms {
                by_hour.entry(id.hour()).or_default().push(id);
            } else {
                self.facts.entry_mut(id).ledger = Ledger::Untold;
            }
        }
        for (hour, ids) in by_hour {
            let bucket = format!("{}:ledger:{hour}", self.settings.stream.jobs);
            for some in ids.chunks(PAGE_MAX) {
                let names: Vec<String> = some.iter().map(Id::to_string).collect();
                let mut words = vec!["SMISMEMBER", bucket.as_str()];
                words.extend(names.iter().map(String::as_str));
                let members: Vec<u64> = self.ask(&words).await?.convert()?;
                for (&id, member) in some.iter().zip(members) {
                    self.facts.entry_mut(id).ledger = if member == 1 { Ledger::Settled } else { Ledger::Unsettled };
                }
            }
        }
        Ok(())
    }

    /// The game of an entry, for people; empty where it cannot be read.
    pub(super) async fn game_of(&self, id: Id) -> String {
        let id = id.to_string();
        let reply = self.ask(&["XRANGE", &self.settings.stream.jobs, &id, &id]).await;
        let row = reply.and_then(reply::rows).ok().and_then(|rows| rows.into_iter().next());
        match row.map(|row| shape_of(&row.flat, self.settings.stream.max_field_bytes)) {
            Some(Shape::Job(game)) => game,
            _ => String::new(),
        }
    }

    pub(super) async fn end_of(&self, stream: &str) -> Result<Id, RedisError> {
        let rows = reply::rows(self.ask(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]).await?)?;
        Ok(rows.first().map_or(Id::ZERO, |row| row.id))
    }

    /// The next page after an id, up to another; none at the end. Large entries make small pages.
    pub(super) async fn rows_after(&mut self, stream: &str, after: Id, to: Id) -> Result<Option<Vec<Row>>, RedisError> {
        if after >= to {
            return Ok(None);
        }
        let (from, to) = (exclusive(after), to.to_string());
        let mut asked = 0;
        loop {
            let count = self.page.to_string();
            let began = Instant::now();
            let reply = self.connection.raw(&["XRANGE", stream, &from, &to, "COUNT", &count]).await;
            let took = began.elapsed();
            if took > PAGE_SLOW || reply.is_err() {
                self.page = (self.page / 2).max(1);
            } else {
                self.page = (self.page * 2).min(PAGE_MAX);
            }
            asked += 1;
            match reply {
                Ok(value) => {
                    let rows = reply::rows(value)?;
                    return Ok(Some(rows).filter(|rows| !rows.is_empty()));
                }
                // Ten halvings lead from a full page to a single entry.
                Err(error) if error.kind != Kind::Unreachable || asked > ASKED_MAX + 10 => return Err(error),
                Err(_) => sleep(ASK_AGAIN_AFTER).await,
            }
        }
    }

    pub(super) async fn ask(&self, words: &[&str]) -> Result<Value, RedisError> {
        persistently(|| self.connection.raw(words)).await
    }
}

/// Asks again while Redis does not answer, a bounded number of times.
async fn persistently<T, F: Future<Output = Result<T, RedisError>>>(ask: impl Fn() -> F) -> Result<T, RedisError> {
    let mut asked = 1;
    loop {
        match ask().await {
            Err(error) if error.kind == Kind::Unreachable && asked < ASKED_MAX => {
                asked += 1;
                sleep(ASK_AGAIN_AFTER).await;
            }
            other => return other,
        }
    }
}

/// The ids of the entries that these findings are about.
pub(super) fn entries_of(findings: &[Finding]) -> Vec<Id> {
    let ids: HashSet<Id> = findings.iter().map(|finding| finding.entry).filter(|&id| id > Id::ZERO).collect();
    ids.into_iter().collect()
}

fn exclusive(id: Id) -> String {
    format!("({id}")
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
