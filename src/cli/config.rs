//! `startjobs config`: what the settings are, and where each came from.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output;
use super::policy::{self, PolicyArgs};
use super::setting_flags::{self, All};
use crate::ops::printable::json_pretty;
use crate::settings::flags::SettingFlags;
use crate::settings::{Loaded, Report, ResolvedSetting, Settings};
use crate::telemetry::Config;

/// The version of the JSON form.
const SCHEMA_VERSION: u32 = 1;

const EXAMPLES: &str = "Examples:
  startjobs config show
  startjobs config show --origin
  startjobs config show --config /etc/startjobs.toml --json | jq -r '.settings[].name'
  startjobs config policy check /etc/startjobs/policy.toml";

const NOTES: &str = "Exit codes: 0 shown; 2 usage; 78 a setting is wrong, and every problem is named.";

/// Look at the settings, and check a policy file
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, arg_required_else_help = true)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Show(ShowArgs),
    Policy(PolicyArgs),
}

/// Show every setting as it would be used, secrets starred
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
struct ShowArgs {
    /// Show where each value came from
    #[arg(long)]
    origin: bool,
    /// Print JSON, with origins
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags<All>,
}

/// Runs the subcommand.
pub(super) fn run(args: ConfigArgs) -> ExitCode {
    match args.command {
        ConfigCommand::Show(args) => show(args),
        ConfigCommand::Policy(args) => policy::run(args),
    }
}

fn show(args: ShowArgs) -> ExitCode {
    let Loaded { settings, resolved, warnings } = match Settings::load(&args.settings.sources()) {
        Ok(loaded) => loaded,
        Err(report) => return setting_flags::refused(&report),
    };
    for warning in warnings {
        output::note(&format!("warning: {warning}"));
    }
    if let Some(problem) = policy::problem(&settings) {
        output::complain(&problem, "");
        return ExitCode::from(Report::EXIT_CODE);
    }
    output::print(&if args.json { json(&resolved) } else { table(&resolved, args.origin) });
    say_traces();
    ExitCode::SUCCESS
}

/// Whether a worker with this environment exports traces, and where to. Not among the settings, which are ours.
fn say_traces() {
    match Config::of_process() {
        Ok(Some(config)) => output::note(&format!("traces: {config}")),
        Ok(None) => output::note("traces: off; OTEL_EXPORTER_OTLP_ENDPOINT turns them on"),
        Err(problems) => problems.iter().for_each(|problem| output::note(&format!("traces are off: {problem}"))),
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

/// The settings and their origins, as `--json` prints them; credentials are starred.
pub(super) fn json(resolved: &[ResolvedSetting]) -> String {
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
