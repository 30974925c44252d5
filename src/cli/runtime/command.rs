//! The subcommands of `startjobs runtime`, and their flags.

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::evict::{self, Evict};
use super::list::{self, Wanted};
use super::pull::{self, Pull};
use super::stop::{self, Stop};
use super::{dry_run, explain, hosts, show};
use crate::cli::session::{FleetArgs, LimitArgs, Session, who};
use crate::cli::setting_flags::{All, PolicyFile};
use crate::cli::{confirm, exit, output};
use crate::contract::image_ref::ImageRef;
use crate::ops::games::GameState;
use crate::settings::flags::SettingFlags;
use crate::start::game_id::GameId;

const EXAMPLES: &str = "Examples:
  startjobs runtime list                     the games that run or start, by host
  startjobs runtime hosts                    the hosts, and which of them are dead
  startjobs runtime show game-17
  startjobs runtime stop game-17 --yes
  startjobs runtime evict host-b --yes
  startjobs runtime pull galaxy/engine:2
  startjobs runtime reconcile --dry-run
  startjobs runtime explain galaxy/engine:1  what the policy says of an image";

const LIST_EXAMPLES: &str = "Examples:
  startjobs runtime list
  startjobs runtime list --host host-b
  startjobs runtime list --state stopped
  startjobs runtime list --json | jq '.games[].engine_endpoint'";

const LIST_NOTES: &str = "Without --state, and with running or starting, the lists of the hosts name the games; otherwise the command walks over all
records. It looks at 10,000 records at most, for --timeout at most, and says so where there are more.

Exit codes: 0 shown; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

const SHOW_EXAMPLES: &str = "Examples:
  startjobs runtime show game-17
  startjobs runtime show game-17 --json | jq .record.exit_code";

const SHOW_NOTES: &str =
    "Exit codes: 0 shown; 1 nothing is known; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

const STOP_EXAMPLES: &str = "Examples:
  startjobs runtime stop game-17
  startjobs runtime stop game-17 --yes --by 'ann, INC-42'";

const STOP_NOTES: &str = "The record says at once that the game is stopped, and a start under way ends. The replicas of its host remove the container;
a game may take the stop-grace of the policy to end by itself first. The command waits for that for --wait at most: give
more where stop-grace is longer. Only a new job starts the game again: a job that was appended before is answered with
the failure game_stopped.

Exit codes: 0 stopped, and the container is gone; 1 the game does not run or start, or the answer was no; 2 usage; 69
Redis is unavailable; 75 stopped, and its host has not removed the container within --wait; 78 a setting is wrong.";

const EVICT_EXAMPLES: &str = "Examples:
  startjobs runtime hosts
  startjobs runtime evict host-b
  startjobs runtime evict host-b --yes --by 'ann, INC-42'";

const EVICT_NOTES: &str = "Every game that runs or starts on the host is stopped in its record, as by `runtime stop`. A host that is dead is then
forgotten, and the next job for each of its games starts it on another host. If the dead host comes back, its replicas
remove the containers of these games before they start anything; until then such a game may run twice. A host that is
alive is refused without --force; its replicas then remove the containers.

Exit codes: 0 done; 1 the host is alive, there is nothing to evict, or the answer was no; 2 usage; 69 Redis is
unavailable; 78 a setting is wrong.";

const PULL_EXAMPLES: &str = "Examples:
  startjobs runtime pull galaxy/engine:2
  startjobs runtime pull galaxy/engine:2 --host host-b
  startjobs runtime pull galaxy/engine:2 --detach
  startjobs runtime pull galaxy/engine:2 --json | jq '.hosts[] | {host, state}'";

const PULL_NOTES: &str = "One replica of each host that is alive asks the registry for the image within seconds, whatever pull-policy says and even if
the host has the image. It uses the credentials of its own settings, and its policy must allow the image. Where the
registry has asked for a pause, the host waits for its end. A wish that no replica has carried out ends after an hour.

Exit codes: 0 every host has the image, or --detach; 1 a host failed, or there is none; 2 usage; 69 Redis is
unavailable; 75 not done within --wait, and the pulls go on; 78 a setting is wrong.";

const RECONCILE_EXAMPLES: &str = "Examples:
  startjobs runtime reconcile --dry-run
  startjobs runtime reconcile --dry-run --json | jq '.hosts[].changes[]'";

const RECONCILE_NOTES: &str = "Give it the settings of the replicas of that host. It changes nothing, in Redis or on the engine. It shows at most 20
containers that would be removed, which is what one run removes.

Exit codes: 0 shown; 1 no replica has worked with this engine, or a setting contradicts Redis; 2 usage; 69 Redis or the
engine is unavailable; 78 a setting is wrong.";

const HOSTS_EXAMPLES: &str = "Examples:
  startjobs runtime hosts
  startjobs runtime hosts --json | jq '.hosts[] | select(.standing == \"dead\")'";

const HOSTS_NOTES: &str = "Standings:
  alive    heard of within its host-heartbeat
  dead     not heard of for longer: its replicas have ended or are cut off, or its engine does not answer
  unknown  named by a replica or a record, and never heard of

Games are those that the host's list names: they run or start there, or have just ended.

Exit codes: 0 shown; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

const EXPLAIN_EXAMPLES: &str = "Examples:
  startjobs runtime explain galaxy/engine:1
  startjobs runtime explain galaxy/engine:1 --policy-file policy.toml
  startjobs runtime explain galaxy/engine:1 --json | jq '.gets[]'";

const EXPLAIN_NOTES: &str = "It needs neither Redis nor the engine. Values of env are stars. Every game also gets GAME_ID and PORT, the trace context of
its job, and labels that begin with rtm.

Exit codes: 0 the image may run; 1 it is refused; 2 usage; 78 a setting or the policy is wrong.";

/// The longest name of an operator: it is part of records and outcomes.
const BY_MAX: usize = 100;

/// Look at games, hosts and the policy, stop games, pull images, or give up a host
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, arg_required_else_help = true)]
pub(in crate::cli) struct RuntimeArgs {
    #[command(subcommand)]
    command: RuntimeCommand,
}

#[derive(Debug, Subcommand)]
enum RuntimeCommand {
    List(ListArgs),
    Show(ShowArgs),
    Stop(StopArgs),
    Evict(EvictArgs),
    Pull(PullArgs),
    Reconcile(ReconcileArgs),
    Hosts(HostsArgs),
    Explain(ExplainArgs),
}

/// List games by host
#[derive(Debug, Args)]
#[command(before_help = LIST_EXAMPLES, after_long_help = LIST_NOTES)]
struct ListArgs {
    /// Only games of this host
    #[arg(long, value_name = "HOST", value_parser = output::not_blank)]
    host: Option<String>,
    /// Only games in this state; without it those that run or start
    #[arg(long, value_name = "STATE", value_parser = PossibleValuesParser::new(GameState::ALL.map(GameState::as_str)))]
    state: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Show everything known about one game
#[derive(Debug, Args)]
#[command(before_help = SHOW_EXAMPLES, after_long_help = SHOW_NOTES)]
struct ShowArgs {
    /// The game
    #[arg(value_name = "GAME", value_parser = output::not_blank)]
    game: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Stop a game: its container is removed, and only a new job starts it again
#[derive(Debug, Args)]
#[command(before_help = STOP_EXAMPLES, after_long_help = STOP_NOTES)]
struct StopArgs {
    /// The game
    #[arg(value_name = "GAME", value_parser = game)]
    game: GameId,
    /// Maximum time to wait until the container is removed
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    wait: Duration,
    #[command(flatten)]
    act: ActArgs,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Stop every game of a host, and forget the host if it is dead
#[derive(Debug, Args)]
#[command(before_help = EVICT_EXAMPLES, after_long_help = EVICT_NOTES)]
struct EvictArgs {
    /// The host
    #[arg(value_name = "HOST", value_parser = output::not_blank)]
    host: String,
    /// Stop the games of a host that is alive, too
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    act: ActArgs,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Pull an image on every host before a game needs it
#[derive(Debug, Args)]
#[command(before_help = PULL_EXAMPLES, after_long_help = PULL_NOTES)]
struct PullArgs {
    /// The image
    #[arg(value_name = "IMAGE", value_parser = image)]
    image: ImageRef,
    /// Only on this host
    #[arg(long, value_name = "HOST", value_parser = output::not_blank)]
    host: Option<String>,
    /// Do not wait for the pulls
    #[arg(long)]
    detach: bool,
    /// Maximum time to wait for the pulls
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Who wishes for it, for the records; by default user@machine
    #[arg(long, value_name = "NAME", value_parser = by)]
    by: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// What stop and evict share.
#[derive(Debug, Args)]
struct ActArgs {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Who does it, for the records and the logs; by default user@machine
    #[arg(long, value_name = "NAME", value_parser = by)]
    by: Option<String>,
}

/// Show what the replicas of a host would change in the records and on its engine
#[derive(Debug, Args)]
#[command(before_help = RECONCILE_EXAMPLES, after_long_help = RECONCILE_NOTES)]
struct ReconcileArgs {
    /// Change nothing; the only way in which this command works
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limit: LimitArgs,
    #[command(flatten)]
    settings: SettingFlags<All>,
}

/// List the hosts, and which of them are dead
#[derive(Debug, Args)]
#[command(before_help = HOSTS_EXAMPLES, after_long_help = HOSTS_NOTES)]
struct HostsArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Explain what a container of an image would get, and which line of the policy says so
#[derive(Debug, Args)]
#[command(before_help = EXPLAIN_EXAMPLES, after_long_help = EXPLAIN_NOTES)]
struct ExplainArgs {
    /// The image reference, as a job has it
    #[arg(value_name = "IMAGE", value_parser = image)]
    image: ImageRef,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags<PolicyFile>,
}

/// Runs the subcommand.
pub(in crate::cli) fn run(args: RuntimeArgs) -> ExitCode {
    match args.command {
        RuntimeCommand::List(ListArgs { host, state, json, fleet }) => {
            let state = state.and_then(|text| GameState::ALL.into_iter().find(|state| state.as_str() == text));
            // The look ends in time for what it found to be shown.
            let within = fleet.limit.timeout.mul_f64(0.7);
            let wanted = Wanted { host, state, within, json };
            Session::run(fleet, async |session| list::run(session, &wanted).await)
        }
        RuntimeCommand::Show(ShowArgs { game, json, fleet }) => {
            Session::run(fleet, async |session| show::run(session, &game, json).await)
        }
        RuntimeCommand::Hosts(HostsArgs { json, fleet }) => {
            Session::run(fleet, async |session| hosts::run(session, json).await)
        }
        RuntimeCommand::Explain(ExplainArgs { image, json, settings }) => explain::run(&image, settings, json),
        RuntimeCommand::Stop(StopArgs { game, wait, act, fleet }) => match act.by("stop") {
            Ok((by, asks)) => {
                let stop = Stop { game, by, asks, wait };
                Session::run(fleet, async |session| stop::run(session, &stop).await)
            }
            Err(code) => code,
        },
        RuntimeCommand::Evict(EvictArgs { host, force, act, fleet }) => match act.by("evict") {
            Ok((by, asks)) => {
                let evict = Evict { host, force, by, asks };
                Session::run(fleet, async |session| evict::run(session, &evict).await)
            }
            Err(code) => code,
        },
        RuntimeCommand::Pull(PullArgs { image, host, detach, wait, by, json, fleet }) => {
            let by = by.unwrap_or_else(|| who().chars().take(BY_MAX).collect());
            let pull = Pull { image, host, by, detach, within: wait, json };
            Session::run(fleet, async |session| pull::run(session, &pull).await)
        }
        RuntimeCommand::Reconcile(ReconcileArgs { dry_run, json, limit, settings }) => {
            if !dry_run {
                output::complain(
                    "runtime reconcile changes nothing: the replicas of each host do so within seconds of each change",
                    "give --dry-run to see what they would change now",
                );
                return ExitCode::from(exit::USAGE);
            }
            dry_run::run(settings, limit.timeout, json)
        }
    }
}

impl ActArgs {
    /// Who does it, and whether it is asked for; or the exit code where it cannot be.
    fn by(self, verb: &str) -> Result<(String, bool), ExitCode> {
        if !self.yes && !confirm::can_ask() {
            output::complain(
                &format!("runtime {verb} asks before it changes anything, and there is no terminal to ask on"),
                "give --yes",
            );
            return Err(ExitCode::from(exit::USAGE));
        }
        let by = self.by.unwrap_or_else(|| who().chars().take(BY_MAX).collect());
        Ok((by, !self.yes))
    }
}

fn image(text: &str) -> Result<ImageRef, String> {
    ImageRef::parse(text.trim()).map_err(|error| error.to_string())
}

fn game(text: &str) -> Result<GameId, String> {
    GameId::parse(text.trim()).map_err(|error| error.to_string())
}

fn by(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_fine = !text.is_empty() && text.chars().count() <= BY_MAX && !text.chars().any(char::is_control);
    if is_fine { Ok(text.to_owned()) } else { Err(format!("1 to {BY_MAX} characters, without control characters")) }
}
