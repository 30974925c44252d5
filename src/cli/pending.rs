//! `startjobs pending`: what the replicas hold.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

use super::operate::{self, Session, or_dash};
use super::{common, exit};
use crate::ops::pending::Held;
use crate::ops::printable::{printable, span};

const EXAMPLES: &str = "Examples:
  startjobs pending
  startjobs pending --limit 1000
  startjobs pending --json | jq -r '.pending[].game_id'";

const NOTES: &str =
    "Oldest first. Idle is how long ago the holder touched the entry; a living one does so every third of claim-idle.

Exit codes: 0 shown; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

const HEADINGS: [&str; 6] = ["id", "game", "replica", "idle", "deliveries", "age"];

/// The command and its flags.
pub fn command() -> Command {
    let limit = Arg::new("limit")
        .long("limit")
        .value_name("COUNT")
        .default_value("100")
        .value_parser(clap::value_parser!(u32).range(1..=100_000))
        .help("How many to list");
    Command::new("pending")
        .about("List the entries that replicas hold")
        .before_help(EXAMPLES)
        .after_help(NOTES)
        .arg(limit)
        .arg(operate::json_flag())
        .args(operate::args())
}

/// Runs it.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let json = matches.get_flag("json");
    let limit = matches.get_one::<u32>("limit").map_or(100, |&limit| limit as usize);
    Session::run(matches, async |session| match session.ask(session.view.pending(limit)).await {
        Ok(pending) => {
            let rows: Vec<_> = pending.pending.iter().map(row).collect();
            common::print(&if json { operate::json(&pending) } else { operate::table(HEADINGS, &rows) });
            let more = pending.total.saturating_sub(rows.len() as u64);
            if more > 0 {
                eprintln!("startjobs: {more} more; raise --limit to see them");
            }
            exit::DONE
        }
        Err(error) => session.failed(&error),
    })
}

fn row(held: &Held) -> [String; 6] {
    let game =
        if held.has_payload { or_dash(held.game_id.as_deref().map(printable)) } else { "(payload gone)".to_owned() };
    [
        held.id.clone(),
        game,
        printable(&held.replica),
        span(held.idle_ms),
        held.deliveries.to_string(),
        span(held.age_ms),
    ]
}
