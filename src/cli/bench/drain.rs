//! `startjobs bench drain`: throughput, alone or against a bare client in the same run.

use std::time::Duration;

use clap::{ArgAction, Args, value_parser};

use super::flags::{ComparedArgs, Level, PlaceArgs, ReplicaArgs};
use super::outcome::{code, measured, open, show};
use crate::bench::measure::compare::{DrainReport, compare};
use crate::bench::measure::drain::{DrainOptions, Drained};
use crate::bench::rig::children::{Peer, Subject};
use crate::bench::rig::place::{Aof, Place};

const EXAMPLES: &str = "Examples:
  startjobs bench drain
  startjobs bench drain --compare floor --rounds 5
  startjobs bench drain --peer plain=target/peers/target/release/plain-peer";

/// Fill a backlog while no replica reads, then measure how fast it is answered
#[derive(Debug, Args)]
// As many slots as keep both sides busy when a start takes no time.
#[command(before_help = EXAMPLES, mut_arg("slots", |slots| slots.default_value("256")))]
pub(super) struct DrainArgs {
    #[command(flatten)]
    compared: ComparedArgs,
    /// Measure another program too (see deploy/peers.sh); may be repeated
    #[arg(long, value_name = "NAME=COMMAND", action = ArgAction::Append)]
    peer: Vec<Peer>,
    /// Number of entries of one drain
    #[arg(long, value_name = "COUNT", default_value = "200000", value_parser = value_parser!(u64).range(100..=5_000_000))]
    jobs: u64,
    /// Number of rounds [default: 5 where subjects are compared, else 1]
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=100))]
    rounds: Option<u16>,
    /// Maximum time of one drain
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    limit: Duration,
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
pub(super) async fn run(args: DrainArgs) -> Result<u8, u8> {
    let mut subjects = args.compared.subjects();
    // Once for the whole run, so that a subject can be a plain value.
    subjects.extend(args.peer.into_iter().map(|peer| Subject::Peer(Box::leak(Box::new(peer)))));
    let rounds = args.rounds.unwrap_or(if subjects.len() > 1 { 5 } else { 1 });
    let options = DrainOptions {
        jobs: args.jobs,
        limit: args.limit,
        replicas: args.replicas.into(),
        settings: args.replica.settings(Some(&args.engine_latency))?,
        log_level: args.log_level.name(),
    };
    let place = open(&args.place, Aof::Off)?;
    let run = async |place: &mut Place| compare(place, &subjects, rounds.into(), &options, say_round).await;
    let report = measured(place, run).await?;
    show(&report, args.json, DrainReport::table);
    Ok(code(report.exact))
}

fn say_round(round: usize, subject: Subject, drained: &Drained) {
    let (round, subject) = (round + 1, subject.as_str());
    let Drained { entries_per_s, redis_us_per_entry, client_us_per_entry, .. } = drained;
    eprintln!(
        "round {round}: {subject:<14} {entries_per_s:>9.0} entries/s, Redis {redis_us_per_entry:.2} us, client {client_us_per_entry:.2} us an entry"
    );
}
