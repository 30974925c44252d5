//! `startjobs bench`: put a fleet under load and measure it.

// what the commands share
mod flags;
// a load over time
mod load;
// throughput
mod drain;
// latency against a bare client
mod latency;
// more and more replicas
mod scale;
// real containers
mod containers;
// kills, poison, rolling restarts
mod recovery;
// runs beside each other
mod report;
// what is measured in a worker's place
pub mod subject;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::common;

const EXAMPLES: &str = "Examples:
  startjobs bench                                         100 jobs a second for 30 s
  startjobs bench --rate 500/s --duration 2m --replicas 3 --html report.html
  startjobs bench --profile 'ramp 0..200/s 30s, burst 500 every 10s' --slo 'p99<500ms'
  startjobs bench --profile 'soak 100/s 10m' --slo 'rss-growth<2MiB'
  startjobs bench --malformed 1% --poison 0.5% --kill-replica 'every 5s'
  startjobs bench --in-flight 64 --duration 30s           closed loop, to find the capacity
  startjobs bench drain --compare floor                   throughput against a bare client
  startjobs bench latency --compare floor                 latency against a bare client
  startjobs bench scale --replicas 1,2,4                  throughput by the number of replicas
  startjobs bench containers --starts 24                  real containers against a bare client
  startjobs bench report before.json after.json           runs side by side";

const AFTER: &str =
    "Everything runs on streams of its own, by default on a private redis-server, and is removed at the end.
Latency counts from when an entry was to be sent. Exit codes: 0 done; 1 failed; 2 usage; 3 accounting breach or a limit
missed; 69 there is no Redis; 78 a setting of the replicas is wrong.";

/// The command and its flags.
pub fn command() -> Command {
    let command = Command::new("bench")
        .about("Put a fleet under load and measure it")
        .before_help(EXAMPLES)
        .after_help(AFTER)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true);
    load::flags(command)
        .subcommand(drain::command())
        .subcommand(latency::command())
        .subcommand(scale::command())
        .subcommand(containers::command())
        .subcommand(recovery::command())
        .subcommand(report::command())
}

/// Runs the command.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let run = async {
        match matches.subcommand() {
            Some(("drain", matches)) => drain::run(matches).await,
            Some(("latency", matches)) => latency::run(matches).await,
            Some(("scale", matches)) => scale::run(matches).await,
            Some(("containers", matches)) => containers::run(matches).await,
            Some(("recovery", matches)) => recovery::run(matches).await,
            Some(("report", matches)) => Ok(report::run(matches)),
            _ => load::run(matches).await,
        }
    };
    common::block_on(async { run.await.unwrap_or_else(|code| code) })
}
