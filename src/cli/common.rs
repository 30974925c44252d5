//! What commands share: settings, runtime, signals, talk on stderr.

use std::future::Future;
use std::process::ExitCode;

use clap::ArgMatches;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit;
use crate::settings::{Report, Settings, Sources, flags};

/// The settings of this command line, or the report of everything that is wrong with them.
pub(super) fn settings(sources: &Sources) -> Result<Settings, ExitCode> {
    match Settings::load(sources) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            Ok(loaded.settings)
        }
        Err(report) => {
            eprintln!("{report}");
            Err(ExitCode::from(Report::EXIT_CODE))
        }
    }
}

/// The sources of a command that takes settings as flags.
pub(super) fn sources(matches: &ArgMatches) -> Sources {
    Sources::of_process(flags::given(matches))
}

/// Runs a command to its exit code. One thread: a worker's time goes into waiting, and a hand-over between threads
/// costs more than it brings.
pub(super) fn block_on(command: impl Future<Output = u8>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("startjobs: cannot start: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    let code = runtime.block_on(command);
    // Whatever still runs (a name lookup, say) must not hold up the end.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// The two signals that ask a process to stop.
pub(super) struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    /// From here on the signals no longer end the process by themselves.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one; answers the exit code that a second one means.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => exit::INTERRUPTED,
            _ = self.terminate.recv() => exit::TERMINATED,
        }
    }
}
