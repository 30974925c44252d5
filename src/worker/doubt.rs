//! Is it Redis that is away, or are our own connections broken? Only in the second case would a restart help.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::WORKER;
use super::backoff::CALLS;
use super::conditions::Trouble;
use super::events::Event;
use super::replica::{Mode, Replica};
use crate::redis::{Kind, RedisError};
use crate::stream::Group;
use crate::stream::renew::ReplicaState;

/// Renewals that fail for so many claim idles are doubted, and not before a broken client has been replaced.
const CLAIM_IDLES: u32 = 3;
const DOUBT_AFTER_MIN: Duration = Duration::from_secs(10);
/// How long a fresh connection may take to connect.
const FRESH_WITHIN: Duration = Duration::from_secs(2);
/// So often in a row a fresh connection has to work and a renewal to fail after it: calls that were under way when Redis
/// came back fail after it too.
const PROOFS: u32 = 3;

/// What speaks for our own connections being what fails.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    proofs: u32,
    has_fresh_worked: bool,
    is_under_way: bool,
    due: Option<Instant>,
    /// A call was lost while no read waited: the reader's connection may have died too, and nothing on it would tell.
    is_reader_suspect: bool,
}

impl Doubt {
    /// A renewal went through, or was refused by a server that answers.
    fn answered(&mut self) {
        self.proofs = 0;
        self.has_fresh_worked = false;
    }

    /// A renewal found no server.
    fn unanswered(&mut self) {
        if std::mem::take(&mut self.has_fresh_worked) {
            self.proofs += 1;
        }
    }

    /// A renewal was tried over a fresh connection.
    fn tried(&mut self, works: bool) {
        self.is_under_way = false;
        self.has_fresh_worked = works;
        if !works {
            self.proofs = 0;
        }
    }

    fn is_wedged(&self) -> bool {
        self.proofs >= PROOFS
    }
}

impl Replica {
    /// A read that has not returned within three BLOCK times, not even with nothing, never will.
    pub(super) fn watch_read(&mut self, now: Instant) {
        let overdue = self.under_way.read.is_some_and(|since| now >= since + self.read_limit());
        if overdue && !self.under_way.read_is_overdue {
            self.under_way.read_is_overdue = true;
            self.conditions
                .met(Trouble::Read, "no return of the blocking read within three block times; connection dropped");
            self.reader.replace_connection();
        }
    }

    /// The first answer after a time without any. What waits for the end of a back-off goes on, and a read that has waited
    /// since before is made to return: its connection may have been lost on the way without a word.
    pub(super) fn redis_answers_again(&mut self) {
        let soon = Instant::now() + CALLS.min;
        let due = &mut self.due;
        for due in [&mut due.read, &mut due.fetch, &mut due.settle, &mut due.adopt, &mut due.hand_back] {
            *due = soon.min(*due);
        }
        if self.under_way.read.is_some() {
            self.interrupt_reader();
        }
    }

    /// A call of this kind went unanswered.
    pub(super) fn went_unanswered(&mut self, trouble: Trouble) {
        if trouble != Trouble::Read && self.under_way.read.is_none() {
            self.doubt.is_reader_suspect = true;
        }
    }

    /// The next read goes out over a connection that nothing speaks against: its own time-out would come on top of that of
    /// the call that was lost.
    pub(super) fn trust_reader(&mut self) {
        if std::mem::take(&mut self.doubt.is_reader_suspect) {
            self.reader.replace_connection();
        }
    }

    /// While renewals find no server, one is tried over a fresh connection every claim idle.
    pub(super) fn doubt_due(&mut self, now: Instant) {
        let claim_idle = self.settings.claim_idle;
        let patience = (claim_idle * CLAIM_IDLES).max(DOUBT_AFTER_MIN);
        let is_due = self.doubt.due.is_none_or(|due| now >= due) && !self.doubt.is_under_way;
        if self.mode != Mode::Running || !is_due || now < self.renewed_at + patience {
            return;
        }
        self.doubt.due = Some(now + claim_idle.max(FRESH_WITHIN));
        self.doubt.is_under_way = true;
        let (commands, stream) = (self.member.group().commands().clone(), self.stream.clone());
        let (consumer, about) = (self.member.consumer().to_owned(), self.presence());
        let ids = self.holdings.to_renew(now, self.settings.max_run);
        let call = async move {
            let Ok(fresh) = commands.fresh(FRESH_WITHIN).await else { return Event::Doubted(false) };
            let member = Group::new(&stream, fresh.into()).member(&consumer);
            Event::Doubted(member.renew(ReplicaState::Running, &about, &ids).await.is_ok())
        };
        self.operations.push(call.boxed());
    }

    pub(super) fn doubted(&mut self, works: bool) {
        self.doubt.tried(works);
        if works {
            // Whatever is wrong with the present client, the next has nothing of it.
            self.member.group().commands().replace();
        }
    }

    /// What a renewal says about our connections.
    pub(super) fn look_at_renewal(&mut self, error: Option<&RedisError>) {
        let was_wedged = self.doubt.is_wedged();
        match error {
            Some(error) if error.kind == Kind::Unreachable => self.doubt.unanswered(),
            Some(_) | None => self.doubt.answered(),
        }
        if self.doubt.is_wedged() == was_wedged {
            return;
        }
        let reason = "renewals fail although a fresh connection to Redis works; a restart helps";
        if was_wedged {
            self.vitals.wedged(None);
        } else {
            let (stream, err) = (&self.stream.jobs, error.map_or("", |error| &error.text));
            tracing::error!(worker = WORKER, stream, err, reason, "not live: this process cannot recover by itself");
            self.vitals.wedged(Some(reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fresh_connections_that_work_again_and_again_beside_renewals_that_fail_are_a_proof() {
        let mut doubt = Doubt::default();
        // Redis is away: neither works.
        for _ in 0..10 {
            doubt.tried(false);
            doubt.unanswered();
            assert!(!doubt.is_wedged());
        }
        // It is back, and calls that were under way fail one after the other.
        doubt.tried(true);
        (0..10).for_each(|_| doubt.unanswered());
        assert!(!doubt.is_wedged());
        doubt.tried(true);
        doubt.unanswered();
        assert!(!doubt.is_wedged());
        // An interruption in between, and it begins anew.
        doubt.tried(false);
        for _ in 0..PROOFS {
            assert!(!doubt.is_wedged());
            doubt.tried(true);
            doubt.unanswered();
        }
        assert!(doubt.is_wedged());
        doubt.answered();
        assert!(!doubt.is_wedged());
    }

    #[test]
    fn a_server_that_refuses_renewals_is_no_reason_to_restart() {
        let mut doubt = Doubt::default();
        for _ in 0..10 {
            doubt.tried(true);
            doubt.answered();
        }
        assert!(!doubt.is_wedged());
    }
}
