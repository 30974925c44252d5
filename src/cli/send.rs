//! placeholder
use std::process::ExitCode;
use clap::{ArgMatches, Command};
/// x
pub fn command() -> Command { Command::new("send") }
/// x
pub fn run(_matches: &ArgMatches) -> ExitCode { ExitCode::from(1) }
