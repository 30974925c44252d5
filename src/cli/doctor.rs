//! `startjobs doctor`: what is wrong with the surroundings, and what helps.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};

use super::operate::{self, Colour, Session, paint};
use super::{common, exit};
use crate::ops::doctor::{self, DoctorReport, Finding, Level};
use crate::ops::printable::printable;
use crate::settings::table::Group;
use crate::settings::{Loaded, Settings, flags};

const EXAMPLES: &str = "Examples:
  startjobs doctor
  startjobs doctor --image galaxy/engine:1
  startjobs doctor --json | jq '.findings[] | select(.level != \"ok\")'";

const NOTES: &str = "Give it the settings that the worker has. It changes nothing.

Exit codes: 0 nothing fails (there may be warnings); 1 something fails; 2 usage; 78 a setting is wrong.";

/// The command and its flags.
pub fn command() -> Command {
    let image = Arg::new("image").long("image").value_name("IMAGE").help("Is this image on the engine?");
    Command::new("doctor")
        .about("Look for what is wrong with Redis, the engine and this machine")
        .before_help(EXAMPLES)
        .after_help(NOTES)
        .arg(image)
        .arg(operate::json_flag())
        .arg(operate::timeout())
        .args(flags::args(Group::ALL))
}

/// Runs it.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let Loaded { settings, resolved, warnings } = match Settings::load(&common::sources(matches)) {
        Ok(loaded) => loaded,
        Err(report) => {
            eprintln!("{report}");
            return ExitCode::from(exit::CONFIG);
        }
    };
    let image = matches.get_one::<String>("image").cloned();
    let (json, limit) = (matches.get_flag("json"), operate::limit(matches));
    common::block_on(async move {
        let mut findings = doctor::settings(&warnings);
        findings.extend(doctor::secrets(&resolved));
        findings.extend(examine(&settings, image.as_deref(), limit).await);
        let report = DoctorReport::new(findings);
        common::print(&if json { operate::json(&report) } else { text(&report) });
        if report.level == Level::Fail { exit::FAILED } else { exit::DONE }
    })
}

async fn examine(settings: &Settings, image: Option<&str>, limit: Duration) -> Vec<Finding> {
    let mut findings = vec![doctor::encryption(&settings.redis)];
    match Session::open(settings, limit).await {
        Ok(session) => findings.extend(doctor::redis(&session.view, limit).await),
        Err(error) => findings.push(doctor::no_redis(&settings.redis.display_url, &error.text)),
    }
    findings.extend(doctor::engine(settings, image, limit).await);
    findings
}

fn text(report: &DoctorReport) -> String {
    let width = report.findings.iter().map(|finding| finding.about.len()).max().unwrap_or_default();
    let line = |finding: &Finding| {
        let level = match finding.level {
            Level::Ok => paint("ok  ", Colour::Green),
            Level::Warn => paint("warn", Colour::Yellow),
            Level::Fail => paint("fail", Colour::Red),
        };
        let mut text = format!("{level}  {:width$}  {}\n", finding.about, printable(&finding.found));
        if !finding.remedy.is_empty() {
            _ = writeln!(text, "{:indent$}-> {}", "", printable(&finding.remedy), indent = 4 + 2 + width + 2);
        }
        text
    };
    report.findings.iter().map(line).collect()
}
