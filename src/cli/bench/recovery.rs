//! `startjobs bench recovery`: the figures of recovery, one experiment a call; `deploy/recovery.sh` runs all of them.

use std::time::Duration;

use clap::{Args, value_parser};

use super::flags::{ReplicaArgs, ServerArgs, usage};
use super::outcome::{code, measured, say};
use crate::bench::measure::recovery::{self, Experiment};
use crate::bench::rig::place::{Aof, Place};
use crate::cli::output;

/// Measure recovery: kills, jobs that kill their process, a rolling restart
#[derive(Debug, Args)]
pub(super) struct RecoveryArgs {
    /// Kill a replica with all slots busy, this many times
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1_000))]
    kills: Option<u16>,
    /// Send this many jobs that kill their process, among 500
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=100), conflicts_with = "kills")]
    poison: Option<u16>,
    /// Restart every replica in turn under 200 jobs a second, for this long
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with_all = ["kills", "poison"])]
    rolling: Option<Duration>,
    /// Number of processes
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = value_parser!(u16).range(1..=64))]
    replicas: u16,
    #[command(flatten)]
    replica: ReplicaArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
pub(super) async fn run(args: RecoveryArgs) -> Result<u8, u8> {
    let settings = args.replica.settings(None)?;
    let claim_idle = settings.iter().rev().find(|(name, _)| name == "claim-idle");
    let claim_idle = claim_idle.and_then(|(_, value)| humantime::parse_duration(value).ok());
    let within = claim_idle.unwrap_or(Duration::from_secs(5)) + Duration::from_secs(1);
    let experiment = match (args.kills, args.poison, args.rolling) {
        (Some(kills), ..) => Experiment::Kills { kills: kills.into(), within },
        (_, Some(killers), _) => Experiment::Poison { jobs: 500, killers: killers.into() },
        (.., Some(lasts)) => Experiment::Rolling { rate: 200, lasts },
        _ => return usage("one of --kills, --poison and --rolling is needed"),
    };
    let place = Place::open(None, args.server.aof.unwrap_or(Aof::Everysec)).map_err(|error| say(&error))?;
    let run = async |place: &mut Place| recovery::run(place, &experiment, args.replicas.into(), &settings).await;
    let figures = measured(place, run).await?;
    output::print(&figures.text);
    Ok(code(figures.is_kept))
}
