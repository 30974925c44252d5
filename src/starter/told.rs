//! Counts and logs what keeping the records true has changed, and what happens to pulls.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::PullProgress;
use crate::metrics::Metrics;
use crate::metrics::labels::RecordChange;
use crate::start::change::{Change, Told};
use crate::start::pulls::{PullEvent, PullsTold};
use crate::worker::WORKER;

fn counted(change: &Change) -> RecordChange {
    match change {
        Change::Ended { .. } => RecordChange::Ended,
        Change::Moved { .. } => RecordChange::Moved,
        Change::Revived { .. } => RecordChange::Revived,
        Change::Rebuilt { .. } => RecordChange::Rebuilt,
        Change::Removed { .. } => RecordChange::Removed,
        Change::NotRemoved { .. } => RecordChange::NotRemoved,
    }
}

/// Counts and logs what keeping the records true has changed.
pub(super) fn told(metrics: &Arc<Metrics>, stream: &str) -> Told {
    let (metrics, stream) = (Arc::clone(metrics), stream.to_owned());
    Told::new(move |change| {
        metrics.record_changed(counted(change));
        match change {
            Change::Ended { game_id, container_id, exit_code } => {
                tracing::info!(worker = WORKER, stream, game_id, container_id, exit_code, "game ended");
            }
            Change::Moved { game_id, container_id, engine_endpoint } => {
                tracing::info!(
                    worker = WORKER,
                    stream,
                    game_id,
                    container_id,
                    engine_endpoint,
                    "game answers elsewhere"
                );
            }
            Change::Revived { game_id, container_id, engine_endpoint } => {
                tracing::info!(worker = WORKER, stream, game_id, container_id, engine_endpoint, "game runs again");
            }
            Change::Rebuilt { game_id, container_id } => {
                tracing::warn!(
                    worker = WORKER,
                    stream,
                    game_id,
                    container_id,
                    "record of a running game was lost; written again"
                );
            }
            Change::Removed { game_id, container_id, stopped_by } if !stopped_by.is_empty() => {
                tracing::info!(worker = WORKER, stream, game_id, container_id, stopped_by, "removed a stopped game");
            }
            Change::Removed { game_id, container_id, stopped_by: _ } => {
                metrics.strays_removed.inc();
                tracing::warn!(worker = WORKER, stream, game_id, container_id, "removed an unknown container");
            }
            Change::NotRemoved { game_id, container_id, why } => {
                tracing::warn!(
                    worker = WORKER,
                    stream,
                    game_id,
                    container_id,
                    err = why,
                    "left an unknown container alone"
                );
            }
        }
    })
}

/// Pulls that take longer are in the log.
const SLOW: Duration = Duration::from_secs(10);

/// Counts pulls, and logs those that take long or fail.
pub(super) fn pulls_told(metrics: &Arc<Metrics>, stream: &str) -> PullsTold {
    let (metrics, stream) = (Arc::clone(metrics), stream.to_owned());
    PullsTold::new(move |event| match event {
        PullEvent::Began => {
            metrics.pulls_in_progress.inc();
        }
        PullEvent::Dropped => {
            metrics.pulls_in_progress.dec();
        }
        PullEvent::Slow { image, took, progress } => {
            let PullProgress { bytes, total, layers, layers_done } = progress;
            let took_ms = millis(*took);
            tracing::info!(
                worker = WORKER,
                stream,
                image,
                took_ms,
                bytes,
                total,
                layers_done,
                layers,
                "image is still on its way"
            );
        }
        PullEvent::Ended { image, took, progress, error } => {
            metrics.pulls_in_progress.dec();
            metrics.pulled_bytes.inc_by(progress.bytes);
            let (took_ms, bytes) = (millis(*took), progress.bytes);
            match error {
                Some(error) => {
                    tracing::info!(worker = WORKER, stream, image, took_ms, bytes, err = error, "pull failed");
                }
                None if *took >= SLOW => {
                    tracing::info!(worker = WORKER, stream, image, took_ms, bytes, "image arrived");
                }
                None => tracing::debug!(worker = WORKER, stream, image, took_ms, bytes, "image arrived"),
            }
        }
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
