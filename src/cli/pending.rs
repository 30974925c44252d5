//! `startjobs pending`: what the replicas hold.

use std::process::ExitCode;

use clap::Args;

use super::exit;
use super::output::{self, or_dash};
use super::session::{FleetArgs, Session};
use crate::ops::pending::{Held, Pending};
use crate::ops::printable::{json, printable, span, time};
use crate::redis::RedisError;

const EXAMPLES: &str = "Examples:
  startjobs pending
  startjobs pending --limit 1000
  startjobs pending --json | jq -r '.pending[].game_id'";

const NOTES: &str =
    "Oldest first. IDLE is the time since the replica last touched the entry; a living replica does so every third of
claim-idle.

Exit codes: 0 shown; 1 there is no fleet here; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

const HEADINGS: [&str; 7] = ["id", "game", "replica", "idle", "deliveries", "age", "appended"];

/// List the entries that replicas hold
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct PendingArgs {
    /// Maximum number of entries to list
    #[arg(long, value_name = "COUNT", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Runs it.
pub(super) fn run(args: PendingArgs) -> ExitCode {
    let limit = args.limit as usize;
    Session::run(args.fleet, async |session| match list(session, limit).await {
        Ok(Err(code)) => code,
        Ok(Ok(pending)) => {
            let rows: Vec<_> = pending.pending.iter().map(|held| row(held, pending.at_ms)).collect();
            output::print(&if args.json { json(&pending) } else { output::table(HEADINGS, &rows) });
            let more = pending.total.saturating_sub(rows.len() as u64);
            if more > 0 {
                output::complain(&format!("{more} more"), "raise --limit to see them");
            }
            exit::DONE
        }
        Err(error) => session.failed(&error),
    })
}

/// What is held, or the exit code where there is no fleet.
async fn list(session: &Session, limit: usize) -> Result<Result<Pending, u8>, RedisError> {
    if let Some(code) = session.no_fleet(true).await? {
        return Ok(Err(code));
    }
    session.ask(session.view.pending(limit)).await.map(Ok)
}

fn row(held: &Held, now_ms: u64) -> [String; 7] {
    let game =
        if held.has_payload { or_dash(held.game_id.as_deref().map(printable)) } else { "(payload gone)".to_owned() };
    [
        held.id.clone(),
        game,
        printable(&held.replica),
        if held.is_given_back { "given back".to_owned() } else { span(held.idle_ms) },
        held.deliveries.to_string(),
        span(held.age_ms),
        time(now_ms.saturating_sub(held.age_ms)),
    ]
}
