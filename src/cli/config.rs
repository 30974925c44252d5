//! `startjobs config`: what the settings are, and where each came from.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;

use crate::ops::printable::json_pretty;
use crate::settings::table::Group;
use crate::settings::{Loaded, Report, ResolvedSetting, Settings, Sources, flags};

/// The version of the JSON form.
const SCHEMA_VERSION: u32 = 1;

/// `config` and its subcommands.
pub fn command() -> Command {
    let show = Command::new("show")
        .about("Show every setting as it would be used")
        .long_about(
            "Show every setting as it would be used, secrets starred. With a bad setting: show all problems and exit \
             with code 78.",
        )
        .arg(switch("origin", "Show where each value came from"))
        .arg(switch("json", "Print JSON, with origins"))
        .args(flags::args(Group::ALL));
    Command::new("config")
        .about("Look at the settings")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(show)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// Runs the subcommand that `matches` of [`command`] names.
pub fn run(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("show", matches)) => show(matches),
        _ => ExitCode::from(2),
    }
}

fn show(matches: &ArgMatches) -> ExitCode {
    let Loaded { resolved, warnings, .. } = match Settings::load(&Sources::of_process(flags::given(matches))) {
        Ok(loaded) => loaded,
        Err(report) => {
            eprintln!("{report}");
            return ExitCode::from(Report::EXIT_CODE);
        }
    };
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    let text = if matches.get_flag("json") { json(&resolved) } else { table(&resolved, matches.get_flag("origin")) };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough: `config show | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to print the settings: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Aligned columns, nothing else: for people and for `grep`.
fn table(resolved: &[ResolvedSetting], with_origin: bool) -> String {
    let names = width(resolved.iter().map(|setting| setting.name));
    let values = width(resolved.iter().map(|setting| setting.value.as_str()));
    let line = |setting: &ResolvedSetting| {
        let ResolvedSetting { name, value, origin } = setting;
        if with_origin {
            format!("{name:names$}  {value:values$}  {origin}\n")
        } else {
            format!("{name:names$}  {value}\n")
        }
    };
    resolved.iter().map(line).collect()
}

fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or_default()
}

#[derive(Serialize)]
struct Shown {
    schema_version: u32,
    settings: Vec<ShownSetting>,
}

#[derive(Serialize)]
struct ShownSetting {
    name: &'static str,
    value: String,
    origin: String,
}

fn json(resolved: &[ResolvedSetting]) -> String {
    let shown = Shown {
        schema_version: SCHEMA_VERSION,
        settings: resolved
            .iter()
            .map(|setting| ShownSetting {
                name: setting.name,
                value: setting.value.clone(),
                origin: setting.origin.to_string(),
            })
            .collect(),
    };
    json_pretty(&shown)
}
