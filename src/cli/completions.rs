//! `startjobs completions`: what a shell needs to complete our words.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::{exit, output};

const EXAMPLES: &str = "Examples:
  startjobs completions bash > ~/.local/share/bash-completion/completions/startjobs
  startjobs completions zsh > ~/.zfunc/_startjobs
  startjobs completions fish > ~/.config/fish/completions/startjobs.fish";

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Runs it, for this command tree.
pub(super) fn run(args: &CompletionsArgs, mut tree: Command) -> ExitCode {
    let mut text = Vec::new();
    generate(args.shell, &mut tree, "startjobs", &mut text);
    output::print(&String::from_utf8_lossy(&text));
    ExitCode::from(exit::DONE)
}
