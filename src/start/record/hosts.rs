//! The hosts of the fleet: a HASH (`<prefix>hosts`) that each host's replicas write to again and again. It tells
//! which hosts are alive, and by which names one engine has been known.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Records, parse_number, parse_yes};
use crate::redis::RedisError;

/// Characters of a host's own words that are kept: they were written by another program, of any version.
const ABOUT_MAX: usize = 1024;

/// One host as it wrote itself down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostLine {
    /// When it was heard of last, by the server's clock.
    pub(crate) seen_ms: u64,
    /// How long it counts as alive after that.
    pub(crate) heartbeat_ms: u64,
    /// The key of its engine.
    pub(crate) engine_key: String,
    /// JSON, for operators.
    pub(crate) about: String,
}

impl HostLine {
    /// Takes a line apart, as Redis has it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ' ');
        Some(Self {
            seen_ms: parts.next()?.parse().ok()?,
            heartbeat_ms: parts.next()?.parse().ok()?,
            engine_key: parts.next()?.to_owned(),
            about: parts.next().unwrap_or_default().chars().take(ABOUT_MAX).collect(),
        })
    }
}

/// What is known about a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has been heard of within its heartbeat.
    Alive,
    /// It has not.
    Dead,
    /// It has never been heard of: it is of a version that does not say, or Redis has lost it.
    Unknown,
}

/// All hosts, as of one moment of the server's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// That moment, Unix milliseconds.
    pub(crate) now_ms: u64,
    /// By name.
    pub(crate) hosts: BTreeMap<String, HostLine>,
    /// The names of those whose line cannot be read.
    pub(crate) unreadable: Vec<String>,
}

impl Hosts {
    /// What is known about a host, so long after that moment. One that is called by another name now is as alive as its engine.
    pub(crate) fn standing(&self, host: &str, later: Duration) -> Standing {
        let Some(line) = self.hosts.get(host) else { return Standing::Unknown };
        let later_ms = u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
        let is_alive = |line: &HostLine| {
            // Of a time ahead, which was written before the server's clock went back, nothing can be told.
            self.now_ms.saturating_sub(line.seen_ms).saturating_add(later_ms) < line.heartbeat_ms
        };
        let is_of_engine = |other: &&HostLine| other.engine_key == line.engine_key;
        if self.hosts.values().filter(is_of_engine).any(is_alive) { Standing::Alive } else { Standing::Dead }
    }

    /// How long a host counts as alive.
    pub(crate) fn heartbeat_of(&self, host: &str) -> Option<Duration> {
        self.hosts.get(host).map(|line| Duration::from_millis(line.heartbeat_ms))
    }

    /// The names under which this engine has been known.
    pub(crate) fn names_of<'a>(&'a self, engine_key: &'a str) -> impl Iterator<Item = &'a str> {
        self.hosts.iter().filter(move |(_, line)| line.engine_key == engine_key).map(|(name, _)| name.as_str())
    }
}

/// The answer to a beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Beat {
    /// It is written down.
    Heard {
        /// How long ago this host was heard of before.
        away: Option<Duration>,
        /// All hosts.
        hosts: Hosts,
    },
    /// Another engine has the name, and was heard of so long ago.
    Held(Duration),
    /// There are too many hosts.
    Full,
}

impl Records {
    /// Says that a host is alive.
    pub(crate) async fn beat(
        &self,
        host: &str,
        engine_key: &str,
        heartbeat: Duration,
        about: &str,
    ) -> Result<Beat, RedisError> {
        let heartbeat_ms = heartbeat.as_millis().to_string();
        let words = ["beat", host, engine_key, &heartbeat_ms, about];
        let words = self.calls.call(format!("{}hosts", self.prefix), None, &words).await?;
        match words.as_slice() {
            [word, ago] if word == "held" => Ok(Beat::Held(Duration::from_millis(parse_number(ago)?))),
            [word] if word == "full" => Ok(Beat::Full),
            [word, now_ms, away, hosts @ ..] if word == "ok" => {
                let away = if away.is_empty() { None } else { Some(Duration::from_millis(parse_number(away)?)) };
                Ok(Beat::Heard { away, hosts: parse(parse_number(now_ms)?, hosts) })
            }
            other => Err(RedisError::unexpected(&format!("{other:?}"))),
        }
    }

    /// All hosts.
    pub(crate) async fn hosts(&self) -> Result<Hosts, RedisError> {
        let connection = self.calls.connection();
        let now_ms = connection.time_ms().await?;
        let pairs = connection.hash(&format!("{}hosts", self.prefix)).await?;
        let words: Vec<String> = pairs.into_iter().flat_map(|(name, text)| [name, text]).collect();
        Ok(parse(now_ms, &words))
    }

    /// Forgets a host that is dead; false where it is alive, or there is none of that name.
    pub(crate) async fn forget(&self, host: &str) -> Result<bool, RedisError> {
        parse_yes(&self.calls.call(format!("{}hosts", self.prefix), None, &["forget", host]).await?)
    }

    /// The fleet's name in Redis; where there is none it becomes `wanted`, if that is given.
    pub(crate) async fn fleet(&self, wanted: Option<&str>) -> Result<Option<String>, RedisError> {
        let words = ["fleet", wanted.unwrap_or("")];
        Ok(self.calls.call(format!("{}fleet", self.prefix), None, &words).await?.into_iter().next())
    }
}

/// What cannot be read was not written by any version so far, and is left out; only the names are kept.
fn parse(now_ms: u64, words: &[String]) -> Hosts {
    let (pairs, _) = words.as_chunks::<2>();
    let mut parsed = Hosts { now_ms, ..Hosts::default() };
    for [name, text] in pairs {
        match HostLine::parse(text) {
            Some(line) => drop(parsed.hosts.insert(name.clone(), line)),
            None => parsed.unreadable.push(name.clone()),
        }
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        let words = ["a", "1000 300 k1 {}", "b", "900 100 k2 {\"x\":1}", "c", "900 100 k1", "bad", "x", "worse", ""];
        parse(1_100, &words.map(str::to_owned))
    }

    #[test]
    fn a_host_is_alive_for_one_heartbeat() {
        let hosts = hosts();
        assert_eq!(hosts.hosts.len(), 3, "what cannot be read is left out");
        assert_eq!(hosts.unreadable, ["bad", "worse"]);
        for (host, later, expected) in [
            ("a", 0, Standing::Alive),
            ("a", 199, Standing::Alive),
            ("a", 200, Standing::Dead),
            ("b", 0, Standing::Dead),
            // The engine of `a`, under its name of before.
            ("c", 0, Standing::Alive),
            ("c", 200, Standing::Dead),
            ("bad", 0, Standing::Unknown),
        ] {
            assert_eq!(hosts.standing(host, Duration::from_millis(later)), expected, "{host} {later}");
        }
    }

    #[test]
    fn an_engine_has_all_the_names_it_was_known_by() {
        assert_eq!(hosts().names_of("k1").collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(hosts().names_of("k3").count(), 0);
    }
}
