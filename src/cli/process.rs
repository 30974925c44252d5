//! The process itself: its runtime and its clock, the signals that stop it, and how it was called.

use std::future::{Future, pending};
use std::process::ExitCode;
use std::time::SystemTime;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit;

/// Runs a command to its exit code. One thread: a worker's time goes into waiting, and a hand-over between threads
/// costs more than it brings.
pub(super) fn block_on(command: impl Future<Output = u8>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cannot_start(&error),
    };
    let code = runtime.block_on(command);
    // Whatever still runs (a name lookup, say) must not hold up the end.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// The system refuses what every process needs.
pub(super) fn cannot_start(error: &std::io::Error) -> ExitCode {
    super::output::complain(&format!("cannot start: {error}"), "check the limits of the process: `ulimit -a`");
    ExitCode::from(exit::FAILED)
}

/// The time of this machine, in milliseconds.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The system does not let us hear of signals; the exit code that follows.
pub(super) fn no_signals(error: &std::io::Error) -> u8 {
    super::output::complain(
        &format!("cannot listen for signals: {error}"),
        "check the limits of the process: `ulimit -a`",
    );
    exit::FAILED
}

/// The signals that ask a process to stop.
pub(super) struct Stops {
    interrupt: Signal,
    terminate: Signal,
    /// None where the process was started to outlive its terminal, as by `nohup`.
    hang_up: Option<Signal>,
}

impl Stops {
    /// From here on the signals no longer end the process by themselves.
    pub(super) fn listen() -> std::io::Result<Self> {
        let hang_up = if is_hang_up_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hang_up })
    }

    /// Waits for the next one; answers the exit code that a second one means.
    pub(super) async fn next(&mut self) -> u8 {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => exit::INTERRUPTED,
            _ = self.terminate.recv() => exit::TERMINATED,
            _ = hang_up => exit::HUNG_UP,
        }
    }
}

/// Is SIGHUP ignored by inheritance? The kernel's mask begins with signal 1, which it is.
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// How the user called this program, so that what is printed can be pasted.
pub(super) fn program_as_typed() -> String {
    let typed = std::env::args_os().next().unwrap_or_default().to_string_lossy().into_owned();
    if typed.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-+".contains(letter)) && !typed.is_empty() {
        typed
    } else {
        format!("'{}'", typed.replace('\'', "'\\''"))
    }
}
