//! `startjobs replicas`: who is there.

use std::process::ExitCode;

use clap::Args;

use super::exit;
use super::output::{self, or_dash};
use super::session::{FleetArgs, Session};
use crate::ops::printable::{json, printable, span};
use crate::ops::replicas::Replica;

const EXAMPLES: &str = "Examples:
  startjobs replicas
  startjobs replicas --json | jq '.replicas[] | select(.state == \"lost\")'";

const NOTES: &str = "States:
  running
  draining  it finishes what it holds, then ends
  lost      not heard of for claim-idle: other replicas take over what it held
  left      it ended as it should
  unknown   a consumer of the group that is no replica

Exit codes: 0 shown; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

const HEADINGS: [&str; 10] =
    ["name", "host", "pid", "version", "up", "state", "slots", "in use", "pending", "last seen"];

/// List the replicas and their states
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct ReplicasArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Runs it.
pub(super) fn run(args: ReplicasArgs) -> ExitCode {
    Session::run(args.fleet, async |session| match session.ask(session.view.look()).await {
        Ok(look) => {
            let replicas = session.view.replicas(&look);
            let rows: Vec<_> = replicas.replicas.iter().map(row).collect();
            output::print(&if args.json { json(&replicas) } else { output::table(HEADINGS, &rows) });
            if rows.is_empty() {
                eprintln!("startjobs: no replica has been here");
            }
            exit::DONE
        }
        Err(error) => session.failed(&error),
    })
}

fn row(replica: &Replica) -> [String; 10] {
    let text = |text: &Option<String>| or_dash(text.as_deref().map(printable));
    let number = |number: Option<u64>| or_dash(number.map(|number| number.to_string()));
    [
        printable(&replica.name),
        text(&replica.host),
        number(replica.pid),
        text(&replica.version),
        or_dash(replica.up_ms.map(span)),
        replica.state.as_str().to_owned(),
        number(replica.slots),
        number(replica.in_flight),
        replica.pending.to_string(),
        or_dash(replica.last_seen_ago_ms.map(|ago| format!("{} ago", span(ago)))),
    ]
}
