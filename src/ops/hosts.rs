//! The hosts on which games are started: which are alive, and what their replicas have in hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::damaged::{Damaged, HOST_LINE, NAMED_MAX, PLACED, WHOLE_KEY};
use super::look::Look;
use super::printable::span;
use super::replicas::Replica;
use super::{SCHEMA_VERSION, View};
use crate::redis::{Kind, RedisError};
use crate::start::record::{HostLine, Hosts, Standing};

/// Hosts that are listed; of more, only how many is told.
const LISTED_MAX: usize = 100;
/// Characters of a host's name and of what it says about itself that are kept.
const TEXT_MAX: usize = 256;

/// One host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct HostView {
    /// Its name: `engine-host-id`.
    pub(crate) host: String,
    /// `dead`, `unknown` or `alive`.
    pub(crate) standing: &'static str,
    /// When its replicas last said that it is alive, Unix milliseconds of the server's clock.
    pub(crate) last_heard_ms: Option<u64>,
    /// How long ago that was.
    pub(crate) last_heard_ago_ms: Option<u64>,
    /// After how long without a word it is dead: its own `host-heartbeat`.
    pub(crate) heartbeat_ms: Option<u64>,
    /// The kind of its engine.
    pub(crate) engine: Option<String>,
    /// The name or address under which its games answer.
    pub(crate) advertise_host: Option<String>,
    /// Replicas there that are alive.
    pub(crate) replicas: u64,
    /// Some replica there takes one job at a time: the host fails every start, or it is full.
    pub(crate) is_sick: bool,
    /// How many starts they may have under way.
    pub(crate) slots: u64,
    /// How many they have.
    pub(crate) in_flight: u64,
    /// How many games it may have: `containers-max` of its policy. Nothing without a limit.
    pub(crate) containers_max: Option<u64>,
    /// Games that its list names: those that run or start there, and some that have just ended. Not counted without a limit.
    pub(crate) games: Option<u64>,
    /// Since when it has as many as it may, where it has: Unix milliseconds of the server's clock.
    pub(crate) full_since_ms: Option<u64>,
}

impl HostView {
    /// Has it as many games as it may?
    pub(crate) fn is_full(&self) -> bool {
        self.games.zip(self.containers_max).is_some_and(|(games, most)| games >= most)
    }

    /// `3 of 4`, or how many there are.
    pub(crate) fn games_text(&self) -> Option<String> {
        let games = self.games?;
        Some(self.containers_max.map_or_else(|| games.to_string(), |most| format!("{games} of {most}")))
    }
}

/// The hosts of the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct FleetHosts {
    /// How many are alive.
    pub(crate) alive: u64,
    /// How many are dead: silent for longer than their heartbeat.
    pub(crate) dead: u64,
    /// Of how many nothing has been heard, although replicas name them.
    pub(crate) unknown: u64,
    /// Those that are dead first; a bounded number.
    pub(crate) listed: Vec<HostView>,
    /// How many more there are.
    pub(crate) more: u64,
    /// Since when each dead host is dead, Unix milliseconds of the server's clock; the one that died first, first.
    #[serde(skip)]
    pub(crate) dead_since_ms: Vec<u64>,
    /// The key of the hosts holds something that is none.
    #[serde(skip)]
    pub(crate) is_wrong_type: bool,
}

/// The hosts with their games, as JSON shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct HostsWithGames {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// The hosts, dead ones first; a bounded number.
    pub(crate) hosts: Vec<HostView>,
    /// How many more there are.
    pub(crate) more: u64,
    /// Some of what cannot be read.
    pub(crate) damaged: Vec<Damaged>,
    /// How much more there is of that.
    pub(crate) damaged_more: usize,
}

/// What a host says about itself. Everything may be missing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct AboutJson {
    engine: Option<String>,
    advertise_host: Option<String>,
    containers_max: Option<u64>,
}

/// As it is shown.
pub(crate) fn standing_text(standing: Standing) -> &'static str {
    match standing {
        Standing::Alive => "alive",
        Standing::Dead => "dead",
        Standing::Unknown => "unknown",
    }
}

impl View {
    /// What the hosts have written down.
    pub(crate) async fn host_lines(&self) -> Result<Hosts, RedisError> {
        self.records.hosts().await
    }

    /// The hosts, with how many games are placed there.
    pub(crate) async fn hosts_with_games(&self) -> Result<HostsWithGames, RedisError> {
        let look = self.look().await?;
        let replicas = self.replicas(&look).replicas;
        let key = format!("{}hosts", self.record_prefix);
        let (lines, mut damaged) = match self.host_lines().await {
            Ok(lines) => {
                let broken = lines.unreadable.iter();
                let why = "it holds no line of a host";
                let damaged = broken.map(|host| Damaged::field(&key, host, why, HOST_LINE)).collect();
                (lines, damaged)
            }
            Err(error) => (Hosts::default(), vec![Damaged::of_error(&key, &error, WHOLE_KEY).ok_or(error)?]),
        };
        let FleetHosts { listed: mut hosts, more, .. } = of(&lines, &look, &replicas);
        for host in &mut hosts {
            match self.records.placed_count(&host.host).await {
                Ok(games) => host.games = Some(games),
                Err(error) => {
                    let key = format!("{}placed:{}", self.record_prefix, host.host);
                    damaged.push(Damaged::of_error(&key, &error, PLACED).ok_or(error)?);
                }
            }
        }
        let damaged_more = damaged.len().saturating_sub(NAMED_MAX);
        damaged.truncate(NAMED_MAX);
        let at_ms = look.now_ms.max(lines.now_ms);
        Ok(HostsWithGames { schema_version: SCHEMA_VERSION, at_ms, hosts, more, damaged, damaged_more })
    }

    /// The hosts, with what these replicas say.
    pub(crate) async fn hosts(&self, look: &Look, replicas: &[Replica]) -> Result<FleetHosts, RedisError> {
        match self.host_lines().await {
            Ok(lines) => {
                let mut hosts = of(&lines, look, replicas);
                for host in hosts.listed.iter_mut().filter(|host| host.containers_max.is_some()) {
                    // A list that is none is told where the records are looked at.
                    host.games = self.records.placed_count(&host.host).await.ok();
                    let last = host.containers_max.filter(|_| host.is_full()).and_then(|most| most.checked_sub(1));
                    if let Some(last) = last {
                        host.full_since_ms = self.records.placed_ms(&host.host, last).await.ok().flatten();
                    }
                }
                Ok(hosts)
            }
            Err(error) if error.kind == Kind::WrongType => {
                Ok(FleetHosts { is_wrong_type: true, ..of(&Hosts::default(), look, replicas) })
            }
            Err(error) => Err(error),
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// What the replicas of one host have.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    replicas: u64,
    is_sick: bool,
    slots: u64,
    in_flight: u64,
}

fn of(lines: &Hosts, look: &Look, replicas: &[Replica]) -> FleetHosts {
    let mut sums: BTreeMap<&str, Sums> = BTreeMap::new();
    for replica in replicas.iter().filter(|replica| replica.is_alive()) {
        let Some(host) = replica.engine_host.as_deref() else { continue };
        let sum = sums.entry(host).or_default();
        sum.replicas += 1;
        sum.is_sick |= replica.is_sick;
        sum.slots += replica.slots.unwrap_or_default();
        sum.in_flight += replica.in_flight.unwrap_or_default();
    }
    let names: BTreeSet<&str> = lines.hosts.keys().map(String::as_str).chain(sums.keys().copied()).collect();
    let now_ms = if lines.now_ms > 0 { lines.now_ms } else { look.now_ms };
    let mut fleet = FleetHosts::default();
    let mut all: Vec<(Standing, HostView)> = Vec::new();
    for name in names {
        let standing = lines.standing(name, Duration::ZERO);
        let line = lines.hosts.get(name);
        match standing {
            Standing::Alive => fleet.alive += 1,
            Standing::Unknown => fleet.unknown += 1,
            Standing::Dead => {
                fleet.dead += 1;
                fleet.dead_since_ms.extend(line.map(|line| line.seen_ms.saturating_add(line.heartbeat_ms)));
            }
        }
        all.push((standing, view(name, standing, line, now_ms, sums.get(name).copied().unwrap_or_default())));
    }
    let order = |standing| match standing {
        Standing::Dead => 0,
        Standing::Unknown => 1,
        Standing::Alive => 2,
    };
    all.sort_by_key(|(standing, _)| order(*standing));
    fleet.dead_since_ms.sort_unstable();
    fleet.more = u64::try_from(all.len().saturating_sub(LISTED_MAX)).unwrap_or(u64::MAX);
    fleet.listed = all.into_iter().take(LISTED_MAX).map(|(_, host)| host).collect();
    fleet
}

fn view(name: &str, standing: Standing, line: Option<&HostLine>, now_ms: u64, sums: Sums) -> HostView {
    let about = line.and_then(|line| serde_json::from_str::<AboutJson>(&line.about).ok()).unwrap_or_default();
    HostView {
        host: short(name),
        standing: standing_text(standing),
        last_heard_ms: line.map(|line| line.seen_ms),
        last_heard_ago_ms: line.map(|line| now_ms.saturating_sub(line.seen_ms)),
        heartbeat_ms: line.map(|line| line.heartbeat_ms),
        engine: about.engine.as_deref().map(short),
        advertise_host: about.advertise_host.as_deref().map(short),
        replicas: sums.replicas,
        is_sick: sums.is_sick,
        slots: sums.slots,
        in_flight: sums.in_flight,
        containers_max: about.containers_max,
        games: None,
        full_since_ms: None,
    }
}

impl FleetHosts {
    /// `2 alive, 1 dead`; nothing where no host has said anything yet.
    pub(crate) fn counted(&self) -> Option<String> {
        let counts = [(self.alive, "alive"), (self.dead, "dead"), (self.unknown, "unknown")];
        let told: Vec<String> =
            counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        (!told.is_empty()).then(|| told.join(", "))
    }

    /// Those that are alive and have as many games as they may.
    pub(crate) fn full(&self) -> impl Iterator<Item = &HostView> {
        self.listed.iter().filter(|host| host.standing == standing_text(Standing::Alive) && host.is_full())
    }

    /// Those that are alive and fail every start. A full one takes one job at a time too, and is not sick.
    pub(crate) fn sick(&self) -> impl Iterator<Item = &HostView> {
        self.listed.iter().filter(|host| host.is_sick && !host.is_full())
    }

    /// Replicas of hosts that are dead.
    pub(crate) fn replicas_of_dead(&self) -> u64 {
        let dead = self.listed.iter().filter(|host| host.standing == standing_text(Standing::Dead));
        dead.map(|host| host.replicas).sum()
    }

    /// Is there a host, and none with room for another game?
    pub(crate) fn all_are_full(&self) -> bool {
        self.alive > 0 && u64::try_from(self.full().count()) == Ok(self.alive)
    }

    /// The full ones by name: `a (4 of 4 games)`.
    pub(crate) fn full_named(&self) -> String {
        const NAMED_MAX: usize = 3;
        let count = self.full().count();
        let named: Vec<String> = self
            .full()
            .take(NAMED_MAX)
            .map(|host| format!("{} ({} games)", host.host, host.games_text().unwrap_or_default()))
            .collect();
        let more = count.saturating_sub(NAMED_MAX);
        if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
    }

    /// The dead ones by name, as far as they are listed, and since when they are silent.
    pub(crate) fn dead_named(&self) -> String {
        const NAMED_MAX: u64 = 3;
        let dead = self.listed.iter().filter(|host| host.standing == standing_text(Standing::Dead)).take(3);
        let named: Vec<String> = dead
            .map(|host| format!("{} (last heard {} ago)", host.host, span(host.last_heard_ago_ms.unwrap_or_default())))
            .collect();
        let more = self.dead.saturating_sub(NAMED_MAX);
        if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seen_ms: u64, engine_key: &str) -> HostLine {
        HostLine {
            seen_ms,
            heartbeat_ms: 1_000,
            engine_key: engine_key.to_owned(),
            about: r#"{"engine":"docker","advertise_host":"10.0.0.1","containers_max":4}"#.to_owned(),
        }
    }

    fn hosts_of(hosts: impl IntoIterator<Item = (String, HostLine)>) -> Hosts {
        Hosts { now_ms: 10_000, hosts: hosts.into_iter().collect(), unreadable: Vec::new() }
    }

    fn replicas(records: &[(&str, &str)]) -> (Look, Vec<Replica>) {
        let mut look = Look { now_ms: 10_000, ..Look::default() };
        look.replicas.extend(records.iter().map(|&(name, record)| (name.to_owned(), record.to_owned())));
        let listed = super::super::replicas::list(&look, Duration::from_secs(1));
        (look, listed)
    }

    #[test]
    fn hosts_have_their_standing_and_the_sums_of_their_replicas() {
        let hosts = [("a", line(9_900, "k1")), ("b", line(8_000, "k2"))];
        let lines = hosts_of(hosts.into_iter().map(|(name, line)| (name.to_owned(), line)));
        let (look, listed) = replicas(&[
            ("r1", r#"9900 running {"engine_host":"a","slots":4,"in_flight":1}"#),
            ("r2", r#"9900 draining {"engine_host":"a","slots":4,"in_flight":2}"#),
            ("r3", r#"9900 left {"engine_host":"a","slots":4}"#),
            ("r4", r#"9900 running {"engine_host":"c","slots":8}"#),
            ("r5", r#"9900 running {"engine_host":7,"slots":8}"#),
        ]);
        let fleet = of(&lines, &look, &listed);
        assert_eq!((fleet.alive, fleet.dead, fleet.unknown, fleet.more), (1, 1, 1, 0));
        let told: Vec<_> = fleet
            .listed
            .iter()
            .map(|host| (host.host.as_str(), host.standing, host.replicas, host.slots, host.in_flight))
            .collect();
        assert_eq!(told, [("b", "dead", 0, 0, 0), ("c", "unknown", 1, 8, 0), ("a", "alive", 2, 8, 3)]);
        assert_eq!(fleet.dead_since_ms, [9_000]);
        assert_eq!(fleet.counted().as_deref(), Some("1 alive, 1 dead, 1 unknown"));
        assert_eq!(fleet.dead_named(), "b (last heard 2.0s ago)");
        assert_eq!(fleet.listed[2].advertise_host.as_deref(), Some("10.0.0.1"));
        assert_eq!(fleet.listed[2].containers_max, Some(4));
    }

    #[test]
    fn a_host_is_full_with_as_many_games_as_it_may_have() {
        let lines = hosts_of([("a".to_owned(), line(9_900, "k1"))]);
        let (look, listed) = replicas(&[]);
        let mut fleet = of(&lines, &look, &listed);
        assert!(!fleet.all_are_full(), "not counted");
        for (games, is_full, text) in [(3, false, "3 of 4"), (4, true, "4 of 4"), (5, true, "5 of 4")] {
            fleet.listed[0].games = Some(games);
            assert_eq!((fleet.all_are_full(), fleet.listed[0].games_text().as_deref()), (is_full, Some(text)));
        }
        assert_eq!(fleet.full_named(), "a (5 of 4 games)");
        fleet.listed[0].containers_max = None;
        assert_eq!((fleet.all_are_full(), fleet.listed[0].games_text().as_deref()), (false, Some("5")));
    }

    #[test]
    fn the_list_is_bounded() {
        let hosts = (0..250).map(|number| (format!("h{number:03}"), line(0, &format!("k{number}"))));
        let (look, listed) = replicas(&[]);
        let fleet = of(&hosts_of(hosts), &look, &listed);
        assert_eq!((fleet.listed.len(), fleet.more, fleet.dead), (LISTED_MAX, 150, 250));
        assert!(fleet.dead_named().ends_with(" and 247 more"), "{}", fleet.dead_named());
        assert_eq!(FleetHosts::default().counted(), None);
    }
}
