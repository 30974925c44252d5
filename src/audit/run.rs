//! One audit: scope, facts, verdict, and a second and third look at everything that might only have been in motion.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::containers::Breach;
use super::engines::containers;
use super::finding::{Finding, Kind};
use super::id::Id;
use super::judge::{Verdict, judge, of_breaches};
use super::moment::Moment;
use super::read::{Reader, entries_of};
use super::records::differing;
use super::report::{AuditReport, Containers, Listed, Scope};
use crate::redis::{Connection, RedisError, Role};
use crate::settings::Settings;

/// How long Redis may take to answer at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How often a finding must have been seen before it is reported, where it may only have been in motion.
const SEEN_MIN: u32 = 3;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(400);
/// No audit looks again for longer than this.
const LOOKS_WITHIN: Duration = Duration::from_secs(20);

/// From where on the fleet answers for everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// From the oldest entry that the ledger can tell about.
    Ledger,
    /// From the fleet's adoption of the stream on, as far as its traces show it.
    Adoption,
    /// After this entry.
    Entry(Id),
}

/// How to audit.
#[derive(Debug, Clone)]
pub struct Options {
    /// From where.
    pub since: Since,
    /// How long an entry may be claimable before it counts as stuck.
    pub stuck_after: Duration,
    /// How many violations are listed; all are counted.
    pub list_max: usize,
}

/// Why an audit failed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is no answer within the time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// Audits the system of these settings.
pub async fn audit(settings: &Settings, options: &Options) -> Result<AuditReport, AuditError> {
    let began = Instant::now();
    let connection = connect(settings).await?;
    let mut reader = Reader::new(&connection, settings, options.stuck_after);
    let moment = reader.begin().await?;
    let scope = scope_of(options.since, settings, &moment, reader.facts.is_by_game);
    reader.facts.since = scope.since;
    reader.facts.is_since_given = matches!(options.since, Since::Entry(_));
    let mut notes = Vec::new();
    if !moment.has_group {
        notes.push(format!("there is no consumer group {} on {}", settings.stream.group, settings.stream.jobs));
    }
    reader.everything().await?;
    let Looked { verdict, mut confirmed, unconfirmed, looks } = look_again(settings, &mut reader).await?;
    let (seen, contradicted) = containers(&mut reader, &mut notes).await?;
    let differing = match seen.containers {
        Containers::Docker { .. } => differing(&reader, &seen, &mut notes).await?,
        Containers::Simulated { .. } | Containers::NotLookedAt => Vec::new(),
    };
    confirmed.extend(of_breaches(&reader.facts));
    // An entry gets one finding: what is wrong with its answers comes first.
    let known: HashSet<Id> = entries_of(&confirmed).into_iter().collect();
    let is_new = |finding: &Finding| finding.entry == Id::ZERO || !known.contains(&finding.entry);
    confirmed.extend(contradicted.into_iter().chain(differing).filter(is_new));
    confirmed.sort_unstable();
    say_limits(&reader, &verdict, &mut notes);
    if unconfirmed > 0 {
        notes.push(format!("{unconfirmed} suspicions were not confirmed every time: run the audit again"));
    }
    let listed = list(&reader, &confirmed, options.list_max).await;
    let mut by_kind: BTreeMap<&'static str, u64> = BTreeMap::new();
    for finding in &confirmed {
        *by_kind.entry(finding.kind.name()).or_default() += 1;
    }
    let last = reader.facts.moments.last().cloned().unwrap_or_default();
    Ok(AuditReport {
        redis: settings.redis.display_url.clone(),
        stream: settings.stream.clone(),
        scope: Scope {
            to: reader.facts.horizon,
            adopted_from: verdict.adopted_from.filter(|&id| id < Id::MAX),
            ..scope
        },
        is_by_game: reader.facts.is_by_game,
        live_replicas: reader.live.len(),
        counts: verdict.counts,
        last,
        containers: seen.containers,
        sites: seen.sites,
        notes,
        by_kind,
        total: confirmed.len(),
        listed,
        looks,
        bytes: reader.facts.bytes(),
        took: began.elapsed(),
    })
}

async fn connect(settings: &Settings) -> Result<Connection, AuditError> {
    let mut last = None;
    let open = Connection::open(&settings.redis, Role::Commands, "startjobs-audit", |error| last = Some(error.clone()));
    match timeout(CONNECT_WITHIN, open).await {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(last.map_or(AuditError::Silent(CONNECT_WITHIN), AuditError::Redis)),
    }
}

fn scope_of(since: Since, settings: &Settings, moment: &Moment, is_by_game: bool) -> Scope {
    let ttl = settings.stream.ledger_ttl;
    let oldest = moment.now_ms.saturating_sub(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    let (since, why) = match since {
        Since::Entry(id) => (id, "as asked for".to_owned()),
        Since::Adoption => (Id::ZERO, "since the fleet's adoption of the stream, as far as its traces show".to_owned()),
        // Counting by game needs all of both streams.
        Since::Ledger if is_by_game => {
            (Id::ZERO, "the whole stream, because outcomes can only be matched by game".to_owned())
        }
        Since::Ledger => {
            let id = Id(oldest.saturating_sub(1), u64::MAX);
            let since = if moment.jobs.first.is_some_and(|first| first > id) { Id::ZERO } else { id };
            (since, format!("the oldest entry that the ledger covers (ledger-ttl {})", humantime::format_duration(ttl)))
        }
    };
    Scope { since, why, to: Id::ZERO, adopted_from: None }
}

struct Looked {
    verdict: Verdict,
    confirmed: Vec<Finding>,
    unconfirmed: usize,
    looks: u32,
}

/// Looks again at everything suspicious until each suspicion has been seen often enough or is gone. An orphan that a
/// living fleet's janitor puts back is none: it is given the time for that.
async fn look_again(settings: &Settings, reader: &mut Reader<'_>) -> Result<Looked, AuditError> {
    let began = Instant::now();
    let mut seen: HashMap<Finding, u32> = HashMap::new();
    let mut looks = 1;
    loop {
        let verdict = judge(&reader.facts);
        let mut counted = HashMap::new();
        for finding in verdict.findings.iter().filter(|finding| !finding.kind.is_certain()) {
            counted.insert(finding.clone(), seen.get(finding).copied().unwrap_or(0) + 1);
        }
        seen = counted;
        let janitor = if reader.live.is_empty() { Duration::ZERO } else { settings.worker.janitor_interval * 2 };
        let is_open = |finding: &Finding, times: u32| {
            times < SEEN_MIN || (finding.kind == Kind::Orphan && began.elapsed() < janitor + LOOK_AGAIN_AFTER * 2)
        };
        let open = seen.iter().filter(|&(finding, &times)| is_open(finding, times)).count();
        if open == 0 || began.elapsed() > LOOKS_WITHIN {
            let is_confirmed = |finding: &Finding| {
                finding.kind.is_certain() || seen.get(finding).is_some_and(|&times| times >= SEEN_MIN)
            };
            let (confirmed, unconfirmed): (Vec<_>, Vec<_>) = verdict.findings.iter().cloned().partition(is_confirmed);
            return Ok(Looked { confirmed, unconfirmed: unconfirmed.len(), verdict, looks });
        }
        sleep(LOOK_AGAIN_AFTER).await;
        looks += 1;
        let suspects: Vec<Finding> = seen.keys().cloned().collect();
        reader.again(entries_of(&suspects)).await?;
    }
}

/// What the facts cannot tell, said in words.
fn say_limits(reader: &Reader<'_>, verdict: &Verdict, notes: &mut Vec<String>) {
    let facts = &reader.facts;
    if facts.is_by_game {
        notes.push(
            "outcome-fields is original: outcomes have no source_ref and cannot be matched with entries; outcomes and \
             entries are counted per game"
                .to_owned(),
        );
        if facts.since > Id::ZERO || facts.jobs.is_cut {
            notes.push(
                "the jobs stream was trimmed or is not read from its beginning: the audit cannot check whether a game has \
                 too many outcomes"
                    .to_owned(),
            );
        }
    } else if !facts.unsourced.is_empty() {
        notes.push(
            "some outcomes have no source_ref, like those of the original worker: entries without another outcome are matched \
             with them by game"
                .to_owned(),
        );
    }
    if verdict.counts.absent_from_history > 0 {
        notes.push(format!(
            "{} answers are for entries that the remaining history of the jobs stream never had: Redis lost them after \
             they were answered or while a replica worked on them, for example in a failover to a replica that lagged; \
             unread jobs that were lost leave no trace",
            verdict.counts.absent_from_history
        ));
    }
    if verdict.counts.untold > 0 {
        notes.push(format!(
            "{} entries cannot be checked: their outcome or dead letter may have been trimmed",
            verdict.counts.untold
        ));
    }
}

async fn list(reader: &Reader<'_>, findings: &[Finding], list_max: usize) -> Vec<Listed> {
    // Of each kind some, so that a thousand of one do not hide the one of another.
    let mut chosen: Vec<&Finding> = Vec::new();
    let mut of_kind: HashMap<Kind, usize> = HashMap::new();
    let kinds = findings.iter().map(|finding| finding.kind).collect::<HashSet<_>>().len().max(1);
    for finding in findings {
        let count = of_kind.entry(finding.kind).or_default();
        if *count < list_max.div_ceil(kinds) && chosen.len() < list_max {
            *count += 1;
            chosen.push(finding);
        }
    }
    let mut listed = Vec::with_capacity(chosen.len());
    for finding in chosen {
        listed.push(listed_of(reader, finding).await);
    }
    listed
}

async fn listed_of(reader: &Reader<'_>, finding: &Finding) -> Listed {
    let mut details: Vec<String> =
        Some(finding.detail.to_string()).filter(|text| !text.is_empty()).into_iter().collect();
    let mut game = String::new();
    if finding.entry > Id::ZERO {
        game = reader.game_of(finding.entry).await;
        let facts = &reader.facts;
        if let Some(entry) = facts.entry(finding.entry).filter(|entry| entry.outcomes > 0) {
            details.push(format!("{} outcomes, the first {}", entry.outcomes, entry.outcome));
        }
        if let Some(pending) = facts.pending.get(&finding.entry) {
            details.push(format!("idle for {} ms", pending.idle_ms));
        }
    } else if finding.kind == Kind::TwoContainers
        && let Some(Breach { game: name, .. }) =
            reader.facts.breaches.iter().find(|breach| finding.detail.starts_with(&format!("game {:?},", breach.game)))
    {
        game.clone_from(name);
        details.push(reader.record_of(name).await);
    }
    Listed { kind: finding.kind, entry: finding.entry, game, detail: details.join("; ") }
}
