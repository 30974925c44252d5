//! What operators want: single jobs cancelled, or tried again at once, and this replica drained. A start under way is not
//! interrupted; what it answers is the answer.

use std::sync::Arc;

use super::stages::held::EntryKey;
use super::stages::job::Job;
use super::stages::turn::Turn;
use super::state::State;
use crate::stream::drain::Drain;
use crate::stream::fleet_event::{FleetEvent, Happened};
use crate::stream::mark::{Cancel, Mark, Wish};

impl State {
    /// A mark at an entry, which may have left our hands meanwhile: then its next owner looks it up.
    pub(super) fn obey(&mut self, Mark { id, wish }: Mark, turn: &Turn) {
        let key = EntryKey::of(id);
        match wish {
            Wish::Cancel(cancel) => {
                self.cancels(key, &Arc::new(cancel), turn);
                self.stages.starts.hurry(key, turn);
                self.stages.starts.dismiss(key);
            }
            Wish::Retry { by } => {
                if self.stages.starts.hurry(key, turn) {
                    self.journal.hurries(id, &by);
                    let event = FleetEvent::new(Happened::RetriedNow, turn.now).about(id, "");
                    self.stages.teller.happened(event.done_by(&by));
                }
            }
        }
    }

    /// From now on every attempt at the job answers that it was cancelled.
    pub(super) fn cancels(&mut self, key: EntryKey, cancel: &Arc<Cancel>, turn: &Turn) {
        if self.stages.holdings.cancel(key, Arc::clone(cancel)) {
            self.journal.cancels(key.id, cancel);
            let event = FleetEvent::new(Happened::Cancelled, turn.now).about(key.id, "");
            self.stages.teller.happened(event.saying("", &cancel.reason).done_by(&cancel.by));
        }
    }

    /// An operator wants this replica to drain. It does so exactly as where its process is told to stop.
    pub(super) fn is_to_drain(&mut self, drain: Drain) {
        if self.stages.gate.is_running() && self.drain.is_none() {
            self.journal.is_to_drain(&drain);
            self.drain = Some(drain);
            self.stop.cancel();
        }
    }

    /// Is this job cancelled, and can it be answered so here? Else the replica that takes it up next does that.
    pub(super) fn is_cancelled_here(&self, job: &Job) -> bool {
        let gate = &self.stages.gate;
        let goes_on = gate.answers_cancelled() && !gate.tries_one();
        goes_on && self.stages.holdings.cancelled(job.held.key()).is_some()
    }
}
