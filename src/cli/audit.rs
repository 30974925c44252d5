//! `startjobs audit`: was anything lost, was anything answered twice? On any live system, from the outside.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{common, exit};
use crate::audit::id::Id;
use crate::audit::{AuditError, Options, Since, audit};
use crate::ops::printable::tame;
use crate::redis::Kind;
use crate::settings::table::Group;
use crate::settings::{Settings, flags};

const EXAMPLES: &str = "Examples:
  startjobs audit --redis-url redis://redis:6379
  startjobs audit --since adoption
  startjobs audit --since 1764000000000-0 --json | jq .violations";

const AFTER: &str = "Reads only, and can run beside a working fleet with the fleet's own settings. Memory: about 100 bytes for each entry in
scope. Exit codes: 0 nothing is violated; 2 usage; 3 violations; 69 Redis is unavailable; 78 a setting, or what it
points at, is wrong.";

/// The command and its flags.
pub fn command() -> Command {
    Command::new("audit")
        .about("Prove that nothing was lost and nothing answered twice, or list what was")
        .before_help(EXAMPLES)
        .after_help(AFTER)
        .arg(
            Arg::new("since")
                .long("since")
                .value_name("ID|adoption")
                .value_parser(since)
                .help("Entries after this id, or all since the fleet adopted the stream [default: as far back as the ledger can tell]"),
        )
        .arg(
            Arg::new("stuck-after")
                .long("stuck-after")
                .value_name("DURATION")
                .default_value("60s")
                .value_parser(humantime::parse_duration)
                .help("How long an entry may wait for somebody to claim it before it counts as stuck"),
        )
        .arg(
            Arg::new("list")
                .long("list")
                .value_name("COUNT")
                .default_value("20")
                .value_parser(value_parser!(u32))
                .help("How many violations are listed; all are counted"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON object"))
        .args(flags::args(&[Group::File, Group::Redis, Group::Streams, Group::Worker, Group::Engine]))
}

fn since(text: &str) -> Result<Since, &'static str> {
    match text {
        "adoption" => Ok(Since::Adoption),
        text => Id::parse(text).map(Since::Entry).ok_or("must be an entry id such as 1764000000000-0, or `adoption`"),
    }
}

/// Runs it.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let settings = match common::settings(&common::sources(matches)) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let options = Options {
        since: matches.get_one::<Since>("since").copied().unwrap_or(Since::Ledger),
        stuck_after: matches.get_one::<Duration>("stuck-after").copied().unwrap_or_default(),
        list_max: matches.get_one::<u32>("list").map_or(0, |&count| usize::try_from(count).unwrap_or(usize::MAX)),
    };
    let json = matches.get_flag("json");
    common::block_on(async move { run_audit(&settings, &options, json).await })
}

async fn run_audit(settings: &Settings, options: &Options, json: bool) -> u8 {
    match audit(settings, options).await {
        Ok(report) => {
            common::print(&if json { tame(report.json()) } else { report.table() });
            if report.is_clean() { exit::DONE } else { exit::BREACH }
        }
        Err(error) => {
            let url = &settings.redis.display_url;
            let (text, code) = match &error {
                AuditError::Redis(error) if error.kind == Kind::WrongType => (common::in_words(error), exit::CONFIG),
                AuditError::Redis(error) => (common::in_words(error), exit::UNAVAILABLE),
                AuditError::Silent(_) => (error.to_string(), exit::UNAVAILABLE),
            };
            eprintln!("startjobs: audit failed: Redis at {url}: {text}");
            code
        }
    }
}
