//! The command line as a whole: every command, parsing, and which of them is run.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::alerts::{self, AlertsArgs};
use super::audit::{self, AuditArgs};
use super::bench::command::{self as bench, BenchArgs};
use super::bench::subject::{self, SubjectArgs};
use super::cancel::{self, CancelArgs};
use super::check::{self, CheckArgs};
use super::completions::{self, CompletionsArgs};
use super::config::{self, ConfigArgs};
use super::dash::command::{self as dash, DashArgs};
use super::dead::command::{self as dead, DeadArgs};
use super::demo::run::{self as demo, DemoArgs};
use super::dev::command::{self as dev, DevArgs};
use super::doctor::{self, DoctorArgs};
use super::drain::{self, DrainArgs};
use super::engine::{self, EngineArgs};
use super::exit;
use super::history::{self, HistoryArgs};
use super::inspect::{self, InspectArgs};
use super::jobs::{self, JobsArgs};
use super::man::{self, ManArgs};
use super::pause::{self, PauseArgs, ResumeArgs};
use super::pending::{self, PendingArgs};
use super::probe::{self, HealthcheckArgs};
use super::replicas::{self, ReplicasArgs};
use super::retry_now::{self, RetryNowArgs};
use super::runtime::command::{self as runtime, RuntimeArgs};
use super::send::{self, SendArgs};
use super::status::{self, StatusArgs};
use super::worker::{self, WorkerArgs};
use crate::secret::without_credentials;
use crate::settings::flags::is_setting;
use crate::version;

const EXAMPLES: &str = "Examples:
  startjobs dev                                            a fleet on this machine
  startjobs worker --redis-url redis://redis:6379          one replica
  startjobs send --game g1 --image galaxy/engine:1 --wait  one job, followed to its outcome
  startjobs status                                         how the fleet is doing
  startjobs alerts                                         which alerts fire, with their runbooks
  startjobs jobs                                           single jobs: which wait, back off, have failed
  startjobs inspect game-17                                what happened to a game or a job
  startjobs config show --origin                           settings and their origins";

/// First what the command does, then examples, then the flags.
const HELP: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// What `-h` of a command ends with whose settings it leaves out.
const MORE: &str = "The settings are flags too: --help shows them.";

/// Start game engine containers from a Redis stream: one outcome per job, even when replicas die
#[derive(Debug, Parser)]
#[command(name = "startjobs", version = version::VERSION, long_version = version::LONG, before_help = EXAMPLES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Startjobs {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a process")]
enum Commands {
    Worker(WorkerArgs),
    Send(SendArgs),
    Status(StatusArgs),
    Alerts(AlertsArgs),
    Replicas(ReplicasArgs),
    Jobs(JobsArgs),
    Pending(PendingArgs),
    History(HistoryArgs),
    Dash(DashArgs),
    Inspect(InspectArgs),
    Cancel(CancelArgs),
    RetryNow(RetryNowArgs),
    Runtime(RuntimeArgs),
    Dead(DeadArgs),
    Audit(AuditArgs),
    Dev(DevArgs),
    Demo(DemoArgs),
    Bench(BenchArgs),
    #[command(hide = true)]
    BenchSubject(SubjectArgs),
    Check(CheckArgs),
    Doctor(DoctorArgs),
    Pause(PauseArgs),
    Resume(ResumeArgs),
    Drain(DrainArgs),
    Healthcheck(HealthcheckArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    #[command(hide = true)]
    Engine(EngineArgs),
}

/// The whole command line.
pub fn command() -> Command {
    shaped(Startjobs::command())
}

/// The same order of help for every command, and a hint where `-h` leaves settings out.
fn shaped(command: Command) -> Command {
    let has_settings = command.get_arguments().any(is_setting);
    let command = command.help_template(HELP).mut_subcommands(shaped);
    if !has_settings {
        return command;
    }
    // Where there are no notes, `--help` would end with the hint as well.
    let notes = command.get_after_long_help().cloned().unwrap_or_default();
    command.after_help(MORE).after_long_help(notes)
}

/// Parses the arguments, runs the command, and answers the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed = command().try_get_matches_from(&arguments);
    match parsed.and_then(|matches| Startjobs::from_arg_matches(&matches)) {
        Ok(Startjobs { command }) => start(command),
        Err(error) => usage(&error, &arguments),
    }
}

fn start(command: Commands) -> ExitCode {
    match command {
        Commands::Worker(args) => worker::run(args),
        Commands::Send(args) => send::run(args),
        Commands::Status(args) => status::run(args),
        Commands::Alerts(args) => alerts::run(args),
        Commands::Replicas(args) => replicas::run(args),
        Commands::Jobs(args) => jobs::run(args),
        Commands::Pending(args) => pending::run(args),
        Commands::Dash(args) => dash::run(args),
        Commands::History(args) => history::run(args),
        Commands::Inspect(args) => inspect::run(args),
        Commands::Cancel(args) => cancel::run(args),
        Commands::RetryNow(args) => retry_now::run(args),
        Commands::Runtime(args) => runtime::run(args),
        Commands::Dead(args) => dead::run(args),
        Commands::Audit(args) => audit::run(args),
        Commands::Dev(args) => dev::run(args),
        Commands::Demo(args) => demo::run(&args),
        Commands::Bench(args) => bench::run(args),
        Commands::BenchSubject(args) => subject::run(&args),
        Commands::Check(args) => check::run(args),
        Commands::Doctor(args) => doctor::run(args),
        Commands::Pause(args) => pause::run(args),
        Commands::Resume(args) => pause::resume(args),
        Commands::Drain(args) => drain::run(args),
        Commands::Healthcheck(args) => probe::run(args),
        Commands::Config(args) => config::run(args),
        Commands::Completions(args) => completions::run(&args, &self::command()),
        Commands::Man(args) => man::run(&args, self::command()),
        Commands::Engine(EngineArgs {}) => engine::run(),
    }
}

/// Ends with a usage error, or with help. It repeats no credential: it quotes what was given, and people paste URLs into
/// the wrong place.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let text = error.render().to_string();
    let starred = arguments.iter().fold(text.clone(), |text, argument| {
        let argument = argument.to_string_lossy();
        let value =
            argument.split_once('=').filter(|_| argument.starts_with('-')).map_or(&*argument, |(_, value)| value);
        let shown = without_credentials(value);
        if shown == value { text } else { text.replace(value, &shown) }
    });
    if starred == text {
        error.exit();
    }
    eprint!("{starred}");
    ExitCode::from(exit::USAGE)
}
