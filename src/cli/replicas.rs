//! `startjobs replicas`: who is there.

use std::process::ExitCode;

use clap::Args;

use super::exit;
use super::output::{self, or_dash};
use super::session::{FleetArgs, Session};
use crate::ops::printable::{json, printable, since, span};
use crate::ops::replicas::Replica;

const EXAMPLES: &str = "Examples:
  startjobs replicas
  startjobs replicas --json | jq '.replicas[] | select(.state == \"lost\")'";

const NOTES: &str = "States:
  running
  draining  it finishes what it holds, then ends
  dead      its connection closed: the others took over at once what it held
  lost      silent for claim-idle: the others take over what it held
  left      it ended as it should
  unknown   a consumer of the group that is no replica

Host is the replica's machine or container, engine host the host whose games it starts (`startjobs runtime hosts`).

Notice, of a replica that is alive: would the others notice its death at once?
  on        yes, by its closed connection, after disconnect-grace
  down      not now: the connection that shows that it lives is not there; it is being made again
  refused   no, only after claim-idle: the server refuses PUBSUB NUMSUB; `startjobs doctor` names missing rights
  off       no, only after claim-idle: disconnect-grace is off
  -         no, only after claim-idle: it is of an older version
Notice, of a dead or lost replica: how its death was noticed (disconnect or silence), and how long ago.

Exit codes: 0 shown; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

const HEADINGS: [&str; 12] = [
    "name",
    "host",
    "pid",
    "version",
    "engine host",
    "up",
    "state",
    "slots",
    "in use",
    "pending",
    "last seen",
    "notice",
];

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
            let rows: Vec<_> = replicas.replicas.iter().map(|replica| row(replica, replicas.at_ms)).collect();
            output::print(&if args.json { json(&replicas) } else { output::table(HEADINGS, &rows) });
            output::say_damaged(&replicas.damaged, replicas.damaged_more);
            if rows.is_empty() && replicas.damaged.is_empty() {
                eprintln!("startjobs: no replica has been here");
            }
            exit::DONE
        }
        Err(error) => session.failed(&error),
    })
}

fn row(replica: &Replica, now_ms: u64) -> [String; 12] {
    let text = |text: &Option<String>| or_dash(text.as_deref().map(printable));
    let number = |number: Option<u64>| or_dash(number.map(|number| number.to_string()));
    [
        printable(&replica.name),
        text(&replica.host),
        number(replica.pid),
        text(&replica.version),
        text(&replica.engine_host),
        or_dash(replica.up_ms.map(span)),
        replica.state.as_str().to_owned(),
        number(replica.slots),
        number(replica.in_flight),
        replica.pending.to_string(),
        or_dash(replica.last_seen_ms.map(|at| since(at, now_ms))),
        or_dash(notice(replica, now_ms)),
    ]
}

/// Of the living whether their death would be noticed at once, of the dead how it was.
fn notice(replica: &Replica, now_ms: u64) -> Option<String> {
    let Some(noticed) = replica.noticed else { return Some(replica.disconnect_notice?.as_str().to_owned()) };
    let ago = replica.noticed_ms.map_or_else(String::new, |at| format!(", {}", since(at, now_ms)));
    Some(format!("{}{ago}", noticed.as_str()))
}
