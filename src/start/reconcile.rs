//! The reconciler removes containers of ours that no record names any more.
//!
//! One replica of the fleet runs it per interval, with a bound on removals. It removes nothing that is younger than the
//! grace, that a record names, whose game has an attempt under way, or about which Redis cannot be asked.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::StartError;
use super::engine_failure::try_again;
use super::game_id::GameId;
use super::record::{Action, Records};
use crate::engine::{Engine, Listed, label};

/// Removals in one run, so that a wrong decision cannot empty a host at once.
const REMOVALS_MAX: usize = 20;

/// Reconciles one host's containers with their records.
#[derive(Debug)]
pub(crate) struct Reconciler {
    records: Records,
    engine: Arc<dyn Engine>,
    host: String,
    grace: Duration,
}

/// What one run found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reconciled {
    /// Containers with our labels that were looked at.
    pub(crate) containers: usize,
    /// Those that no record names: removed, or in a dry run to be removed.
    pub(crate) stray: Vec<String>,
    /// Those that the engine would not remove, and why.
    pub(crate) failed: Vec<String>,
}

impl Reconciler {
    /// For the containers that carry this host's id.
    pub(crate) fn new(records: Records, engine: Arc<dyn Engine>, host: String, grace: Duration) -> Self {
        Self { records, engine, host, grace }
    }

    /// One run, unless another replica has run within `interval`.
    pub(crate) async fn run_if_due(&self, interval: Duration) -> Result<Option<Reconciled>, StartError> {
        if !self.records.take_tick(&self.host, interval).await? {
            return Ok(None);
        }
        self.run_once(Action::Remove).await.map(Some)
    }

    /// One run.
    pub(crate) async fn run_once(&self, action: Action) -> Result<Reconciled, StartError> {
        let (mut found, mut from) = (Reconciled::default(), String::new());
        loop {
            let page = self.engine.list(&from).await.map_err(try_again)?;
            for container in page.containers {
                found.containers += 1;
                if found.stray.len() >= REMOVALS_MAX {
                    return Ok(found);
                }
                self.reconcile(container, action, &mut found).await?;
            }
            let Some(next) = page.next else { return Ok(found) };
            from = next;
        }
    }

    async fn reconcile(&self, container: Listed, action: Action, found: &mut Reconciled) -> Result<(), StartError> {
        if !self.is_stray(&container, action).await? {
            return Ok(());
        }
        let id = container.id;
        if action == Action::Remove
            && let Err(error) = self.engine.remove(&id).await
        {
            found.failed.push(format!("{id}: {error}"));
        } else {
            found.stray.push(id);
        }
        Ok(())
    }

    async fn is_stray(&self, container: &Listed, action: Action) -> Result<bool, StartError> {
        let age = SystemTime::now().duration_since(container.created_at).unwrap_or_default();
        if container.label(label::HOST) != self.host || container.label(label::OWNER).is_empty() || age < self.grace {
            return Ok(false);
        }
        let Ok(game) = GameId::parse(container.label(label::GAME_ID)) else { return Ok(false) };
        if container.name != game.container_name() {
            // Not a name that we give: the labels came with an image, or another program set them.
            return Ok(false);
        }
        Ok(self
            .records
            .reap(&game, &container.id, (container.label(label::FENCE), container.label(label::OWNER)), action)
            .await?)
    }
}
