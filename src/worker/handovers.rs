//! Jobs that are placed on another host: they are handed over to a replica there, or wait here until there is one. And what
//! others hand over to this replica.

use std::time::Duration;

use super::handler::Failure;
use super::stages::backoff::CALLS;
use super::stages::held::EntryKey;
use super::stages::job::{Away, Failed};
use super::stages::turn::Turn;
use super::state::State;
use super::troubles::Trouble;
use crate::contract::dead_letter::Reason;
use crate::redis::RedisError;
use crate::stream::hand_over::HandedOver;
use crate::stream::lua::STRAYS_MAX;
use crate::stream::renew::Stray;
use crate::stream::settle::Ending;
use crate::stream::{Delivery, Origin};

impl State {
    /// Jobs were handed over, or not.
    pub(super) fn handed_over(&mut self, jobs: Vec<Away>, result: Result<Vec<HandedOver>, RedisError>, turn: &Turn) {
        let (answers, retry_at) = match self.judge_idle(Trouble::Renew, result, turn) {
            Ok(answers) => (answers, None),
            Err(retry_at) => (Vec::new(), Some(retry_at)),
        };
        let answered = self.stages.returns.handed_over(turn, jobs, retry_at);
        for (Away { mut job, host, failed }, answer) in answered.into_iter().zip(answers) {
            match answer {
                HandedOver::To(consumer) => {
                    if let Some(Failed { why, is_counted, .. }) = failed {
                        self.journal.backs_off(&job, Duration::ZERO, is_counted, &why);
                        job.failed(&why, is_counted, turn.now);
                        self.tell_failed(&job, (Duration::ZERO, is_counted), &why, turn);
                    }
                    self.journal.handed_over(&job, &host, &consumer);
                    self.let_go(job.held, turn);
                }
                HandedOver::Nowhere | HandedOver::Full | HandedOver::TooOften => {
                    let uncounted = CALLS.delay(job.uncounted + 1, turn.random);
                    match failed {
                        Some(Failed { why, after, is_counted }) => self.back_off(job, after, is_counted, &why, turn),
                        None => self.back_off(job, uncounted, false, &Failure::Elsewhere { host }, turn),
                    }
                }
                // It cannot change its owner, and no other replica could read what it asks for.
                HandedOver::Trimmed => {
                    let detail = "the payload was deleted from the stream before the job was handed over".to_owned();
                    let letter = self.letter(&job.held, Reason::EntryLost, detail, None);
                    self.journal.payload_gone();
                    self.end(job.held, Ending::Dead(letter), None);
                }
                HandedOver::Lost => self.let_go(job.held, turn),
            }
        }
    }

    /// Entries that are pending for us and that we do not hold. Those that were handed over come into our hands at once, by
    /// their ids: no reply brings them. Of the others those whose reply is lost.
    pub(super) fn receive_strays(&mut self, mut strays: Vec<Stray>, turn: &Turn) {
        let may_be_more = strays.len() >= STRAYS_MAX;
        strays.retain(|stray| self.stages.holdings.stage(EntryKey::of(stray.id)).is_none());
        let (handed, strays): (Vec<Stray>, Vec<Stray>) = strays.into_iter().partition(|stray| stray.was_handed);
        let lost = self.stages.intake.lost_deliveries(strays);
        if may_be_more && !(handed.is_empty() && lost.is_empty()) {
            self.stages.keeper.was_told(turn);
        }
        if let Some(first) = handed.first() {
            self.journal.was_handed(first.id, handed.len());
        }
        if let Some(first) = lost.first() {
            self.journal.found(first.id, lost.len());
        }
        self.receive(handed.into_iter().chain(lost).map(delivery_of).collect(), turn);
    }
}

fn delivery_of(stray: Stray) -> Delivery {
    Delivery {
        id: stray.id,
        origin: if stray.was_handed { Origin::Handed } else { Origin::Found },
        dead_owner: stray.dead_owner,
        deliveries: stray.deliveries,
        crashes: 0,
        failures: 0,
        fields: None,
    }
}
