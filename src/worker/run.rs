//! Wiring: from a configuration and a handler to a running replica, and to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
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
use super::listening::Listening;
use super::replica::{End, Exit, Former, Replica};
use super::settling::SettleOver;
use super::spans::Recorder;
use super::stages::backoff::{Backoff, CALLS};
use super::stages::{Facts, Stages};
use super::state::State;
use super::troubles::Troubles;
use super::vitals::Vitals;
use super::work::Work;
use crate::faults::Faults;
use crate::metrics::Metrics;
use crate::redis::{Connection, Role};
use crate::stream::fetch::Fetcher;
use crate::stream::hand_back::Left;
use crate::stream::presence::About;
use crate::stream::read::Reader;
use crate::stream::renew::Hearing;
use crate::stream::settle::index_within;
use crate::stream::{Group, Member};
use crate::telemetry::Tracer;

/// What a process shows of itself: written by the replica, read by probes and by systemd's watchdog.
#[derive(Debug, Clone)]
pub struct Instruments {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Signs of life.
    pub vitals: Arc<Vitals>,
    /// What records spans.
    pub tracer: Tracer,
}

impl Instruments {
    /// Instruments of a process that is about to start.
    pub fn new(config: &Config) -> Self {
        let metrics = Metrics::new();
        metrics.slots.set(i64::try_from(config.slots).unwrap_or(i64::MAX));
        Self { metrics: Arc::new(metrics), vitals: Arc::new(Vitals::new(config)), tracer: Tracer::default() }
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

/// Runs one replica until `stop` is cancelled, or until an operator has it drained.
pub async fn run(
    config: ReplicaConfig,
    faults: Faults,
    instruments: Instruments,
    stop: CancellationToken,
    handler: impl Fn(&Site<'_>) -> Result<Arc<dyn Handler>, RunError>,
) -> Result<Exit, RunError> {
    let (stream, faults) = (&config.stream.jobs, Arc::new(faults));
    let block_timeout = humantime::format_duration(config.worker.block).to_string();
    let Instruments { metrics, vitals, .. } = &instruments;
    let mut troubles = Troubles::new(stream, Arc::clone(metrics), Arc::clone(vitals));
    let mut lives = Lives::default();
    // An operator's wish ends this replica, and no other of its process.
    let stop = stop.child_token();
    loop {
        let started = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(stopped(Exit::Drained, stream)),
            started = start(&config, &faults, &instruments, &mut troubles, &lives, &stop, &handler) => started,
        };
        let (replica, start_entry_id) = match started {
            Ok(started) => started,
            Err(error) if lives.ended == 0 => return Err(error),
            Err(error) => {
                // What ends a process at its start must not end one that has worked.
                tracing::error!(worker = WORKER, stream, err = %error, "replica cannot come up again, retrying");
                drop(timeout(CALLS.max, stop.cancelled()).await);
                continue;
            }
        };
        tracing::info!(worker = WORKER, stream, block_timeout, start_entry_id, "start jobs consumer started");
        vitals.started();
        let began = Instant::now();
        // A task among the others: what it waits for wakes it in its turn. The future that a runtime blocks on is polled
        // only when every task has run and the sockets have been looked at, twice or three times an entry.
        let end = match AbortOnDropHandle::new(tokio::spawn(replica.run(stop.clone()))).await {
            Ok(end) => end,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let former = match end {
            End::Exit(exit) => return Ok(stopped(exit, stream)),
            End::DeclaredDead(former) => former,
        };
        vitals.starting();
        lives.ended(began.elapsed(), former.generations);
        troubles = end_life(*former, &instruments, stream, &stop).await;
        drop(timeout(lives.pause(), stop.cancelled()).await);
    }
}

/// The lives of this process that have ended because others declared it dead.
#[derive(Debug, Default)]
struct Lives {
    /// How many.
    ended: u64,
    /// Of these, the last ones that were short.
    short: u64,
    /// Generations of their subscriptions.
    generations: u64,
}

/// A life that is shorter than this is short.
const SHORT_LIFE: Duration = Duration::from_secs(60);

impl Lives {
    fn ended(&mut self, lasted: Duration, generations: u64) {
        self.ended += 1;
        self.short = if lasted < SHORT_LIFE { self.short + 1 } else { 0 };
        self.generations = generations;
    }

    /// Before the next one. Where the network fails again and again, the fleet is not kept busy with names that do not last.
    fn pause(&self) -> Duration {
        match self.short.saturating_sub(1) {
            0 => Duration::ZERO,
            times => CALLS.delay(times, fastrand::f64()),
        }
    }
}

/// A process that stops waits this long for the end of a life that others have declared over.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// Leaves the group under the name that is spent; answers what was wrong, and may still be.
async fn end_life(
    former: Former,
    Instruments { metrics, .. }: &Instruments,
    stream: &str,
    stop: &CancellationToken,
) -> Troubles {
    let Former { member, about, rest, mut troubles, .. } = former;
    let (consumer, hint) = (member.consumer(), "its connections were closed for longer than disconnect-grace");
    metrics.declared_dead.inc();
    tracing::warn!(worker = WORKER, stream, consumer, hint, "declared dead while alive; goes on under another name");
    let is_stopping = async {
        stop.cancelled().await;
        sleep(LEAVE_MAX).await;
    };
    let left = tokio::select! {
        biased;
        left = boot::leave(&member, &about, &mut troubles) => {
            drop(timeout(LEAVE_MAX, member.tell(&rest)).await);
            left
        }
        () = is_stopping => None,
    };
    if let Some(Left { entries, taken_back }) = left {
        metrics.crashes_withdrawn.inc_by(taken_back);
        tracing::info!(worker = WORKER, stream, consumer, entries, taken_back, "gave back what was still pending");
    }
    troubles
}

fn stopped(exit: Exit, stream: &str) -> Exit {
    match exit {
        Exit::Drained => tracing::info!(worker = WORKER, stream, "start jobs consumer stopped"),
        Exit::DeadlinePassed(entries) => {
            tracing::error!(worker = WORKER, stream, entries, "start jobs consumer stopped with entries in hand");
        }
    }
    exit
}

async fn start(
    config: &ReplicaConfig,
    faults: &Arc<Faults>,
    Instruments { metrics, vitals, tracer }: &Instruments,
    troubles: &mut Troubles,
    lives: &Lives,
    stop: &CancellationToken,
    handler: impl Fn(&Site<'_>) -> Result<Arc<dyn Handler>, RunError>,
) -> Result<(Replica, String), RunError> {
    let host = host_name();
    // Fresh each time: "still pending for this name" then proves that the newest attempt is speaking.
    let consumer = format!("{host}-{}", uuid::Uuid::new_v4());
    let commands = Arc::new(boot::connect(config, Role::Commands, &consumer, troubles).await?);
    if lives.ended == 0 {
        boot::check_server(config, &commands, troubles).await?;
    }
    let site = Site { commands: &commands, consumer: &consumer, faults, metrics };
    let handler = handler(&site)?;
    let (stream, redis, engine) = (&config.stream.jobs, &config.redis.display_url, handler.engine());
    tracing::info!(worker = WORKER, stream, consumer, engine, redis, "worker process");
    boot::await_engine(handler.as_ref(), troubles).await;
    let group = Group::new(&config.stream, commands).publishing(handler.outcome_fields());
    let member = group.member(&consumer);
    let adoption = boot::adopt(&member, config, troubles).await?;
    let clock = Arc::new(Clock::new(config.worker.start_deadline));
    let spans = Recorder::new(tracer, &config.stream, &config.redis, &consumer);
    let journal = Journal {
        metrics: Arc::clone(metrics),
        stream: stream.clone(),
        engine,
        clock: Arc::clone(&clock),
        spans: spans.clone(),
    };
    journal.adopted(&adoption);
    // Only now: what waits above may last, and a connection that has died meanwhile would be noticed by its first read.
    let reader = boot::connect(config, Role::Reader(config.worker.block), &consumer, troubles).await?;
    let reader = Reader::new(reader, &member, config.worker.block);
    let fetcher = Fetcher::new(&config.redis, &member, config.worker.claim_idle, handler.job_fields());
    let listening = Listening::begin(config, &member, lives.generations)
        .map_err(|error| RunError::Unusable(format!("redis-url {}: {error}", config.redis.display_url)))?;
    let settles = match config.worker.settle_wait_replicas {
        0 => SettleOver::Commands(member.clone()),
        wanted => {
            let own = boot::connect(config, Role::Commands, &consumer, troubles).await?;
            SettleOver::replicated(member.over(Arc::new(own)), wanted, Arc::clone(metrics))
        }
    };
    let work = work(&config.worker, &handler, member.clone(), Arc::clone(metrics), clock);
    let (faults, metrics, vitals) = (Arc::clone(faults), Arc::clone(metrics), Arc::clone(vitals));
    let callers =
        Callers { member, settles, listening, reader, fetcher, work, faults: Arc::clone(&faults), metrics, spans };
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
        hearing: Hearing::Unheard,
        refusal_logged: None,
        troubles: troubles.hand_over(),
        vitals,
        faults,
        stop: stop.clone(),
        drain: None,
        announced: None,
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
        disconnect_grace_ms: millis(config.disconnect_grace.unwrap_or_default()),
        ..About::default()
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
