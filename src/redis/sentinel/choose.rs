//! What follows from the answers of sentinels: which server to try next. Nothing here does I/O.
//!
//! A failover raises the configuration epoch of its service, so the sentinel with the highest epoch is right, and one with a
//! lower epoch is out of date. An epoch that was seen is never given up for a lower one, with one exception: sentinels that
//! were made anew begin at epoch 0. When most of them name the same server for [`RESET_AFTER`], they are believed.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::redis::place::HostPort;

/// So long most sentinels have to agree before an epoch below the known one is believed.
pub(super) const RESET_AFTER: Duration = Duration::from_secs(10);

/// A server that sentinels name as the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Where it listens.
    pub at: HostPort,
    /// The configuration epoch with which it was named.
    pub epoch: u64,
}

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}

/// What is known of a service.
#[derive(Debug, Default)]
pub(super) struct Resolution {
    known: Option<Master>,
    /// What most sentinels name with lower epochs than the known one, and since when.
    reset: Option<(HostPort, Instant)>,
}

impl Resolution {
    /// The master, as far as is known.
    pub(super) fn known(&self) -> Option<&Master> {
        self.known.as_ref()
    }

    /// This is what those of `asked` sentinels that answered have said. Answers the servers to try, the best first; none where
    /// everything stays as it is.
    pub(super) fn hear(&mut self, said: &[Master], asked: usize, now: Instant) -> Vec<Master> {
        let Some(highest) = said.iter().map(|master| master.epoch).max() else {
            self.reset = None;
            return Vec::new();
        };
        let Some(known) = &mut self.known else { return by_votes(said, highest) };
        if highest < known.epoch {
            return self.hear_lower(said, asked, now);
        }
        self.reset = None;
        // During a failover the sentinel that leads it may name the old server with the new epoch, or the other way round.
        // It corrects itself; until then the known one is as good.
        if said.iter().any(|master| master.epoch == highest && master.at == known.at) {
            known.epoch = highest;
            return Vec::new();
        }
        by_votes(said, highest)
    }

    fn hear_lower(&mut self, said: &[Master], asked: usize, now: Instant) -> Vec<Master> {
        let votes = |at: &HostPort| said.iter().filter(|master| master.at == *at).count();
        let Some(named) = said.iter().filter(|master| votes(&master.at) > asked / 2).max_by_key(|master| master.epoch)
        else {
            self.reset = None;
            return Vec::new();
        };
        match &self.reset {
            Some((at, since)) if *at == named.at => {
                if now.saturating_duration_since(*since) < RESET_AFTER {
                    Vec::new()
                } else {
                    vec![named.clone()]
                }
            }
            _ => {
                self.reset = Some((named.at.clone(), now));
                Vec::new()
            }
        }
    }

    /// One of the servers to try says itself that it is the master.
    pub(super) fn found(&mut self, master: Master) {
        self.known = Some(master);
        self.reset = None;
    }
}

/// What is named with this epoch, by how many name it.
fn by_votes(said: &[Master], epoch: u64) -> Vec<Master> {
    let mut named: Vec<(usize, &Master)> = Vec::new();
    for master in said.iter().filter(|master| master.epoch == epoch) {
        match named.iter_mut().find(|(_, other)| *other == master) {
            Some((votes, _)) => *votes += 1,
            None => named.push((1, master)),
        }
    }
    named.sort_by_key(|&(votes, _)| std::cmp::Reverse(votes));
    named.into_iter().map(|(_, master)| master.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(port: u16) -> HostPort {
        HostPort { host: "h".to_owned(), port }
    }

    fn master(port: u16, epoch: u64) -> Master {
        Master { at: at(port), epoch }
    }

    fn knows(port: u16, epoch: u64) -> Resolution {
        Resolution { known: Some(master(port, epoch)), reset: None }
    }

    #[test]
    fn the_highest_epoch_is_believed_and_votes_decide_between_equal_ones() {
        let now = Instant::now();
        let said = [master(1, 4), master(2, 5), master(3, 5), master(3, 5), master(1, 4), master(1, 4)];
        let tried = [master(3, 5), master(2, 5)];
        assert_eq!(Resolution::default().hear(&said, 6, now), tried);
        assert_eq!(knows(1, 4).hear(&said, 6, now), tried);
        let mut knows_one_of_them = knows(2, 5);
        assert_eq!(knows_one_of_them.hear(&said, 6, now), []);
        assert_eq!(knows_one_of_them.known(), Some(&master(2, 5)));
    }

    #[test]
    fn a_sentinel_that_is_out_of_date_is_not_believed_however_long_it_is_alone() {
        let (mut resolution, now) = (knows(2, 5), Instant::now());
        for second in 0..60 {
            assert_eq!(resolution.hear(&[master(1, 4)], 3, now + Duration::from_secs(second)), []);
        }
    }

    #[test]
    fn sentinels_that_were_made_anew_are_believed_after_a_while() {
        let (mut resolution, start) = (knows(2, 5), Instant::now());
        let said = [master(1, 0), master(1, 1), master(2, 0)];
        assert_eq!(resolution.hear(&said, 3, start), []);
        let nearly = start + RESET_AFTER - Duration::from_millis(1);
        assert_eq!(resolution.hear(&said, 3, nearly), []);
        assert_eq!(resolution.hear(&said, 3, start + RESET_AFTER), [master(1, 1)]);
        resolution.found(master(1, 1));
        assert_eq!(resolution.hear(&said, 3, start + RESET_AFTER), []);
        // A pause begins the wait anew.
        let mut resolution = knows(2, 5);
        assert_eq!(resolution.hear(&said, 3, start), []);
        assert_eq!(resolution.hear(&[], 3, nearly), []);
        assert_eq!(resolution.hear(&said, 3, start + RESET_AFTER), []);
    }

    #[test]
    fn the_same_server_with_a_higher_epoch_is_no_other_server() {
        let mut resolution = knows(1, 4);
        assert_eq!(resolution.hear(&[master(1, 6), master(2, 5)], 3, Instant::now()), []);
        assert_eq!(resolution.known(), Some(&master(1, 6)));
    }

    fn any_master() -> impl Strategy<Value = Master> {
        (1..4_u16, 0..5_u64).prop_map(|(port, epoch)| master(port, epoch))
    }

    proptest! {
        /// Rounds of answers, each with the time since the last one and which of the servers tried is a master.
        #[test]
        fn an_epoch_is_given_up_only_for_what_most_have_named_for_long_enough(
            rounds in proptest::collection::vec((proptest::collection::vec(any_master(), 0..4), 0..4_000_u64, 0..4_usize), 1..80)
        ) {
            const ASKED: usize = 3;
            let (mut resolution, mut now) = (Resolution::default(), Instant::now());
            // What most have named without a gap while it was lower than what was known, and since when.
            let mut agreed: Option<(HostPort, Instant)> = None;
            for (said, passed_ms, is_master) in rounds {
                now += Duration::from_millis(passed_ms);
                let said = &said[..said.len().min(ASKED)];
                let before = resolution.known().cloned();
                let highest = said.iter().map(|master| master.epoch).max();
                let is_lower = before.as_ref().zip(highest).is_some_and(|(known, highest)| highest < known.epoch);
                let most = (1..4).map(at).find(|at| said.iter().filter(|master| master.at == *at).count() * 2 > ASKED);
                agreed = match (most.filter(|_| is_lower), agreed) {
                    (Some(at), Some((before, since))) if at == before => Some((before, since)),
                    (Some(at), _) => Some((at, now)),
                    (None, _) => None,
                };
                let tried = resolution.hear(said, ASKED, now);
                for master in &tried {
                    prop_assert!(said.contains(master), "no sentinel has named it");
                    prop_assert!(before.as_ref().is_none_or(|known| known != master));
                    let is_agreed = agreed.as_ref().is_some_and(|(at, since)| *at == master.at && now - *since >= RESET_AFTER);
                    prop_assert!(Some(master.epoch) == highest.filter(|_| !is_lower) || is_agreed);
                }
                // What is lower and agreed on for so long is tried.
                if agreed.as_ref().is_some_and(|(_, since)| now - *since >= RESET_AFTER) {
                    prop_assert_eq!(tried.len(), 1);
                }
                if tried.is_empty() {
                    let after = resolution.known();
                    prop_assert_eq!(after.map(|master| &master.at), before.as_ref().map(|master| &master.at));
                    prop_assert!(after.map(|master| master.epoch) >= before.map(|master| master.epoch));
                }
                if let Some(master) = tried.get(is_master) {
                    resolution.found(master.clone());
                    agreed = None;
                }
            }
        }
    }
}
