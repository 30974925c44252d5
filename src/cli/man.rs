//! `startjobs man`, and the same reference as Markdown: both come from the command tree itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};

use super::{exit, output};

const EXAMPLES: &str = "Examples:
  startjobs man --out /usr/local/share/man/man1
  startjobs man --out man && man -l man/startjobs-status.1";

/// Write one manual page for each command
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct ManArgs {
    /// Folder to write to; created if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs it, for this command tree.
pub(super) fn run(args: &ManArgs, tree: Command) -> ExitCode {
    match write(&args.out, tree) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => {
            let what = format!("cannot write to {}: {error}", args.out.display());
            output::complain(&what, "name a directory in which you may write");
            ExitCode::from(exit::FAILED)
        }
    }
}

fn write(out: &Path, tree: Command) -> std::io::Result<()> {
    std::fs::create_dir_all(out)?;
    clap_mangen::generate_to(without_help_command(tree), out)
}

/// clap's own `help` has no page.
fn without_help_command(tree: Command) -> Command {
    tree.disable_help_subcommand(true)
}

/// How wide help texts are in the reference.
const WIDTH: usize = 120;

/// Every command of this tree with its help text: what docs/cli.md holds.
pub fn markdown(tree: Command) -> String {
    let mut root = without_help_command(tree).term_width(WIDTH);
    root.build();
    let mut text = "# Commands\n\nMade from the commands' own `--help`; a test keeps it current.\n".to_owned();
    section(&root, "startjobs", &mut text);
    text
}

fn section(command: &Command, path: &str, text: &mut String) {
    let mut shown = command.clone().term_width(WIDTH);
    let help = shown.render_long_help().to_string();
    let lines: Vec<&str> = help.trim().lines().map(str::trim_end).collect();
    _ = writeln!(text, "\n## {path}\n\n```text\n{}\n```", lines.join("\n"));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        section(below, &format!("{path} {}", below.get_name()), text);
    }
}
