//! Who is there: the replicas by their presence records, and consumers of the group that have none.

use std::time::Duration;

use serde::Serialize;

use super::look::Look;
use super::printable::span;
use super::{SCHEMA_VERSION, View};
use crate::stream::presence::{Presence, PresenceState};

/// What a replica is up to. In the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It takes work.
    Running,
    /// It finishes what it has.
    Draining,
    /// It has been silent for claim idle and has not signed off.
    Lost,
    /// A consumer of the group without a presence record.
    Unknown,
    /// It ended as it should.
    Left,
}

impl State {
    /// As it is shown.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
            Self::Left => "left",
        }
    }
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Replica {
    /// Its consumer name.
    pub(crate) name: String,
    /// The machine or container it is on.
    pub(crate) host: Option<String>,
    /// Its process there.
    pub(crate) pid: Option<u64>,
    /// Its version.
    pub(crate) version: Option<String>,
    /// Its engine.
    pub(crate) engine: Option<String>,
    /// What it is up to.
    pub(crate) state: State,
    /// For how long it has run, or had run when it was last seen.
    pub(crate) up_ms: Option<u64>,
    /// How many starts it may have under way.
    pub(crate) slots: Option<u64>,
    /// How many it has.
    pub(crate) in_flight: Option<u64>,
    /// Entries pending for it in the group.
    pub(crate) pending: u64,
    /// When it was last seen, Unix milliseconds of the server's clock.
    pub(crate) last_seen_ms: Option<u64>,
    /// How long ago that was.
    pub(crate) last_seen_ago_ms: Option<u64>,
    /// After how long without a sign of life it is lost: its own `claim-idle`, or ours where it does not say.
    pub(crate) claim_idle_ms: Option<u64>,
    /// How long it lets a start take, where it says so.
    pub(crate) max_run_ms: Option<u64>,
}

/// All of them, as JSON shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Replicas {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// Those that take work first.
    pub(crate) replicas: Vec<Replica>,
}

impl Replica {
    /// It runs or drains.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.state, State::Running | State::Draining)
    }

    /// Its name, host and process, and when it was last seen.
    pub(crate) fn named(&self) -> String {
        let host = self.host.as_deref().map_or_else(String::new, |host| format!(" on {host}"));
        let pid = self.pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
        let seen = self.last_seen_ago_ms.map_or_else(String::new, |ago| format!(", last seen {} ago", span(ago)));
        format!("{}{host}{pid}{seen}", self.name)
    }

    /// Since when it is lost, Unix milliseconds of the server's clock.
    pub(crate) fn lost_since_ms(&self) -> Option<u64> {
        let seen = self.last_seen_ms.filter(|_| self.state == State::Lost)?;
        Some(seen.saturating_add(self.claim_idle_ms.unwrap_or_default()))
    }
}

impl View {
    /// The replicas of this look.
    pub(crate) fn replicas(&self, look: &Look) -> Replicas {
        Replicas { schema_version: SCHEMA_VERSION, at_ms: look.now_ms, replicas: list(look, self.claim_idle) }
    }
}

fn list(look: &Look, claim_idle: Duration) -> Vec<Replica> {
    let pending_of = |name: &str| look.pending.by.get(name).copied().unwrap_or_default();
    let present = look.replicas.iter().map(|(name, record)| {
        let mut replica = of_record(name, record, look.now_ms, claim_idle);
        replica.pending = pending_of(name);
        replica
    });
    let strangers = look.pending.by.iter().filter(|(name, _)| !look.replicas.contains_key(*name));
    let mut all: Vec<Replica> =
        present.chain(strangers.map(|(name, &pending)| Replica { pending, ..unknown(name) })).collect();
    all.sort_by(|a, b| (a.state, &a.name).cmp(&(b.state, &b.name)));
    all
}

fn of_record(name: &str, record: &str, now_ms: u64, claim_idle: Duration) -> Replica {
    let Some(presence) = Presence::parse(record) else { return unknown(name) };
    let lasts_ms = presence.lasts_ms(claim_idle);
    let Presence { seen_ms, state, about } = presence;
    let state = match state {
        PresenceState::Left => State::Left,
        _ if seen_ms.saturating_add(lasts_ms) < now_ms => State::Lost,
        PresenceState::Running => State::Running,
        PresenceState::Draining => State::Draining,
        PresenceState::Unknown => State::Unknown,
    };
    let is_alive = matches!(state, State::Running | State::Draining);
    let until = if is_alive { now_ms } else { seen_ms };
    Replica {
        name: name.to_owned(),
        host: about.host,
        pid: about.pid,
        version: about.version,
        engine: about.engine,
        state,
        up_ms: about.started_at_ms.map(|started| until.saturating_sub(started)),
        slots: about.slots,
        in_flight: if is_alive { about.in_flight } else { None },
        pending: 0,
        last_seen_ms: Some(seen_ms),
        last_seen_ago_ms: Some(now_ms.saturating_sub(seen_ms)),
        claim_idle_ms: Some(lasts_ms),
        max_run_ms: about.max_run_ms,
    }
}

fn unknown(name: &str) -> Replica {
    Replica {
        name: name.to_owned(),
        host: None,
        pid: None,
        version: None,
        engine: None,
        state: State::Unknown,
        up_ms: None,
        slots: None,
        in_flight: None,
        pending: 0,
        last_seen_ms: None,
        last_seen_ago_ms: None,
        claim_idle_ms: None,
        max_run_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(record: &str) -> Replica {
        of_record("r", record, 10_000, Duration::from_secs(1))
    }

    #[test]
    fn states_follow_from_the_record_and_the_clock() {
        let json = r#"{"host":"h","pid":7,"version":"1","started_at_ms":4000,"slots":8,"in_flight":2}"#;
        let running = of(&format!("9500 running {json}"));
        assert_eq!((running.state, running.up_ms, running.in_flight), (State::Running, Some(6_000), Some(2)));
        assert_eq!(of(&format!("9500 draining {json}")).state, State::Draining);
        let lost = of(&format!("8000 running {json}"));
        assert_eq!((lost.state, lost.up_ms, lost.in_flight), (State::Lost, Some(4_000), None));
        assert_eq!(of("1 left {}").state, State::Left);
        let other = of(r#"8000 running {"claim_idle_ms":5000}"#);
        assert_eq!((other.state, other.claim_idle_ms), (State::Running, Some(5_000)), "its own claim-idle counts");
        assert_eq!((lost.claim_idle_ms, lost.lost_since_ms()), (Some(1_000), Some(9_000)), "ours, where it is silent");
    }

    #[test]
    fn records_that_are_none_are_unknown_and_never_a_panic() {
        for record in ["", "x", "x running {}", "9999999999999999999999 running {}", "9500 dancing {}", "9500"] {
            assert_eq!(of(record).state, State::Unknown, "{record}");
        }
        assert_eq!(of("9500 running not json").state, State::Running);
    }

    #[test]
    fn consumers_without_a_record_are_listed_when_they_hold_something() {
        let mut look = Look { now_ms: 10_000, ..Look::default() };
        look.replicas.insert("a".into(), "9900 left {}".into());
        look.replicas.insert("b".into(), "9900 running {}".into());
        look.pending.by.insert("stranger".into(), 3);
        let listed: Vec<(String, State, u64)> = list(&look, Duration::from_secs(1))
            .into_iter()
            .map(|replica| (replica.name, replica.state, replica.pending))
            .collect();
        let expected = [("b", State::Running, 0), ("stranger", State::Unknown, 3), ("a", State::Left, 0)];
        assert_eq!(listed, expected.map(|(name, state, pending)| (name.to_owned(), state, pending)));
    }
}
