//! `startjobs bench recovery`: the figures of recovery, one experiment a call; `deploy/recovery.sh` runs all of them.

use std::time::Duration;

use clap::{ArgMatches, Command, value_parser};

use super::flags::{aof, duration, flag, measured, say, settings, shared, usage};
use crate::bench::measure::recovery::{self, Experiment};
use crate::bench::rig::place::{Aof, Place};
use crate::cli::{common, exit};

/// The command and its flags.
pub(super) fn command() -> Command {
    Command::new("recovery")
        .hide(true)
        .about("Measure recovery: kills, jobs that kill their process, a rolling restart")
        .arg(
            flag("kills", "COUNT", "Kill a replica with all slots busy, so often")
                .value_parser(value_parser!(u16).range(1..=1_000)),
        )
        .arg(
            flag("poison", "COUNT", "So many jobs that kill their process among 500")
                .value_parser(value_parser!(u16).range(1..=100))
                .conflicts_with("kills"),
        )
        .arg(
            duration("rolling", "Restart every replica in turn under 200 jobs a second, for so long")
                .conflicts_with_all(["kills", "poison"]),
        )
        .args(shared("3", "100ms", "info").into_iter().filter(|arg| {
            let name = arg.get_id().as_str();
            !["subject", "engine-latency", "json", "log-level"].contains(&name) && !name.starts_with("redis-")
        }))
}

/// Runs the command.
pub(super) async fn run(matches: &ArgMatches) -> Result<u8, u8> {
    let settings = settings(matches)?;
    let claim_idle = settings.iter().rev().find(|(name, _)| name == "claim-idle");
    let claim_idle = claim_idle.and_then(|(_, value)| humantime::parse_duration(value).ok());
    let within = claim_idle.unwrap_or(Duration::from_secs(5)) + Duration::from_secs(1);
    let number = |name: &str| matches.get_one::<u16>(name).copied().map(usize::from);
    let experiment = match (number("kills"), number("poison"), matches.get_one::<Duration>("rolling")) {
        (Some(kills), ..) => Experiment::Kills { kills, within },
        (_, Some(killers), _) => Experiment::Poison { jobs: 500, killers },
        (.., Some(&lasts)) => Experiment::Rolling { rate: 200, lasts },
        _ => return usage("one of --kills, --poison and --rolling is needed"),
    };
    let replicas = matches.get_one::<u16>("replicas").copied().unwrap_or(3).into();
    let place = Place::open(None, aof(matches, Aof::Everysec)).map_err(|error| say(&error))?;
    let run = async |place: &mut Place| recovery::run(place, &experiment, replicas, &settings).await;
    let figures = measured(place, run).await?;
    common::print(&figures.text);
    Ok(if figures.is_kept { exit::DONE } else { exit::BREACH })
}
