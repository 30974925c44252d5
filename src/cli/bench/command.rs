//! The command, its subcommands, and which of them is run.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::containers::{self, ContainersArgs};
use super::drain::{self, DrainArgs};
use super::idle::{self, IdleArgs};
use super::latency::{self, LatencyArgs};
use super::load::{self, LoadArgs};
use super::recovery::{self, RecoveryArgs};
use super::report::{self, ReportArgs};
use super::scale::{self, ScaleArgs};
use crate::cli::process;

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
  startjobs bench idle --replicas 3,40                    what an idle fleet costs Redis
  startjobs bench recovery --kills 100                    how soon killed replicas' jobs are answered
  startjobs bench report before.json after.json           runs side by side";

const NOTES: &str = "Everything runs on streams of its own, by default on a private redis-server, and is removed at the end. Latency counts
from when an entry was due to be sent.

Exit codes: 0 done; 1 failed; 2 usage; 3 a job was lost or answered twice, or a limit was missed; 69 Redis is
unavailable; 78 a setting of the replicas is wrong.";

/// Put a fleet under load and measure it
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(in crate::cli) struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    Drain(DrainArgs),
    Latency(LatencyArgs),
    Scale(ScaleArgs),
    Containers(ContainersArgs),
    Idle(IdleArgs),
    Recovery(RecoveryArgs),
    Report(ReportArgs),
}

/// Runs the command.
pub(in crate::cli) fn run(args: BenchArgs) -> ExitCode {
    let run = async {
        match args.command {
            Some(BenchCommand::Drain(args)) => drain::run(args).await,
            Some(BenchCommand::Latency(args)) => latency::run(args).await,
            Some(BenchCommand::Scale(args)) => scale::run(args).await,
            Some(BenchCommand::Containers(args)) => containers::run(args).await,
            Some(BenchCommand::Idle(args)) => idle::run(args).await,
            Some(BenchCommand::Recovery(args)) => recovery::run(args).await,
            Some(BenchCommand::Report(args)) => Ok(report::run(&args)),
            None => load::run(args.load).await,
        }
    };
    process::block_on(async { run.await.unwrap_or_else(|code| code) })
}
