//! What the replicas' memory and open files do over a run, by the kernel's account: what leaks shows itself in hours of
//! production, or in the slope of ten minutes.

use std::time::Duration;

use serde::Serialize;

use super::cost;

/// Looks at every process, four times a second at most.
#[derive(Debug)]
pub(crate) struct Memory {
    interval: Duration,
    next: Duration,
    processes: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    pid: u32,
    samples: Vec<Sample>,
}

/// One look at one process.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    rss_kib: u64,
    files: u64,
}

/// One process over its life.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ReplicaMemory {
    /// When it was first seen, seconds from the beginning of the run.
    pub(crate) from_s: f64,
    /// And last.
    pub(crate) to_s: f64,
    /// Memory when it was first seen, MiB.
    pub(crate) start_mib: f64,
    /// When it was last seen.
    pub(crate) end_mib: f64,
    /// The most.
    pub(crate) max_mib: f64,
    /// How fast it grew once it was warm, by the straight line that fits best; none of too short a life.
    pub(crate) slope_mib_per_min: Option<f64>,
    /// What that line gained from then on.
    pub(crate) growth_mib: Option<f64>,
    /// Open files when it was first seen.
    pub(crate) start_files: u64,
    /// When it was last seen.
    pub(crate) end_files: u64,
    /// The most.
    pub(crate) max_files: u64,
}

/// Memory of the whole fleet at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct FleetMemory {
    /// Seconds from the beginning.
    pub(crate) at_s: f64,
    /// The replica with the least, MiB.
    pub(crate) least_mib: f64,
    /// The replica with the most.
    pub(crate) most_mib: f64,
}

const INTERVAL: Duration = Duration::from_millis(250);
/// With more of one process, every second one is dropped and half as many are taken.
const SAMPLES_MAX: usize = 2_000;
/// A process is warm after this, or after a quarter of a shorter life.
const WARM_AFTER: Duration = Duration::from_secs(60);
/// Fewer make no line.
const SAMPLES_MIN: usize = 3;
/// Points of a chart.
const POINTS_MAX: usize = 600;

impl Default for Memory {
    fn default() -> Self {
        Self { interval: INTERVAL, next: Duration::ZERO, processes: Vec::new() }
    }
}

impl Memory {
    /// Looks at these processes, if it is time.
    pub(crate) fn look(&mut self, at: Duration, pids: &[u32]) {
        if at < self.next {
            return;
        }
        self.next = at + self.interval;
        for &pid in pids {
            let rss_kib = cost::of_process(pid).rss_kib;
            // One that has just ended has none, and one that has just been started is still its starter.
            if rss_kib > 0 && !is_being_started(pid) {
                self.take(pid, Sample { at, rss_kib, files: open_files(pid) });
            }
        }
        if self.processes.iter().any(|process| process.samples.len() > SAMPLES_MAX) {
            self.interval *= 2;
            for process in &mut self.processes {
                let mut number = 0;
                process.samples.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
            }
        }
    }

    fn take(&mut self, pid: u32, sample: Sample) {
        if let Some(process) = self.processes.iter_mut().find(|process| process.pid == pid) {
            process.samples.push(sample);
        } else {
            self.processes.push(Process { pid, samples: vec![sample] });
        }
    }

    /// Every process, in the order they came.
    pub(crate) fn replicas(&self) -> Vec<ReplicaMemory> {
        self.processes.iter().filter_map(|process| ReplicaMemory::of(&process.samples)).collect()
    }

    /// The fleet over time.
    pub(crate) fn fleet(&self) -> Vec<FleetMemory> {
        let mut all: Vec<Sample> = self.processes.iter().flat_map(|process| &process.samples).copied().collect();
        all.sort_by_key(|sample| sample.at);
        // What was seen in one look has one time.
        let looks: Vec<FleetMemory> = all
            .chunk_by(|one, next| one.at == next.at)
            .map(|look| {
                let mib = look.iter().map(|sample| mib(sample.rss_kib));
                FleetMemory {
                    at_s: look.first().map_or(0.0, |sample| sample.at.as_secs_f64()),
                    least_mib: mib.clone().fold(f64::INFINITY, f64::min),
                    most_mib: mib.fold(0.0, f64::max),
                }
            })
            .collect();
        let every = looks.len().div_ceil(POINTS_MAX).max(1);
        looks.into_iter().step_by(every).collect()
    }
}

/// The replica that grew most, of those that lived at least half as long as any: one that was killed early has only
/// just begun to fill its buffers.
pub(crate) fn growth_max(replicas: &[ReplicaMemory]) -> Option<f64> {
    long_lived(replicas).filter_map(|replica| replica.growth_mib).reduce(f64::max)
}

/// Those that lived at least half as long as any.
pub(crate) fn long_lived(replicas: &[ReplicaMemory]) -> impl Iterator<Item = &ReplicaMemory> {
    let lived = |replica: &ReplicaMemory| replica.to_s - replica.from_s;
    let longest = replicas.iter().map(lived).fold(0.0, f64::max);
    replicas.iter().filter(move |replica| lived(replica) >= longest / 2.0)
}

impl ReplicaMemory {
    fn of(samples: &[Sample]) -> Option<Self> {
        let (first, last) = (samples.first()?, samples.last()?);
        let warm_at = first.at + WARM_AFTER.min(last.at.saturating_sub(first.at) / 4);
        let warm: Vec<(f64, f64)> = samples
            .iter()
            .filter(|sample| sample.at >= warm_at)
            .map(|sample| (sample.at.as_secs_f64() / 60.0, mib(sample.rss_kib)))
            .collect();
        let slope = slope(&warm);
        let minutes = last.at.saturating_sub(warm_at).as_secs_f64() / 60.0;
        Some(Self {
            from_s: first.at.as_secs_f64(),
            to_s: last.at.as_secs_f64(),
            start_mib: mib(first.rss_kib),
            end_mib: mib(last.rss_kib),
            max_mib: mib(samples.iter().map(|sample| sample.rss_kib).max()?),
            slope_mib_per_min: slope,
            growth_mib: slope.map(|slope| slope * minutes),
            start_files: first.files,
            end_files: last.files,
            max_files: samples.iter().map(|sample| sample.files).max()?,
        })
    }
}

/// Of the line with the least squares; none through too few points.
#[expect(clippy::cast_precision_loss, reason = "a few thousand points")]
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < SAMPLES_MIN {
        return None;
    }
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (x, y) in points {
        covariance += (x - x_mean) * (y - y_mean);
        variance += (x - x_mean) * (x - x_mean);
    }
    (variance > 0.0).then(|| covariance / variance)
}

fn is_being_started(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "setpriv")
}

fn open_files(pid: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count() as u64)
}

#[expect(clippy::cast_precision_loss, reason = "memory in KiB")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(lives: impl Iterator<Item = (u64, u64)>) -> Vec<Sample> {
        lives.map(|(second, rss_kib)| Sample { at: Duration::from_secs(second), rss_kib, files: 9 }).collect()
    }

    #[test]
    fn a_leak_shows_after_warming_up_and_a_start_does_not() {
        // 20 MiB within the first minute, then 1 MiB a minute.
        let leaking = samples(
            (0..=600)
                .map(|second| (second, if second < 60 { 340 * second } else { 20_480 + 1_024 * (second - 60) / 60 })),
        );
        let leak = ReplicaMemory::of(&leaking).expect("samples");
        assert!((leak.slope_mib_per_min.expect("a slope") - 1.0).abs() < 0.01, "{leak:?}");
        assert!((leak.growth_mib.expect("a growth") - 9.0).abs() < 0.1, "{leak:?}");
        let steady = samples((0..=600).map(|second| (second, if second < 60 { 340 * second } else { 20_480 })));
        let steady = ReplicaMemory::of(&steady).expect("samples");
        assert!(steady.growth_mib.expect("a growth").abs() < 0.01, "{steady:?}");
        assert_eq!((steady.end_mib - 20.0).abs() < 1e-9, steady.max_files == 9);
    }

    #[test]
    fn only_those_that_lived_long_are_judged() {
        let life = |from: u64, to: u64, kib_per_second: u64| {
            ReplicaMemory::of(&samples((from..=to).map(|second| (second, 1_024 + kib_per_second * (second - from)))))
                .expect("samples")
        };
        let growth = growth_max(&[life(0, 100, 1), life(90, 110, 500)]).expect("a growth");
        assert!(growth < 1.0, "{growth}");
        assert_eq!(growth_max(&[]), None);
        assert_eq!(growth_max(&[life(0, 1, 1)]), None, "two looks make no line");
    }

    #[test]
    fn looks_are_bounded_however_long_a_run_is() {
        let mut memory = Memory::default();
        for second in 0..20_000 {
            memory.look(Duration::from_secs(second), &[std::process::id()]);
        }
        assert!(memory.processes[0].samples.len() <= SAMPLES_MAX, "{}", memory.processes[0].samples.len());
        assert!(memory.fleet().len() <= POINTS_MAX);
        let [replica] = memory.replicas().try_into().expect("one process");
        assert!(replica.start_files > 2 && replica.start_mib > 0.0 && replica.to_s > 19_000.0, "{replica:?}");
    }
}
