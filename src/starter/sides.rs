//! What a process has for each of its engines: the engine, its host, what keeps the records true, and the service.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::told::{pulls_told, told};
use crate::engine::docker::{DockerEngine, DockerOptions, Limits};
use crate::engine::simulated::SimulatedEngine;
use crate::engine::{Engine, EngineKind};
use crate::metrics::metered_engine::MeteredEngine;
use crate::policy::Current;
use crate::redis::Connection;
use crate::settings::Settings;
use crate::start::change::GameEvents;
use crate::start::host::{FIRST_HOST, Host, HostConfig};
use crate::start::launch::Launch;
use crate::start::pulls::board::Board;
use crate::start::pulls::{self, Images};
use crate::start::reconcile::Reconciler;
use crate::start::record::Records;
use crate::start::service::Service;
use crate::start::watch::watch;
use crate::worker::WORKER;
use crate::worker::error::RunError;
use crate::worker::run::Site;

/// One engine and what belongs to it.
pub(super) struct Side {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) host: Arc<Host>,
    pub(super) reconciler: Arc<Reconciler>,
    pub(super) service: Arc<Service>,
    images: Arc<Images>,
    policy: Current,
}

/// The engine of `docker-host`, then those of `engines`.
pub(super) fn sides(settings: &Settings, policy: &Current, site: &Site<'_>) -> Result<Vec<Side>, RunError> {
    let engines = engines(settings, site.commands)?;
    let pulls = Arc::new(Semaphore::new(settings.start.pull_concurrency));
    let side = |(number, engine)| side(settings, policy, site, (engine, number), &pulls);
    Ok(engines.into_iter().enumerate().map(side).collect())
}

fn side(
    settings: &Settings,
    policy: &Current,
    site: &Site<'_>,
    (engine, number): (Arc<dyn Engine>, usize),
    pulls: &Arc<Semaphore>,
) -> Side {
    let engine: Arc<dyn Engine> = Arc::new(MeteredEngine::new(engine, Arc::clone(site.metrics)));
    let start = &settings.start;
    let stream = (settings.stream.jobs.as_str(), settings.stream.group.as_str());
    let (prefix, lease) = (&start.record_prefix, settings.worker.claim_idle);
    let records = Records::new(Arc::clone(site.commands), prefix, stream, site.consumer, lease);
    let host = Arc::new(Host::new(records.clone(), Arc::clone(&engine), host_config(settings, policy, number)));
    let told = told(site.metrics, &settings.stream.jobs);
    let (grace, events) = (start.reconcile_grace, GameEvents(start.game_events.clone()));
    let reconciler =
        Arc::new(Reconciler::new(records.clone(), Arc::clone(&engine), Arc::clone(&host), grace, told, events));
    let board = Board::new(Arc::clone(site.commands), prefix);
    let tells = pulls_told(site.metrics, &settings.stream.jobs);
    let images = Images::new(Arc::clone(&engine), start.pull_policy, board, Arc::clone(pulls), (site.consumer, tells));
    let images = Arc::new(images);
    let launch = Launch {
        port: settings.engine.port,
        readiness: start.readiness.clone(),
        ready_timeout: start.ready_timeout,
        policy: policy.clone(),
        images: Arc::clone(&images),
    };
    let placed = (Arc::clone(&host), Arc::clone(&reconciler));
    let faults = Arc::clone(site.faults);
    let service = Arc::new(Service::new(records, Arc::clone(&engine), faults, launch, placed, settings.worker.max_run));
    Side { engine, host, reconciler, service, images, policy: policy.clone() }
}

impl Side {
    /// What goes on beside the jobs, for as long as the handler is there.
    pub(super) fn tend(&self, settings: &Settings) -> Vec<AbortOnDropHandle<()>> {
        let host = Arc::clone(&self.host);
        let beats = tokio::spawn(async move { match host.tend().await {} });
        let mut tasks = vec![AbortOnDropHandle::new(beats)];
        if !self.engine.keeps_containers() {
            let watched = watch(Arc::clone(&self.engine), Arc::clone(&self.reconciler));
            tasks.push(AbortOnDropHandle::new(tokio::spawn(async move { match watched.await {} })));
        }
        if !self.engine.keeps_containers() {
            let (images, host) = (Arc::clone(&self.images), Arc::clone(&self.host));
            let wishes = pulls::tend(images, host, self.policy.clone());
            tasks.push(AbortOnDropHandle::new(tokio::spawn(async move { match wishes.await {} })));
        }
        if settings.start.stops_when_isolated {
            let (host, reconciler) = (Arc::clone(&self.host), Arc::clone(&self.reconciler));
            tasks.push(AbortOnDropHandle::new(tokio::spawn(stop_when_isolated(host, reconciler))));
        }
        tasks
    }
}

/// Stops the games of a host that is cut off, before others start them anew.
async fn stop_when_isolated(host: Arc<Host>, reconciler: Arc<Reconciler>) {
    loop {
        tokio::time::sleep(host.beat_interval()).await;
        let Some(identity) = host.isolated() else { continue };
        let name = identity.here.host();
        match reconciler.stop_everything(&identity).await {
            Ok(0) => {}
            Ok(games) => {
                tracing::warn!(
                    worker = WORKER,
                    host = name,
                    games,
                    "cut off from Redis: stopped the games of this host"
                );
            }
            Err(error) => {
                tracing::warn!(worker = WORKER, host = name, err = %error, "cut off from Redis, and its games could not be stopped");
            }
        }
    }
}

/// Bytes of an engine's address that a host says about itself.
const ADDRESS_MAX: usize = 256;

pub(super) fn host_config(settings: &Settings, policy: &Current, number: usize) -> HostConfig {
    // A name that is set is that of the first engine; the others have theirs in Redis.
    let id = settings.start.host_id.clone().filter(|_| number == 0);
    let (start, engine) = (&settings.start, &settings.engine);
    let kind = match engine.kind {
        EngineKind::Docker => "docker",
        EngineKind::Simulated => "simulated",
    };
    let address =
        number.checked_sub(1).and_then(|further| engine.further_hosts.get(further)).unwrap_or(&engine.docker_host);
    let mut about = serde_json::json!({ "engine": kind, "advertise_host": engine.advertise_host });
    // An audit looks there for the containers.
    if engine.kind == EngineKind::Docker && address.len() <= ADDRESS_MAX && !address.contains('@') {
        about["docker_host"] = address.as_str().into();
    }
    let (fleet, policy) = (start.fleet_id.clone(), policy.clone());
    HostConfig { id, fleet, heartbeat: start.host_heartbeat, about, policy }
}

/// The engine of `docker-host`, then those of `engines`.
pub(super) fn engines(settings: &Settings, commands: &Arc<Connection>) -> Result<Vec<Arc<dyn Engine>>, RunError> {
    let engine = &settings.engine;
    if engine.kind == EngineKind::Simulated {
        // The simulated engine of a fleet's first host keeps the keys that it has always had.
        let name = settings.start.host_id.clone().filter(|host| host != FIRST_HOST);
        let (commands, prefix) = (Arc::clone(commands), &settings.start.record_prefix);
        let simulated =
            SimulatedEngine::new(commands, prefix, engine.simulated.clone(), engine.start_concurrency, name);
        return Ok(vec![Arc::new(simulated)]);
    }
    let first = DockerOptions {
        publish_address: engine.publish_address,
        advertise_host: engine.advertise_host.clone(),
        port_range: engine.port_range,
        ..docker_options(settings, &engine.docker_host)
    };
    let further = engine.further_hosts.iter().map(|host| docker_options(settings, host));
    let limits = Limits { pull: engine.pull_timeout, pull_silence: engine.pull_silence, ..Limits::default() };
    let connect = |options| match DockerEngine::connect_with(options) {
        Ok(engine) => Ok(Arc::new(engine.with_limits(limits)) as Arc<dyn Engine>),
        Err(error) => Err(RunError::Unusable(error.to_string())),
    };
    std::iter::once(first).chain(further).map(connect).collect()
}

fn docker_options(settings: &Settings, host: &str) -> DockerOptions {
    let engine = &settings.engine;
    // Nothing is encrypted on the way to a socket of this machine.
    let tls = engine.docker_tls.clone().filter(|_| host == engine.docker_host || host.starts_with("tcp://"));
    let credentials = engine.credentials.clone();
    DockerOptions { tls, credentials, ..DockerOptions::new(host, engine.port, engine.start_concurrency) }
}
