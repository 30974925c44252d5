//! The command line: one file per command; `main` only hands over the arguments.

// the replica
pub mod worker;
// does it live?
pub mod probe;
// one job by hand
pub mod send;
// was anything lost, was anything answered twice?
pub mod audit;
// what nobody could answer
pub mod dead;
// how the fleet is doing
pub mod alerts;
pub mod check;
pub mod doctor;
pub mod inspect;
pub mod pending;
pub mod replicas;
pub mod status;
// an operator holds the fleet
pub mod pause;
// a fleet on this machine
pub mod demo;
pub mod dev;
// a fleet under load
pub mod bench;
// the settings as they apply
pub mod config;
// the demonstration's game engine
pub mod engine;
// for shells and readers
pub mod completions;
pub mod man;
// what commands share
mod common;
mod operate;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Command;

use crate::secret::without_credentials;
use crate::version;

/// The exit codes that users script against.
pub mod exit {
    /// Done, or drained.
    pub const DONE: u8 = 0;
    /// Failed; for the worker: the drain deadline passed; for `send --wait`: the outcome is a failure.
    pub const FAILED: u8 = 1;
    /// A threshold or accounting breach.
    pub const BREACH: u8 = 3;
    /// Redis or the engine is unavailable.
    pub const UNAVAILABLE: u8 = 69;
    /// `--wait` timed out.
    pub const TIMED_OUT: u8 = 75;
    /// A setting, or what a setting points at, is wrong.
    pub const CONFIG: u8 = 78;
    /// SIGHUP came twice.
    pub const HUNG_UP: u8 = 129;
    /// SIGINT came twice.
    pub const INTERRUPTED: u8 = 130;
    /// SIGTERM came twice.
    pub const TERMINATED: u8 = 143;
}

const EXAMPLES: &str = "Examples:
  startjobs dev                                            a fleet on this machine
  startjobs worker --redis-url redis://redis:6379          one replica
  startjobs send --game g1 --image galaxy/engine:1 --wait  one job, followed to its outcome
  startjobs status                                         how the fleet is doing
  startjobs alerts                                         what would be alerted, and its runbook
  startjobs inspect game-17                                the story of a game or a job
  startjobs config show --origin                           settings and their origins";

/// The whole command line.
pub fn command() -> Command {
    Command::new("startjobs")
        .version(version::VERSION)
        .long_version(version::LONG)
        .about("Starts game engine containers from a Redis stream: one outcome per job, whatever dies")
        .before_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(worker::command())
        .subcommand(send::command())
        .subcommand(status::command())
        .subcommand(alerts::command())
        .subcommand(replicas::command())
        .subcommand(pending::command())
        .subcommand(inspect::command())
        .subcommand(dead::command())
        .subcommand(audit::command())
        .subcommand(dev::command())
        .subcommand(demo::command())
        .subcommand(bench::command())
        .subcommand(bench::subject::command())
        .subcommand(check::command())
        .subcommand(doctor::command())
        .subcommand(pause::command())
        .subcommand(pause::resume_command())
        .subcommand(probe::command())
        .subcommand(config::command())
        .subcommand(completions::command())
        .subcommand(man::command())
        .subcommand(engine::command())
}

/// Parses the arguments, runs the command, and answers the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = match command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error, &arguments),
    };
    match matches.subcommand() {
        Some(("worker", matches)) => worker::run(matches),
        Some(("send", matches)) => send::run(matches),
        Some(("status", matches)) => status::run(matches),
        Some(("alerts", matches)) => alerts::run(matches),
        Some(("replicas", matches)) => replicas::run(matches),
        Some(("pending", matches)) => pending::run(matches),
        Some(("inspect", matches)) => inspect::run(matches),
        Some(("check", matches)) => check::run(matches),
        Some(("doctor", matches)) => doctor::run(matches),
        Some(("pause", matches)) => pause::run(matches),
        Some(("resume", matches)) => pause::resume(matches),
        Some(("healthcheck", matches)) => probe::run(matches),
        Some(("completions", matches)) => completions::run(matches),
        Some(("man", matches)) => man::run(matches),
        Some(("dead", matches)) => dead::run(matches),
        Some(("audit", matches)) => audit::run(matches),
        Some(("dev", matches)) => dev::run(matches),
        Some(("demo", matches)) => demo::run(matches),
        Some(("bench", matches)) => bench::run(matches),
        Some(("bench-subject", matches)) => bench::subject::run(matches),
        Some(("config", matches)) => config::run(matches),
        Some(("engine", matches)) => engine::run(matches),
        _ => unreachable!("a subcommand is required, and every one is listed here"),
    }
}

/// Ends with a usage error, or with help. It repeats no credential: it quotes what was given, and people paste URLs into
/// the wrong place.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let text = error.render().to_string();
    let starred = arguments.iter().fold(text.clone(), |text, argument| {
        let argument = argument.to_string_lossy();
        let value =
            argument.split_once('=').filter(|_| argument.starts_with('-')).map_or(&*argument, |(_, value)| value);
        let shown = without_credentials(value);
        if shown == value { text } else { text.replace(value, &shown) }
    });
    if starred == text {
        error.exit();
    }
    eprint!("{starred}");
    ExitCode::from(common::USAGE)
}
