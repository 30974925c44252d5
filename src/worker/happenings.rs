//! What operators are told of this replica's work while it happens: rare things alone.

use std::time::Duration;

use super::handler::Failure;
use super::stages::batch::Finished;
use super::stages::job::Job;
use super::stages::turn::Turn;
use super::state::State;
use super::troubles::News;
use crate::stream::claim::{Deaths, Sweep};
use crate::stream::fleet_event::{FleetEvent, Happened};
use crate::stream::settle::{Ending, Settled};

impl State {
    /// A job backs off or goes elsewhere. A failure that is not counted says nothing about the job: it makes no event.
    pub(super) fn tell_failed(&mut self, job: &Job, (after, is_counted): (Duration, bool), why: &Failure, turn: &Turn) {
        if !is_counted {
            return;
        }
        let (id, game) = (job.held.id(), job.request.lane());
        let code = why.code().map_or("", |code| code.as_str());
        let event = FleetEvent::new(Happened::AttemptFailed, turn.now).about(id, game).saying(code, &why.words());
        let host = self.handler.host().unwrap_or_default();
        let (attempt, pause) = (Some(job.failures()), Some(after));
        self.stages.teller.happened(FleetEvent { attempt, pause, host, ..event });
    }

    /// An entry was settled as a dead letter.
    pub(super) fn tell_dead(&mut self, finished: &Finished, settled: &Settled, turn: &Turn) {
        let (Ending::Dead(letter) | Ending::Both(_, letter), Settled::Done) = (&finished.ending, settled) else {
            return;
        };
        let game = finished.summary.as_ref().map_or("", |summary| summary.request.lane());
        let event = FleetEvent::new(Happened::DeadLetter, turn.now).about(finished.held.id(), game);
        self.stages.teller.happened(event.saying(letter.reason.as_str(), &letter.detail));
    }

    /// A sweep has declared replicas dead.
    pub(super) fn tell_deaths(&mut self, deaths: &Deaths, turn: &Turn) {
        for replica in &deaths.declared {
            self.stages.teller.happened(FleetEvent::new(Happened::DeclaredDead, turn.now).of(replica));
        }
    }

    /// A sweep has taken entries from others, or found their payloads gone.
    pub(super) fn tell_claimed(&mut self, sweep: &Sweep, turn: &Turn) {
        for (from, entries) in &sweep.from {
            self.stages.teller.happened(FleetEvent::new(Happened::Claimed, turn.now).of(from).times(*entries));
        }
        if sweep.lost > 0 {
            let event = FleetEvent::new(Happened::DeadLetter, turn.now).saying("entry_lost", "payloads were deleted");
            self.stages.teller.happened(event.times(sweep.lost));
        }
    }

    /// Troubles have begun or ended.
    pub(super) fn tell_troubles(&mut self) {
        for News { trouble, at, err } in self.troubles.take_news() {
            let kind = if err.is_some() { Happened::Degraded } else { Happened::Recovered };
            let event = FleetEvent::new(kind, at).saying(trouble.as_str(), &err.unwrap_or_default());
            self.stages.teller.happened(event);
        }
    }
}
