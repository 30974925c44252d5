//! `startjobs doctor`: what is wrong with the surroundings, and what helps.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::bundle::{self, Facts};
use super::output::{self, Colour, paint};
use super::session::{LimitArgs, Session};
use super::setting_flags::{self, All};
use super::{exit, process};
use crate::ops::doctor::{self, Compared, DoctorReport, EngineSeen, Finding, Fleets, Level};
use crate::ops::printable::{json, printable};
use crate::redis::RedisError;
use crate::settings::flags::SettingFlags;
use crate::settings::{Loaded, Settings};
use crate::start::host::HostError;
use crate::starter::survey::{FleetsSeen, Survey, SurveyError, Surveyor};

const EXAMPLES: &str = "Examples:
  startjobs doctor
  startjobs doctor --image galaxy/engine:1
  startjobs doctor --bundle bundle.tar
  startjobs doctor --json | jq '.findings[] | select(.level != \"ok\")'";

const NOTES: &str = "Give it the settings that the worker has. It changes nothing.

Exit codes: 0 no check fails (there may be warnings), or --bundle is written; 1 a check fails, or --bundle cannot be
written; 2 usage; 78 a setting is wrong.";

/// Look for what is wrong with Redis, the engine and this machine
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct DoctorArgs {
    /// Check that this image is on the engine
    #[arg(long, value_name = "IMAGE", value_parser = output::not_blank)]
    image: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write what a person who helps needs to see into this file, a tar archive without secrets
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    limit: LimitArgs,
    #[command(flatten)]
    settings: SettingFlags<All>,
}

/// Runs it.
pub(super) fn run(args: DoctorArgs) -> ExitCode {
    let Loaded { settings, resolved, warnings } = match Settings::load(&args.settings.sources()) {
        Ok(loaded) => loaded,
        Err(report) => return setting_flags::refused(&report),
    };
    process::block_on(async move {
        let mut findings = doctor::settings(&warnings);
        findings.extend(doctor::secrets(&resolved));
        findings.extend(doctor::policy(&settings));
        let limit = args.limit.timeout;
        let session = Session::open(&settings, limit).await;
        findings.extend(examine(&settings, &session, args.image.as_deref(), limit).await);
        let report = DoctorReport::new(findings);
        output::print(&if args.json { json(&report) } else { text(&report) });
        if let Some(path) = &args.bundle {
            let view = session.as_ref().ok().map(|session| &session.view);
            let facts = Facts { settings: &settings, resolved: &resolved, report: &report, view, limit };
            // That a check fails is why there is a bundle.
            return bundle::write(path, &facts).await;
        }
        if report.level == Level::Fail { exit::FAILED } else { exit::DONE }
    })
}

async fn examine(
    settings: &Settings,
    session: &Result<Session, RedisError>,
    image: Option<&str>,
    limit: Duration,
) -> Vec<Finding> {
    let mut findings = vec![doctor::encryption(&settings.redis)];
    findings.extend(doctor::sentinels(&settings.redis, limit).await);
    match session {
        Ok(session) => {
            findings.extend(doctor::redis(&session.view, limit).await);
            findings.extend(doctor::engine(settings, image, limit).await);
            findings.extend(beside_records(settings, session, limit).await);
        }
        Err(error) => {
            findings.push(doctor::no_redis(&settings.redis.display_url, &error.text));
            findings.extend(doctor::engine(settings, image, limit).await);
        }
    }
    findings
}

/// The engine beside the records, as its replicas see it. Nothing of an engine that does not answer, which is told already.
async fn beside_records(settings: &Settings, session: &Session, limit: Duration) -> Vec<Finding> {
    let surveyors = Surveyor::all(settings, &session.view.shared_connection()).unwrap_or_default();
    let mut findings = Vec::new();
    for surveyor in surveyors {
        findings.extend(one_beside_records(&surveyor, limit).await);
    }
    findings
}

async fn one_beside_records(surveyor: &Surveyor, limit: Duration) -> Vec<Finding> {
    let fleets = match timeout(limit, surveyor.fleets()).await {
        Ok(Ok(FleetsSeen::Known(names))) => Fleets::Known(names.into_iter().collect()),
        Ok(Ok(FleetsSeen::Refused(words))) => Fleets::Refused(words),
        Ok(Err(_)) | Err(_) => Fleets::Silent,
    };
    if fleets == Fleets::Silent {
        return Vec::new();
    }
    let compared = match timeout(limit, surveyor.dry_run()).await {
        Ok(Ok(Survey { host, found, fleet: _ })) => {
            Compared::Seen { host, containers: found.containers, differing: found.changes.len() }
        }
        Ok(Err(SurveyError::Host(HostError::Unsettled))) => Compared::Unsettled,
        Ok(Err(error)) => Compared::Failed(error.to_string()),
        Err(_) => Compared::Failed(format!("no answer within {}", humantime::format_duration(limit))),
    };
    doctor::engine_seen(&EngineSeen { has_id: surveyor.has_id(), fleets, compared })
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
