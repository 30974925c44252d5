//! Which settings each command takes as flags, and how they are loaded.

use std::process::ExitCode;

use crate::settings::flags::{SettingFlags, Takes};
use crate::settings::table::{Group, Row};
use crate::settings::{Report, Settings};

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
pub(super) enum Fleet {}

impl Takes for Fleet {
    fn takes(row: &Row) -> bool {
        const NAMES: [&str; 9] = [
            "redis-url",
            "redis-password-file",
            "jobs-stream",
            "results-stream",
            "dead-stream",
            "group",
            "offset-key",
            "claim-idle",
            "record-prefix",
        ];
        row.group == Group::File || NAMES.contains(&row.name)
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
    match Settings::load(&flags.sources()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            Ok(loaded.settings)
        }
        Err(report) => {
            eprintln!("{report}");
            Err(ExitCode::from(Report::EXIT_CODE))
        }
    }
}
