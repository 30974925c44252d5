//! From settings to a running replica that handles start jobs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::handler::StartJobs;
use super::policy_watch::PolicyWatch;
use super::sides::sides;
use crate::faults::Faults;
use crate::policy::Current;
use crate::settings::Settings;
use crate::start::StartService;
use crate::start::service::Service;
use crate::start::several::Several;
use crate::telemetry::{Counters, Traces};
use crate::worker::config::ReplicaConfig;
use crate::worker::error::RunError;
use crate::worker::handler::Handler;
use crate::worker::replica::Exit;
use crate::worker::run::{Instruments, Site, run as run_worker};

/// Runs one replica until `stop` is cancelled.
pub(crate) async fn run(
    settings: Settings,
    instruments: Instruments,
    stop: CancellationToken,
) -> Result<Exit, RunError> {
    run_as(settings, None, instruments, stop).await
}

/// Runs one replica whose starts are another service's: what the bench measures the worker alone with.
pub(crate) async fn run_with_service(
    settings: Settings,
    service: Arc<dyn StartService>,
    stop: CancellationToken,
) -> Result<Exit, RunError> {
    let instruments = Instruments::new(&settings.worker);
    run_as(settings, Some(service), instruments, stop).await
}

async fn run_as(
    settings: Settings,
    service: Option<Arc<dyn StartService>>,
    instruments: Instruments,
    stop: CancellationToken,
) -> Result<Exit, RunError> {
    let config = ReplicaConfig {
        redis: settings.redis.clone(),
        stream: settings.stream.clone(),
        worker: settings.worker.clone(),
        strict: settings.strict,
    };
    let faults = Faults::new(settings.faults.clone());
    let policy = Current::default();
    let _watched = match &settings.policy.file {
        Some(file) => {
            let metrics = Arc::clone(&instruments.metrics);
            let watch = PolicyWatch::begin(file, &policy, &settings.stream.jobs, metrics)?;
            Some(AbortOnDropHandle::new(tokio::spawn(watch.run())))
        }
        None => None,
    };
    let metrics = &instruments.metrics;
    let counters = Counters { exported: metrics.spans_exported.clone(), dropped: metrics.spans_dropped.clone() };
    let traces = Traces::begin(counters);
    let instruments = Instruments { tracer: traces.tracer.clone(), ..instruments };
    let exit =
        run_worker(config, faults, instruments, stop, |site| handler(&settings, &policy, service.clone(), site)).await;
    traces.flush().await;
    exit
}

fn handler(
    settings: &Settings,
    policy: &Current,
    other: Option<Arc<dyn StartService>>,
    site: &Site<'_>,
) -> Result<Arc<dyn Handler>, RunError> {
    let sides = sides(settings, policy, site)?;
    // A service that starts nothing on the engine has no host either.
    let tasks = if other.is_some() { Vec::new() } else { sides.iter().flat_map(|side| side.tend(settings)).collect() };
    let services = sides.iter().map(|side| (Arc::clone(&side.host), Arc::clone(&side.service)));
    let own: Arc<dyn StartService> = match sides.as_slice() {
        [only] => Arc::<Service>::clone(&only.service),
        _ => Arc::new(Several::new(services.collect())),
    };
    Ok(Arc::new(StartJobs {
        service: other.unwrap_or(own),
        engine: sides[0].engine.kind(),
        hosts: sides.into_iter().map(|side| (side.host, side.reconciler)).collect(),
        reconcile_interval: settings.start.reconcile_interval,
        max_field_bytes: settings.stream.max_field_bytes,
        policy: policy.clone(),
        outcome_fields: settings.stream.outcome_fields.names(),
        stream: settings.stream.jobs.clone(),
        tasks,
    }))
}
