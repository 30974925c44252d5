//! What the containers say: two of one game, a success without one, a failure whose own container runs.
//!
//! The simulated engine's log tells everything that ever ran. A Docker Engine tells only what runs now: a container that
//! ended and one that never was look alike there.

use std::collections::HashMap;
use std::time::Duration;

use bollard::query_parameters::ListContainersOptionsBuilder;
use futures_util::future::try_join_all;
use tokio::time::{sleep, timeout};

use super::containers::{Fold, more_than_one};
use super::facts::{Entry, Said};
use super::finding::{Finding, Kind};
use super::id::Id;
use super::read::{AT_ONCE, Reader, millis};
use super::reply;
use super::report::{Containers, Site};
use super::sites::{DOCKER_WITHIN, Reached, Sites, explained, sites};
use crate::redis::RedisError;
use crate::settings::Settings;
use crate::start::config::Config as StartConfig;

/// A container that is on its way out may still be listed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(400);
/// How many failures of games that have a container are looked at: two questions each.
const FAILURES_MAX: usize = 20_000;

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) id: String,
    pub(super) game: String,
    /// The entry whose job created it.
    pub(super) source: Option<Id>,
}

/// Looks at the containers; answers what was seen of them and which entries they contradict.
pub(super) async fn containers(
    reader: &mut Reader<'_>,
    notes: &mut Vec<String>,
) -> Result<(Seen, Vec<Finding>), RedisError> {
    let hosts = reader.hosts().await?;
    if reader.is_simulated(&hosts) {
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        let (containers, found) = simulated(reader, &names, notes).await?;
        return Ok((Seen { containers, sites: Vec::new(), running: Vec::new(), reached: Vec::new() }, found));
    }
    let fleet = reader.fleet().await?;
    let Sites { reached, missed, own } = sites(reader.settings, &hosts).await;
    let mut seen = Seen { containers: Containers::NotLookedAt, sites: missed, running: Vec::new(), reached };
    if seen.reached.is_empty() {
        let host = &reader.settings.engine.docker_host;
        notes.extend(own.map(|why| format!("containers were not checked: {host} does not answer ({why})")));
        return Ok((seen, Vec::new()));
    }
    seen.list(reader.settings, fleet.as_deref()).await;
    if seen.reached.is_empty() {
        return Ok((seen, Vec::new()));
    }
    let games = |running: &[Vec<Running>]| more_than_one(running.iter().flatten().map(|one| one.game.clone()));
    seen.containers = Containers::Docker { live: seen.running.iter().map(Vec::len).sum() };
    let mut breaches = games(&seen.running);
    let mut found = reader.all_contradicted(&seen.running).await?;
    if !breaches.is_empty() || !found.is_empty() {
        sleep(LOOK_AGAIN_AFTER).await;
        let again = seen.again(reader.settings, fleet.as_deref()).await;
        let games_again = games(&again);
        breaches.retain(|breach| games_again.iter().any(|other| other.game == breach.game));
        let found_again = reader.all_contradicted(&again).await?;
        found.retain(|finding| found_again.contains(finding));
    }
    reader.facts.breaches = breaches;
    Ok((seen, found))
}

/// What was seen of the containers.
pub(super) struct Seen {
    pub(super) containers: Containers,
    /// The engines of the fleet: those that were looked at, and those that could not be.
    pub(super) sites: Vec<Site>,
    /// Those that run, by engine.
    pub(super) running: Vec<Vec<Running>>,
    /// These engines.
    pub(super) reached: Vec<Reached>,
}

impl Seen {
    /// Lists what runs on each engine that answers; one that does not any more is not looked at.
    async fn list(&mut self, settings: &Settings, fleet: Option<&str>) {
        for reached in std::mem::take(&mut self.reached) {
            match docker_running(settings, &reached, fleet).await {
                Ok(running) => {
                    self.sites.push(reached.site(running.len()));
                    self.running.push(running);
                    self.reached.push(reached);
                }
                Err(why) => self.sites.push(Site { live: None, why, ..reached.site(0) }),
            }
        }
        self.sites.sort();
    }

    /// The same once more, in the same order; nothing of an engine that does not answer now.
    pub(super) async fn again(&self, settings: &Settings, fleet: Option<&str>) -> Vec<Vec<Running>> {
        let mut all = Vec::new();
        for reached in &self.reached {
            all.push(docker_running(settings, reached, fleet).await.unwrap_or_default());
        }
        all
    }
}

async fn simulated(
    reader: &mut Reader<'_>,
    hosts: &[&str],
    notes: &mut Vec<String>,
) -> Result<(Containers, Vec<Finding>), RedisError> {
    // The first host's engine has no name in its keys.
    let engines: Vec<String> =
        std::iter::once("sim:".to_owned()).chain(hosts.iter().map(|host| format!("sim@{host}:"))).collect();
    let mut logs = Vec::new();
    for engine in &engines {
        logs.push(reader.simulated_log(engine).await?);
    }
    let live = logs.iter().map(|log| log.fold.running()).sum();
    reader.facts.breaches = logs.iter().flat_map(|log| log.fold.breaches()).collect();
    let mut found = Vec::new();
    let mut begins = logs.iter().filter_map(|log| log.begins_with.as_deref());
    match begins.clone().next() {
        Some(_) if begins.all(|first| first == b"create") => found.extend(without_container(reader, &logs)),
        Some(_) => notes.push(
            "the simulated engine's log was trimmed: containers started before its first entry are not seen, and \
             the audit cannot check that each success had a container"
                .to_owned(),
        ),
        None => {}
    }
    let of_live = |entry: &&Entry| is_failure(entry) && logs.iter().any(|log| log.fold.has_live(entry.game));
    let failures: Vec<Entry> = every(reader).filter(of_live).copied().collect();
    if failures.len() > FAILURES_MAX {
        notes.push(format!(
            "{} failures are of games with a live container: only the last {FAILURES_MAX} were compared with their containers",
            failures.len()
        ));
    }
    let failures = &failures[failures.len().saturating_sub(FAILURES_MAX)..];
    for some in failures.chunks(AT_ONCE) {
        let running = try_join_all(some.iter().map(|entry| reader.simulated_container(&engines, entry))).await?;
        let running: Vec<Running> = running.into_iter().flatten().collect();
        found.extend(reader.contradicted(&running).await?);
    }
    Ok((Containers::Simulated { live }, found))
}

fn every<'r>(reader: &'r Reader<'_>) -> impl Iterator<Item = &'r Entry> {
    reader.facts.entries.iter().chain(reader.facts.absent.values())
}

fn is_failure(entry: &Entry) -> bool {
    matches!(entry.said, Said::Failure | Said::FailureWithoutCode)
}

/// Successes whose container was never started, by a log that is whole. It is read after the outcomes, and a container
/// is started before its outcome is published.
fn without_container(reader: &Reader<'_>, logs: &[Log]) -> Vec<Finding> {
    let successes = every(reader).filter(|entry| entry.said == Said::Success && entry.outcomes == 1);
    let never_started = successes.filter(|entry| !logs.iter().any(|log| log.fold.has_started(entry.container)));
    never_started.map(|entry| Finding::of(Kind::SuccessWithoutContainer, entry.id)).collect()
}

/// The simulated engine's log.
struct Log {
    fold: Fold,
    /// Its first event.
    begins_with: Option<Vec<u8>>,
}

impl Reader<'_> {
    async fn simulated_log(&mut self, engine: &str) -> Result<Log, RedisError> {
        let log = format!("{}{engine}log", self.settings.start.record_prefix);
        let (mut fold, mut read, mut begins_with) = (Fold::new(self.hasher.clone()), Id::ZERO, None);
        let end = self.end_of(&log).await?;
        while let Some(rows) = self.rows_after(&log, read, end).await? {
            for row in rows {
                read = row.id;
                for pair in row.flat.chunks_exact(2) {
                    begins_with.get_or_insert_with(|| pair[0].clone());
                    fold.apply(row.id, &pair[0], &pair[1]);
                }
            }
        }
        Ok(Log { fold, begins_with })
    }

    /// The container of the game of an entry, if it runs. The outcome names the game: the entry itself may be gone.
    async fn simulated_container(&self, engines: &[String], entry: &Entry) -> Result<Option<Running>, RedisError> {
        let (results, outcome) = (&self.settings.stream.results, entry.outcome.to_string());
        let rows = reply::rows(self.ask(&["XRANGE", results, &outcome, &outcome]).await?)?;
        let Some(game) = rows.first().map(|row| row.text("game_id")) else { return Ok(None) };
        for engine in engines {
            let key = format!("{}{engine}{{rtm-{game}}}", self.settings.start.record_prefix);
            let running = running_of(&reply::text(self.ask(&["GET", &key]).await?), &game);
            if running.is_some() {
                return Ok(running);
            }
        }
        Ok(None)
    }

    /// Those of all engines.
    async fn all_contradicted(&self, running: &[Vec<Running>]) -> Result<Vec<Finding>, RedisError> {
        let mut found = Vec::new();
        for running in running {
            found.extend(self.contradicted(running).await?);
        }
        Ok(found)
    }

    /// Those of these containers whose own job was answered with a failure, although nothing else accounts for them.
    async fn contradicted(&self, running: &[Running]) -> Result<Vec<Finding>, RedisError> {
        let mut found = Vec::new();
        for container in running {
            let Some(entry) = container.source.and_then(|source| self.facts.entry(source)) else { continue };
            if is_failure(entry)
                && entry.game == self.hash_of(&container.game)
                && self.nothing_accounts_for(container, entry).await?
            {
                let detail = format!("container {}", container.id);
                found.push(Finding::with(Kind::FailureWithContainer, entry.id, detail));
            }
        }
        Ok(found)
    }

    /// A later attempt may have adopted the container, or it will be removed: by the attempt that condemned it, or as a
    /// stray.
    async fn nothing_accounts_for(&self, container: &Running, entry: &Entry) -> Result<bool, RedisError> {
        let record = self.record(&container.game).await?.unwrap_or_default();
        let text = |name: &str| record[name].as_str().unwrap_or_default();
        let is_its_own = text("source_ref") == entry.id.to_string() && text("stream") == self.settings.stream.jobs;
        if text("state") == "running" && text("container_id") == container.id {
            return Ok(is_its_own);
        }
        if text("state") == "starting" || text("condemned") == container.id {
            return Ok(false);
        }
        let StartConfig { reconcile_interval, reconcile_grace, .. } = self.settings.start;
        let goes_within = millis(reconcile_interval).saturating_mul(2).saturating_add(millis(reconcile_grace));
        let now_ms = self.facts.moments.last().map_or(0, |moment| moment.now_ms);
        Ok(now_ms.saturating_sub(entry.outcome.0) > goes_within)
    }

    pub(super) async fn record(&self, game: &str) -> Result<Option<serde_json::Value>, RedisError> {
        let key = format!("{}{{{game}}}:rec", self.settings.start.record_prefix);
        let text = reply::bytes(self.ask(&["GET", &key]).await?);
        Ok(serde_json::from_slice(&text).ok())
    }

    /// The record of a game, for people: what the findings about containers show beside them.
    pub(super) async fn record_of(&self, game: &str) -> String {
        let key = format!("{}{{{game}}}:rec", self.settings.start.record_prefix);
        let text = self.ask(&["GET", &key]).await.map_or_else(|_| Vec::new(), reply::bytes);
        if text.is_empty() {
            return "no record".to_owned();
        }
        let Ok(record) = serde_json::from_slice::<serde_json::Value>(&text) else {
            return "record: unreadable".to_owned();
        };
        let [state, container, source] =
            ["state", "container_id", "source_ref"].map(|name| record[name].as_str().unwrap_or_default());
        format!("record: {state}, container {container:?}, fence {}, entry {source}", record["fence"])
    }
}

/// The container of a simulated engine, if it runs: `<id> <game> <state> <created at> <the values of five labels>`, the
/// entry's id the last of them.
fn running_of(text: &str, game: &str) -> Option<Running> {
    let mut parts = text.splitn(5, ' ');
    let (Some(id), Some("running")) = (parts.next(), parts.nth(1)) else { return None };
    let labels: Vec<String> = parts.nth(1).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let source = labels.last().and_then(|source| Id::parse(source));
    Some(Running { id: id.to_owned(), game: game.to_owned(), source })
}

/// The running containers that carry our labels, and not the name of another fleet than this one.
async fn docker_running(settings: &Settings, site: &Reached, fleet: Option<&str>) -> Result<Vec<Running>, String> {
    const GAME_LABEL: &str = "rtm.game_id";
    const SOURCE_LABEL: &str = "rtm.source_ref";
    const HOST_LABEL: &str = "rtm.host";
    const FLEET_LABEL: &str = "rtm.fleet";
    let of_host = site.only.iter().map(|host_id| format!("{HOST_LABEL}={host_id}"));
    let filters: HashMap<String, Vec<String>> = HashMap::from([
        ("label".to_owned(), std::iter::once(GAME_LABEL.to_owned()).chain(of_host).collect()),
        ("status".to_owned(), vec!["running".to_owned()]),
    ]);
    let options = ListContainersOptionsBuilder::new().filters(&filters).build();
    let listing = timeout(DOCKER_WITHIN, site.docker.list_containers(Some(options)));
    let listed = listing.await.map_err(|_| format!("nothing within {DOCKER_WITHIN:?}"))?;
    let listed = listed.map_err(|error| explained(settings, &error))?;
    let running = listed.into_iter().filter_map(|container| {
        let mut labels = container.labels?;
        let is_of_fleet = labels.get(FLEET_LABEL).zip(fleet).is_none_or(|(of, fleet)| of == fleet);
        let source = labels.remove(SOURCE_LABEL).and_then(|source| Id::parse(&source));
        let game = labels.remove(GAME_LABEL).filter(|_| is_of_fleet)?;
        Some(Running { id: container.id?, game, source })
    });
    Ok(running.collect())
}
