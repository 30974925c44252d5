//! What processor time the entries cost: Redis's by its own counters, the workers' by the kernel's.

use std::io;
use std::time::{Duration, Instant};

use crate::bench::rig::wire::{Token, Wire};

/// What processes have used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ProcessCost {
    /// Processor time in user and kernel mode.
    pub(crate) cpu: Duration,
    /// Memory in use now, KiB.
    pub(crate) rss_kib: u64,
}

impl ProcessCost {
    /// Sums processor time; memory is what lives now.
    pub(crate) fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.rss_kib += other.rss_kib;
    }
}

/// What a living process has used; nothing where it is gone.
pub(crate) fn of_process(pid: u32) -> ProcessCost {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let cpu = Duration::from_millis(ticks(&read("stat")).unwrap_or(0) * 1_000 / per_second);
    let rss =
        read("status").lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    ProcessCost { cpu, rss_kib: rss.unwrap_or(0) }
}

/// User and system ticks of `/proc/<pid>/stat`: the 14th and 15th field, counted after the name in brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// How long the machine's cores have been busy since it came up, all together, with whatever.
pub(crate) fn of_machine() -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    Duration::from_millis(busy_ticks(&stat).unwrap_or(0) * 1_000 / per_second)
}

/// Everything but idling and waiting for disks, the 4th and 5th number of the first line. Guests' time, from the 9th
/// on, is in the 1st and 2nd already; the 8th went to other machines.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Option<Vec<u64>> = line.split_whitespace().map(|number| number.parse().ok()).collect();
    let ticks = ticks?;
    Some(ticks.iter().take(3).chain(ticks.iter().skip(5).take(2)).sum())
}

/// The state of a run at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// By the bench's clock.
    pub(crate) at: Instant,
    /// Outcomes and dead letters so far.
    pub(crate) answered: u64,
    /// What Redis has used.
    pub(crate) redis: RedisCost,
}

/// Processor time of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct RedisCost {
    /// Of all its threads.
    pub(crate) all: Duration,
    /// Of the thread that runs commands; none before 6.2.
    pub(crate) main_thread: Option<Duration>,
}

impl RedisCost {
    /// As `INFO cpu` tells it.
    pub(crate) fn parse(info: &str) -> Self {
        let seconds = |name: &str| -> Option<Duration> {
            let value = info.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))?;
            Duration::try_from_secs_f64(value.parse().ok()?).ok()
        };
        let both = |user, system| Some(seconds(user)? + seconds(system)?);
        Self {
            all: both("used_cpu_user", "used_cpu_sys").unwrap_or_default(),
            main_thread: both("used_cpu_user_main_thread", "used_cpu_sys_main_thread"),
        }
    }

    /// Used since `earlier`. A server that was started again in between counts from zero.
    #[must_use]
    pub(crate) fn since(self, earlier: Self) -> Self {
        let main_thread = self.main_thread.zip(earlier.main_thread);
        Self {
            all: self.all.saturating_sub(earlier.all),
            main_thread: main_thread.map(|(now, then)| now.saturating_sub(then)),
        }
    }
}

/// Looks at everything in one round trip.
pub(crate) fn standing(wire: &mut Wire, streams: [&str; 2]) -> io::Result<Standing> {
    for stream in streams {
        wire.sender.command(&[b"XLEN", stream.as_bytes()]);
    }
    wire.sender.command(&[b"INFO", b"cpu"]);
    wire.sender.flush()?;
    let mut answered = 0;
    for _ in streams {
        if let Token::Integer(length) = wire.receiver.token()? {
            answered += u64::try_from(length).unwrap_or(0);
        }
    }
    let info = wire.receiver.text()?;
    let redis = RedisCost::parse(&String::from_utf8_lossy(wire.receiver.bytes(&info)));
    wire.receiver.forget();
    Ok(Standing { at: Instant::now(), answered, redis })
}

/// Microseconds per entry.
#[expect(clippy::cast_precision_loss, reason = "counts of entries are far below 2^52")]
pub(crate) fn per_entry(cost: Duration, entries: u64) -> f64 {
    cost.as_secs_f64() * 1e6 / (entries.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 1 0 99 1 2";
        assert_eq!(ticks(stat), Some(200));
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn the_machine_is_busy_with_all_but_idling_and_waiting() {
        assert_eq!(busy_ticks("cpu  1 2 4 1000 2000 8 16 4000 1 1\ncpu0 1 2"), Some(31));
        assert_eq!(busy_ticks("cpu0 1 2 4"), None);
        assert!(of_machine() > Duration::ZERO);
    }

    #[test]
    fn this_process_has_used_something() {
        assert!(of_process(std::process::id()).rss_kib > 0);
        assert_eq!(of_process(u32::MAX), ProcessCost::default());
    }

    #[test]
    fn the_servers_counters_are_read_and_subtracted() {
        let info = "# CPU\r\nused_cpu_sys:1.5\r\nused_cpu_user:2.25\r\nused_cpu_sys_main_thread:1.0\r\nused_cpu_user_main_thread:2.0\r\n";
        let cost = RedisCost::parse(info);
        assert_eq!((cost.all, cost.main_thread), (Duration::from_millis(3_750), Some(Duration::from_secs(3))));
        assert_eq!(cost.since(cost).all, Duration::ZERO);
        assert_eq!(RedisCost::parse("").main_thread, None);
    }
}
