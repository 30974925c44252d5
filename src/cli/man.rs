//! `startjobs man`, and the same reference as Markdown: both come from the command tree itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::exit;

const EXAMPLES: &str = "Examples:
  startjobs man --out /usr/local/share/man/man1
  startjobs man --out man && man -l man/startjobs-status.1";

/// The command.
pub fn command() -> Command {
    let out = Arg::new("out").long("out").value_name("DIR").required(true).value_parser(value_parser!(PathBuf));
    Command::new("man")
        .about("Write one manual page for each command")
        .before_help(EXAMPLES)
        .arg(out.help("Where to; made if it does not exist"))
}

/// Runs it.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let Some(out) = matches.get_one::<PathBuf>("out") else { return ExitCode::from(super::common::USAGE) };
    match write(out) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => {
            eprintln!("startjobs: cannot write to {}: {error}", out.display());
            ExitCode::from(exit::FAILED)
        }
    }
}

fn write(out: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(out)?;
    clap_mangen::generate_to(whole(), out)
}

/// The command tree without what is not for users, and without clap's own `help`.
fn whole() -> Command {
    super::command().disable_help_subcommand(true)
}

/// How wide help texts are in the reference.
const WIDTH: usize = 120;

/// Every command with its help text: what docs/cli.md holds.
pub fn markdown() -> String {
    let mut root = whole().term_width(WIDTH);
    root.build();
    let mut text = "# Commands\n\nMade from the commands themselves; a test keeps it current.\n".to_owned();
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
