//! The presence record of a replica: what it says about itself with each renewal, in the HASH `<jobs>:replicas`.
//!
//! `<last seen, server ms> <state> <JSON>`. The scripts write the time, the state and the first members of the JSON
//! ([`Life`]); the replica writes the rest ([`About`]). Every reader of the fleet uses this form; the auditor has its own.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

/// Characters of a text that are kept of a record. A record is written by another program, which may be of any version.
const TEXT_MAX: usize = 256;
/// The largest number that is believed: milliseconds of some thousand years. Those of all replicas can be added up.
const NUMBER_MAX: u64 = 100_000_000_000_000;
/// Bytes of a record that are looked at.
const RECORD_MAX: usize = 16 * 1024;

/// What a replica says about itself. Everything may be missing: records of older versions say less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// How long its presence lasts without renewal: its `claim-idle`.
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub claim_idle_ms: Option<u64>,
    /// Its `disconnect-grace`; 0 where that is off.
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub disconnect_grace_ms: Option<u64>,
    /// The kind of its engine.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The host whose jobs it does, as its handler calls it: jobs that other replicas find to be placed there are handed over
    /// to it. One that does not say gets none.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub engine_host: Option<String>,
    /// The machine or container it is on.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How long it lets a start take.
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub max_run_ms: Option<u64>,
    /// Its process there.
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub pid: Option<u64>,
    /// What tells its rules about images apart from those of other replicas; absent where it has none.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// When it began, Unix milliseconds of its own clock.
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub started_at_ms: Option<u64>,
    /// Its version.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether it takes new jobs now. One that does not is never the replica that serves while the others run suspects.
    #[serde(deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub serves: Option<bool>,
    /// Its host is sick: it takes one job at a time, when it has no other. Absent where it is not.
    #[serde(deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub sick: Option<bool>,
    /// An operator holds it: it reads and claims nothing. Absent where none does, or where it does not know yet.
    #[serde(deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// How many starts it may have under way.
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub slots: Option<u64>,
    /// How many it has.
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
    /// How many entries it holds.
    #[serde(deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
}

/// What the scripts note of a replica's life. Everything may be missing. All times are the server's, Unix milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Life {
    /// When a renewal first heard this generation of its subscription. Absent where its last renewal did not hear it.
    #[serde(deserialize_with = "number")]
    pub(crate) heard_ms: Option<u64>,
    /// The generation of its subscription that was heard.
    #[serde(rename = "gen", deserialize_with = "number")]
    pub(crate) generation: Option<u64>,
    /// The run of the server that heard it.
    #[serde(deserialize_with = "text")]
    pub(crate) run: Option<String>,
    /// When the server refused to tell whether its subscription is there.
    #[serde(deserialize_with = "number")]
    pub(crate) deaf_ms: Option<u64>,
    /// When it was declared dead because its connection had closed.
    #[serde(deserialize_with = "number")]
    pub(crate) died_ms: Option<u64>,
    /// When its entries were first claimed because it had been silent for claim idle.
    #[serde(deserialize_with = "number")]
    pub(crate) lost_ms: Option<u64>,
}

/// How the other replicas noticed that a replica had died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Noticed {
    /// Its connection had closed.
    Disconnect,
    /// It had been silent for claim idle.
    Silence,
}

impl Noticed {
    /// As it is shown and exported.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Silence => "silence",
        }
    }
}

/// What a replica was up to when it was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PresenceState {
    /// It took work.
    Running,
    /// It finished what it had.
    Draining,
    /// It was declared dead because its connection had closed.
    Dead,
    /// It ended as it should.
    Left,
    /// A word of another version.
    Unknown,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presence {
    /// When it was last seen, Unix milliseconds of the server's clock.
    pub(crate) seen_ms: u64,
    /// What it was up to.
    pub(crate) state: PresenceState,
    /// What the scripts note of its life.
    pub(crate) life: Life,
    /// What it says about itself.
    pub(crate) about: About,
}

impl About {
    /// The JSON as it is written.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }
}

impl Presence {
    /// Reads a record; nothing where it does not begin with a time. JSON that cannot be read says nothing, and neither does
    /// a member of another type.
    pub(crate) fn parse(record: &str) -> Option<Self> {
        let mut parts = record.splitn(3, ' ');
        let seen_ms = parts.next()?.parse().ok()?;
        let state = match parts.next().unwrap_or_default() {
            "running" => PresenceState::Running,
            "draining" => PresenceState::Draining,
            "dead" => PresenceState::Dead,
            "left" => PresenceState::Left,
            _ => PresenceState::Unknown,
        };
        let json = parts.next().filter(|json| json.len() <= RECORD_MAX);
        let about = json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let life = json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        Some(Self { seen_ms, state, life, about })
    }

    /// How its death was noticed, and when, as far as the record tells. Nothing of a replica that left.
    pub(crate) fn noticed(&self) -> Option<(Noticed, Option<u64>)> {
        match self.state {
            PresenceState::Dead => Some((Noticed::Disconnect, self.life.died_ms)),
            PresenceState::Left => None,
            PresenceState::Running | PresenceState::Draining | PresenceState::Unknown => {
                self.life.lost_ms.map(|lost| (Noticed::Silence, Some(lost)))
            }
        }
    }

    /// How long the presence lasts: its own claim idle, or this one where it does not say.
    pub(crate) fn lasts_ms(&self, claim_idle: Duration) -> u64 {
        let ours = || u64::try_from(claim_idle.as_millis()).unwrap_or(u64::MAX);
        self.about.claim_idle_ms.unwrap_or_else(ours)
    }
}

fn number<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    serde_json::Value::deserialize(value).map(|value| value.as_u64().filter(|&number| number <= NUMBER_MAX))
}

fn flag<'de, D: Deserializer<'de>>(value: D) -> Result<Option<bool>, D::Error> {
    serde_json::Value::deserialize(value).map(|value| value.as_bool())
}

fn text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    let value = serde_json::Value::deserialize(value)?;
    Ok(value.as_str().map(|text| text.chars().take(TEXT_MAX).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn about() -> About {
        About {
            claim_idle_ms: Some(30_000),
            engine: Some("docker".into()),
            engine_host: Some("e".into()),
            host: Some("h".into()),
            max_run_ms: Some(600_000),
            pid: Some(7),
            policy: None,
            started_at_ms: Some(4_000),
            version: Some("1".into()),
            serves: Some(true),
            sick: None,
            paused: None,
            slots: Some(8),
            in_flight: Some(2),
            held: Some(3),
            disconnect_grace_ms: Some(300),
        }
    }

    #[test]
    fn the_bytes_are_those_of_every_version_so_far() {
        let json = concat!(
            r#"{"claim_idle_ms":30000,"disconnect_grace_ms":300,"engine":"docker","engine_host":"e","host":"h","#,
            r#""max_run_ms":600000,"pid":7,"started_at_ms":4000,"version":"1","serves":true,"slots":8,"in_flight":2,"held":3}"#
        );
        assert_eq!(about().to_json(), json);
        assert_eq!(About::default().to_json(), "{}");
        let written = json.replacen('{', r#"{"born_ms":1,"since_ms":2,"#, 1);
        let life = Life::default();
        let expected = Presence { seen_ms: 9_500, state: PresenceState::Draining, life, about: about() };
        assert_eq!(Presence::parse(&format!("9500 draining {written}")), Some(expected));
    }

    #[test]
    fn what_the_scripts_note_is_read_beside_what_the_replica_says() {
        let of = |record: &str| Presence::parse(record).expect("a presence");
        let heard = of(r#"5 running {"born_ms":1,"since_ms":2,"heard_ms":3,"gen":4,"run":"a1b2","host":"h"}"#);
        let expected = Life { heard_ms: Some(3), generation: Some(4), run: Some("a1b2".into()), ..Life::default() };
        assert_eq!((&heard.life, heard.noticed(), heard.about.host.as_deref()), (&expected, None, Some("h")));
        assert_eq!(of(r#"5 running {"born_ms":1,"since_ms":2,"deaf_ms":3}"#).life.deaf_ms, Some(3));
        let dead = of(r#"5 dead {"died_ms":9,"born_ms":1,"since_ms":2,"heard_ms":3,"gen":4,"run":"a1b2","host":"h"}"#);
        assert_eq!((dead.state, dead.noticed()), (PresenceState::Dead, Some((Noticed::Disconnect, Some(9)))));
        let lost = of(r#"5 draining {"lost_ms":9,"born_ms":1,"since_ms":2,"host":"h"}"#);
        assert_eq!((lost.state, lost.noticed()), (PresenceState::Draining, Some((Noticed::Silence, Some(9)))));
        assert_eq!(of(r#"5 left {"lost_ms":9,"died_ms":8}"#).noticed(), None, "it signed off");
        assert_eq!(of("5 dead x").noticed(), Some((Noticed::Disconnect, None)));
        let nonsense =
            r#"5 running {"heard_ms":"x","gen":-1,"run":7,"deaf_ms":1.5,"died_ms":null,"lost_ms":[9],"pid":7}"#;
        assert_eq!((of(nonsense).life, of(nonsense).about.pid), (Life::default(), Some(7)));
        let long = format!(r#"5 running {{"run":"{}"}}"#, "x".repeat(1_000));
        assert_eq!(of(&long).life.run, Some("x".repeat(TEXT_MAX)));
    }

    #[test]
    fn records_that_say_less_or_nonsense_are_read_as_far_as_they_go() {
        let of = |json: &str| Presence::parse(&format!("5 running {json}")).expect("a presence").about;
        assert_eq!(of(r#"{"host":"h","pid":7}"#), About { host: Some("h".into()), pid: Some(7), ..About::default() });
        let nonsense = r#"{"host":7,"pid":"x","slots":-1,"in_flight":1.5,"held":null,"serves":"no","version":"1"}"#;
        assert_eq!(of(nonsense), About { version: Some("1".into()), ..About::default() });
        for json in ["", "not json", "[]", "7", "{"] {
            assert_eq!(of(json), About::default(), "{json}");
        }
        let long = "é".repeat(1_000);
        assert_eq!(of(&format!(r#"{{"host":"{long}"}}"#)).host, Some("é".repeat(TEXT_MAX)));
        assert_eq!(of(&format!(r#"{{"host":"{}"}}"#, "x".repeat(RECORD_MAX))), About::default());
        assert_eq!(Presence::parse("5 dancing {}").map(|presence| presence.state), Some(PresenceState::Unknown));
        assert_eq!(Presence::parse("5").map(|presence| presence.state), Some(PresenceState::Unknown));
        for record in ["", "x", "x running {}", "-1 running {}", "9999999999999999999999 running {}"] {
            assert_eq!(Presence::parse(record), None, "{record}");
        }
    }

    #[test]
    fn a_number_that_cannot_be_is_not_believed() {
        let json = format!(r#"{{"slots":{},"held":7,"in_flight":-1,"pid":1.5}}"#, u64::MAX);
        let about = Presence::parse(&format!("5 running {json}")).expect("a record").about;
        assert_eq!((about.slots, about.held, about.in_flight, about.pid), (None, Some(7), None, None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            texts in proptest::array::uniform5(proptest::option::of(".{0,80}")),
            numbers in proptest::array::uniform8(proptest::option::of(0..=NUMBER_MAX)),
            [serves, sick, paused] in proptest::array::uniform3(proptest::option::of(any::<bool>())),
        ) {
            let [engine, engine_host, host, policy, version] = texts;
            let [claim_idle_ms, max_run_ms, pid, started_at_ms, slots, in_flight, held, disconnect_grace_ms] = numbers;
            let about = About {
                claim_idle_ms, disconnect_grace_ms, engine, engine_host, host, max_run_ms, pid, policy, started_at_ms, version, serves, sick,
                paused, slots, in_flight, held,
            };
            let read = Presence::parse(&format!("5 left {}", about.to_json())).map(|presence| presence.about);
            prop_assert_eq!(read, Some(about));
        }

        #[test]
        fn no_record_is_a_panic(record in ".{0,200}") {
            let _ = Presence::parse(&record);
        }
    }
}
