//! `startjobs bench scale`: throughput and cost by the number of replicas.

use std::time::Duration;

use clap::{ArgMatches, Command, value_parser};

use super::flags::{aof, duration, flag, measured, open, print_json, settings, shared};
use crate::bench::measure::drain::Drained;
use crate::bench::measure::scale::{self, ScaleOptions};
use crate::bench::rig::place::{Aof, Place};
use crate::cli::{common, exit};

/// The command and its flags.
pub(super) fn command() -> Command {
    let left_out = ["subject", "replicas", "engine-latency"];
    Command::new("scale")
        .about("Measure throughput and cost with more and more replicas")
        .args(shared("1", "50ms", "warn").into_iter().filter(|arg| !left_out.contains(&arg.get_id().as_str())))
        .mut_arg("slots", |slots| slots.default_value("10"))
        .arg(
            flag("replicas", "COUNT,...", "Numbers of processes, one after the other")
                .default_value("1,2,4,8,16")
                .value_delimiter(',')
                .value_parser(value_parser!(u16).range(1..=64)),
        )
        .arg(duration("start", "How long a simulated start takes").default_value("50ms"))
        .arg(
            flag("jobs", "COUNT", "Jobs of each replica in one round")
                .default_value("1500")
                .value_parser(value_parser!(u64).range(20..=1_000_000)),
        )
        .arg(flag("rounds", "COUNT", "Rounds").default_value("1").value_parser(value_parser!(u16).range(1..=100)))
        .arg(duration("limit", "How long one drain may take").default_value("2m"))
}

/// Runs the command.
pub(super) async fn run(matches: &ArgMatches) -> Result<u8, u8> {
    let time = |name: &str| matches.get_one::<Duration>(name).copied().unwrap_or_default();
    let options = ScaleOptions {
        replicas: matches.get_many::<u16>("replicas").into_iter().flatten().copied().map(usize::from).collect(),
        slots: matches.get_one("slots").copied().unwrap_or(10),
        start: time("start"),
        jobs_each: matches.get_one("jobs").copied().unwrap_or_default(),
        rounds: matches.get_one::<u16>("rounds").copied().map_or(1, usize::from),
        limit: time("limit"),
        settings: settings(matches)?.into_iter().filter(|(name, _)| name != "slots").collect(),
        log_level: matches.get_one::<String>("log-level").cloned().unwrap_or_default(),
    };
    let place = open(matches, aof(matches, Aof::Off))?;
    let report = measured(place, async |place: &mut Place| scale::run(place, &options, say_round).await).await?;
    if matches.get_flag("json") {
        print_json(&report);
    } else {
        common::print(&report.table());
    }
    Ok(if report.exact { exit::DONE } else { exit::BREACH })
}

fn say_round(round: usize, replicas: usize, drained: &Drained) {
    let Drained { entries_per_s, redis_us_per_entry, client_us_per_entry, machine_cores, .. } = drained;
    eprintln!(
        "round {}: {replicas:>2} replicas {entries_per_s:>8.0} jobs/s, Redis {redis_us_per_entry:.1} us, workers {client_us_per_entry:.1} us a job, {machine_cores:.2} cores busy",
        round + 1
    );
}
