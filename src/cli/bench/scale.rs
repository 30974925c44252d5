//! `startjobs bench scale`: throughput and cost by the number of replicas.

use std::time::Duration;

use clap::{Args, value_parser};

use super::flags::{Level, PlaceArgs, ReplicaArgs};
use super::outcome::{code, measured, open, show};
use crate::bench::measure::drain::Drained;
use crate::bench::measure::scale::{self, ScaleOptions, ScaleReport};
use crate::bench::rig::place::{Aof, Place};

const EXAMPLES: &str = "Examples:
  startjobs bench scale
  startjobs bench scale --replicas 1,2,4 --start 20ms --slots 64";

/// Measure throughput and cost with more and more replicas
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, mut_arg("slots", |slots| slots.default_value("10")))]
pub(super) struct ScaleArgs {
    /// Numbers of processes, one after the other
    #[arg(
        long,
        value_name = "COUNT,...",
        default_value = "1,2,4,8,16",
        value_delimiter = ',',
        value_parser = value_parser!(u16).range(1..=64)
    )]
    replicas: Vec<u16>,
    /// How long a simulated start takes
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = humantime::parse_duration)]
    start: Duration,
    /// Number of jobs of each replica in one round
    #[arg(long, value_name = "COUNT", default_value = "1500", value_parser = value_parser!(u64).range(20..=1_000_000))]
    jobs: u64,
    /// Number of rounds
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Maximum time of one drain
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    limit: Duration,
    #[command(flatten)]
    replica: ReplicaArgs,
    /// What the workers log
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Level::Warn)]
    log_level: Level,
    #[command(flatten)]
    place: PlaceArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(args: ScaleArgs) -> Result<u8, u8> {
    let settings = args.replica.settings(None)?;
    let options = ScaleOptions {
        replicas: args.replicas.into_iter().map(usize::from).collect(),
        slots: args.replica.slots,
        start: args.start,
        jobs_each: args.jobs,
        rounds: args.rounds.into(),
        limit: args.limit,
        settings: settings.into_iter().filter(|(name, _)| name != "slots").collect(),
        log_level: args.log_level.name(),
    };
    let place = open(&args.place, Aof::Off)?;
    let report = measured(place, async |place: &mut Place| scale::run(place, &options, say_round).await).await?;
    show(&report, args.json, ScaleReport::table);
    Ok(code(report.exact))
}

fn say_round(round: usize, replicas: usize, drained: &Drained) {
    let Drained { entries_per_s, redis_us_per_entry, client_us_per_entry, machine_cores, .. } = drained;
    eprintln!(
        "round {}: {replicas:>2} replicas {entries_per_s:>8.0} jobs/s, Redis {redis_us_per_entry:.1} us, workers {client_us_per_entry:.1} us a job, {machine_cores:.2} cores busy",
        round + 1
    );
}
