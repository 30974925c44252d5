//! `runtime reconcile --dry-run`.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::list::short;
use crate::cli::session::Session;
use crate::cli::setting_flags::{self, All};
use crate::cli::{exit, output, process};
use crate::engine::EngineError;
use crate::ops::SCHEMA_VERSION;
use crate::ops::printable::{json, printable};
use crate::settings::Settings;
use crate::settings::flags::SettingFlags;
use crate::start::StartError;
use crate::start::change::Change;
use crate::start::host::HostError;
use crate::starter::survey::{Survey, SurveyError, Surveyor};

/// What would be changed, as JSON shows it.
#[derive(Debug, Serialize)]
struct DryRuns<'a> {
    schema_version: u32,
    /// One for each engine.
    hosts: Vec<DryRun<'a>>,
}

#[derive(Debug, Serialize)]
struct DryRun<'a> {
    host: &'a str,
    fleet: &'a str,
    /// Containers of the fleet that were looked at.
    containers: usize,
    changes: &'a [Change],
}

/// Looks at the configured engine, and says what its replicas would change.
pub(super) fn run(settings: SettingFlags<All>, limit: Duration, as_json: bool) -> ExitCode {
    let settings = match setting_flags::load(settings) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    process::block_on(async move {
        let session = match Session::open(&settings, limit).await {
            Ok(session) => session,
            Err(error) => return Session::no_connection(&settings, &error),
        };
        show(&session, &settings, as_json).await
    })
}

async fn show(session: &Session, settings: &Settings, as_json: bool) -> u8 {
    let surveyors = match Surveyor::all(settings, &session.view.shared_connection()) {
        Ok(surveyors) => surveyors,
        Err(error) => {
            output::complain(&printable(&error.to_string()), "`startjobs config show --origin` says who set what");
            return exit::CONFIG;
        }
    };
    let mut surveys = Vec::with_capacity(surveyors.len());
    for surveyor in surveyors {
        match surveyor.dry_run().await {
            Ok(survey) => surveys.push(survey),
            Err(error) => return failed(session, &error),
        }
    }
    let forms = DryRuns { schema_version: SCHEMA_VERSION, hosts: surveys.iter().map(form).collect() };
    let texts: Vec<String> = surveys.iter().map(text).collect();
    output::print(&if as_json { json(&forms) } else { texts.join("\n") });
    exit::DONE
}

fn form(survey: &Survey) -> DryRun<'_> {
    let Survey { host, fleet, found } = survey;
    DryRun { host, fleet, containers: found.containers, changes: &found.changes }
}

/// What helps where the engine does not answer as it should.
const ENGINE_REMEDY: &str = "correct docker-host, or start the engine; `startjobs doctor` looks for the cause";

fn failed(session: &Session, error: &SurveyError) -> u8 {
    let unavailable = |error: &EngineError| {
        output::complain(&format!("the engine: {}", printable(&error.to_string())), ENGINE_REMEDY);
        exit::UNAVAILABLE
    };
    match error {
        SurveyError::Host(HostError::Store(error)) | SurveyError::Start(StartError::Store(error)) => {
            session.failed(error)
        }
        SurveyError::Host(HostError::Engine(error)) => unavailable(error),
        SurveyError::Host(error) => {
            output::complain(&printable(&error.to_string()), "`startjobs doctor` looks for the cause");
            exit::FAILED
        }
        SurveyError::Start(error) => {
            output::complain(&format!("the engine: {}", printable(&error.to_string())), ENGINE_REMEDY);
            exit::UNAVAILABLE
        }
    }
}

fn text(survey: &Survey) -> String {
    let Survey { host, fleet, found } = survey;
    let head = format!(
        "host {} of fleet {}: {} containers looked at, {} would be changed\n",
        printable(host),
        printable(fleet),
        found.containers,
        found.changes.len()
    );
    let rows: Vec<[String; 4]> = found.changes.iter().map(row).collect();
    if rows.is_empty() {
        head
    } else {
        format!("{head}\n{}", output::table(["change", "game", "container", "detail"], &rows))
    }
}

fn row(change: &Change) -> [String; 4] {
    let (what, game, container, detail) = match change {
        Change::Ended { game_id, container_id, exit_code } => {
            let code =
                exit_code.map_or_else(|| "its exit code is not known".to_owned(), |code| format!("exit code {code}"));
            ("ended", game_id, container_id, code)
        }
        Change::Moved { game_id, container_id, engine_endpoint } => {
            ("moved", game_id, container_id, format!("it answers at {engine_endpoint}"))
        }
        Change::Revived { game_id, container_id, engine_endpoint } => {
            ("revived", game_id, container_id, format!("it runs again at {engine_endpoint}"))
        }
        Change::Rebuilt { game_id, container_id } => {
            ("rebuilt", game_id, container_id, "it runs and has no record".to_owned())
        }
        Change::Removed { game_id, container_id, stopped_by } if stopped_by.is_empty() => {
            ("removed", game_id, container_id, "no record names it".to_owned())
        }
        Change::Removed { game_id, container_id, stopped_by } => {
            ("removed", game_id, container_id, format!("its game was stopped by {stopped_by}"))
        }
        Change::NotRemoved { game_id, container_id, why } => ("not_removed", game_id, container_id, why.clone()),
    };
    [what.to_owned(), printable(game), printable(&short(container)), printable(&detail)]
}
