//! The breakers: while the engine or the start service's store fails everybody, nothing is started for it. What opens them,
//! and the probes that close them. Nothing here waits.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::backoff::CALLS;
use super::conditions::Trouble;
use super::events::Event;
use super::replica::Replica;
use super::work::Conclusion;
use crate::redis::{Kind, RedisError};
use crate::start::StartError;

impl Replica {
    /// The engine is gone: nothing is read, claimed or started until it answers again.
    pub(super) fn engine_went_down(&mut self, err: &str) {
        let times = self.conditions.met(Trouble::Engine, err);
        self.engine_up = false;
        self.due.probe = Instant::now() + CALLS.delay(times, fastrand::f64());
        if self.under_way.read.is_some() {
            self.interrupt_reader();
        }
        self.give_back_all_unstarted();
    }

    pub(super) fn probe_due(&mut self, now: Instant) {
        if self.engine_up || self.under_way.probe || now < self.due.probe {
            return;
        }
        self.under_way.probe = true;
        let work = Arc::clone(&self.work);
        self.operations.push(async move { Event::Probed(work.service.engine_answers().await) }.boxed());
    }

    pub(super) fn probed(&mut self, result: Result<(), StartError>) {
        self.under_way.probe = false;
        match result {
            Ok(()) => {
                self.conditions.over(Trouble::Engine);
                self.engine_up = true;
                self.due.sweep = Instant::now();
            }
            Err(error) => {
                let times = self.conditions.met(Trouble::Engine, &error.to_string());
                self.due.probe = Instant::now() + CALLS.delay(times, fastrand::f64());
            }
        }
    }

    /// The breaker of the start service's store.
    pub(super) fn look_at_store(&mut self, conclusion: &Conclusion) {
        match conclusion {
            Conclusion::Again { why: StartError::Store(error), .. } if error.kind != Kind::WrongType => {
                if self.store_down.is_some() {
                    // It was under way when the breaker opened, and says nothing new.
                    return;
                }
                self.store_refused(error);
                if self.under_way.read.is_some() {
                    self.interrupt_reader();
                }
            }
            Conclusion::NotOurs | Conclusion::EngineDown(_) => {}
            Conclusion::Again { .. } | Conclusion::Answered(_) | Conclusion::GivenUp { .. } => {
                self.store_down = None;
                self.conditions.over(Trouble::Store);
            }
        }
    }

    /// The breaker is open until a probe, or a start that was under way, finds the store well.
    fn store_refused(&mut self, error: &RedisError) {
        let trouble = if error.kind == Kind::Unreachable { Trouble::Redis } else { Trouble::Store };
        let times = self.conditions.met(trouble, &error.text);
        self.store_down = Some(Instant::now() + CALLS.delay(times, fastrand::f64()));
    }

    /// By a call of its own: what is in hand may back off for much longer than the store is away.
    pub(super) fn probe_store_due(&mut self, now: Instant) {
        if self.under_way.store_probe || self.store_down.is_none_or(|due| now < due) {
            return;
        }
        self.under_way.store_probe = true;
        let work = Arc::clone(&self.work);
        self.operations.push(async move { Event::StoreProbed(work.service.store_answers().await) }.boxed());
    }

    pub(super) fn store_probed(&mut self, result: Result<(), StartError>) {
        self.under_way.store_probe = false;
        if self.store_down.is_none() {
            // A start that was under way has found it well.
            return;
        }
        if let Err(StartError::Store(error)) = result {
            return self.store_refused(&error);
        }
        self.store_down = None;
        self.conditions.over(Trouble::Store);
    }
}
