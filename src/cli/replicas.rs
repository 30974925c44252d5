//! `startjobs replicas`: who is there.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::exit;
use super::output::{self, or_dash};
use super::session::{FleetArgs, Session};
use crate::ops::forget::Forgotten;
use crate::ops::look::Look;
use crate::ops::printable::{json, printable, since, span};
use crate::ops::replicas::Replica;
use crate::redis::RedisError;

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

Exit codes: 0 shown; 1 there is no fleet here; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

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

const FORGET_EXAMPLES: &str = "Examples:
  startjobs replicas forget --gone
  startjobs replicas forget rtm-7-0a1b2c";

const FORGET_NOTES: &str = "\
A replica that was killed or cut off is remembered for consumer-idle, and the alert ReplicaLost fires as long. This ends
both at once. It refuses a replica that is alive, that still holds entries, or that may live because it was seen within
its claim-idle. No entry and no game is touched.

Exit codes: 0 done; 1 some replica was not forgotten, and the text says why; 2 usage; 69 Redis is unavailable; 78 a setting
is wrong.";

/// List the replicas and their states
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES, args_conflicts_with_subcommands = true)]
pub(super) struct ReplicasArgs {
    #[command(subcommand)]
    command: Option<ReplicasCommand>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

#[derive(Debug, Subcommand)]
enum ReplicasCommand {
    Forget(ForgetArgs),
}

/// Forget replicas that ended without signing off
#[derive(Debug, Args)]
#[command(before_help = FORGET_EXAMPLES, after_long_help = FORGET_NOTES)]
struct ForgetArgs {
    /// The replica, as `startjobs replicas` names it
    #[arg(value_name = "NAME", value_parser = output::not_blank, required_unless_present = "gone", conflicts_with = "gone")]
    name: Option<String>,
    /// Every replica that is dead or lost
    #[arg(long)]
    gone: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Runs it.
pub(super) fn run(args: ReplicasArgs) -> ExitCode {
    if let Some(ReplicasCommand::Forget(args)) = args.command {
        return Session::run(args.fleet, async |session| match forget(session, args.name.as_deref()).await {
            Ok(code) => code,
            Err(error) => session.failed(&error),
        });
    }
    Session::run(args.fleet, async |session| match look(session).await {
        Ok(Err(code)) => code,
        Ok(Ok(look)) => {
            let replicas = session.view.replicas(&look);
            let rows: Vec<_> = replicas.replicas.iter().map(|replica| row(replica, replicas.at_ms)).collect();
            output::print(&if args.json { json(&replicas) } else { output::table(HEADINGS, &rows) });
            output::say_damaged(&replicas.damaged, replicas.damaged_more);
            if rows.is_empty() && replicas.damaged.is_empty() {
                output::note("no replica has been here");
            }
            exit::DONE
        }
        Err(error) => session.failed(&error),
    })
}

/// One look, or the exit code where there is no fleet.
async fn look(session: &Session) -> Result<Result<Look, u8>, RedisError> {
    if let Some(code) = session.no_fleet(true).await? {
        return Ok(Err(code));
    }
    session.ask(session.view.look()).await.map(Ok)
}

/// Forgets this replica, or every one that is gone.
async fn forget(session: &Session, name: Option<&str>) -> Result<u8, RedisError> {
    let look = match look(session).await? {
        Ok(look) => look,
        Err(code) => return Ok(code),
    };
    let all = session.view.replicas(&look).replicas;
    let wanted: Vec<&Replica> =
        all.iter().filter(|one| name.map_or_else(|| one.is_gone(), |name| one.name == name)).collect();
    if let (Some(name), []) = (name, wanted.as_slice()) {
        output::complain(&format!("{}: there is no such replica", printable(name)), "`startjobs replicas` lists them");
        return Ok(exit::FAILED);
    }
    let mut code = exit::DONE;
    for replica in &wanted {
        let name = printable(&replica.name);
        match session.ask(session.view.forget(&look, replica)).await? {
            Forgotten::Done => output::print(&format!("{name}: forgotten\n")),
            Forgotten::Refused(why) => {
                output::complain(&format!("{name}: not forgotten: {why}"), "`startjobs replicas` shows how it is");
                code = exit::FAILED;
            }
        }
    }
    if wanted.is_empty() {
        output::note("no replica is dead or lost");
    }
    Ok(code)
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
