//! `startjobs worker`: one replica, until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::setting_flags::{self, All};
use super::{exit, process};
use crate::observe::log::{self, Log};
use crate::observe::notify::NotifySocket;
use crate::observe::outlook::Outlook;
use crate::observe::{http, sampler, systemd};
use crate::ops::printable::printable;
use crate::settings::Settings;
use crate::settings::flags::SettingFlags;
use crate::starter;
use crate::worker::error::RunError;
use crate::worker::replica::Exit;
use crate::worker::run::Instruments;

const EXAMPLES: &str = "Examples:
  startjobs worker
  startjobs worker --redis-url redis://redis:6379 --redis-password-file /run/secrets/redis
  startjobs worker --engine simulated --slots 128 --claim-idle 2s";

/// Run one replica: read start jobs, start containers, publish one outcome each
///
/// Every setting is a flag, an environment variable (--claim-idle is STARTJOBS_CLAIM_IDLE) and a key of the --config
/// file.
///
/// On SIGTERM, SIGINT or SIGHUP the replica stops reading, finishes and settles its starts, gives back the rest, and
/// exits with 0 within --drain-timeout. On a second signal it exits at once with 143, 130 or 129.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct WorkerArgs {
    #[command(flatten)]
    settings: SettingFlags<All>,
}

/// Runs it.
pub(super) fn run(args: WorkerArgs) -> ExitCode {
    let settings = match setting_flags::load(args.settings) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let instruments = Instruments::new(&settings.worker);
    // Its last lines are written when it goes, after everything else.
    match log::install(settings.log_format, &instruments.metrics) {
        Ok(log) => process::block_on(worker(settings, instruments, &log)),
        Err(error) => process::cannot_start(&error),
    }
}

async fn worker(settings: Settings, instruments: Instruments, log: &Log) -> u8 {
    let mut stops = match process::Stops::listen() {
        Ok(stops) => stops,
        Err(error) => {
            log.say_last(format!("startjobs: cannot listen for signals: {error}"));
            return exit::FAILED;
        }
    };
    let (stop, drain) = (CancellationToken::new(), settings.worker.drain_timeout);
    let manager = NotifySocket::of_process().map(Arc::new);
    let mut shown = match show(&settings, &instruments, manager.clone()) {
        Ok(shown) => shown,
        Err(error) => {
            log.say_last(format!("startjobs: {error}"));
            return exit::CONFIG;
        }
    };
    let mut worker = std::pin::pin!(starter::run(settings, instruments, stop.clone()));
    let finished = tokio::select! {
        finished = &mut worker => finished,
        _ = stops.next() => {
            if let Some(manager) = manager {
                shown.spawn(systemd::stopping(drain, manager));
            }
            stop.cancel();
            tokio::select! {
                finished = &mut worker => finished,
                code = stops.next() => return code,
            }
        }
    };
    // Probes answer until the very end.
    shown.abort_all();
    match finished {
        Ok(Exit::Drained) => exit::DONE,
        Ok(Exit::DeadlinePassed(_)) => exit::FAILED,
        // The offset is text that another program may have written.
        Err(RunError::BadOffset(found)) => {
            log.say_last(format!("startjobs: {}", RunError::BadOffset(printable(&found))));
            exit::CONFIG
        }
        Err(error @ (RunError::Strict(_) | RunError::BadFile(_) | RunError::Unusable(_))) => {
            log.say_last(format!("startjobs: {error}"));
            exit::CONFIG
        }
    }
}

/// Probes and metrics where `http-addr` says so, and what systemd wants to hear.
fn show(
    settings: &Settings,
    instruments: &Instruments,
    manager: Option<Arc<NotifySocket>>,
) -> Result<JoinSet<()>, String> {
    let mut shown = JoinSet::new();
    if let Some(address) = settings.http_addr {
        let listener = http::bind(address)?;
        let outlook = Arc::new(Outlook::new(settings));
        shown.spawn(http::run(listener, instruments.clone(), Arc::clone(&outlook)));
        shown.spawn(sampler::run(outlook, Arc::clone(&instruments.metrics)));
    }
    if let Some(manager) = manager {
        shown.spawn(systemd::run(instruments.clone(), manager));
    }
    Ok(shown)
}
