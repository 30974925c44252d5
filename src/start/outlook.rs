//! Which other hosts are alive, as far as this process can tell. Pure.
//!
//! That a host is dead is believed only by a process that has itself heard from Redis without a gap for a whole heartbeat:
//! while Redis was away no host could say that it was alive, and when its clock is set forward all of them seem silent.

use std::time::Duration;

use tokio::time::Instant;

use super::record::{Hosts, Standing};

/// A gap is longer than this part of a heartbeat; hosts say six times in one that they are alive.
const GAP: u32 = 3;

/// What a process has heard of the hosts, and since when.
#[derive(Debug, Clone, Default)]
pub(super) struct Outlook {
    last: Option<(Hosts, Instant)>,
    /// Since when there was no gap.
    since: Option<Instant>,
}

impl Outlook {
    /// Redis has told of all hosts, at this moment.
    pub(super) fn heard(&mut self, hosts: Hosts, at: Instant, heartbeat: Duration) {
        let goes_on = self.last.as_ref().is_some_and(|(before, then)| {
            let passed = at.saturating_duration_since(*then);
            let told = Duration::from_millis(hosts.now_ms.abs_diff(before.now_ms));
            let is_forward = hosts.now_ms >= before.now_ms;
            passed <= heartbeat / GAP && is_forward && told.abs_diff(passed) <= heartbeat / GAP
        });
        if !goes_on {
            self.since = Some(at);
        }
        self.last = Some((hosts, at));
    }

    /// Whether Redis has told of the hosts so recently.
    pub(super) fn is_younger_than(&self, age: Duration, now: Instant) -> bool {
        self.last.as_ref().is_some_and(|(_, then)| now.saturating_duration_since(*then) < age)
    }

    /// What is known about a host now.
    pub(super) fn standing(&self, host: &str, heartbeat: Duration, now: Instant) -> Standing {
        let (Some((hosts, then)), Some(since)) = (&self.last, self.since) else { return Standing::Unknown };
        let standing = hosts.standing(host, now.saturating_duration_since(*then));
        let has_listened = then.saturating_duration_since(since) >= hosts.heartbeat_of(host).unwrap_or(heartbeat);
        if standing == Standing::Dead && !(has_listened && self.is_younger_than(heartbeat / GAP, now)) {
            // It may be; until that is known its games are its own.
            return Standing::Alive;
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::start::record::HostLine;

    const HEARTBEAT: Duration = Duration::from_secs(30);

    fn hosts(now_ms: u64, seen_ms: u64) -> Hosts {
        let line = HostLine { seen_ms, heartbeat_ms: 30_000, engine_key: "k".to_owned(), about: String::new() };
        Hosts { now_ms, hosts: [("h".to_owned(), line)].into(), ..Hosts::default() }
    }

    /// Hears at these moments, in seconds; Redis's clock goes as ours does, from 1,000 s on, and `h` was heard of at `seen`.
    fn after(heard: &[u64], seen: u64) -> (Outlook, Instant) {
        let (mut outlook, began) = (Outlook::default(), Instant::now());
        for &at in heard {
            outlook.heard(hosts((1_000 + at) * 1_000, seen * 1_000), began + Duration::from_secs(at), HEARTBEAT);
        }
        (outlook, began + Duration::from_secs(*heard.last().expect("a moment")))
    }

    #[test]
    fn a_host_is_dead_for_one_who_has_listened_for_a_heartbeat() {
        let (outlook, now) = after(&[0, 5, 10, 15, 20, 25, 30], 1_000);
        assert_eq!(outlook.standing("h", HEARTBEAT, now), Standing::Dead);
        assert_eq!(outlook.standing("other", HEARTBEAT, now), Standing::Unknown);
        let (outlook, now) = after(&[0, 5, 10, 15, 20, 25, 30], 1_001);
        assert_eq!(outlook.standing("h", HEARTBEAT, now), Standing::Alive, "not silent for a heartbeat yet");
        let (outlook, now) = after(&[0, 5, 10, 15, 20, 25], 900);
        assert_eq!(outlook.standing("h", HEARTBEAT, now), Standing::Alive, "not listened for a heartbeat yet");
        let (outlook, now) = after(&[0], 900);
        assert_eq!(outlook.standing("h", HEARTBEAT, now), Standing::Alive, "a process that has just come up");
        assert_eq!(Outlook::default().standing("h", HEARTBEAT, now), Standing::Unknown);
    }

    #[test]
    fn after_a_gap_it_listens_anew() {
        let (outlook, now) = after(&[0, 5, 10, 15, 20, 25, 30, 90], 1_000);
        assert_eq!(outlook.standing("h", HEARTBEAT, now), Standing::Alive, "Redis was away");
        let (outlook, now) = after(&[0, 5, 10, 15, 20, 25, 30, 90, 95, 100, 105, 110, 115, 120], 1_000);
        assert_eq!(outlook.standing("h", HEARTBEAT, now), Standing::Dead);
        let (outlook, now) = after(&[0, 5, 10, 15, 20, 25, 30], 1_000);
        assert_eq!(outlook.standing("h", HEARTBEAT, now + HEARTBEAT), Standing::Alive, "nothing was heard since");
    }

    #[test]
    fn a_clock_that_jumps_kills_no_host() {
        for jump in [60_000_i64, -60_000] {
            let (mut outlook, now) = after(&[0, 5, 10, 15, 20, 25, 30], 1_029);
            let now = now + Duration::from_secs(5);
            outlook.heard(hosts(1_035_000_u64.saturating_add_signed(jump), 1_029_000), now, HEARTBEAT);
            assert_eq!(outlook.standing("h", HEARTBEAT, now), Standing::Alive, "{jump}");
        }
    }

    proptest! {
        /// Whatever is heard when: a host that is taken for dead has been silent for a heartbeat, by what was heard last, and
        /// that was heard of late by one who had heard something in every third of the heartbeat before.
        #[test]
        fn the_dead_were_silent(gaps in proptest::collection::vec(0_u64..20, 1..40), seen in 950_u64..1_300, later in 0_u64..40) {
            let mut at = 0;
            let heard: Vec<u64> = gaps.iter().map(|gap| { at += gap; at }).collect();
            let (outlook, now) = after(&heard, seen);
            if outlook.standing("h", HEARTBEAT, now + Duration::from_secs(later)) == Standing::Dead {
                prop_assert!(1_000 + at + later >= seen + 30 && later < 10);
                let mut listened = 0;
                for gap in gaps.iter().skip(1).rev() {
                    if *gap > 10 { break; }
                    listened += gap;
                }
                prop_assert!(listened >= 30, "{listened}");
            }
        }
    }
}
