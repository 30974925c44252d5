//! Draining a backlog: everything is appended while no replica reads, then the subjects are started and timed.
//!
//! What is timed is the middle, from the first twentieth to the last: start-up and the end's lone batches say nothing
//! about throughput.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::yield_now;

use crate::bench::Error;
use crate::bench::generate::backlog;
use crate::bench::observe::cost::{self, Standing, per_entry};
use crate::bench::rig::children::{Children, Subject};
use crate::bench::rig::clock::now_ms;
use crate::bench::rig::place::{Pairs, Place, settings_of};
use crate::bench::rig::wire::Wire;
use crate::settings::Settings;

/// What is drained, and by whom.
#[derive(Debug, Clone)]
pub(crate) struct DrainOptions {
    /// How many entries.
    pub(crate) jobs: u64,
    /// How long one drain may take.
    pub(crate) limit: Duration,
    /// How many processes.
    pub(crate) replicas: usize,
    /// Further settings of the processes.
    pub(crate) settings: Pairs,
    /// What a worker logs.
    pub(crate) log_level: String,
}

/// One drain.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Drained {
    /// Entries answered while it was timed.
    pub(crate) entries: u64,
    /// For so long.
    pub(crate) seconds: f64,
    /// Throughput.
    pub(crate) entries_per_s: f64,
    /// Redis's processor time for one entry, all threads.
    pub(crate) redis_us_per_entry: f64,
    /// The same of its main thread alone.
    pub(crate) redis_main_us_per_entry: Option<f64>,
    /// Redis's share of one core.
    pub(crate) redis_cores: f64,
    /// The subject's processor time for one entry.
    pub(crate) client_us_per_entry: f64,
    /// Cores of the machine that were busy, with whatever.
    pub(crate) machine_cores: f64,
    /// The subject's memory at the end.
    pub(crate) rss_mib: f64,
    /// From the start of the processes to the last answer.
    pub(crate) total_seconds: f64,
    /// Answers beyond one for each entry, and entries without; both are zero.
    pub(crate) breaches: u64,
}

const LOOK_INTERVAL: Duration = Duration::from_millis(4);
const IMAGE: &str = "galaxy/engine:1";

/// Fills, drains, measures and removes.
pub(crate) async fn drain(
    place: &Place,
    subject: Subject,
    part: &str,
    options: &DrainOptions,
) -> Result<Drained, Error> {
    let pairs = place.settings(part, &options.settings);
    let settings = settings_of(&pairs)?;
    let mut wire = place.wire()?;
    let jobs = settings.stream.jobs.as_str();
    backlog::fill(&mut wire, jobs, options.jobs, IMAGE, now_ms()).await?;
    if !subject.is_worker() {
        wire.run(&[b"XGROUP", b"CREATE", jobs.as_bytes(), settings.stream.group.as_bytes(), b"0"])?;
    }
    let mut children = Children::new(place, subject, &pairs, &options.log_level);
    children.prepare(options.limit).await?;
    for _ in 0..options.replicas {
        children.start()?;
    }
    let timed = timed(&mut wire, &mut children, &settings, options).await;
    children.stop().await;
    let mut drained = timed?;
    drained.breaches = breaches(&mut wire, &settings, options.jobs).await?;
    place.remove_keys(Some(part)).await?;
    Ok(drained)
}

async fn timed(
    wire: &mut Wire,
    children: &mut Children,
    settings: &Settings,
    options: &DrainOptions,
) -> Result<Drained, Error> {
    let streams = [settings.stream.results.as_str(), settings.stream.dead.as_str()];
    let began = Instant::now();
    let (low, high) = (options.jobs / 20, options.jobs - options.jobs / 20);
    let mut first: Option<(Standing, Used)> = None;
    let mut last: Option<(Standing, Used)> = None;
    loop {
        let standing = cost::standing(wire, streams)?;
        if first.is_none() && standing.answered >= low.max(1) {
            first = Some((standing, Used::by_now(children)));
        }
        if last.is_none() && standing.answered >= high {
            last = Some((standing, Used::by_now(children)));
        }
        if standing.answered >= options.jobs {
            let Some((from, to)) = first.zip(last) else { break };
            return Ok(drained(from, to, children.cost().rss_kib, standing.at.duration_since(began)));
        }
        if let Some(words) = children.last_words() {
            return Err(Error::Subject(format!("a process under load has ended: {words}")));
        }
        if began.elapsed() > options.limit {
            break;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Err(Error::Subject(format!("the backlog was not drained within {:?}", options.limit)))
}

/// Processor time.
#[derive(Debug, Clone, Copy)]
struct Used {
    subject: Duration,
    machine: Duration,
}

impl Used {
    fn by_now(children: &Children) -> Self {
        Self { subject: children.cost().cpu, machine: cost::of_machine() }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^52")]
fn drained(from: (Standing, Used), to: (Standing, Used), rss_kib: u64, total: Duration) -> Drained {
    let entries = to.0.answered - from.0.answered;
    let seconds = to.0.at.duration_since(from.0.at).as_secs_f64();
    let redis = to.0.redis.since(from.0.redis);
    Drained {
        entries,
        seconds,
        entries_per_s: entries as f64 / seconds.max(1e-9),
        redis_us_per_entry: per_entry(redis.all, entries),
        redis_main_us_per_entry: redis.main_thread.map(|cost| per_entry(cost, entries)),
        redis_cores: redis.all.as_secs_f64() / seconds.max(1e-9),
        client_us_per_entry: per_entry(to.1.subject.saturating_sub(from.1.subject), entries),
        machine_cores: to.1.machine.saturating_sub(from.1.machine).as_secs_f64() / seconds.max(1e-9),
        rss_mib: rss_kib as f64 / 1_024.0,
        total_seconds: total.as_secs_f64(),
        breaches: 0,
    }
}

/// Counts entries without their one answer, and answers beyond it, by what the streams hold. Other tasks run between two
/// pages.
async fn breaches(wire: &mut Wire, settings: &Settings, jobs: u64) -> Result<u64, Error> {
    let mut answered: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut from = b"-".to_vec();
    let mut unnamed = 0;
    loop {
        wire.sender.command(&[b"XRANGE", settings.stream.results.as_bytes(), &from, b"+", b"COUNT", b"2000"]);
        wire.sender.flush()?;
        let receiver = &mut wire.receiver;
        let page = receiver.array()?.unwrap_or_default();
        for _ in 0..page {
            receiver.array()?;
            let id = receiver.text()?;
            from = [b"(", receiver.bytes(&id)].concat();
            let mut source = None;
            for _ in 0..receiver.array()?.unwrap_or_default() / 2 {
                let (name, value) = (receiver.text()?, receiver.text()?);
                if receiver.bytes(&name) == b"source_ref" {
                    source = Some(receiver.bytes(&value).to_vec());
                }
            }
            match source {
                Some(source) => *answered.entry(source).or_default() += 1,
                None => unnamed += 1,
            }
        }
        receiver.forget();
        yield_now().await;
        if page == 0 {
            break;
        }
    }
    let once = u64::try_from(answered.len()).unwrap_or(u64::MAX) + unnamed;
    let twice: u64 = answered.values().map(|count| count - 1).sum();
    Ok(twice + once.abs_diff(jobs))
}
