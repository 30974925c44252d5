//! Records beside a Docker Engine's containers: a game whose record says that it runs does run, and the other way round.
//!
//! The replicas correct a record within [`TRUE_WITHIN`] of any change on the engine, so what differs is looked at again after
//! that time.

use std::collections::{BTreeSet, HashMap};

use bollard::Docker;
use bollard::errors::Error as DockerError;
use futures_util::future::try_join_all;
use std::time::Duration;
use tokio::time::{sleep, timeout};

use super::engines::{Running, Seen};
use super::finding::{Finding, Kind};
use super::id::Id;
use super::read::{AT_ONCE, Reader};
use super::reply;
use super::sites::{DOCKER_WITHIN, Reached};
use crate::redis::RedisError;

/// Within this time a record says what the engine does.
const TRUE_WITHIN: Duration = Duration::from_secs(10);
/// Games of one engine whose records are looked at.
const GAMES_MAX: usize = 20_000;
/// Games in one part of a host's list.
const PAGE: &str = "500";
/// What differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Differs {
    game: String,
    container: String,
    source: Option<Id>,
    /// The container runs; the record says that it does not, or says nothing.
    runs: bool,
}

impl Differs {
    fn finding(self) -> Finding {
        let Self { game, container, source, runs } = self;
        let what = if runs { "runs, and its record does not say so" } else { "does not run, and its record says so" };
        let detail = format!("game {game:?}: container {container} {what}");
        Finding::with(Kind::RecordDiffers, source.unwrap_or(Id::ZERO), detail)
    }
}

/// Compares the records with the containers of the engines that were looked at.
pub(super) async fn differing(
    reader: &Reader<'_>,
    seen: &Seen,
    notes: &mut Vec<String>,
) -> Result<Vec<Finding>, RedisError> {
    let look = |reached: &Reached| Look { docker: reached.docker.clone(), names: reached.names.clone(), is_cut: false };
    let mut looks: Vec<Look> = seen.reached.iter().map(look).collect();
    let mut found = BTreeSet::new();
    for (look, running) in looks.iter_mut().zip(&seen.running) {
        found.extend(reader.compared(look, running).await?);
    }
    if !found.is_empty() {
        sleep(TRUE_WITHIN).await;
        let again = seen.again(reader.settings, reader.fleet().await?.as_deref()).await;
        let mut still = BTreeSet::new();
        for (look, running) in looks.iter_mut().zip(&again) {
            still.extend(reader.compared(look, running).await?);
        }
        found.retain(|differs| still.contains(differs));
    }
    if looks.iter().any(|look| look.is_cut) {
        notes.push(format!("an engine has many games: the records of the first {GAMES_MAX} were compared"));
    }
    Ok(found.into_iter().map(Differs::finding).collect())
}

struct Look {
    docker: Docker,
    /// The names under which the fleet has known the engine.
    names: BTreeSet<String>,
    /// There are more games than were looked at.
    is_cut: bool,
}

impl Reader<'_> {
    /// The fleet's name; containers with another one are not the fleet's.
    pub(super) async fn fleet(&self) -> Result<Option<String>, RedisError> {
        let key = format!("{}fleet", self.settings.start.record_prefix);
        Ok(Some(reply::text(self.ask(&["GET", &key]).await?)).filter(|fleet| !fleet.is_empty()))
    }

    async fn compared(&self, look: &mut Look, running: &[Running]) -> Result<BTreeSet<Differs>, RedisError> {
        let mut found = BTreeSet::new();
        let is_listed: HashMap<&str, &Running> = running.iter().map(|one| (one.id.as_str(), one)).collect();
        let mut games = BTreeSet::new();
        for name in &look.names {
            games.extend(self.placed(name).await?);
        }
        look.is_cut |= games.len() > GAMES_MAX || running.len() > GAMES_MAX;
        let games: Vec<String> = games.into_iter().take(GAMES_MAX).collect();
        for some in games.chunks(AT_ONCE) {
            for (game, record) in self.records(some).await? {
                let text = |name: &str| record[name].as_str().unwrap_or_default();
                let (container, source) = (text("container_id"), Id::parse(text("source_ref")));
                let is_here = text("state") == "running" && look.names.contains(text("host"));
                if is_here && !is_listed.contains_key(container) && !runs(&look.docker, container).await {
                    found.insert(Differs { game, container: container.to_owned(), source, runs: false });
                }
            }
        }
        let running: Vec<&Running> = running.iter().take(GAMES_MAX).collect();
        for some in running.chunks(AT_ONCE) {
            let games: Vec<String> = some.iter().map(|one| one.game.clone()).collect();
            let records: HashMap<String, serde_json::Value> = self.records(&games).await?.into_iter().collect();
            for one in some {
                let record = records.get(&one.game);
                let is_text =
                    |name: &str, expected: &str| record.is_some_and(|record| record[name].as_str() == Some(expected));
                if record.is_none() || (is_text("state", "stopped") && is_text("container_id", &one.id)) {
                    let (game, container) = (one.game.clone(), one.id.clone());
                    found.insert(Differs { game, container, source: one.source, runs: true });
                }
            }
        }
        Ok(found)
    }

    /// The games that the list of a host names.
    async fn placed(&self, host: &str) -> Result<Vec<String>, RedisError> {
        let key = format!("{}placed:{host}", self.settings.start.record_prefix);
        let mut games = Vec::new();
        while games.len() <= GAMES_MAX {
            let from = games.len().to_string();
            let page = self.ask(&["ZRANGEBYSCORE", &key, "-inf", "+inf", "LIMIT", &from, PAGE]).await?;
            let page = reply::texts(page)?;
            if page.is_empty() {
                break;
            }
            games.extend(page);
        }
        Ok(games)
    }

    /// The records of these games that there are and that can be read.
    async fn records(&self, games: &[String]) -> Result<Vec<(String, serde_json::Value)>, RedisError> {
        let records = try_join_all(games.iter().map(|game| self.record(game))).await?;
        let pairs = games.iter().cloned().zip(records);
        Ok(pairs.filter_map(|(game, record)| Some((game, record?))).collect())
    }
}

/// Whether a container that is not in the list of those that run may run all the same: frozen, or nothing can be told.
async fn runs(docker: &Docker, container: &str) -> bool {
    match timeout(DOCKER_WITHIN, docker.inspect_container(container, None)).await {
        Ok(Ok(found)) => found.state.and_then(|state| state.running).unwrap_or(false),
        Ok(Err(DockerError::DockerResponseServerError { status_code: 404, .. })) => false,
        Ok(Err(_)) | Err(_) => true,
    }
}
