//! `startjobs completions`: what a shell needs to complete our words.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::{Shell, generate};

use super::{common, exit};

const EXAMPLES: &str = "Examples:
  startjobs completions bash > ~/.local/share/bash-completion/completions/startjobs
  startjobs completions zsh > ~/.zfunc/_startjobs
  startjobs completions fish > ~/.config/fish/completions/startjobs.fish";

/// The command.
pub fn command() -> Command {
    Command::new("completions").about("Print the completions of a shell").before_help(EXAMPLES).arg(
        Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell)).help("Which shell"),
    )
}

/// Runs it.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let Some(&shell) = matches.get_one::<Shell>("shell") else { return ExitCode::from(common::USAGE) };
    let mut text = Vec::new();
    generate(shell, &mut super::command(), "startjobs", &mut text);
    common::print(&String::from_utf8_lossy(&text));
    ExitCode::from(exit::DONE)
}
