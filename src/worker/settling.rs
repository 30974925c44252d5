//! The spans of a settle call.

use super::spans::{SettleEnd, SettleSpans};
use super::stages::batch::Batch;
use crate::metrics::labels::SettleResult;
use crate::redis::RedisError;
use crate::stream::settle::{Ending, SettleReply, Settled};

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
