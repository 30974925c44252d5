//! `startjobs worker`: one replica, until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::setting_flags::{self, All};
use super::{exit, process};
use crate::observe::guard::Guard;
use crate::observe::log::{self, Log};
use crate::observe::notify::NotifySocket;
use crate::observe::outlook::Outlook;
use crate::observe::{http, sampler, systemd};
use crate::ops::printable::printable;
use crate::page::config::Serve;
use crate::page::routes::routes;
use crate::settings::Loaded;
use crate::settings::flags::SettingFlags;
use crate::starter;
use crate::worker::error::RunError;
use crate::worker::replica::Exit;
use crate::worker::run::Instruments;

const EXAMPLES: &str = "Examples:
  startjobs worker
  startjobs worker --redis-url redis://redis:6379 --redis-password-file /run/secrets/redis
  startjobs worker --engine simulated --slots 128 --claim-idle 2s";

const NOTES: &str = "Traces are exported by OTLP over HTTP where OTEL_EXPORTER_OTLP_ENDPOINT is set. Also read: \
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_SERVICE_NAME, \
OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG, OTEL_TRACES_EXPORTER, OTEL_SDK_DISABLED.";

/// Run one replica: read start jobs, start containers, publish one outcome each
///
/// Every setting is a flag, an environment variable (--claim-idle is STARTJOBS_CLAIM_IDLE) and a key of the --config
/// file.
///
/// On SIGTERM, SIGINT or SIGHUP the replica stops reading, finishes and settles its starts, gives back the rest, and
/// exits with 0 within --drain-timeout. On a second signal it exits at once with 143, 130 or 129.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct WorkerArgs {
    #[command(flatten)]
    settings: SettingFlags<All>,
}

/// Runs it.
pub(super) fn run(args: WorkerArgs) -> ExitCode {
    let loaded = match setting_flags::load_whole(args.settings) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let instruments = Instruments::new(&loaded.settings.worker);
    // Its last lines are written when it goes, after everything else.
    match log::install(loaded.settings.log_format, &instruments.metrics) {
        Ok(log) => process::block_on(worker(loaded, instruments, &log)),
        Err(error) => process::cannot_start(&error),
    }
}

async fn worker(loaded: Loaded, instruments: Instruments, log: &Log) -> u8 {
    let mut stops = match process::Stops::listen() {
        Ok(stops) => stops,
        Err(error) => {
            log.say_last(format!("startjobs: cannot listen for signals: {error}"));
            return exit::FAILED;
        }
    };
    let (stop, drain) = (CancellationToken::new(), loaded.settings.worker.drain_timeout);
    let manager = NotifySocket::of_process().map(Arc::new);
    let mut shown = match show(&loaded, &instruments, manager.clone()) {
        Ok(shown) => shown,
        Err(error) => {
            log.say_last(format!("startjobs: {error}"));
            return exit::CONFIG;
        }
    };
    let mut worker = std::pin::pin!(starter::run(loaded.settings, instruments, stop.clone()));
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
fn show(loaded: &Loaded, instruments: &Instruments, manager: Option<Arc<NotifySocket>>) -> Result<JoinSet<()>, String> {
    let (mut shown, settings) = (JoinSet::new(), &loaded.settings);
    if let Some(address) = settings.http_addr {
        let listener = http::bind(address)?;
        let page = settings.page.is_served_on(address).then(|| routes(loaded).map_err(|denied| denied.to_string()));
        let page = page.transpose()?;
        if page.is_none() && settings.page.serve == Serve::Auto {
            tracing::info!(
                http_addr = %address,
                "the page is not served: page = auto serves it on loopback addresses only, and page = on serves it here"
            );
        }
        let (outlook, guard) = (Arc::new(Outlook::new(settings)), Guard::new(&settings.page.hosts));
        shown.spawn(http::run(listener, instruments.clone(), (Arc::clone(&outlook), guard), page));
        shown.spawn(sampler::run(outlook, Arc::clone(&instruments.metrics)));
    }
    if let Some(manager) = manager {
        shown.spawn(systemd::run(instruments.clone(), manager));
    }
    Ok(shown)
}
