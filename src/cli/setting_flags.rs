//! Which settings each command takes as flags, and how they are loaded.

use std::process::ExitCode;

use super::output;
use crate::settings::flags::{SettingFlags, Takes};
use crate::settings::table::{Group, Row};
use crate::settings::{Loaded, Report, Settings};

/// Every setting.
pub(super) enum All {}

impl Takes for All {
    fn takes(_row: &Row) -> bool {
        true
    }
}

/// Redis and the streams.
pub(super) enum Streams {}

impl Takes for Streams {
    fn takes(row: &Row) -> bool {
        [Group::File, Group::Redis, Group::Streams].contains(&row.group)
    }
}

/// What an audit compares: the streams, and the times and the engine of the replicas.
pub(super) enum Audited {}

impl Takes for Audited {
    fn takes(row: &Row) -> bool {
        [Group::File, Group::Redis, Group::Streams, Group::Worker, Group::Engine].contains(&row.group)
    }
}

/// What looking at a fleet needs: Redis, the names of its keys, and when a replica counts as lost.
#[derive(Debug)]
pub(super) enum Fleet {}

impl Takes for Fleet {
    fn takes(row: &Row) -> bool {
        const NAMES: [&str; 7] =
            ["jobs-stream", "results-stream", "dead-stream", "group", "offset-key", "claim-idle", "record-prefix"];
        [Group::File, Group::Redis].contains(&row.group) || NAMES.contains(&row.name)
    }
}

/// The same, and what answering a job of a fleet needs.
#[derive(Debug)]
pub(super) enum Answers {}

impl Takes for Answers {
    fn takes(row: &Row) -> bool {
        Fleet::takes(row) || ["outcome-fields", "max-field-bytes", "ledger-ttl"].contains(&row.name)
    }
}

/// Where the policy is.
pub(super) enum PolicyFile {}

impl Takes for PolicyFile {
    fn takes(row: &Row) -> bool {
        row.group == Group::File || row.name == "policy-file"
    }
}

/// Where a worker's probes answer.
pub(super) enum Probe {}

impl Takes for Probe {
    fn takes(row: &Row) -> bool {
        row.group == Group::File || row.name == "http-addr"
    }
}

/// The settings of this command line, or the exit code after the report of everything that is wrong with them.
pub(super) fn load<T>(flags: SettingFlags<T>) -> Result<Settings, ExitCode> {
    load_whole(flags).map(|loaded| loaded.settings)
}

/// The same with where each setting came from.
pub(super) fn load_whole<T>(flags: SettingFlags<T>) -> Result<Loaded, ExitCode> {
    match Settings::load(&flags.sources()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                output::note(&format!("warning: {warning}"));
            }
            Ok(loaded)
        }
        Err(report) => Err(refused(&report)),
    }
}

/// Says everything that is wrong with the settings; the exit code that follows.
pub(super) fn refused(report: &Report) -> ExitCode {
    output::complain(&report.to_string(), "");
    ExitCode::from(Report::EXIT_CODE)
}
