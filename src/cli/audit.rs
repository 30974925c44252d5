//! `startjobs audit`: was anything lost, was anything answered twice? On any live system, from the outside.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::setting_flags::{self, Audited};
use super::{exit, output, process, session};
use crate::audit::id::Id;
use crate::audit::{AuditError, Options, Since, audit};
use crate::ops::printable::tame;
use crate::redis::Kind;
use crate::settings::Settings;
use crate::settings::flags::SettingFlags;

const EXAMPLES: &str = "Examples:
  startjobs audit --redis-url redis://redis:6379
  startjobs audit --since adoption
  startjobs audit --since 1764000000000-0 --json | jq .violations";

const NOTES: &str = "An audit only reads, and can run beside a working fleet; give it the fleet's own settings. It takes about 100 bytes of
memory for each entry in scope.

Exit codes: 0 no violation; 2 usage; 3 violations; 69 Redis is unavailable; 78 a setting, or what it points at, is wrong.";

/// Prove that no job was lost and none answered twice, or list the violations
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct AuditArgs {
    /// Audit entries after this id, or all since the fleet adopted the stream [default: as far back as the ledger reaches]
    #[arg(long, value_name = "ID|adoption", value_parser = since)]
    since: Option<Since>,
    /// Maximum time that an entry may wait to be claimed before it counts as stuck
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    stuck_after: Duration,
    /// Maximum number of violations that are listed; all are counted
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    list: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags<Audited>,
}

fn since(text: &str) -> Result<Since, &'static str> {
    match text {
        "adoption" => Ok(Since::Adoption),
        text => Id::parse(text).map(Since::Entry).ok_or("must be an entry id such as 1764000000000-0, or `adoption`"),
    }
}

/// Runs it.
pub(super) fn run(args: AuditArgs) -> ExitCode {
    let settings = match setting_flags::load(args.settings) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let options = Options {
        since: args.since.unwrap_or(Since::Ledger),
        stuck_after: args.stuck_after,
        list_max: usize::try_from(args.list).unwrap_or(usize::MAX),
    };
    process::block_on(async move { run_audit(&settings, &options, args.json).await })
}

async fn run_audit(settings: &Settings, options: &Options, json: bool) -> u8 {
    match audit(settings, options).await {
        Ok(report) => {
            output::print(&if json { tame(report.json()) } else { report.table() });
            if report.is_clean() { exit::DONE } else { exit::BREACH }
        }
        Err(error) => {
            let url = &settings.redis.display_url;
            let (text, code) = match &error {
                AuditError::Redis(error) if error.kind == Kind::WrongType => (error.text.clone(), exit::CONFIG),
                AuditError::Redis(error) => (error.text.clone(), exit::UNAVAILABLE),
                AuditError::Silent(_) => (error.to_string(), exit::UNAVAILABLE),
            };
            let remedy = if code == exit::CONFIG {
                session::remedy(Kind::WrongType)
            } else {
                session::remedy(Kind::Unreachable)
            };
            output::complain(&format!("audit failed: Redis at {url}: {text}"), &remedy);
            code
        }
    }
}
