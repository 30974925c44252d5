//! `startjobs config policy`: a policy file before replicas read it.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{exit, output};
use crate::ops::printable::{json_pretty, printable};
use crate::policy::file::{LoadError, Secrets, load, load_with};
use crate::policy::problem::Problem;
use crate::secret::without_credentials;
use crate::settings::Settings;

/// The version of the JSON form.
const SCHEMA_VERSION: u32 = 1;

const EXAMPLES: &str = "Examples:
  startjobs config policy check /etc/startjobs/policy.toml
  startjobs config policy check policy.toml --without-files
  startjobs config policy check policy.toml --json | jq '.problems[]'";

const CHECK_NOTES: &str = "Every problem is named at once, with its line. Files that values of env name are read too, as a replica reads them; use
--without-files where they are elsewhere, as in CI. docs/policy.md lists the keys.

Exit codes: 0 the policy can be used (there may be warnings); 2 usage; 78 the file has a problem or cannot be read.";

/// Look at a policy file
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, arg_required_else_help = true)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    Check(CheckArgs),
}

/// Check a policy file as a replica does before it uses it
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = CHECK_NOTES)]
struct CheckArgs {
    /// The policy file
    #[arg(value_name = "FILE")]
    file: String,
    /// Do not read the files that values of env name
    #[arg(long)]
    without_files: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(super) fn run(args: PolicyArgs) -> ExitCode {
    let PolicyCommand::Check(CheckArgs { file, without_files, json }) = args.command;
    let checked = Checked::of(&file, if without_files { Secrets::Elsewhere } else { Secrets::Read });
    output::print(&if json { json_pretty(&checked) } else { checked.text() });
    ExitCode::from(if checked.ok { exit::DONE } else { exit::CONFIG })
}

/// What is wrong with the policy file of these settings; nothing where there is none or it is fine.
pub(super) fn problem(settings: &Settings) -> Option<String> {
    let file = settings.policy.file.as_deref()?;
    load(file).err().map(|error| refused(file, &error))
}

/// Why a file is no policy, for stderr.
pub(super) fn refused(file: &str, error: &LoadError) -> String {
    match error {
        LoadError::Unreadable(why) => format!("policy-file {} {why}", printable(&without_credentials(file))),
        LoadError::Wrong(report) => format!("policy-file {}: {report}", printable(&without_credentials(file))),
    }
}

#[derive(Serialize)]
struct Checked {
    schema_version: u32,
    file: String,
    ok: bool,
    digest: Option<String>,
    problems: Vec<ShownProblem>,
    warnings: Vec<ShownProblem>,
}

#[derive(Serialize)]
struct ShownProblem {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    advice: String,
}

impl Checked {
    fn of(file: &str, secrets: Secrets) -> Self {
        let base = Self {
            schema_version: SCHEMA_VERSION,
            file: without_credentials(file),
            ok: false,
            digest: None,
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let problems = match load_with(file, secrets) {
            Ok(loaded) => {
                let digest = loaded.read.policy.digest().map(str::to_owned);
                let warnings = loaded.read.warnings.iter().map(|problem| shown(problem, &base.file)).collect();
                return Self { ok: true, digest, warnings, ..base };
            }
            Err(LoadError::Wrong(report)) => {
                report.problems().iter().map(|problem| shown(problem, &base.file)).collect()
            }
            Err(LoadError::Unreadable(why)) => {
                let advice = format!("{} {why}", base.file);
                vec![ShownProblem { line: None, key: String::new(), value: None, advice }]
            }
        };
        Self { problems, ..base }
    }

    fn text(&self) -> String {
        let file = printable(&self.file);
        let listed = |problems: &[ShownProblem], kind: &str| -> String {
            problems.iter().flat_map(|problem| [kind, " ", &problem.text(), "\n"].map(str::to_owned)).collect()
        };
        if self.ok {
            let digest = self.digest.as_deref().unwrap_or_default();
            return format!("{}{file} is a policy, digest {digest}\n", listed(&self.warnings, "warning:"));
        }
        let count = self.problems.len();
        let count = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
        format!("{}{file} has {count}\n", listed(&self.problems, "problem:"))
    }
}

fn shown(problem: &Problem, file: &str) -> ShownProblem {
    let Problem { line, key, value, advice } = problem.clone();
    let is_of_file = line.is_none() && key.is_empty();
    let advice = if is_of_file { format!("{file} {advice}") } else { advice };
    ShownProblem { line, key, value, advice }
}

impl ShownProblem {
    fn text(&self) -> String {
        let Self { line, key, value, advice } = self;
        let line = line.map_or_else(String::new, |line| format!("line {line}: "));
        let value = value.as_deref().map_or_else(String::new, |value| format!(" = \"{}\"", printable(value)));
        let what = format!("{}{value}", printable(key));
        let separator = if what.is_empty() { "" } else { "\n    " };
        format!("{line}{what}{separator}{}", printable(advice))
    }
}
