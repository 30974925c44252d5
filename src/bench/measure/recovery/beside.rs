//! A fleet of its own that drains backlogs while something else is measured on the same Redis, as `startjobs bench drain`
//! does: one worker with 256 slots whose starts take no time.

use std::time::{Duration, Instant};

use crate::bench::Error;
use crate::bench::measure::drain::{DrainOptions, drain};
use crate::bench::observe::cost;
use crate::bench::rig::children::Subject;
use crate::bench::rig::place::{Place, settings_of};

const LIMIT: Duration = Duration::from_secs(300);

/// What was drained.
#[derive(Debug)]
pub(super) struct Beside {
    /// Of one backlog.
    jobs: u64,
    began: Instant,
    drains: u64,
    breaches: u64,
}

impl Beside {
    /// Nothing yet, of backlogs of so many jobs.
    pub(super) fn new(jobs: u64) -> Self {
        Self { jobs, began: Instant::now(), drains: 0, breaches: 0 }
    }

    fn part(&self) -> String {
        format!("beside-{}", self.drains)
    }

    /// Drains one backlog after the other; ends only with an error.
    pub(super) async fn run(&mut self, place: &Place) -> Error {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let options = DrainOptions {
            jobs: self.jobs,
            limit: LIMIT,
            replicas: 1,
            settings: vec![pair("slots", "256"), pair("simulated-latency", "0ms")],
            log_level: "warn".to_owned(),
        };
        loop {
            match drain(place, Subject::Worker, &self.part(), &options).await {
                Ok(drained) => {
                    self.drains += 1;
                    self.breaches += drained.breaches;
                }
                Err(error) => return error,
            }
        }
    }

    /// Whether every job of the finished drains was answered exactly once.
    pub(super) fn is_exact(&self) -> bool {
        self.breaches == 0
    }

    /// For people. The drain that is not finished counts with what it has answered.
    #[expect(clippy::cast_precision_loss, reason = "counts of jobs are far below 2^52")]
    pub(super) fn text(&self, place: &Place) -> Result<String, Error> {
        let settings = settings_of(&place.settings(&self.part(), &[]))?;
        let streams = [settings.stream.results.as_str(), settings.stream.dead.as_str()];
        let seconds = self.began.elapsed().as_secs_f64();
        let answered = self.drains * self.jobs + cost::standing(&mut place.wire()?, streams)?.answered;
        Ok(format!(
            "beside it {answered} jobs were drained, {:.0} jobs/s with the filling of their backlogs; lost or answered twice {}\n",
            answered as f64 / seconds.max(1e-9),
            self.breaches,
        ))
    }
}
