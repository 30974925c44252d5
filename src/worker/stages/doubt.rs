//! Is it Redis that is away, or are our own connections broken? Only in the second case would a restart help.

use std::time::Duration;

use tokio::time::Instant;

use super::command::Command;
use super::gate::Gate;
use super::held::Holdings;
use super::timer::Timer;
use super::turn::Turn;

/// Renewals that fail for so many claim idles are doubted, and not before a broken client has been replaced.
const CLAIM_IDLES: u32 = 3;
const DOUBT_AFTER_MIN: Duration = Duration::from_secs(10);
/// How long a fresh connection may take to connect.
pub(crate) const FRESH_WITHIN: Duration = Duration::from_secs(2);
/// So often in a row a fresh connection has to work and a renewal to fail after it: calls that were under way when Redis
/// came back fail after it too.
const PROOFS: u32 = 3;

/// What speaks for our own connections being what fails.
#[derive(Debug)]
pub(crate) struct Doubt {
    claim_idle: Duration,
    max_run: Duration,
    proofs: u32,
    has_fresh_worked: bool,
    fresh: Timer,
    /// Since when the present client is known not to work while a fresh one does.
    replaces: Option<Instant>,
}

impl Doubt {
    /// No doubt yet.
    pub(crate) fn new(claim_idle: Duration, max_run: Duration, now: Instant) -> Self {
        Self { claim_idle, max_run, proofs: 0, has_fresh_worked: false, fresh: Timer::at(now), replaces: None }
    }

    /// A renewal went through, or was refused by a server that answers.
    pub(crate) fn answered(&mut self) {
        self.proofs = 0;
        self.has_fresh_worked = false;
    }

    /// A renewal found no server.
    pub(crate) fn unanswered(&mut self) {
        if std::mem::take(&mut self.has_fresh_worked) {
            self.proofs += 1;
        }
    }

    /// A renewal was tried over a fresh connection.
    pub(crate) fn tried(&mut self, turn: &Turn, works: bool) {
        self.fresh.ended();
        // Whatever is wrong with the present client, the next has nothing of it.
        self.replaces = works.then_some(turn.now);
        self.has_fresh_worked = works;
        if !works {
            self.proofs = 0;
        }
    }

    /// Do renewals fail again and again although fresh connections work?
    pub(crate) fn is_wedged(&self) -> bool {
        self.proofs >= PROOFS
    }

    /// When a renewal may be tried over a fresh connection, if none has gone through since `renewed_at`, or the client is
    /// replaced after one that worked.
    pub(crate) fn wake(&self, gate: &Gate, renewed_at: Instant) -> Option<Instant> {
        self.replaces.into_iter().chain(self.fresh_wake(gate, renewed_at)).min()
    }

    fn fresh_wake(&self, gate: &Gate, renewed_at: Instant) -> Option<Instant> {
        let patience = (self.claim_idle * CLAIM_IDLES).max(DOUBT_AFTER_MIN);
        self.fresh.wake(gate.is_running()).map(|due| due.max(renewed_at + patience))
    }

    /// While renewals find no server, one is tried over a fresh connection every claim idle.
    pub(crate) fn next(
        &mut self,
        turn: &Turn,
        gate: &Gate,
        renewed_at: Instant,
        holdings: &Holdings,
    ) -> Option<Command> {
        if self.replaces.take_if(|since| *since <= turn.now).is_some() {
            return Some(Command::ReplaceCommands);
        }
        if self.fresh_wake(gate, renewed_at).is_none_or(|due| due > turn.now) || !self.fresh.begin(turn.now, true) {
            return None;
        }
        self.fresh.set(turn.now + self.claim_idle.max(FRESH_WITHIN));
        Some(Command::RenewFresh(holdings.to_renew(turn.now, self.max_run)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::stages::gate::tests::any_gate;
    use proptest::prelude::*;

    const CLAIM_IDLE: Duration = Duration::from_secs(5);

    fn turn() -> Turn {
        Turn { now: Instant::now(), random: 0.0 }
    }

    fn doubt() -> Doubt {
        Doubt::new(CLAIM_IDLE, CLAIM_IDLE * 100, Instant::now())
    }

    #[test]
    fn only_fresh_connections_that_work_again_and_again_beside_renewals_that_fail_are_a_proof() {
        let mut doubt = doubt();
        // Redis is away: neither works.
        for _ in 0..10 {
            doubt.tried(&turn(), false);
            doubt.unanswered();
            assert!(!doubt.is_wedged());
        }
        // It is back, and calls that were under way fail one after the other.
        doubt.tried(&turn(), true);
        (0..10).for_each(|_| doubt.unanswered());
        assert!(!doubt.is_wedged());
        doubt.tried(&turn(), true);
        doubt.unanswered();
        assert!(!doubt.is_wedged());
        // An interruption in between, and it begins anew.
        doubt.tried(&turn(), false);
        for _ in 0..PROOFS {
            assert!(!doubt.is_wedged());
            doubt.tried(&turn(), true);
            doubt.unanswered();
        }
        assert!(doubt.is_wedged());
        doubt.answered();
        assert!(!doubt.is_wedged());
    }

    #[test]
    fn a_server_that_refuses_renewals_is_no_reason_to_restart() {
        let mut doubt = doubt();
        for _ in 0..10 {
            doubt.tried(&turn(), true);
            doubt.answered();
        }
        assert!(!doubt.is_wedged());
    }

    proptest! {
        /// One is tried at a time, never within the patience after a renewal, and exactly when the stage wakes.
        #[test]
        fn waking_and_trying_agree(steps in proptest::collection::vec((0..4_u8, 0..9_000_u64), 1..80), gate in any_gate()) {
            let (mut doubt, holdings) = (doubt(), Holdings::default());
            let (mut now, mut under_way) = (Instant::now(), false);
            let mut renewed_at = now;
            for (step, ms) in steps {
                now += Duration::from_millis(ms);
                let turn = Turn { now, random: 0.0 };
                match step {
                    0 => { renewed_at = now; doubt.answered(); }
                    1 => doubt.unanswered(),
                    2 if under_way => { doubt.tried(&turn, ms.is_multiple_of(2)); under_way = false; }
                    _ => {}
                }
                loop {
                    let is_due = doubt.wake(&gate, renewed_at).is_some_and(|due| due <= now);
                    let next = doubt.next(&turn, &gate, renewed_at, &holdings);
                    prop_assert_eq!(is_due, next.is_some());
                    match next {
                        Some(Command::ReplaceCommands) => prop_assert!(doubt.has_fresh_worked),
                        Some(_) => {
                            prop_assert!(gate.is_running() && !under_way && now >= renewed_at + 3 * CLAIM_IDLE);
                            under_way = true;
                        }
                        None => break,
                    }
                }
            }
        }
    }
}
