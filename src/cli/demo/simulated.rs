//! The first part: a few hundred jobs on simulated containers, and a replica that is killed half-way.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::cli::fleet_settings;
use crate::embedded::site::Site;

use super::crash::{self, Killed};
use super::lives::running_at_once_max;
use super::plan::plan;
use super::progress::Progress;
use super::stage::{Error, REPLICAS, Rest, Stage};

/// What the plan and the simulated engine's random failures are derived from.
const SEED: u64 = 7;
/// What a start takes, as the setting has it.
pub(super) const STARTS_TAKE: &str = "100ms..300ms";
/// Sending takes about so long, so that there is something to see.
const SENDING: Duration = Duration::from_secs(5);
/// Jobs per second, at least and at most.
const RATE: (u32, u32) = (40, 2_000);
/// Besides the time that the slowest rate needs.
const PATIENCE: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Simulated {
    /// How many replicas there were, the killed one included.
    pub(super) replicas: usize,
    #[serde(flatten)]
    pub(super) rest: Rest,
    /// None where no replica ever held an entry when it was looked at.
    pub(super) killed: Option<Killed>,
    /// From the first job to rest.
    pub(super) total_ms: u64,
    /// The most containers that one game had running at the same time.
    pub(super) running_at_once_max: usize,
}

impl Simulated {
    /// Did everything come out as promised?
    pub(super) fn is_exact(&self) -> bool {
        let recovered = self.killed.as_ref().is_some_and(|killed| killed.recovery_ms.is_some());
        self.rest.exact && recovered && self.running_at_once_max == 1
    }
}

/// Runs it.
pub(super) async fn show(site: &mut Site, jobs: u32) -> Result<Simulated, Error> {
    eprintln!(
        "{REPLICAS} replicas with the simulated engine (its containers exist only in Redis) answer {jobs} jobs; one \
         replica is killed half-way"
    );
    let seed = SEED.to_string();
    let settings = fleet_settings::pairs([
        ("engine", "simulated"),
        ("simulated-latency", STARTS_TAKE),
        ("simulated-failures", "0.03"),
        ("simulated-seed", &seed),
    ]);
    let mut stage = Stage::open(site, "startjobs-demo", settings).await?;
    let entries = plan(usize::try_from(jobs).unwrap_or(usize::MAX), SEED);
    let mut progress = Progress::new("simulated", entries.len());
    let rate = (jobs / u32::try_from(SENDING.as_secs()).unwrap_or(1)).clamp(RATE.0, RATE.1);
    let began = Instant::now();
    let mut crash = None;
    for (number, entry) in (0_u32..).zip(&entries) {
        sleep_until(began + Duration::from_secs(1) * number / rate).await;
        stage.send(entry).await?;
        if crash.is_none() && number >= jobs / 2 {
            crash = crash::kill_one(&mut stage).await?;
            if let Some(crash) = &crash {
                let held = crash.held.len();
                progress
                    .say(&format!("killed the replica with pid {} (SIGKILL) while it held {held} entries", crash.pid));
            }
        }
        if number % 16 == 0 {
            progress.at(stage.sent.len(), stage.answered().await?);
        }
    }
    let rest = stage.rest(&mut progress, PATIENCE + Duration::from_secs(u64::from(jobs / RATE.0))).await?;
    let total_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    drop(progress);
    let answers = stage.answers().await?;
    let log = stage.lobby.entries(&format!("{}sim:log", stage.settings.start.record_prefix)).await?;
    stage.fleet.stop(STOPPED_WITHIN).await;
    Ok(Simulated {
        replicas: REPLICAS,
        rest,
        killed: crash.map(|crash| crash.recovery(&answers)),
        total_ms,
        running_at_once_max: running_at_once_max(&log),
    })
}
