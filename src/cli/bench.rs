//! `startjobs bench`: put a fleet under load and measure it.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tokio_util::sync::CancellationToken;

use super::{common, exit};
use crate::bench::children::Subject;
use crate::bench::compare::{DrainReport, compare};
use crate::bench::drain::DrainOptions;
use crate::bench::floor::Manner;
use crate::bench::place::{Aof, Pairs, Place};
use crate::bench::{Error, floor, noop};
use crate::observe::log::{self, Destination};
use crate::redis::Kind;
use crate::settings::{Settings, Sources, Values};

/// The command and its flags.
pub fn command() -> Command {
    Command::new("bench").about("Put a fleet under load and measure it").subcommand(drain_command())
}

fn flag(name: &'static str, placeholder: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(placeholder).help(help)
}

fn drain_command() -> Command {
    Command::new("drain")
        .about("Fill a backlog while nobody reads, then measure how fast it is answered")
        .args(shared())
        .arg(flag("jobs", "COUNT", "Entries of one drain").default_value("200000").value_parser(value_parser!(u64).range(100..=5_000_000)))
        .arg(flag("compare", "SUBJECT", "Measure against this too, in alternating rounds; may be repeated").action(ArgAction::Append).value_parser(SUBJECTS))
        .arg(flag("rounds", "COUNT", "Rounds; 5 where subjects are compared, else 1").value_parser(value_parser!(u16).range(1..=100)))
        .arg(flag("limit", "DURATION", "How long one drain may take").default_value("2m").value_parser(humantime::parse_duration))
}

const SUBJECTS: [&str; 4] = ["worker", "noop", "floor", "floor-pipeline"];

fn shared() -> Vec<Arg> {
    vec![
        flag("subject", "SUBJECT", "What is put under load").value_parser(SUBJECTS),
        flag("replicas", "COUNT", "How many processes").default_value("1").value_parser(value_parser!(u16).range(1..=64)),
        flag("slots", "COUNT", "Slots of each replica").default_value("64").value_parser(value_parser!(u32).range(1..=10_000)),
        flag("engine-latency", "DURATION[..DURATION]", "How long a simulated start takes").default_value("0ms"),
        flag("set", "NAME=VALUE", "A further setting of the replicas; may be repeated").action(ArgAction::Append),
        flag("log-level", "LEVEL", "What the workers log").default_value("warn").value_parser(["error", "warn", "info", "debug"]),
        flag("redis-url", "URL", "A Redis to use instead of a private redis-server"),
        flag("aof", "MODE", "The append-only file of the private redis-server").value_parser(["off", "everysec", "always"]),
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON"),
    ]
}

/// What is measured in the worker's place; started by the bench alone.
pub fn subject_command() -> Command {
    Command::new("bench-subject")
        .hide(true)
        .about("Run what the bench measures in a worker's place")
        .arg(Arg::new("subject").required(true).value_parser(["noop", "floor", "floor-pipeline"]))
}

/// Runs one subject until it is told to stop.
pub fn run_subject(matches: &ArgMatches) -> ExitCode {
    let settings = match common::settings(&Sources::of_process(Values::new())) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let manner = match matches.get_one::<String>("subject").map(String::as_str) {
        Some("floor") => Manner::Script,
        Some("floor-pipeline") => Manner::Pipeline,
        _ => {
            log::install(settings.log_format, Destination::Stdout);
            return common::block_on(run_noop(settings));
        }
    };
    match floor::run(&settings, manner) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => {
            eprintln!("startjobs: {error}");
            ExitCode::from(exit::UNAVAILABLE)
        }
    }
}

async fn run_noop(settings: Settings) -> u8 {
    let Ok(mut stops) = common::Stops::listen() else { return exit::FAILED };
    let stop = CancellationToken::new();
    let mut replica = std::pin::pin!(noop::run(settings, stop.clone()));
    let finished = tokio::select! {
        finished = &mut replica => finished,
        _ = stops.next() => {
            stop.cancel();
            replica.await
        }
    };
    match finished {
        Ok(_) => exit::DONE,
        Err(error) => {
            eprintln!("startjobs: {error}");
            exit::CONFIG
        }
    }
}

/// Runs the command.
pub fn run(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("drain", matches)) => common::block_on(async { drain(matches).await.unwrap_or_else(|code| code) }),
        _ => ExitCode::from(common::USAGE),
    }
}

async fn drain(matches: &ArgMatches) -> Result<u8, u8> {
    let mut stops = common::Stops::listen().map_err(|_| exit::FAILED)?;
    let compared: Vec<Subject> = matches
        .get_many::<String>("compare")
        .map(|names| names.filter_map(|name| Subject::named(name)).collect())
        .unwrap_or_default();
    let default = if compared.is_empty() { Subject::Worker } else { Subject::Noop };
    let mut subjects = vec![subject(matches).unwrap_or(default)];
    subjects.extend(compared.iter().filter(|one| **one != subjects[0]).copied().collect::<Vec<_>>());
    let rounds = matches.get_one::<u16>("rounds").copied().unwrap_or(if subjects.len() > 1 { 5 } else { 1 });
    let options = DrainOptions {
        jobs: matches.get_one("jobs").copied().unwrap_or_default(),
        limit: matches.get_one("limit").copied().unwrap_or(Duration::from_secs(120)),
        replicas: matches.get_one::<u16>("replicas").copied().unwrap_or(1).into(),
        settings: settings(matches)?,
        log_level: matches.get_one::<String>("log-level").cloned().unwrap_or_default(),
    };
    let place = Place::open(matches.get_one::<String>("redis-url").map(String::as_str), aof(matches).unwrap_or(Aof::Off))
        .map_err(|error| say(&error))?;
    let told = |round: usize, subject: Subject, drained: &crate::bench::drain::Drained| {
        eprintln!(
            "round {}: {:<14} {:>9.0} entries/s, Redis {:.2} us, client {:.2} us an entry",
            round + 1,
            subject.as_str(),
            drained.entries_per_s,
            drained.redis_us_per_entry,
            drained.client_us_per_entry,
        );
    };
    let compared = tokio::select! {
        report = compare(&place, &subjects, rounds.into(), &options, told) => report.map_err(|error| say(&error)),
        code = stops.next() => Err(code),
    };
    place.close().await;
    let report: DrainReport = compared?;
    if matches.get_flag("json") {
        let json = serde_json::to_string_pretty(&report).expect("texts and numbers always are JSON");
        common::print(&format!("{json}\n"));
    } else {
        common::print(&report.table());
    }
    Ok(if report.exact { exit::DONE } else { exit::BREACH })
}

fn subject(matches: &ArgMatches) -> Option<Subject> {
    matches.get_one::<String>("subject").and_then(|name| Subject::named(name))
}

fn aof(matches: &ArgMatches) -> Option<Aof> {
    Some(match matches.get_one::<String>("aof")?.as_str() {
        "off" => Aof::Off,
        "always" => Aof::Always,
        _ => Aof::Everysec,
    })
}

fn settings(matches: &ArgMatches) -> Result<Pairs, u8> {
    let text = |name| matches.get_one::<String>(name).cloned();
    let slots = matches.get_one::<u32>("slots").map(ToString::to_string).unwrap_or_default();
    let mut pairs: Pairs = vec![("slots".to_owned(), slots)];
    pairs.extend(text("engine-latency").map(|latency| ("simulated-latency".to_owned(), latency)));
    for pair in matches.get_many::<String>("set").into_iter().flatten() {
        let Some((name, value)) = pair.split_once('=') else {
            eprintln!("error: --set takes NAME=VALUE, not {pair}");
            return Err(common::USAGE);
        };
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

/// Says why the run cannot go on; answers the exit code.
fn say(error: &Error) -> u8 {
    eprintln!("startjobs: {error}");
    match error {
        Error::NoServer(_) => exit::UNAVAILABLE,
        Error::Redis(error) if error.kind == Kind::Unreachable => exit::UNAVAILABLE,
        Error::Settings(_) => exit::CONFIG,
        Error::Usage(_) => common::USAGE,
        _ => exit::FAILED,
    }
}
