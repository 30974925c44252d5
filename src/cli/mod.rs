//! The command line: one file per command; `main` only hands over the arguments.

// the replica
pub mod worker;
// one job by hand
pub mod send;
// was anything lost, was anything answered twice?
pub mod audit;
// a fleet on this machine
pub mod dev;
pub mod demo;
// a fleet under load
pub mod bench;
// the settings as they apply
pub mod config;
// the demonstration's game engine
pub mod engine;
// what commands share
mod common;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Command;

/// The exit codes that users script against.
pub mod exit {
    /// Done, or drained.
    pub const DONE: u8 = 0;
    /// Failed; for the worker: the drain deadline passed; for `send --wait`: the outcome is a failure.
    pub const FAILED: u8 = 1;
    /// An accounting breach.
    pub const BREACH: u8 = 3;
    /// Redis or the engine is unavailable.
    pub const UNAVAILABLE: u8 = 69;
    /// `--wait` timed out.
    pub const TIMED_OUT: u8 = 75;
    /// A setting, or what a setting points at, is wrong.
    pub const CONFIG: u8 = 78;
    /// SIGINT came twice.
    pub const INTERRUPTED: u8 = 130;
    /// SIGTERM came twice.
    pub const TERMINATED: u8 = 143;
}

const EXAMPLES: &str = "Examples:
  startjobs dev                                            a whole fleet on this machine, until Ctrl-C
  startjobs worker --redis-url redis://redis:6379          one replica
  startjobs send --game g1 --image galaxy/engine:1 --wait  one job, followed to its outcome
  startjobs config show --origin                           every setting and where it comes from";

/// The whole command line.
pub fn command() -> Command {
    Command::new("startjobs")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Starts game engine containers from a Redis stream: one outcome per job, whatever dies")
        .before_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(worker::command())
        .subcommand(send::command())
        .subcommand(audit::command())
        .subcommand(dev::command())
        .subcommand(demo::command())
        .subcommand(bench::command())
        .subcommand(bench::subject_command())
        .subcommand(config::command())
        .subcommand(engine::command())
}

/// Parses the arguments, runs the command, and answers the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = command().get_matches_from(arguments);
    match matches.subcommand() {
        Some(("worker", matches)) => worker::run(matches),
        Some(("send", matches)) => send::run(matches),
        Some(("audit", matches)) => audit::run(matches),
        Some(("dev", matches)) => dev::run(matches),
        Some(("demo", matches)) => demo::run(matches),
        Some(("bench", matches)) => bench::run(matches),
        Some(("bench-subject", matches)) => bench::run_subject(matches),
        Some(("config", matches)) => config::run(matches),
        Some(("engine", matches)) => engine::run(matches),
        _ => unreachable!("a subcommand is required, and every one is listed here"),
    }
}
