//! `startjobs bench idle`: what an idle fleet costs Redis more than another kind of fleet.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};

use super::flags::{Level, ReplicaArgs, ServerArgs};
use super::outcome::{code, measured, say, show};
use crate::bench::measure::idle::{self, IdleOptions, IdleReport};
use crate::bench::rig::place::{Aof, Place};

const EXAMPLES: &str = "Examples:
  startjobs bench idle
  startjobs bench idle --replicas 3,40 --rounds 5 --lasts 20s
  startjobs bench idle --old ~/startjobs-of-last-month";

const NOTES: &str = "Ends with 3 where the fleet costs Redis more than 0.1 % of a core more. Other exit codes: 0 done; 1 failed; 2 usage; 69
Redis is unavailable; 78 a setting of the replicas is wrong.";

/// Measure what noticing dead replicas at once costs Redis while the fleet is idle
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct IdleArgs {
    /// Numbers of processes, one after the other
    #[arg(
        long,
        value_name = "COUNT,...",
        default_value = "3,40",
        value_delimiter = ',',
        value_parser = value_parser!(u16).range(1..=64)
    )]
    replicas: Vec<u16>,
    /// Number of rounds; in each, both fleets are measured at the same time
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// How long they are measured in a round
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = humantime::parse_duration)]
    lasts: Duration,
    /// Compare with this program's workers, not with disconnect-grace=off
    #[arg(long, value_name = "PROGRAM")]
    old: Option<PathBuf>,
    #[command(flatten)]
    replica: ReplicaArgs,
    /// What the workers log
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Level::Info)]
    log_level: Level,
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(args: IdleArgs) -> Result<u8, u8> {
    let options = IdleOptions {
        replicas: args.replicas.into_iter().map(usize::from).collect(),
        rounds: args.rounds.into(),
        lasts: args.lasts,
        old: args.old,
        settings: args.replica.settings(None)?,
        log_level: args.log_level.name(),
    };
    let open = || Place::open(None, args.server.aof.unwrap_or(Aof::Everysec)).map_err(|error| say(&error));
    let (first, second) = (open()?, open()?);
    let run = async |first: &mut Place| idle::run([first, &second], &options, say_round).await;
    let report = measured(first, run).await;
    if !second.close().await {
        eprintln!("startjobs: something of the run may be left behind");
    }
    let report = report?;
    show(&report, args.json, IdleReport::table);
    Ok(code(report.is_kept))
}

fn say_round(round: usize, replicas: usize, [before, now]: [f64; 2]) {
    eprintln!("round {}: {replicas:>2} replicas, before {before:.3}, now {now:.3} % of a core", round + 1);
}
