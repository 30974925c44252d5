//! Keeps the records of one host true: compares what its engine runs with what the records say, writes down what has ended,
//! moved or come back, and removes containers of ours that no record names.
//!
//! Everything is decided by the record in one step with the write, so any number of replicas may look at the same time. It
//! removes nothing that is young, unless the record has moved on from it, nothing that a record names, whose game has an
//! attempt under way here, or about which Redis cannot be asked.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::StartError;
use super::change::{Change, GameEvents, Told};
use super::compare::{Finding, Shown, compare};
use super::engine_failure::try_again;
use super::game_id::GameId;
use super::host::{Host, Identity};
use super::ours::{game_of, is_ours};
use super::record::{Action, Ended, Labelled, PLACED_PAGE, Reap, RecordView, Records};
use crate::contract::error_code::ErrorCode;
use crate::engine::{Container, ContainerState, Engine, Listed, ListedState, label};
use crate::redis::Kind;

/// Removals in one run, so that a wrong decision cannot empty a host at once.
const REMOVALS_MAX: usize = 20;
/// A longer list of games is not read of an engine that keeps its containers.
const PLACED_KEPT_MAX: u64 = 10_000;
/// Removals at the same time.
const REMOVALS_AT_ONCE: usize = 8;
/// Records looked at at the same time.
const LOOKS_AT_ONCE: usize = 32;
/// A container that the engine did not remove is tried again after so long.
const REMOVED_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// What changes a record says so within this.
const JUST_CHANGED: Duration = Duration::from_secs(3);
/// So many of those are remembered.
const REFUSED_MAX: usize = 1_000;

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything.
    Whole,
    /// Removes what was placed anew on other hosts, as many as there are: before anything is started here.
    Clear,
    /// Changes nothing, and says what it would do.
    DryRun,
}

/// Reconciles one host's containers with their records.
#[derive(Debug)]
pub(crate) struct Reconciler {
    records: Records,
    engine: Arc<dyn Engine>,
    host: Arc<Host>,
    grace: Duration,
    told: Told,
    events: GameEvents,
    /// When the engine was last asked in vain to remove a container.
    refused: Mutex<HashMap<String, Instant>>,
}

/// What one run found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reconciled {
    /// Containers of ours that were looked at.
    pub(crate) containers: usize,
    /// What was changed, or in a dry run would be.
    pub(crate) changes: Vec<Change>,
}

/// Nothing where one record or one container cannot be read; that Redis or the engine is away ends the run.
fn pass_over_unreadable<T>(look: Result<T, StartError>) -> Result<Option<T>, StartError> {
    match look {
        Ok(found) => Ok(Some(found)),
        Err(StartError::Store(error)) if error.kind == Kind::WrongType => {
            tracing::debug!(err = error.text, "a game was passed over: its record cannot be read");
            Ok(None)
        }
        Err(StartError::Engine { code: ErrorCode::InternalError, message }) => {
            tracing::debug!(err = message, "a game was passed over: the engine does not describe its container");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether what has changed this record may still be about to say so: it takes the game from the list itself. Where the clocks
/// differ, the next run does that, or the stream of game events has it twice.
fn has_just_changed(record: &RecordView) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.abs_diff(Duration::from_millis(record.updated_at_ms)) < JUST_CHANGED
}

/// A container that may have to go.
struct Unnamed {
    game: GameId,
    id: String,
    fence: String,
    owner: String,
    age: Duration,
    /// The operator who has stopped its game, which is asked to end first; empty where none has.
    stopped_by: String,
}

impl Reconciler {
    /// For the containers of this host. What changes is told, and written to the stream of game events.
    pub(crate) fn new(
        records: Records,
        engine: Arc<dyn Engine>,
        host: Arc<Host>,
        grace: Duration,
        told: Told,
        events: GameEvents,
    ) -> Self {
        Self { records, engine, host, grace, told, events, refused: Mutex::default() }
    }

    /// One run, unless another replica of this host has run within `interval`.
    pub(crate) async fn run_if_due(&self, interval: Duration) -> Result<Option<Reconciled>, StartError> {
        let identity = self.host.identity().await?;
        if !self.records.take_tick(identity.here.host(), interval).await? {
            return Ok(None);
        }
        self.run_once(Mode::Whole).await.map(Some)
    }

    /// One run. A game of which record or container cannot be read is passed over; it says so, and hinders no other.
    pub(crate) async fn run_once(&self, mode: Mode) -> Result<Reconciled, StartError> {
        let identity = self.host.identity().await?;
        let placed = if mode == Mode::Clear { None } else { self.placed(&identity).await? };
        let (mut found, mut seen, mut unnamed) = (Reconciled::default(), HashSet::new(), Vec::new());
        let (mut from, mut changes) = (String::new(), Vec::new());
        loop {
            let page = self.engine.list(&from).await.map_err(try_again)?;
            let ours = page.containers.into_iter().filter_map(|listed| Some((game_of(&listed, &identity)?, listed)));
            let looks = ours.map(|(game, listed)| {
                found.containers += 1;
                if placed.is_some() {
                    seen.insert(game.clone());
                }
                self.look_at_listed(game, listed, &identity, placed.as_ref(), mode)
            });
            let mut looks = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE);
            while let Some(look) = looks.next().await {
                let Some((change, may_go)) = pass_over_unreadable(look)? else { continue };
                changes.extend(change);
                unnamed.extend(may_go);
            }
            let Some(next) = page.next else { break };
            from = next;
        }
        found.changes = changes;
        let absent: Vec<GameId> = placed.iter().flat_map(|placed| placed.difference(&seen).cloned()).collect();
        let looks = absent.into_iter().map(|game| self.look_at_absent(game, &identity, mode));
        let mut looks = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE);
        while let Some(look) = looks.next().await {
            found.changes.extend(pass_over_unreadable(look)?.flatten());
        }
        drop(looks);
        self.remove_unnamed(unnamed, &identity, mode, &mut found).await?;
        Ok(found)
    }

    /// One game, after the engine has said that something happened to its container.
    pub(crate) async fn look_at(&self, game: &GameId) -> Result<(), StartError> {
        let Some(identity) = self.host.settled() else { return Ok(()) };
        let record = self.records.view(game).await?;
        if record.as_ref().is_some_and(|record| record.state == "starting" && identity.here.is(&record.host)) {
            // The attempt looks itself, and most of what an engine tells is that a start has come so far.
            return Ok(());
        }
        let found = self.engine.find(&game.container_name()).await.map_err(try_again)?;
        match found.filter(|found| is_ours(found, game, &identity)) {
            Some(container) => {
                let finding = compare(Shown::from(&container), record.as_ref(), &identity.here);
                self.settle(game, finding, Some(&container), &container.id, &identity, Mode::Whole).await?;
            }
            None => drop(self.look_at_absent(game.clone(), &identity, Mode::Whole).await?),
        }
        Ok(())
    }

    /// Asks every game of this host to end: the host has been cut off, and its games may have been started elsewhere.
    pub(crate) async fn stop_everything(&self, identity: &Identity) -> Result<usize, StartError> {
        let (mut ids, mut from) = (Vec::new(), String::new());
        loop {
            let page = self.engine.list(&from).await.map_err(try_again)?;
            let is_live = |listed: &&Listed| matches!(listed.state, ListedState::Running | ListedState::Paused);
            let ours = page.containers.iter().filter(|listed| game_of(listed, identity).is_some());
            ids.extend(ours.filter(is_live).map(|listed| listed.id.clone()));
            let Some(next) = page.next else { break };
            from = next;
        }
        let stops = ids.into_iter().map(async |id| self.engine.stop(&id).await.is_ok());
        let stopped: Vec<bool> = stream::iter(stops).buffer_unordered(LOOKS_AT_ONCE).collect().await;
        Ok(stopped.into_iter().filter(|is_done| *is_done).count())
    }

    /// The games that may run on this host, under each of its names. Where containers go by our own calls alone, hardly any of them
    /// is gone without a trace: a long list is not worth its reading then.
    async fn placed(&self, identity: &Identity) -> Result<Option<HashSet<GameId>>, StartError> {
        let mut placed = HashSet::new();
        for host in identity.here.names() {
            if self.engine.keeps_containers() && self.records.placed_count(host).await? > PLACED_KEPT_MAX {
                return Ok(None);
            }
            let mut from = 0;
            loop {
                let page = self.records.placed(host, from).await?;
                let count = page.len() as u64;
                placed.extend(page);
                if count < PLACED_PAGE {
                    break;
                }
                from += count;
            }
        }
        Ok(Some(placed))
    }

    async fn look_at_listed(
        &self,
        game: GameId,
        listed: Listed,
        identity: &Identity,
        placed: Option<&HashSet<GameId>>,
        mode: Mode,
    ) -> Result<(Option<Change>, Option<Unnamed>), StartError> {
        let record = self.records.view(&game).await?;
        let finding = compare(Shown::from(&listed), record.as_ref(), &identity.here);
        if finding == Finding::Unnamed {
            let age = SystemTime::now().duration_since(listed.created_at).unwrap_or_default();
            let label = |name| listed.label(name).to_owned();
            let (fence, owner) = (label(label::FENCE), label(label::OWNER));
            let stopped_by = record.map(|record| record.stopped_by).unwrap_or_default();
            let unnamed = Unnamed { game, id: listed.id, fence, owner, age, stopped_by };
            return Ok((None, Some(unnamed)));
        }
        if mode == Mode::Clear {
            return Ok((None, None));
        }
        let change = self.settle(&game, finding, None, &listed.id, identity, mode).await?;
        let Some(placed) = placed.filter(|_| mode == Mode::Whole) else { return Ok((change, None)) };
        let was_changed_now = change.is_some() || record.as_ref().is_some_and(has_just_changed);
        let runs = record.is_some_and(|record| record.state == "running");
        if runs && !placed.contains(&game) {
            // It was started by a version that keeps no such list.
            self.records.place(&game, identity.here.host(), 0).await?;
        } else if !runs && placed.contains(&game) && !was_changed_now {
            self.leave(&game, identity).await?;
        }
        Ok((change, None))
    }

    /// A game that may run here, and of which the engine's list has no container.
    async fn look_at_absent(
        &self,
        game: GameId,
        identity: &Identity,
        mode: Mode,
    ) -> Result<Option<Change>, StartError> {
        let Some(record) = self.records.view(&game).await? else {
            return self.leave_unless_dry(&game, identity, mode).await;
        };
        if record.state == "starting" && identity.here.is(&record.host) {
            return Ok(None);
        }
        if record.state != "running" || !identity.here.is(&record.host) {
            if has_just_changed(&record) {
                return Ok(None);
            }
            self.forget_condemned(&game, &record, identity, mode).await?;
            return self.leave_unless_dry(&game, identity, mode).await;
        }
        // It may have come after the list was made.
        let found = self.engine.find(&record.container_id).await.map_err(try_again)?;
        let finding = match &found {
            Some(container) => compare(Shown::from(container), Some(&record), &identity.here),
            None => Finding::Ended,
        };
        self.settle(&game, finding, found.as_ref(), &record.container_id, identity, mode).await
    }

    /// The record may still condemn a container that is gone: the process that removed it has died since, or its attempt was
    /// fenced.
    async fn forget_condemned(
        &self,
        game: &GameId,
        record: &RecordView,
        identity: &Identity,
        mode: Mode,
    ) -> Result<(), StartError> {
        let condemned = record.condemned.as_str();
        if condemned.is_empty() || mode != Mode::Whole || !identity.here.is(&record.host) {
            return Ok(());
        }
        if self.engine.find(condemned).await.map_err(try_again)?.is_none() {
            self.records.removed(game, condemned).await?;
        }
        Ok(())
    }

    /// Makes the record say what was found.
    async fn settle(
        &self,
        game: &GameId,
        finding: Finding<'_>,
        container: Option<&Container>,
        container_id: &str,
        identity: &Identity,
        mode: Mode,
    ) -> Result<Option<Change>, StartError> {
        let is_dry = mode == Mode::DryRun;
        let (game_id, id, here) = (game.as_str().to_owned(), container_id.to_owned(), &identity.here);
        let change = match finding {
            Finding::Fine | Finding::Unnamed => return Ok(None),
            Finding::Ended => {
                let Some(ended) = self.how_it_ended(container, container_id).await? else { return Ok(None) };
                if !is_dry && !self.records.ended(game, container_id, ended).await? {
                    return Ok(None);
                }
                Change::Ended { game_id, container_id: id, exit_code: ended.exit_code }
            }
            Finding::Moved(endpoint) => {
                if !is_dry && !self.records.moved(game, container_id, endpoint, here).await? {
                    return Ok(None);
                }
                Change::Moved { game_id, container_id: id, engine_endpoint: endpoint.to_owned() }
            }
            Finding::Revived(endpoint) => {
                if !is_dry && !self.records.revived(game, container_id, endpoint, here).await? {
                    return Ok(None);
                }
                Change::Revived { game_id, container_id: id, engine_endpoint: endpoint.to_owned() }
            }
            Finding::Unrecorded => {
                let found = match container {
                    Some(container) => Some(container.clone()),
                    None => self.engine.find(container_id).await.map_err(try_again)?,
                };
                let Some(found) = found.filter(|found| found.state == ContainerState::Running) else { return Ok(None) };
                if !is_dry {
                    self.records.place(game, here.host(), 0).await?;
                    if !self.records.rebuild(game, &Labelled::of(&found), here, self.engine.kind()).await? {
                        return Ok(None);
                    }
                }
                Change::Rebuilt { game_id, container_id: id }
            }
        };
        if !is_dry {
            self.told.tell(&change);
            if matches!(change, Change::Ended { .. }) {
                self.leave(game, identity).await?;
            }
        }
        Ok(Some(change))
    }

    /// Nothing where it has not ended after all.
    async fn how_it_ended(
        &self,
        container: Option<&Container>,
        container_id: &str,
    ) -> Result<Option<Ended>, StartError> {
        let found = match container {
            Some(container) => Some(container.clone()),
            None => self.engine.find(container_id).await.map_err(try_again)?,
        };
        Ok(match found.map(|container| (container.state, container.ended_at_ms)) {
            Some((ContainerState::Running | ContainerState::Paused, _)) => None,
            Some((ContainerState::Exited(code), at_ms)) => Some(Ended { exit_code: Some(code), at_ms }),
            Some(_) | None => Some(Ended::default()),
        })
    }

    async fn leave_unless_dry(
        &self,
        game: &GameId,
        identity: &Identity,
        mode: Mode,
    ) -> Result<Option<Change>, StartError> {
        if mode == Mode::Whole {
            self.leave(game, identity).await?;
        }
        Ok(None)
    }

    /// The game does not run here any more. That is announced before it leaves the list, and so at least once.
    async fn leave(&self, game: &GameId, identity: &Identity) -> Result<(), StartError> {
        if let Some(record) = self.records.view(game).await? {
            if record.state == "running" && identity.here.is(&record.host) {
                return Ok(());
            }
            if record.state == "stopped" {
                self.events.ended(&self.records, game, &record).await?;
            }
        }
        for host in identity.here.names() {
            self.records.displace(game, host).await?;
        }
        Ok(())
    }

    async fn remove_unnamed(
        &self,
        unnamed: Vec<Unnamed>,
        identity: &Identity,
        mode: Mode,
        found: &mut Reconciled,
    ) -> Result<(), StartError> {
        let mut left = if mode == Mode::Clear { usize::MAX } else { REMOVALS_MAX };
        let mut chosen = Vec::new();
        for container in unnamed {
            // What an operator has stopped was not decided here.
            let is_counted = container.stopped_by.is_empty();
            if (left == 0 && is_counted) || self.was_refused(&container.id) {
                continue;
            }
            if pass_over_unreadable(self.may_go(&container, identity, mode).await)? == Some(true) {
                left -= usize::from(is_counted);
                chosen.push(container);
            }
        }
        // One that takes its time to end does not hold up the others.
        let removals = chosen.into_iter().map(|container| self.remove(container, identity, mode));
        let mut removals = stream::iter(removals).buffer_unordered(REMOVALS_AT_ONCE);
        while let Some(removed) = removals.next().await {
            let change = removed?;
            if mode != Mode::DryRun {
                self.told.tell(&change);
            }
            found.changes.push(change);
        }
        Ok(())
    }

    async fn may_go(&self, container: &Unnamed, identity: &Identity, mode: Mode) -> Result<bool, StartError> {
        let labels = (container.fence.as_str(), container.owner.as_str());
        let (game, id, here) = (&container.game, &container.id, &identity.here);
        let is_young = container.age < self.grace;
        let action = if is_young || mode != Mode::Whole { Action::Ask } else { Action::Condemn };
        Ok(match self.records.reap(game, id, labels, here, action).await? {
            Reap::No => false,
            Reap::WhenOld => !is_young && mode != Mode::Clear,
            Reap::Now if action == Action::Ask && mode != Mode::DryRun => {
                self.records.reap(game, id, labels, here, Action::Condemn).await? == Reap::Now
            }
            Reap::Now => true,
        })
    }

    async fn remove(&self, container: Unnamed, identity: &Identity, mode: Mode) -> Result<Change, StartError> {
        let Unnamed { game, id, stopped_by, .. } = container;
        let (game_id, container_id) = (game.as_str().to_owned(), id);
        if mode == Mode::DryRun {
            return Ok(Change::Removed { game_id, container_id, stopped_by });
        }
        if !stopped_by.is_empty() && mode == Mode::Whole {
            // Where it does not end it is removed by force all the same.
            drop(self.engine.stop(&container_id).await);
        }
        if let Err(error) = self.engine.remove(&container_id).await {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.retain(|_, since| since.elapsed() < REMOVED_AGAIN_AFTER);
            if refused.len() < REFUSED_MAX {
                refused.insert(container_id.clone(), Instant::now());
            }
            return Ok(Change::NotRemoved { game_id, container_id, why: error.to_string() });
        }
        self.records.removed(&game, &container_id).await?;
        if !stopped_by.is_empty() && mode == Mode::Whole {
            self.leave(&game, identity).await?;
        }
        Ok(Change::Removed { game_id, container_id, stopped_by })
    }

    fn was_refused(&self, container_id: &str) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(container_id).is_some_and(|since| since.elapsed() < REMOVED_AGAIN_AFTER)
    }
}
