//! Who is there: the replicas by their presence records, and consumers of the group that have none.

use std::time::Duration;

use serde::Serialize;

use super::damaged::{Damaged, NAMED_MAX, REPLICA, WHOLE_KEY};
use super::look::Look;
use super::printable::span;
use super::{SCHEMA_VERSION, View};
use crate::stream::presence::{Noticed, Presence, PresenceState};

/// What a replica is up to. In the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It takes work.
    Running,
    /// It finishes what it has.
    Draining,
    /// Its connection closed without its signing off, and the others could take over at once.
    Dead,
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
            Self::Dead => "dead",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
            Self::Left => "left",
        }
    }
}

/// Whether the others would notice at once that a living replica has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Notice {
    /// Yes: its last renewal heard its subscription.
    On,
    /// Not now: its last renewal did not hear its subscription.
    Down,
    /// No: its settings turn it off.
    Off,
    /// No: the server refuses to tell.
    Refused,
}

impl Notice {
    /// As it is shown.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Down => "down",
            Self::Off => "off",
            Self::Refused => "refused",
        }
    }

    /// Nothing where the record does not say: those of older versions.
    fn of(presence: &Presence) -> Option<Self> {
        match (presence.life.heard_ms, presence.life.deaf_ms, presence.about.disconnect_grace_ms) {
            (Some(_), ..) => Some(Self::On),
            (_, Some(_), _) => Some(Self::Refused),
            (.., Some(0)) => Some(Self::Off),
            (.., Some(_)) => Some(Self::Down),
            (.., None) => None,
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
    /// The host whose games it starts.
    pub(crate) engine_host: Option<String>,
    /// What tells its policy apart from those of others; none where it has no policy file.
    pub(crate) policy: Option<String>,
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
    /// How the others noticed its death; none while it is alive, and where nothing was taken over from it yet.
    pub(crate) noticed: Option<Noticed>,
    /// When that was, Unix milliseconds of the server's clock.
    pub(crate) noticed_ms: Option<u64>,
    /// How long ago that was.
    pub(crate) noticed_ago_ms: Option<u64>,
    /// Whether it takes new jobs, as of its last renewal; none where it is not alive or does not say.
    pub(crate) serves: Option<bool>,
    /// Whether it takes one job at a time, because its host is sick or full; false where it is not alive.
    pub(crate) is_sick: bool,
    /// Whether an operator holds it, as of its last renewal; false where it is not alive, or of a version that does not say.
    pub(crate) is_paused: bool,
    /// Whether the others would notice its death at once; none where it is not alive or of an older version.
    pub(crate) disconnect_notice: Option<Notice>,
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
    /// Some of the records that cannot be read.
    pub(crate) damaged: Vec<Damaged>,
    /// How many more there are.
    pub(crate) damaged_more: usize,
}

impl Replica {
    /// It runs or drains.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.state, State::Running | State::Draining)
    }

    /// It ended without signing off.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.state, State::Dead | State::Lost)
    }

    /// It is silent, and none of the others has taken over from it yet.
    pub(crate) fn is_unnoticed(&self) -> bool {
        self.state == State::Lost && self.noticed.is_none()
    }

    /// Its name, host and process, when it was last seen, and when its connection closed.
    pub(crate) fn named(&self) -> String {
        let host = self.host.as_deref().map_or_else(String::new, |host| format!(" on {host}"));
        let pid = self.pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
        let seen = self.last_seen_ago_ms.map_or_else(String::new, |ago| format!(", last seen {} ago", span(ago)));
        let closed = self.noticed_ago_ms.filter(|_| self.state == State::Dead);
        let closed = closed.map_or_else(String::new, |ago| format!(", connection closed {} ago", span(ago)));
        format!("{}{host}{pid}{seen}{closed}", self.name)
    }

    /// Since when it is dead or lost, Unix milliseconds of the server's clock.
    pub(crate) fn gone_since_ms(&self) -> Option<u64> {
        match self.state {
            State::Dead => self.noticed_ms.or(self.last_seen_ms),
            State::Lost => Some(self.last_seen_ms?.saturating_add(self.claim_idle_ms.unwrap_or_default())),
            State::Running | State::Draining | State::Unknown | State::Left => None,
        }
    }
}

impl View {
    /// The replicas of this look.
    pub(crate) fn replicas(&self, look: &Look) -> Replicas {
        let mut damaged = damaged(look, &self.keys.replicas);
        let damaged_more = damaged.len().saturating_sub(NAMED_MAX);
        damaged.truncate(NAMED_MAX);
        let replicas = list(look, self.claim_idle);
        Replicas { schema_version: SCHEMA_VERSION, at_ms: look.now_ms, replicas, damaged, damaged_more }
    }
}

/// The records that no version wrote so. Those that a newer one wrote are read as far as they are known.
fn damaged(look: &Look, key: &str) -> Vec<Damaged> {
    match look.types.get(key).map(String::as_str) {
        None | Some("none" | "hash") => {}
        Some(held) => return vec![Damaged::key(key, format!("it holds a {held} where a hash is expected"), WHOLE_KEY)],
    }
    let broken = look.replicas.iter().filter(|(_, record)| Presence::parse(record).is_none());
    broken.map(|(name, _)| Damaged::field(key, name, "it holds no record of a replica", REPLICA)).collect()
}

pub(crate) fn list(look: &Look, claim_idle: Duration) -> Vec<Replica> {
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
    let (noticed, notice) = (presence.noticed(), Notice::of(&presence));
    let Presence { seen_ms, state, life: _, about } = presence;
    let state = match state {
        PresenceState::Left => State::Left,
        PresenceState::Dead => State::Dead,
        _ if noticed.is_some() || seen_ms.saturating_add(lasts_ms) < now_ms => State::Lost,
        PresenceState::Running => State::Running,
        PresenceState::Draining => State::Draining,
        PresenceState::Unknown => State::Unknown,
    };
    let is_alive = matches!(state, State::Running | State::Draining);
    let until = if is_alive { now_ms } else { seen_ms };
    let noticed_ms = noticed.and_then(|(_, at_ms)| at_ms);
    Replica {
        name: name.to_owned(),
        host: about.host,
        pid: about.pid,
        version: about.version,
        engine: about.engine,
        engine_host: about.engine_host,
        policy: about.policy,
        state,
        up_ms: about.started_at_ms.map(|started| until.saturating_sub(started)),
        slots: about.slots,
        in_flight: if is_alive { about.in_flight } else { None },
        pending: 0,
        last_seen_ms: Some(seen_ms),
        last_seen_ago_ms: Some(now_ms.saturating_sub(seen_ms)),
        claim_idle_ms: Some(lasts_ms),
        max_run_ms: about.max_run_ms,
        noticed: noticed.map(|(how, _)| how),
        noticed_ms,
        noticed_ago_ms: noticed_ms.map(|at_ms| now_ms.saturating_sub(at_ms)),
        serves: about.serves.filter(|_| is_alive),
        is_sick: is_alive && about.sick == Some(true),
        is_paused: is_alive && about.paused == Some(true),
        disconnect_notice: notice.filter(|_| is_alive),
    }
}

fn unknown(name: &str) -> Replica {
    Replica {
        name: name.to_owned(),
        host: None,
        pid: None,
        version: None,
        engine: None,
        engine_host: None,
        policy: None,
        state: State::Unknown,
        up_ms: None,
        slots: None,
        in_flight: None,
        pending: 0,
        last_seen_ms: None,
        last_seen_ago_ms: None,
        claim_idle_ms: None,
        max_run_ms: None,
        noticed: None,
        noticed_ms: None,
        noticed_ago_ms: None,
        serves: None,
        is_sick: false,
        is_paused: false,
        disconnect_notice: None,
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
        for (json, expected) in
            [(r#"{"engine_host":"a"}"#, Some("a")), (r#"{"engine_host":7}"#, None), ("{}", None), ("x", None)]
        {
            assert_eq!(of(&format!("9500 running {json}")).engine_host.as_deref(), expected, "{json}");
        }
        let other = of(r#"8000 running {"claim_idle_ms":5000}"#);
        assert_eq!((other.state, other.claim_idle_ms), (State::Running, Some(5_000)), "its own claim-idle counts");
        assert_eq!((lost.claim_idle_ms, lost.gone_since_ms()), (Some(1_000), Some(9_000)), "ours, where it is silent");
        assert_eq!((lost.noticed, lost.noticed_ms), (None, None), "nothing was taken over from it yet");
    }

    #[test]
    fn a_death_is_shown_with_how_and_when_it_was_noticed() {
        let dead = of(r#"9500 dead {"died_ms":9900,"heard_ms":1,"gen":1,"run":"r","started_at_ms":4000}"#);
        assert_eq!((dead.state, dead.is_alive(), dead.is_gone()), (State::Dead, false, true));
        assert_eq!(
            (dead.noticed, dead.noticed_ms, dead.noticed_ago_ms),
            (Some(Noticed::Disconnect), Some(9_900), Some(100))
        );
        assert_eq!((dead.gone_since_ms(), dead.up_ms, dead.disconnect_notice), (Some(9_900), Some(5_500), None));
        assert!(dead.named().ends_with(", last seen 500ms ago, connection closed 100ms ago"), "{}", dead.named());
        assert_eq!(of("9500 dead").gone_since_ms(), Some(9_500), "when it died is not known");
        let lost = of(r#"8000 running {"lost_ms":9200}"#);
        assert_eq!((lost.state, lost.noticed, lost.noticed_ms), (State::Lost, Some(Noticed::Silence), Some(9_200)));
        // Its entries were claimed, whatever the clock did since.
        assert_eq!(of(r#"9990 running {"lost_ms":9995}"#).state, State::Lost);
        // A process that was declared dead and goes on under another name.
        let left = of(r#"9990 left {"died_ms":9900,"heard_ms":1}"#);
        assert_eq!(
            (left.state, left.is_gone(), left.noticed, left.disconnect_notice),
            (State::Left, false, None, None)
        );
    }

    #[test]
    fn whether_a_death_would_be_noticed_at_once_follows_from_the_last_renewal() {
        for (json, expected) in [
            (r#"{"disconnect_grace_ms":300,"heard_ms":1,"gen":1,"run":"r"}"#, Some(Notice::On)),
            (r#"{"heard_ms":1,"gen":1,"run":"r"}"#, Some(Notice::On)),
            (r#"{"disconnect_grace_ms":300}"#, Some(Notice::Down)),
            (r#"{"disconnect_grace_ms":300,"deaf_ms":1}"#, Some(Notice::Refused)),
            (r#"{"disconnect_grace_ms":0}"#, Some(Notice::Off)),
            ("{}", None),
        ] {
            assert_eq!(of(&format!("9500 running {json}")).disconnect_notice, expected, "{json}");
        }
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
