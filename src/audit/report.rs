//! What an audit tells: a short table and the violations for people, and JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::finding::Kind;
use super::id::Id;
use super::judge::Counts;
use super::moment::Moment;
use crate::stream::config::Config;

/// Characters of a host's own words that are shown.
const SHOWN_MAX: usize = 256;
/// The version of the JSON form.
const SCHEMA_VERSION: u32 = 1;

/// What the audit was about.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Entries after this one.
    pub(crate) since: Id,
    /// Why from there.
    pub(crate) why: String,
    /// Up to this one.
    pub(crate) to: Id,
    /// The first entry that the fleet left a trace of, where others may have answered those before it.
    pub adopted_from: Option<Id>,
}

/// What was seen of the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Containers {
    /// The simulated engine's log.
    Simulated {
        /// Live now.
        live: usize,
    },
    /// A Docker Engine's list.
    Docker {
        /// Live now.
        live: usize,
    },
    /// Nothing.
    NotLookedAt,
}

/// An engine of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct Site {
    /// Whose it is, by the names of its hosts; empty where no host has said that it is its own.
    pub(crate) host: String,
    /// Where it is, as the fleet reaches it.
    pub(crate) address: String,
    /// How many of the fleet's containers run there; none where it could not be looked at.
    pub(crate) live: Option<usize>,
    /// Why it could not.
    pub(crate) why: String,
}

/// One violation as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Which rule is violated.
    pub kind: Kind,
    /// The entry; [`Id::ZERO`]: not about one.
    pub entry: Id,
    /// Its game, where it could be read.
    pub game: String,
    /// Particulars.
    pub detail: String,
}

/// The result of an audit.
#[derive(Debug, Clone)]
pub struct AuditReport {
    /// Redis, without its password.
    pub(crate) redis: String,
    /// The streams.
    pub(crate) stream: Config,
    /// What the audit was about.
    pub scope: Scope,
    /// Outcomes were told apart by game only.
    pub(crate) is_by_game: bool,
    /// Replicas whose presence had not expired.
    pub live_replicas: usize,
    /// Entries by state.
    pub counts: Counts,
    /// The last look at the mirror.
    pub last: Moment,
    /// Containers.
    pub(crate) containers: Containers,
    /// The engines of the fleet.
    pub(crate) sites: Vec<Site>,
    /// What could not be told, and why.
    pub(crate) notes: Vec<String>,
    /// Violations by kind.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// All violations.
    pub total: usize,
    /// Some of them.
    pub listed: Vec<Listed>,
    /// How often was looked until nothing was only suspected.
    pub(crate) looks: u32,
    /// Memory that the facts about entries took, about.
    pub(crate) bytes: usize,
    /// How long it took.
    pub(crate) took: Duration,
}

impl AuditReport {
    /// Nothing is violated.
    pub fn is_clean(&self) -> bool {
        self.total == 0
    }

    /// Whether this kind was found.
    pub fn has(&self, kind: Kind) -> bool {
        self.by_kind.contains_key(kind.name())
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> String {
        let id = |id: Option<Id>| id.map(|id| id.to_string());
        let violation = |listed: &Listed| {
            json!({
                "kind": listed.kind.name(),
                "entry_id": Some(listed.entry).filter(|&entry| entry > Id::ZERO).map(|entry| entry.to_string()),
                "game_id": Some(&listed.game).filter(|game| !game.is_empty()),
                "meaning": listed.kind.meaning(),
                "detail": listed.detail,
            })
        };
        let (engine, live) = match self.containers {
            Containers::Simulated { live } => ("simulated", Some(live)),
            Containers::Docker { live } => ("docker", Some(live)),
            Containers::NotLookedAt => ("not looked at", None),
        };
        let value: Value = json!({
            "schema_version": SCHEMA_VERSION,
            "is_clean": self.is_clean(),
            "redis": self.redis,
            "jobs_stream": self.stream.jobs,
            "results_stream": self.stream.results,
            "dead_stream": self.stream.dead,
            "group": self.stream.group,
            "correlation": if self.is_by_game { "game_id" } else { "source_ref" },
            "since": self.scope.since.to_string(),
            "since_reason": self.scope.why,
            "to": self.scope.to.to_string(),
            "adopted_from": id(self.scope.adopted_from),
            "live_replicas": self.live_replicas,
            "is_at_rest": self.last.is_at_rest(),
            "counts": self.counts,
            "mirror": self.last.mirror,
            "shadow": self.last.shadow,
            "verified": id(self.last.verified),
            "last_delivered": id(Some(self.last.delivered).filter(|_| self.last.has_group)),
            "containers": { "engine": engine, "live": live, "engines": self.sites },
            "notes": self.notes,
            "violations": {
                "total": self.total,
                "by_kind": self.by_kind,
                "listed": self.listed.iter().map(violation).collect::<Vec<_>>(),
            },
            "looks": self.looks,
            "memory_bytes": self.bytes,
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        });
        format!("{value:#}\n")
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut lines = vec![
            ("jobs".to_owned(), format!("{} at {}", self.stream.jobs, self.redis)),
            ("after".to_owned(), format!("{}  {}", self.scope.since, self.scope.why)),
            ("up to".to_owned(), self.scope.to.to_string()),
        ];
        if let Some(id) = self.scope.adopted_from {
            lines.push(("adopted from".to_owned(), format!("{id}  the first entry with a trace of the fleet")));
        }
        lines.push(("live replicas".to_owned(), self.live_replicas.to_string()));
        lines.extend(self.count_lines());
        let unset = || "unset".to_owned();
        lines.push(("mirror".to_owned(), self.last.mirror.clone().unwrap_or_else(unset)));
        let rest = if self.last.is_at_rest() { "at rest" } else { "not at rest" };
        lines.push(("last delivered".to_owned(), format!("{}  {rest}", self.last.delivered)));
        match self.containers {
            Containers::Simulated { live } => lines.push(("live containers".to_owned(), format!("{live}  simulated"))),
            Containers::Docker { live } => lines.push(("live containers".to_owned(), format!("{live}  docker"))),
            Containers::NotLookedAt => {}
        }
        lines.extend(self.sites.iter().map(site_line));
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let mut text = String::new();
        // Writing to a String cannot fail.
        for (name, value) in lines {
            _ = writeln!(text, "{name:width$}  {value}");
        }
        for note in &self.notes {
            _ = writeln!(text, "note: {note}");
        }
        text.push('\n');
        self.write_verdict(&mut text);
        text
    }

    fn count_lines(&self) -> Vec<(String, String)> {
        let counts = &self.counts;
        let always = [
            ("entries", counts.entries),
            ("  answered once", counts.answered),
            ("  malformed, dead letter", counts.malformed),
            ("  pending, owner lives", counts.pending_live),
            ("  undelivered", counts.undelivered),
        ];
        let where_any = [
            ("  answered, by game", counts.answered_by_game),
            ("  answered, dead letter", counts.answered_and_dead),
            ("  before adoption", counts.before_adoption),
            ("  cannot be told", counts.untold),
            ("payload lost, dead letter", counts.entry_lost),
            ("answered, then trimmed", counts.trimmed),
            ("answered, then deleted", counts.deleted),
            ("answered, but newer", counts.newer),
            ("answered, lost by Redis", counts.absent_from_history),
            ("dead letter requeued", counts.requeued),
            ("outcomes left over", counts.unsourced),
            ("answers before this", counts.before_since),
        ];
        let line = |(name, count): (&str, u64)| (name.to_owned(), count.to_string());
        let mut lines: Vec<(String, String)> = always.map(line).into();
        if counts.pending_claimable > 0 {
            let oldest = humantime::format_duration(Duration::from_millis(counts.claimable_for_ms_max));
            let text = format!("{}  the oldest for {oldest}", counts.pending_claimable);
            lines.push(("  pending, claimable".to_owned(), text));
        }
        lines.extend(where_any.into_iter().filter(|(_, count)| *count > 0).map(line));
        lines
    }

    /// Engines of the fleet that could not be looked at.
    fn missed(&self) -> usize {
        self.sites.iter().filter(|site| site.live.is_none()).count()
    }

    fn write_verdict(&self, text: &mut String) {
        if self.is_clean() {
            text.push_str("No violation: nothing is lost, and nothing was answered twice.\n");
            if self.missed() > 0 {
                _ = writeln!(text, "The containers of {} engines were not looked at.", self.missed());
            }
            return;
        }
        for (kind, count) in &self.by_kind {
            _ = writeln!(text, "{count} x {kind}");
        }
        for listed in &self.listed {
            let about = if listed.entry > Id::ZERO { format!("{} ", listed.entry) } else { String::new() };
            let game = if listed.game.is_empty() || listed.entry == Id::ZERO {
                String::new()
            } else {
                format!("(game {}) ", listed.game)
            };
            let detail = if listed.detail.is_empty() { String::new() } else { format!(" [{}]", listed.detail) };
            _ = writeln!(text, "  {}: {about}{game}{}{detail}", listed.kind.name(), listed.kind.meaning());
        }
        if self.listed.len() < self.total {
            _ = writeln!(text, "  and {} more", self.total - self.listed.len());
        }
        _ = writeln!(text, "VIOLATIONS: {}", self.total);
    }
}

fn site_line(site: &Site) -> (String, String) {
    // A host writes its own name and address.
    let shown = |text: &str| text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect::<String>();
    let of = if site.host.is_empty() { String::new() } else { format!("{} at ", shown(&site.host)) };
    let address = if site.address.is_empty() { "an unknown address".to_owned() } else { shown(&site.address) };
    match site.live {
        Some(live) => ("  looked at".to_owned(), format!("{of}{address}: {live}")),
        None => ("  not looked at".to_owned(), format!("{of}{address}: {}", shown(&site.why))),
    }
}
