//! `startjobs bench-subject`: what is measured in a worker's place; started by the bench alone.

use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::bench::rig::floor::{self, Manner};
use crate::bench::rig::noop;
use crate::cli::{exit, process};
use crate::metrics::Metrics;
use crate::observe::log;
use crate::settings::{Settings, Sources, Values};

/// Run what the bench measures in a worker's place
///
/// Hidden: the bench alone starts it, with the settings in the environment.
#[derive(Debug, Args)]
pub(in crate::cli) struct SubjectArgs {
    #[arg(value_parser = ["noop", "floor", "floor-pipeline"])]
    subject: String,
}

/// Runs one subject until it is told to stop.
pub(in crate::cli) fn run(args: &SubjectArgs) -> ExitCode {
    let loaded = Settings::load(&Sources::of_process(Values::new()));
    let settings = match loaded {
        Ok(loaded) => loaded.settings,
        Err(report) => {
            eprintln!("startjobs: {report}");
            return ExitCode::from(exit::CONFIG);
        }
    };
    let manner = match args.subject.as_str() {
        "floor" => Manner::Script,
        "floor-pipeline" => Manner::Pipeline,
        _ => {
            return match log::install(settings.log_format, &Metrics::new()) {
                Ok(_log) => process::block_on(run_noop(settings)),
                Err(error) => process::cannot_start(&error),
            };
        }
    };
    match floor::run(&settings, manner) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => {
            eprintln!("startjobs: {error}");
            ExitCode::from(exit::UNAVAILABLE)
        }
    }
}

async fn run_noop(settings: Settings) -> u8 {
    let Ok(mut stops) = process::Stops::listen() else { return exit::FAILED };
    let stop = CancellationToken::new();
    let mut replica = std::pin::pin!(noop::run(settings, stop.clone()));
    let finished = tokio::select! {
        finished = &mut replica => finished,
        _ = stops.next() => {
            stop.cancel();
            replica.await
        }
    };
    match finished {
        Ok(_) => exit::DONE,
        Err(error) => {
            eprintln!("startjobs: {error}");
            exit::CONFIG
        }
    }
}
