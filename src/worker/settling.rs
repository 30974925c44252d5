//! A settle call: over which connection, and its spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;

use super::WORKER;
use super::spans::{SettleEnd, SettleSpans};
use super::stages::batch::Batch;
use crate::metrics::Metrics;
use crate::metrics::labels::SettleResult;
use crate::redis::RedisError;
use crate::stream::Member;
use crate::stream::entry_id::EntryId;
use crate::stream::settle::{Ending, SettleReply, Settled, Terms};

/// How long replicas of Redis may take to confirm a batch.
const REPLICATED_WITHIN_MS: &str = "500";

/// What batches are settled over.
#[derive(Debug, Clone)]
pub(crate) enum SettleOver {
    /// The connection of all commands.
    Commands(Member),
    /// A connection of its own, on which replicas of Redis are waited for.
    Replicated(Arc<Replicated>),
}

/// Settles that wait for replicas of Redis.
#[derive(Debug)]
pub(crate) struct Replicated {
    /// The group, over the connection of settles.
    member: Member,
    /// `settle-wait-replicas`
    wanted: u64,
    metrics: Arc<Metrics>,
    /// One batch at a time: the next would wait behind WAIT, and its time would run out there.
    turn: Mutex<()>,
    /// The last batch has reached too few.
    is_short: AtomicBool,
}

impl SettleOver {
    /// Over a connection of its own, waiting for so many replicas.
    pub(crate) fn replicated(member: Member, wanted: u64, metrics: Arc<Metrics>) -> Self {
        let (turn, is_short) = (Mutex::new(()), AtomicBool::new(false));
        Self::Replicated(Arc::new(Replicated { member, wanted, metrics, turn, is_short }))
    }

    /// Settles a batch. It is settled too where too few replicas have confirmed it in time: that is told.
    pub(super) async fn settle(&self, entries: &[(EntryId, &Ending)], terms: Terms) -> Result<SettleReply, RedisError> {
        match self {
            Self::Commands(member) => member.settle(entries, terms).await,
            Self::Replicated(replicated) => {
                let _turn = replicated.turn.lock().await;
                let reply = replicated.member.settle(entries, terms).await?;
                replicated.wait().await;
                Ok(reply)
            }
        }
    }
}

impl Replicated {
    async fn wait(&self) {
        let wait = ["WAIT", &self.wanted.to_string(), REPLICATED_WITHIN_MS];
        // WAIT is about what its own connection has written.
        let confirmed: Result<u64, _> = match self.member.group().commands().raw(&wait).await {
            Ok(reply) => reply.convert(),
            Err(error) => Err(error),
        };
        let (wanted, stream) = (self.wanted, &self.member.group().keys().jobs);
        let is_short = confirmed.as_ref().map_or(true, |&confirmed| confirmed < wanted);
        if is_short {
            self.metrics.settles_unreplicated.inc();
        }
        if self.is_short.swap(is_short, Ordering::Relaxed) == is_short {
            return;
        }
        match confirmed {
            Ok(_) if !is_short => {
                tracing::info!(worker = WORKER, stream, wanted, "enough replicas of Redis confirm outcomes again");
            }
            Ok(confirmed) => {
                tracing::warn!(
                    worker = WORKER,
                    stream,
                    confirmed,
                    wanted,
                    "too few replicas of Redis confirm outcomes"
                );
            }
            Err(err) => tracing::warn!(worker = WORKER, stream, %err, wanted, "replicas of Redis cannot be waited for"),
        }
    }
}

/// A settle call under way: the spans of those of its entries that are recorded, by their places in the batch.
#[must_use]
#[derive(Debug)]
pub(super) struct Settling(Vec<(usize, SettleSpans)>);

impl Settling {
    /// It begins. Outcomes of entries that are recorded carry the trace on.
    pub(super) fn begin(batch: &mut Batch) -> Self {
        // Most batches have none, and then nothing is allocated.
        let mut spans = Vec::new();
        for (at, finished) in batch.entries.iter_mut().enumerate() {
            let has_outcome = matches!(finished.ending, Ending::Outcome(_) | Ending::Both(..));
            let has_dead_letter = matches!(finished.ending, Ending::Dead(_) | Ending::Both(..));
            let Some(settle) = finished.held.traced.settle(has_outcome, has_dead_letter) else { continue };
            if let Ending::Outcome(outcome) | Ending::Both(outcome, _) = &mut finished.ending {
                outcome.carry(settle.traceparent());
            }
            spans.push((at, settle));
        }
        Self(spans)
    }

    /// It has ended.
    pub(super) fn over(self, batch: &Batch, reply: Result<&SettleReply, &RedisError>) {
        for (at, spans) in self.0 {
            let settled = reply.ok().and_then(|reply| reply.settled.get(at));
            let end = end_of(settled);
            if let (Some(settled), Some(finished)) = (settled, batch.entries.get(at))
                && !matches!(end, SettleEnd::Failed(_))
            {
                finished.held.traced.settled(SettleResult::from(settled).as_str());
            }
            spans.over(end);
        }
    }
}

fn end_of(settled: Option<&Settled>) -> SettleEnd {
    match settled {
        Some(Settled::Done) => SettleEnd::Done,
        Some(Settled::Duplicate | Settled::Lost | Settled::Unknown | Settled::Expired) => SettleEnd::NotOurs,
        Some(Settled::Refused(_)) => SettleEnd::Failed("refused"),
        Some(Settled::Skipped) => SettleEnd::Failed("skipped"),
        None => SettleEnd::Failed("no_answer"),
    }
}
