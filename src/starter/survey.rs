//! What a replica here would see of its engine and would change in the records, without changing anything: for operators.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::sides::{engines, host_config};
use crate::engine::{Engine, EngineError, label};
use crate::policy::Current;
use crate::redis::Connection;
use crate::settings::Settings;
use crate::start::StartError;
use crate::start::change::{GameEvents, Told};
use crate::start::host::{Host, HostError};
use crate::start::reconcile::{Mode, Reconciled, Reconciler};
use crate::start::record::Records;
use crate::worker::error::RunError;

/// The owner in whose name nothing is written.
const OWNER: &str = "survey";

/// Why nothing can be seen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    /// No replica has settled which host and fleet this is, or not as the settings say.
    #[error("{0}")]
    Host(#[from] HostError),
    /// Engine or Redis failed meanwhile.
    #[error("{0}")]
    Start(#[from] StartError),
}

/// The fleets that have used an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FleetsSeen {
    /// Their names.
    Known(BTreeSet<String>),
    /// The engine refuses to keep volumes, in these words.
    Refused(String),
}

/// What would be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Survey {
    /// The host of the engine.
    pub(crate) host: String,
    /// The fleet of this Redis.
    pub(crate) fleet: String,
    /// What was looked at, and what would be changed.
    pub(crate) found: Reconciled,
}

/// Looks at one engine with the eyes of its replicas.
#[derive(Debug)]
pub(crate) struct Surveyor {
    engine: Arc<dyn Engine>,
    host: Arc<Host>,
    has_id: bool,
    reconciler: Reconciler,
}

impl Surveyor {
    /// One for each engine of these settings. Nothing is asked yet.
    pub(crate) fn all(settings: &Settings, commands: &Arc<Connection>) -> Result<Vec<Self>, RunError> {
        let engines = engines(settings, commands)?.into_iter().enumerate();
        Ok(engines.map(|(number, engine)| Self::of(settings, commands, engine, number)).collect())
    }

    fn of(settings: &Settings, commands: &Arc<Connection>, engine: Arc<dyn Engine>, number: usize) -> Self {
        let stream = (settings.stream.jobs.as_str(), settings.stream.group.as_str());
        let (prefix, lease) = (&settings.start.record_prefix, settings.worker.claim_idle);
        let records = Records::new(Arc::clone(commands), prefix, stream, OWNER, lease);
        let config = host_config(settings, &Current::default(), number);
        let has_id = config.id.is_some();
        let host = Arc::new(Host::new(records.clone(), Arc::clone(&engine), config));
        let (told, events) = (Told::new(|_| {}), GameEvents(None));
        let grace = settings.start.reconcile_grace;
        let reconciler = Reconciler::new(records, Arc::clone(&engine), Arc::clone(&host), grace, told, events);
        Self { engine, host, has_id, reconciler }
    }

    /// Whether the settings name its host.
    pub(crate) fn has_id(&self) -> bool {
        self.has_id
    }

    /// The fleets that have used this engine.
    pub(crate) async fn fleets(&self) -> Result<FleetsSeen, EngineError> {
        match self.engine.marks(label::FLEET).await {
            Ok(marks) => {
                let names = marks.into_iter().filter_map(|mut labels| labels.remove(label::FLEET));
                Ok(FleetsSeen::Known(names.collect()))
            }
            Err(EngineError::Refused(words)) => Ok(FleetsSeen::Refused(words)),
            Err(error) => Err(error),
        }
    }

    /// What keeping the records true would change now.
    pub(crate) async fn dry_run(&self) -> Result<Survey, SurveyError> {
        let identity = self.host.look_up().await?;
        let found = self.reconciler.run_once(Mode::DryRun).await?;
        Ok(Survey { host: identity.here.host().to_owned(), fleet: identity.fleet.clone(), found })
    }
}
