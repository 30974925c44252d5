//! `startjobs bench latency`: latency against a bare client in the same run, at several rates.

use std::time::Duration;

use clap::{ArgAction, Args, value_parser};

use super::flags::{ComparedArgs, Level, PlaceArgs, ReplicaArgs, usage};
use super::outcome::{code, measured, open, show};
use crate::bench::generate::profile::rate;
use crate::bench::measure::latency::{self, LatencyOptions, LatencyReport, Round};
use crate::bench::rig::children::Subject;
use crate::bench::rig::place::{Aof, Place};

const EXAMPLES: &str = "Examples:
  startjobs bench latency
  startjobs bench latency --compare floor
  startjobs bench latency --rate 200/s --rate 2000/s --rounds 3 --json";

/// Measure latency at steady rates, alone or against others in alternating rounds
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct LatencyArgs {
    #[command(flatten)]
    compared: ComparedArgs,
    /// Sends per second; may be repeated
    #[arg(
        long,
        value_name = "RATE",
        action = ArgAction::Append,
        default_values = ["1000/s", "5000/s"],
        value_parser = |text: &str| rate(text)
    )]
    rate: Vec<f64>,
    /// Number of rounds
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// How long entries are sent in one round
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Leave out the beginning of each round
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    warmup: Duration,
    /// Number of processes
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value_parser!(u16).range(1..=64))]
    replicas: u16,
    /// How long a simulated start takes
    #[arg(long, value_name = "DURATION[..DURATION]", default_value = "0ms")]
    engine_latency: String,
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
pub(super) async fn run(args: LatencyArgs) -> Result<u8, u8> {
    if args.warmup >= args.duration {
        return usage("--warmup leaves nothing to measure");
    }
    let options = LatencyOptions {
        subjects: args.compared.subjects(),
        rates: args.rate,
        rounds: args.rounds.into(),
        length: args.duration,
        warmup: args.warmup,
        replicas: args.replicas.into(),
        settings: args.replica.settings(Some(&args.engine_latency))?,
        log_level: args.log_level.name(),
    };
    let place = open(&args.place, Aof::Off)?;
    let report = measured(place, async |place: &mut Place| latency::run(place, &options, say_round).await).await?;
    show(&report, args.json, LatencyReport::table);
    Ok(code(report.exact))
}

fn say_round(round: usize, subject: Subject, rate: f64, measured: Round) {
    let (round, subject) = (round + 1, subject.as_str());
    let Round { p50_us, p99_us, p999_us, late, .. } = measured;
    eprintln!(
        "{rate}/s, round {round}: {subject:<14} p50 {p50_us} us, p99 {p99_us} us, p99.9 {p999_us} us, {late} late"
    );
}
