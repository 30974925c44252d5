//! `startjobs bench latency`: latency against a bare client in the same run, at several rates.

use std::time::Duration;

use clap::{ArgAction, ArgMatches, Command, value_parser};

use super::flags::{SUBJECTS, aof, duration, flag, measured, open, print_json, settings, shared, subjects, usage};
use crate::bench::generate::profile::rate;
use crate::bench::measure::latency::{self, LatencyOptions, Round};
use crate::bench::rig::children::Subject;
use crate::bench::rig::place::{Aof, Place};
use crate::cli::{common, exit};

/// The command and its flags.
pub(super) fn command() -> Command {
    Command::new("latency")
        .about("Measure latency at steady rates, alone or against others in alternating rounds")
        .args(shared("1", "0ms", "warn"))
        .arg(
            flag("compare", "SUBJECT", "Measure this too, in alternating rounds; may be repeated")
                .action(ArgAction::Append)
                .value_parser(SUBJECTS),
        )
        .arg(
            flag("rate", "RATE", "Sends per second; may be repeated")
                .action(ArgAction::Append)
                .default_values(["1000/s", "5000/s"])
                .value_parser(|text: &str| rate(text)),
        )
        .arg(flag("rounds", "COUNT", "Rounds").default_value("5").value_parser(value_parser!(u16).range(1..=100)))
        .arg(duration("duration", "How long entries are sent in one round").default_value("10s"))
        .arg(duration("warmup", "Not measured, from the beginning of each round").default_value("2s"))
}

/// Runs the command.
pub(super) async fn run(matches: &ArgMatches) -> Result<u8, u8> {
    let time = |name: &str| matches.get_one::<Duration>(name).copied().unwrap_or_default();
    let (length, warmup) = (time("duration"), time("warmup"));
    if warmup >= length {
        return usage("--warmup leaves nothing to measure");
    }
    let options = LatencyOptions {
        subjects: subjects(matches),
        rates: matches.get_many::<f64>("rate").into_iter().flatten().copied().collect(),
        rounds: matches.get_one::<u16>("rounds").copied().map_or(1, usize::from),
        length,
        warmup,
        replicas: matches.get_one::<u16>("replicas").copied().map_or(1, usize::from),
        settings: settings(matches)?,
        log_level: matches.get_one::<String>("log-level").cloned().unwrap_or_default(),
    };
    let place = open(matches, aof(matches, Aof::Off))?;
    let report = measured(place, async |place: &mut Place| latency::run(place, &options, say_round).await).await?;
    if matches.get_flag("json") {
        print_json(&report);
    } else {
        common::print(&report.table());
    }
    Ok(if report.exact { exit::DONE } else { exit::BREACH })
}

fn say_round(round: usize, subject: Subject, rate: f64, measured: Round) {
    let (round, subject) = (round + 1, subject.as_str());
    let Round { p50_us, p99_us, p999_us, late, .. } = measured;
    eprintln!(
        "{rate}/s, round {round}: {subject:<14} p50 {p50_us} us, p99 {p99_us} us, p99.9 {p999_us} us, {late} late"
    );
}
