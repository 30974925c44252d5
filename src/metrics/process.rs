//! What the kernel knows of this process, under the names every Prometheus client uses, and which build it is.

use std::fmt::Write as _;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::version::{REVISION, RUSTC, VERSION};

/// Appends `process_*` and `startjobs_build_info` in the exposition format. What cannot be read is left out.
pub(crate) fn render(text: &mut String) {
    let mut gauge = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let family = name.strip_suffix("_total").unwrap_or(name);
            // Writing to a String cannot fail.
            write!(text, "# HELP {family} {help}.\n# TYPE {family} {kind}\n{name} {value}\n").ok();
        }
    };
    let stat = Stat::read();
    gauge(
        "process_cpu_seconds_total",
        "counter",
        "User and system CPU time",
        stat.as_ref().map(|stat| stat.cpu_seconds),
    );
    gauge("process_resident_memory_bytes", "gauge", "Resident memory", stat.as_ref().map(|stat| stat.resident_bytes));
    gauge(
        "process_start_time_seconds",
        "gauge",
        "Start of the process, Unix time",
        stat.as_ref().and_then(Stat::started_at),
    );
    gauge("process_open_fds", "gauge", "Open file descriptors", open_files());
    gauge("process_max_fds", "gauge", "Open file descriptors allowed", open_files_max());
    let name = "startjobs_build_info";
    write!(
        text,
        "# HELP {name} Which build this is.\n# TYPE {name} gauge\n{name}{{version=\"{VERSION}\",revision=\"{REVISION}\",rustc=\"{RUSTC}\"}} 1\n"
    )
    .ok();
}

struct Stat {
    cpu_seconds: f64,
    resident_bytes: f64,
    started_seconds_after_boot: f64,
}

impl Stat {
    #[expect(clippy::cast_precision_loss, reason = "ticks and pages of one process fit a double")]
    fn read() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name is in brackets and may hold anything; after it the fields count from 3.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |field: usize| fields.get(field - 3).and_then(|text| text.trim().parse::<u64>().ok());
        let ticks = clock_ticks_per_second() as f64;
        Some(Self {
            cpu_seconds: (number(14)? + number(15)?) as f64 / ticks,
            started_seconds_after_boot: number(22)? as f64 / ticks,
            resident_bytes: number(24)? as f64 * page_size() as f64,
        })
    }

    fn started_at(&self) -> Option<f64> {
        let text = std::fs::read_to_string("/proc/stat").ok()?;
        let boot = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<f64>().ok()?;
        Some(boot + self.started_seconds_after_boot)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of open files fits a double")]
fn open_files() -> Option<f64> {
    // The directory being read is one of them.
    std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as f64)
}

#[expect(clippy::cast_precision_loss, reason = "a limit of open files is rounded where it is absurdly large")]
fn open_files_max() -> Option<f64> {
    getrlimit(Resource::Nofile).current.map(|limit| limit as f64)
}
