//! From settings to a running replica, and to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::WORKER;

use super::backoff::{Backoff, CALLS};
use super::clock::{Clock, now_ms};
use super::conditions::{Conditions, Trouble};
use super::replica::{Ended, Parts, Replica};
use super::upkeep::log_adoption;
use super::vitals::Vitals;
use super::work::Work;
use crate::engine::Engine;
use crate::engine::EngineKind;
use crate::engine::docker::DockerEngine;
use crate::engine::simulated::SimulatedEngine;
use crate::faults::Faults;
use crate::metrics::Metrics;
use crate::metrics::metered_engine::MeteredEngine;
use crate::redis::server::{self, Danger};
use crate::redis::{Connection, Kind, RedisError, Role};
use crate::settings::Settings;
use crate::start::attempt::Launch;
use crate::start::reconcile::Reconciler;
use crate::start::record::Records;
use crate::start::{Service, StartService};
use crate::stream::adopt::{Adoption, AdoptionState};
use crate::stream::fetch::Fetcher;
use crate::stream::presence::About;
use crate::stream::read::Reader;
use crate::stream::{Group, Member};

/// How a worker process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It was asked to stop, and drained.
    Drained,
    /// It was asked to stop, and the drain deadline passed.
    DeadlinePassed,
}

/// Why a worker cannot run at all; everything else is waited out.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The legacy offset is no entry id; a guess could skip or repeat jobs.
    #[error(
        "{0}, which is no stream entry id: set it to the id of the last answered entry, or delete it to begin at the start of the stream"
    )]
    BadOffset(String),
    /// `strict` is on, and the server endangers data.
    #[error("strict is on, and this Redis endangers data:\n  {0}")]
    Strict(String),
    /// The settings do not make a connection.
    #[error("cannot connect: {0}")]
    Unusable(String),
}

/// What a process shows of itself: written by the replica, read by probes and by systemd's watchdog.
#[derive(Debug, Clone)]
pub struct Instruments {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Signs of life.
    pub vitals: Arc<Vitals>,
}

impl Instruments {
    /// Instruments of a process that is about to start.
    pub fn new(settings: &Settings) -> Self {
        let metrics = Metrics::new();
        metrics.slots.set(i64::try_from(settings.worker.slots).unwrap_or(i64::MAX));
        Self { metrics: Arc::new(metrics), vitals: Arc::new(Vitals::new(&settings.worker)) }
    }
}

/// Runs one replica until `stop` is cancelled.
pub async fn run(settings: Settings, instruments: Instruments, stop: CancellationToken) -> Result<Finish, RunError> {
    run_as(settings, None, instruments, stop).await
}

/// Runs one replica whose starts are another service's: what the bench measures the worker alone with.
pub async fn run_with_service(
    settings: Settings,
    service: Arc<dyn StartService>,
    stop: CancellationToken,
) -> Result<Finish, RunError> {
    let instruments = Instruments::new(&settings);
    run_as(settings, Some(service), instruments, stop).await
}

async fn run_as(
    settings: Settings,
    service: Option<Arc<dyn StartService>>,
    instruments: Instruments,
    stop: CancellationToken,
) -> Result<Finish, RunError> {
    let vitals = Arc::clone(&instruments.vitals);
    let jobs = settings.stream.jobs.clone();
    let started = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(Finish::Drained),
        started = start(&settings, service, instruments) => started?,
    };
    let Started { replica, mirror } = started;
    let block_timeout = humantime::format_duration(settings.worker.block).to_string();
    tracing::info!(
        worker = WORKER,
        stream = jobs,
        block_timeout,
        start_entry_id = mirror,
        "start jobs consumer started"
    );
    vitals.started();
    // A task among the others: what it waits for wakes it in its turn. The future that a runtime blocks on is polled
    // only when every task has run and the sockets have been looked at, twice or three times an entry.
    let ended = match AbortOnDropHandle::new(tokio::spawn(replica.run(stop))).await {
        Ok(ended) => ended,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    match ended {
        Ended::Drained => tracing::info!(worker = WORKER, stream = jobs, "start jobs consumer stopped"),
        Ended::DeadlinePassed(entries) => {
            tracing::error!(
                worker = WORKER,
                stream = jobs,
                entries,
                "start jobs consumer stopped with entries in hand"
            );
        }
    }
    Ok(match ended {
        Ended::Drained => Finish::Drained,
        Ended::DeadlinePassed(_) => Finish::DeadlinePassed,
    })
}

struct Started {
    replica: Replica,
    mirror: String,
}

async fn start(
    settings: &Settings,
    other: Option<Arc<dyn StartService>>,
    Instruments { metrics, vitals }: Instruments,
) -> Result<Started, RunError> {
    let mut conditions = Conditions::new(&settings.stream.jobs, Arc::clone(&metrics), Arc::clone(&vitals));
    let host = host_name();
    // Fresh per process start: "still pending for this name" then proves that the newest attempt is speaking.
    let consumer = format!("{host}-{}", uuid::Uuid::new_v4());
    let commands = Arc::new(connect(settings, Role::Commands, &consumer, &mut conditions).await?);

    check_server(settings, &commands, &mut conditions).await?;
    let member = Group::new(&settings.stream, Arc::clone(&commands)).member(&consumer);
    let faults = Arc::new(Faults::new(settings.faults.clone()));
    let engine = engine(settings, &commands)?;
    let engine: Arc<dyn Engine> = Arc::new(MeteredEngine::new(engine, Arc::clone(&metrics)));
    let engine_kind = engine.kind();
    let (stream, redis) = (&settings.stream.jobs, &settings.redis.display_url);
    tracing::info!(worker = WORKER, stream, consumer, engine = engine_kind, redis, "worker process");
    let records = records(settings, &commands, &consumer);
    let (host_id, grace) = (settings.start.host_id.clone(), settings.start.reconcile_grace);
    let reconciler = Arc::new(Reconciler::new(records.clone(), Arc::clone(&engine), host_id, grace));
    let service = other.unwrap_or_else(|| Arc::new(service(settings, records, engine, &faults)));
    await_engine(service.as_ref(), &mut conditions).await;
    let adoption = adopt(&member, settings.worker.claim_idle, &mut conditions).await?;
    metrics.adopted(adoption.state.as_str());
    log_adoption(&settings.stream.jobs, &adoption);

    // Only now: what waits above may last, and a connection that has died meanwhile would be noticed by its first read.
    let reader = connect(settings, Role::Reader(settings.worker.block), &consumer, &mut conditions).await?;
    let reader = Reader::new(reader, &member, settings.worker.block);
    let fetcher = Fetcher::new(&settings.redis, &member, settings.worker.claim_idle);
    let work = work(settings, service, member.clone(), Arc::clone(&metrics));
    let about = about(settings, engine_kind, &host);
    let parts = Parts {
        member,
        reader,
        fetcher,
        work: Arc::new(work),
        reconciler,
        reconcile_interval: settings.start.reconcile_interval,
        faults,
        settings: settings.worker.clone(),
        stream: settings.stream.clone(),
        about,
        engine: engine_kind,
        conditions,
        metrics,
        vitals,
        delivered: adoption.delivered,
    };
    Ok(Started { replica: Replica::new(parts), mirror: adoption.mirror })
}

async fn connect(
    settings: &Settings,
    role: Role,
    consumer: &str,
    conditions: &mut Conditions,
) -> Result<Connection, RunError> {
    let (name, url) = (format!("startjobs:{consumer}"), &settings.redis.display_url);
    let opened = Connection::open(&settings.redis, role, &name, |error| {
        conditions.met(Trouble::Redis, &format!("no connection to {url}: {error}"));
    })
    .await
    .map_err(|error| RunError::Unusable(format!("redis-url {url}: {error}")))?;
    conditions.over(Trouble::Redis);
    Ok(opened)
}

/// What endangers data is said loudly, and refused where `strict` is on.
async fn check_server(settings: &Settings, commands: &Connection, conditions: &mut Conditions) -> Result<(), RunError> {
    let dangers = loop {
        match server::dangers(commands).await {
            Ok(dangers) => break dangers,
            Err(error) => {
                let times = conditions.met(Trouble::Redis, &error.text);
                sleep(CALLS.delay(times, fastrand::f64())).await;
            }
        }
    };
    conditions.over(Trouble::Redis);
    if dangers.contains(&Danger::Cluster) {
        return Err(RunError::Unusable(format!(
            "{} is a node of a Redis Cluster, which this version cannot use",
            settings.redis.display_url
        )));
    }
    for danger in &dangers {
        tracing::warn!(worker = WORKER, stream = settings.stream.jobs, %danger, "redis endangers data");
    }
    if settings.strict && !dangers.is_empty() {
        let lines: Vec<String> = dangers.iter().map(ToString::to_string).collect();
        return Err(RunError::Strict(lines.join("\n  ")));
    }
    Ok(())
}

fn engine(settings: &Settings, commands: &Arc<Connection>) -> Result<Arc<dyn Engine>, RunError> {
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
            Arc::clone(commands),
            &settings.start.record_prefix,
            engine.simulated.clone(),
            engine.start_concurrency,
        )),
    })
}

fn records(settings: &Settings, commands: &Arc<Connection>, consumer: &str) -> Records {
    let stream = (settings.stream.jobs.as_str(), settings.stream.group.as_str());
    let prefix = &settings.start.record_prefix;
    Records::new(Arc::clone(commands), prefix, stream, consumer, settings.worker.claim_idle)
}

fn service(settings: &Settings, records: Records, engine: Arc<dyn Engine>, faults: &Arc<Faults>) -> Service {
    let launch = Launch {
        port: settings.engine.port,
        readiness: settings.start.readiness.clone(),
        ready_timeout: settings.start.ready_timeout,
    };
    Service::new(records, engine, Arc::clone(faults), launch, settings.start.host_id.clone(), settings.worker.max_run)
}

fn work(settings: &Settings, service: Arc<dyn StartService>, member: Member, metrics: Arc<Metrics>) -> Work {
    let worker = &settings.worker;
    Work {
        service,
        member,
        retry: Backoff { min: worker.retry_min, max: worker.retry_max },
        retry_attempts: u64::from(worker.retry_attempts),
        retry_max_age: worker.retry_max_age,
        crash_budget: u64::from(worker.crash_budget),
        metrics,
        start_deadline: worker.start_deadline,
        clock: Arc::new(Clock::new(worker.start_deadline)),
    }
}

/// What the presence record says of this process from its start to its end. Readers may have other settings: they judge this
/// replica by its own.
fn about(settings: &Settings, engine: &str, host: &str) -> About {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).ok();
    About {
        host: Some(host.to_owned()),
        pid: Some(std::process::id().into()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        started_at_ms: Some(now_ms()),
        engine: Some(engine.to_owned()),
        claim_idle_ms: millis(settings.worker.claim_idle),
        max_run_ms: millis(settings.worker.max_run),
        ..About::default()
    }
}

async fn await_engine(service: &dyn StartService, conditions: &mut Conditions) {
    while let Err(error) = service.engine_answers().await {
        let times = conditions.met(Trouble::Engine, &error.to_string());
        sleep(CALLS.delay(times, fastrand::f64())).await;
    }
    conditions.over(Trouble::Engine);
}

/// Makes the group usable. An offset moved by somebody else while other replicas seem present is looked at again until
/// those that died have expired: only replicas that live keep it from being taken over.
async fn adopt(member: &Member, claim_idle: Duration, conditions: &mut Conditions) -> Result<Adoption, RunError> {
    let patience = tokio::time::Instant::now() + claim_idle + CALLS.max;
    loop {
        match member.adopt(claim_idle).await {
            Ok(adoption) => {
                conditions.over(Trouble::Redis);
                conditions.over(Trouble::Group);
                if adoption.state != AdoptionState::Foreign || tokio::time::Instant::now() >= patience {
                    return Ok(adoption);
                }
                sleep(CALLS.min).await;
            }
            Err(RedisError { kind: Kind::BadOffset, text }) => {
                return Err(RunError::BadOffset(text.trim_start_matches("BADOFFSET ").to_owned()));
            }
            Err(error) => {
                let trouble = if error.kind == Kind::Unreachable { Trouble::Redis } else { Trouble::Group };
                let times = conditions.met(trouble, &error.text);
                sleep(CALLS.delay(times, fastrand::f64())).await;
            }
        }
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
