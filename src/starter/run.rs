//! From settings to a running replica that handles start jobs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::handler::StartJobs;
use crate::engine::docker::DockerEngine;
use crate::engine::simulated::SimulatedEngine;
use crate::engine::{Engine, EngineKind};
use crate::faults::Faults;
use crate::metrics::metered_engine::MeteredEngine;
use crate::settings::Settings;
use crate::start::StartService;
use crate::start::attempt::Launch;
use crate::start::reconcile::Reconciler;
use crate::start::record::Records;
use crate::start::service::Service;
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
    run_worker(config, faults, instruments, stop, |site| handler(&settings, service, site)).await
}

fn handler(
    settings: &Settings,
    other: Option<Arc<dyn StartService>>,
    site: &Site<'_>,
) -> Result<Arc<dyn Handler>, RunError> {
    let engine: Arc<dyn Engine> = Arc::new(MeteredEngine::new(engine(settings, site)?, Arc::clone(site.metrics)));
    let kind = engine.kind();
    let records = records(settings, site);
    let (host_id, grace) = (settings.start.host_id.clone(), settings.start.reconcile_grace);
    let reconciler = Reconciler::new(records.clone(), Arc::clone(&engine), host_id, grace);
    Ok(Arc::new(StartJobs {
        service: other.unwrap_or_else(|| Arc::new(service(settings, records, engine, site))),
        reconciler,
        reconcile_interval: settings.start.reconcile_interval,
        engine: kind,
        max_field_bytes: settings.stream.max_field_bytes,
        outcome_fields: settings.stream.outcome_fields.names(),
        metrics: Arc::clone(site.metrics),
        stream: settings.stream.jobs.clone(),
    }))
}

fn engine(settings: &Settings, site: &Site<'_>) -> Result<Arc<dyn Engine>, RunError> {
    let engine = &settings.engine;
    Ok(match engine.kind {
        EngineKind::Docker => Arc::new(
            DockerEngine::connect_with(
                &engine.docker_host,
                engine.docker_tls.clone(),
                engine.port,
                engine.start_concurrency,
            )
            .map_err(|error| RunError::Unusable(error.to_string()))?,
        ),
        EngineKind::Simulated => Arc::new(SimulatedEngine::new(
            Arc::clone(site.commands),
            &settings.start.record_prefix,
            engine.simulated.clone(),
            engine.start_concurrency,
        )),
    })
}

fn records(settings: &Settings, site: &Site<'_>) -> Records {
    let stream = (settings.stream.jobs.as_str(), settings.stream.group.as_str());
    let prefix = &settings.start.record_prefix;
    Records::new(Arc::clone(site.commands), prefix, stream, site.consumer, settings.worker.claim_idle)
}

fn service(settings: &Settings, records: Records, engine: Arc<dyn Engine>, site: &Site<'_>) -> Service {
    let launch = Launch {
        port: settings.engine.port,
        readiness: settings.start.readiness.clone(),
        ready_timeout: settings.start.ready_timeout,
    };
    let host_id = settings.start.host_id.clone();
    Service::new(records, engine, Arc::clone(site.faults), launch, host_id, settings.worker.max_run)
}
