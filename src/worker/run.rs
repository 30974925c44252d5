//! Wiring: from a configuration and a handler to a running replica, and to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::WORKER;
use super::boot;
use super::calls::{Callers, Calls};
use super::clock::{Clock, now_ms};
use super::config::{Config, ReplicaConfig};
use super::error::RunError;
use super::handler::Handler;
use super::journal::Journal;
use super::replica::{Exit, Replica};
use super::stages::backoff::Backoff;
use super::stages::{Facts, Stages};
use super::state::State;
use super::troubles::Troubles;
use super::vitals::Vitals;
use super::work::Work;
use crate::faults::Faults;
use crate::metrics::Metrics;
use crate::redis::{Connection, Role};
use crate::stream::fetch::Fetcher;
use crate::stream::presence::About;
use crate::stream::read::Reader;
use crate::stream::settle::index_within;
use crate::stream::{Group, Member};

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
    pub fn new(config: &Config) -> Self {
        let metrics = Metrics::new();
        metrics.slots.set(i64::try_from(config.slots).unwrap_or(i64::MAX));
        Self { metrics: Arc::new(metrics), vitals: Arc::new(Vitals::new(config)) }
    }
}

/// What a handler may be made with.
#[derive(Debug)]
pub struct Site<'a> {
    /// The connection that the replica's commands go over.
    pub commands: &'a Arc<Connection>,
    /// The name of the replica in its group, new with every process.
    pub consumer: &'a str,
    /// Crash hooks.
    pub(crate) faults: &'a Arc<Faults>,
    /// What is counted.
    pub(crate) metrics: &'a Arc<Metrics>,
}

/// Runs one replica until `stop` is cancelled.
pub async fn run(
    config: ReplicaConfig,
    faults: Faults,
    instruments: Instruments,
    stop: CancellationToken,
    handler: impl FnOnce(&Site<'_>) -> Result<Arc<dyn Handler>, RunError>,
) -> Result<Exit, RunError> {
    let vitals = Arc::clone(&instruments.vitals);
    let (replica, mirror) = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(Exit::Drained),
        started = start(&config, Arc::new(faults), instruments, handler) => started?,
    };
    let (stream, start_entry_id) = (config.stream.jobs, mirror);
    let block_timeout = humantime::format_duration(config.worker.block).to_string();
    tracing::info!(worker = WORKER, stream, block_timeout, start_entry_id, "start jobs consumer started");
    vitals.started();
    // A task among the others: what it waits for wakes it in its turn. The future that a runtime blocks on is polled
    // only when every task has run and the sockets have been looked at, twice or three times an entry.
    let exit = match AbortOnDropHandle::new(tokio::spawn(replica.run(stop))).await {
        Ok(exit) => exit,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    match exit {
        Exit::Drained => tracing::info!(worker = WORKER, stream, "start jobs consumer stopped"),
        Exit::DeadlinePassed(entries) => {
            tracing::error!(worker = WORKER, stream, entries, "start jobs consumer stopped with entries in hand");
        }
    }
    Ok(exit)
}

async fn start(
    config: &ReplicaConfig,
    faults: Arc<Faults>,
    Instruments { metrics, vitals }: Instruments,
    handler: impl FnOnce(&Site<'_>) -> Result<Arc<dyn Handler>, RunError>,
) -> Result<(Replica, String), RunError> {
    let mut troubles = Troubles::new(&config.stream.jobs, Arc::clone(&metrics), Arc::clone(&vitals));
    let host = host_name();
    // Fresh per process start: "still pending for this name" then proves that the newest attempt is speaking.
    let consumer = format!("{host}-{}", uuid::Uuid::new_v4());
    let commands = Arc::new(boot::connect(config, Role::Commands, &consumer, &mut troubles).await?);
    boot::check_server(config, &commands, &mut troubles).await?;
    let site = Site { commands: &commands, consumer: &consumer, faults: &faults, metrics: &metrics };
    let handler = handler(&site)?;
    let (stream, redis, engine) = (&config.stream.jobs, &config.redis.display_url, handler.engine());
    tracing::info!(worker = WORKER, stream, consumer, engine, redis, "worker process");
    boot::await_engine(handler.as_ref(), &mut troubles).await;
    let group = Group::new(&config.stream, commands).publishing(handler.outcome_fields());
    let member = group.member(&consumer);
    let adoption = boot::adopt(&member, config, &mut troubles).await?;
    let clock = Arc::new(Clock::new(config.worker.start_deadline));
    let journal = Journal { metrics: Arc::clone(&metrics), stream: stream.clone(), engine, clock: Arc::clone(&clock) };
    journal.adopted(&adoption);
    // Only now: what waits above may last, and a connection that has died meanwhile would be noticed by its first read.
    let reader = boot::connect(config, Role::Reader(config.worker.block), &consumer, &mut troubles).await?;
    let reader = Reader::new(reader, &member, config.worker.block);
    let fetcher = Fetcher::new(&config.redis, &member, config.worker.claim_idle, handler.job_fields());
    let work = work(&config.worker, &handler, member.clone(), Arc::clone(&metrics), clock);
    let callers = Callers { member, reader, fetcher, work, faults: Arc::clone(&faults), metrics };
    let facts = Facts {
        delivered: adoption.delivered,
        index_within: index_within(config.stream.ledger_ttl),
        reconcile_interval: handler.reconcile_interval(),
    };
    let state = State {
        stages: Stages::new(&config.worker, facts, Instant::now()),
        handler,
        consumer,
        journal,
        troubles,
        vitals,
        faults,
    };
    let replica = Replica {
        calls: Calls::new(callers, config.worker.clone(), config.stream.clone()),
        state,
        about: about(&config.worker, engine, &host),
        slots: config.worker.slots,
        drain_timeout: config.worker.drain_timeout,
    };
    Ok((replica, adoption.mirror))
}

fn work(config: &Config, handler: &Arc<dyn Handler>, member: Member, metrics: Arc<Metrics>, clock: Arc<Clock>) -> Work {
    Work {
        handler: Arc::clone(handler),
        member,
        retry: Backoff { min: config.retry_min, max: config.retry_max },
        retry_attempts: u64::from(config.retry_attempts),
        retry_max_age: config.retry_max_age,
        crash_budget: u64::from(config.crash_budget),
        metrics,
        start_deadline: config.start_deadline,
        clock,
    }
}

/// What the presence record says of this process from its start to its end. Readers may have other settings: they judge this
/// replica by its own.
fn about(config: &Config, engine: &str, host: &str) -> About {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).ok();
    About {
        host: Some(host.to_owned()),
        pid: Some(std::process::id().into()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        started_at_ms: Some(now_ms()),
        engine: Some(engine.to_owned()),
        claim_idle_ms: millis(config.claim_idle),
        max_run_ms: millis(config.max_run),
        ..About::default()
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
