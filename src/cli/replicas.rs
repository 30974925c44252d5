//! `startjobs replicas`: who is there.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::operate::{self, Session, or_dash};
use super::{common, exit};
use crate::ops::printable::{printable, span};
use crate::ops::replicas::Replica;

const EXAMPLES: &str = "Examples:
  startjobs replicas
  startjobs replicas --json | jq '.replicas[] | select(.state == \"lost\")'";

const NOTES: &str =
    "States: running; draining (finishes what it has); lost (not heard of for claim-idle: others take over what it
held); left (ended as it should); unknown (a consumer of the group that is no replica).

Exit codes: 0 shown; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

const HEADINGS: [&str; 10] =
    ["name", "host", "pid", "version", "up", "state", "slots", "in use", "pending", "last seen"];

/// The command and its flags.
pub fn command() -> Command {
    Command::new("replicas")
        .about("List the replicas and what they are up to")
        .before_help(EXAMPLES)
        .after_help(NOTES)
        .arg(operate::json_flag())
        .args(operate::args())
}

/// Runs it.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let json = matches.get_flag("json");
    Session::run(matches, async |session| match session.ask(session.view.look()).await {
        Ok(look) => {
            let replicas = session.view.replicas(&look);
            let rows: Vec<_> = replicas.replicas.iter().map(row).collect();
            common::print(&if json { operate::json(&replicas) } else { operate::table(HEADINGS, &rows) });
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
