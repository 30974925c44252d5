//! `startjobs bench-subject`: what is measured in a worker's place; started by the bench alone.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use tokio_util::sync::CancellationToken;

use crate::bench::rig::floor::{self, Manner};
use crate::bench::rig::noop;
use crate::cli::{common, exit};
use crate::metrics::Metrics;
use crate::observe::log;
use crate::settings::{Settings, Sources, Values};

/// The command.
pub fn command() -> Command {
    Command::new("bench-subject")
        .hide(true)
        .about("Run what the bench measures in a worker's place")
        .arg(Arg::new("subject").required(true).value_parser(["noop", "floor", "floor-pipeline"]))
}

/// Runs one subject until it is told to stop.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let settings = match common::settings(&Sources::of_process(Values::new())) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let manner = match matches.get_one::<String>("subject").map(String::as_str) {
        Some("floor") => Manner::Script,
        Some("floor-pipeline") => Manner::Pipeline,
        _ => {
            return match log::install(settings.log_format, &Metrics::new()) {
                Ok(_log) => common::block_on(run_noop(settings)),
                Err(error) => common::cannot_start(&error),
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
    let Ok(mut stops) = common::Stops::listen() else { return exit::FAILED };
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
