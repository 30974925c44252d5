//! `startjobs bench recovery`: the figures of recovery, one experiment a call; `deploy/recovery.sh` runs all of them.

use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};

use super::flags::{ReplicaArgs, ServerArgs, usage};
use super::outcome::{code, measured, say};
use crate::bench::measure::recovery::experiment::{Death, Experiment, Kills};
use crate::bench::measure::recovery::run;
use crate::bench::rig::place::{Aof, Place};
use crate::cli::output;

const EXAMPLES: &str = "Examples:
  startjobs bench recovery --kills 100
  startjobs bench recovery --kills 100 --drain-beside
  startjobs bench recovery --kills 10 --by stop
  startjobs bench recovery --poison 3 --set claim-idle=1s
  startjobs bench recovery --rolling 24s --replicas 4";

const NOTES: &str =
    "A killed or aborted replica's jobs must be answered within 1 s beyond the start's own time (p99). With --set
disconnect-grace=off, and where a replica is only stopped, it is claim-idle and 1 s, the start included.

Exit codes: 0 done; 1 failed; 2 usage; 3 a job was lost or answered twice, or a limit was missed; 69 Redis is
unavailable; 78 a setting of the replicas is wrong.";

/// Measure recovery: replicas that die or freeze, jobs that kill their process, a rolling restart
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct RecoveryArgs {
    /// End a replica while all slots are busy, this many times
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1_000))]
    kills: Option<u16>,
    /// How it ends
    #[arg(long, value_enum, value_name = "HOW", default_value_t = By::Kill, conflicts_with_all = ["poison", "rolling"])]
    by: By,
    /// Send no jobs between a kill and the last answer to what the victim held; otherwise all slots stay busy
    #[arg(long, conflicts_with_all = ["poison", "rolling"])]
    pause_after_kill: bool,
    /// While the kills run, drain backlogs of this many jobs (200000 unless given) on the same Redis
    #[arg(
        long,
        value_name = "JOBS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "200000",
        value_parser = value_parser!(u64).range(100..=5_000_000),
        conflicts_with_all = ["poison", "rolling"]
    )]
    drain_beside: Option<u64>,
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

/// How a replica ends.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    /// By SIGKILL: its connections are closed
    Kill,
    /// By SIGABRT, as after a failed assertion: its connections are closed
    Abort,
    /// It is stopped by SIGSTOP: its connections stay open, and only its silence tells
    Stop,
}

impl From<By> for Death {
    fn from(by: By) -> Self {
        match by {
            By::Kill => Self::Kill,
            By::Abort => Self::Abort,
            By::Stop => Self::Stop,
        }
    }
}

/// Runs the command.
pub(super) async fn run(args: RecoveryArgs) -> Result<u8, u8> {
    let settings = args.replica.settings(None)?;
    let experiment = match (args.kills, args.poison, args.rolling) {
        (Some(kills), ..) => Experiment::Kills(Kills {
            count: kills.into(),
            by: args.by.into(),
            pauses: args.pause_after_kill,
            drain_beside: args.drain_beside,
        }),
        (_, Some(killers), _) => Experiment::Poison { jobs: 500, killers: killers.into() },
        (.., Some(lasts)) => Experiment::Rolling { rate: 200, lasts },
        _ => return usage("one of --kills, --poison and --rolling is needed"),
    };
    let place = Place::open(None, args.server.aof.unwrap_or(Aof::Everysec)).map_err(|error| say(&error))?;
    let mut step = |line: &str| eprintln!("{line}");
    let run = async |place: &mut Place| run::run(place, &experiment, args.replicas.into(), &settings, &mut step).await;
    let figures = measured(place, run).await?;
    output::print(&figures.text);
    Ok(code(figures.is_kept))
}
