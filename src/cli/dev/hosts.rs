//! The hosts of a fleet on this machine: which replicas are on which, and which hosts are up.

use std::time::{Duration, Instant};

/// The name of a host by its number, as `engine-host-id`.
pub(super) fn name(number: usize) -> String {
    format!("host-{}", number + 1)
}

/// The host of a replica, both by their numbers.
pub(super) fn of_replica(replica: usize, hosts: usize) -> usize {
    replica % hosts.max(1)
}

/// Hosts as they were last seen.
#[derive(Debug)]
pub(super) struct Hosts {
    /// Since when each is down; none: it is up.
    down_since: Vec<Option<Instant>>,
}

/// What has become of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing on it runs that could do a job.
    Down,
    /// It does jobs again after such a time.
    Up(Duration),
}

impl Hosts {
    /// This many, all up.
    pub(super) fn new(count: usize) -> Self {
        Self { down_since: vec![None; count] }
    }

    /// What is new about a host that is up or down now.
    pub(super) fn see(&mut self, host: usize, is_up: bool, now: Instant) -> Option<Change> {
        let since = self.down_since.get_mut(host)?;
        match (*since, is_up) {
            (None, false) => {
                *since = Some(now);
                Some(Change::Down)
            }
            (Some(then), true) => {
                *since = None;
                Some(Change::Up(now.saturating_duration_since(then)))
            }
            (None, true) | (Some(_), false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once() {
        let (mut hosts, now) = (Hosts::new(2), Instant::now());
        let later = now + Duration::from_secs(3);
        assert_eq!(hosts.see(0, true, now), None);
        assert_eq!(hosts.see(1, false, now), Some(Change::Down));
        assert_eq!(hosts.see(1, false, later), None);
        assert_eq!(hosts.see(0, true, later), None);
        assert_eq!(hosts.see(1, true, later), Some(Change::Up(Duration::from_secs(3))));
        assert_eq!(hosts.see(1, true, later), None);
        assert_eq!(hosts.see(2, false, later), None, "there is no such host");
    }

    #[test]
    fn replicas_are_dealt_out_in_turn() {
        let of = |hosts| (0..5).map(|replica| of_replica(replica, hosts)).collect::<Vec<_>>();
        assert_eq!((of(3), of(1)), (vec![0, 1, 2, 0, 1], vec![0; 5]));
        assert_eq!(name(0), "host-1");
    }
}
