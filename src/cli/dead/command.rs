//! The subcommands of `startjobs dead`, their flags, and the connection that they run on.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::act::{self, Action, Verb};
use super::read::{self, Listing};
use super::select::{self, Filters, Selection};
use super::text;
use crate::cli::session::Session;
use crate::cli::setting_flags::{self, Streams};
use crate::cli::{exit, output, process, session};
use crate::ops::connect::connect;
use crate::redis::RedisError;
use crate::settings::Settings;
use crate::settings::flags::SettingFlags;
use crate::stream::dead_letters::DeadLetters;
use crate::stream::entry_id::EntryId;

const EXAMPLES: &str = "Examples:
  startjobs dead list --newer-than 1h                       those of the last hour, newest first
  startjobs dead show 1795502500004-0                       everything about one
  startjobs dead requeue 1795502500004-0                    append the job again, under a new id
  startjobs dead requeue --all --reason retries_exhausted --dry-run
  startjobs dead export --out dead.jsonl                    export all, byte for byte
  startjobs dead remove --all --older-than 30d --yes";

const LIST_EXAMPLES: &str = "Examples:
  startjobs dead list
  startjobs dead list --reason poison --reason retries_exhausted --older-than 10m
  startjobs dead list --json --all | jq '.dead_letters[].game'";

const SHOW_EXAMPLES: &str = "Examples:
  startjobs dead show 1795502500004-0
  startjobs dead show 1795502500004-0 --json | jq .original";

const EXPORT_EXAMPLES: &str = "Examples:
  startjobs dead export > dead.jsonl
  startjobs dead export --reason malformed --out malformed.jsonl";

const REQUEUE_EXAMPLES: &str = "Examples:
  startjobs dead requeue 1795502500004-0
  startjobs dead requeue --all --reason retries_exhausted --newer-than 1h --dry-run
  startjobs dead requeue --all --reason retries_exhausted --newer-than 1h --yes";

const REMOVE_EXAMPLES: &str = "Examples:
  startjobs dead remove 1795502500004-0
  startjobs dead remove --all --reason malformed --older-than 30d --yes";

const NOTES: &str = "An ID is a dead letter's own id or the id of the entry it was made of (source_ref). Ages go by the server's clock.

Exit codes: 0 done; 1 something failed, and the text names it; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

/// How long Redis may take to answer at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const REASONS: [&str; 5] = ["malformed", "poison", "retries_exhausted", "entry_lost", "job_too_large"];

/// Look at dead letters, put them back as jobs, or remove them
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES, arg_required_else_help = true)]
pub(in crate::cli) struct DeadArgs {
    #[command(subcommand)]
    command: DeadCommand,
}

#[derive(Debug, Subcommand)]
enum DeadCommand {
    List(ListArgs),
    Show(ShowArgs),
    Requeue(RequeueArgs),
    Remove(RemoveArgs),
    Export(ExportArgs),
}

/// List dead letters, newest first
#[derive(Debug, Args)]
#[command(before_help = LIST_EXAMPLES, after_long_help = NOTES)]
struct ListArgs {
    #[command(flatten)]
    filters: FilterArgs,
    /// Maximum number to show
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Show all of them
    #[arg(long, overrides_with = "limit")]
    all: bool,
    /// Print one JSON object, with every field
    #[arg(long)]
    json: bool,
    /// Leave out the line of column names
    #[arg(long)]
    no_headers: bool,
    #[command(flatten)]
    settings: SettingFlags<Streams>,
}

/// Show everything about one dead letter
#[derive(Debug, Args)]
#[command(before_help = SHOW_EXAMPLES, after_long_help = NOTES)]
struct ShowArgs {
    /// The dead letter
    #[arg(value_name = "ID", value_parser = select::id)]
    id: EntryId,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags<Streams>,
}

/// Append the original jobs again, and take the dead letters away
#[derive(Debug, Args)]
#[command(before_help = REQUEUE_EXAMPLES, after_long_help = NOTES)]
struct RequeueArgs {
    #[command(flatten)]
    act: ActArgs,
}

/// Remove dead letters for good
#[derive(Debug, Args)]
#[command(before_help = REMOVE_EXAMPLES, after_long_help = NOTES)]
struct RemoveArgs {
    #[command(flatten)]
    act: ActArgs,
}

/// What requeue and remove share.
#[derive(Debug, Args)]
struct ActArgs {
    /// The dead letters
    #[arg(value_name = "ID", value_parser = select::id)]
    ids: Vec<EntryId>,
    /// Instead of ids: every dead letter that the filters select
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Change nothing; print exactly what would be taken
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Maximum number to take, the oldest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    settings: SettingFlags<Streams>,
}

/// Write dead letters as JSON Lines, oldest first, without loss
#[derive(Debug, Args)]
#[command(before_help = EXPORT_EXAMPLES, after_long_help = NOTES)]
struct ExportArgs {
    /// The dead letters; all that the filters select if none is named
    #[arg(value_name = "ID", value_parser = select::id)]
    ids: Vec<EntryId>,
    #[command(flatten)]
    filters: FilterArgs,
    /// Maximum number to write
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Write to this file, which must not exist yet, instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingFlags<Streams>,
}

#[derive(Debug, Args)]
struct FilterArgs {
    /// Only with this reason; may be repeated
    #[arg(long, value_name = "REASON", value_parser = PossibleValuesParser::new(REASONS))]
    reason: Vec<String>,
    /// Only dead for longer than this, e.g. 1h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only dead for less than this, e.g. 10m
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    newer_than: Option<Duration>,
    /// Only of this game
    #[arg(long, value_name = "GAME", value_parser = output::not_blank)]
    game: Option<String>,
}

impl From<FilterArgs> for Filters {
    fn from(args: FilterArgs) -> Self {
        let FilterArgs { reason, older_than, newer_than, game } = args;
        Self { reasons: reason, older_than, newer_than, game: game.map(|game| game.trim().to_owned()) }
    }
}

/// Runs the subcommand.
pub(in crate::cli) fn run(args: DeadArgs) -> ExitCode {
    let (settings, request) = match args.command {
        DeadCommand::List(args) => {
            (args.settings, Ok(list(args.filters, args.limit, args.all, args.json, args.no_headers)))
        }
        DeadCommand::Show(args) => {
            (args.settings, Ok((Selection::of_ids(vec![args.id]), Request::Show { json: args.json })))
        }
        DeadCommand::Requeue(RequeueArgs { act }) => act.split(Verb::Requeue),
        DeadCommand::Remove(RemoveArgs { act }) => act.split(Verb::Remove),
        DeadCommand::Export(ExportArgs { ids, filters, limit, out, settings }) => {
            let selection = Selection::of(ids, filters.into(), limit);
            (settings, selection.map(|selection| (selection, Request::Export(out))))
        }
    };
    let (selection, request) = match request {
        Ok(request) => request,
        Err(text) => {
            output::complain(&text, "`startjobs dead --help` has examples");
            return ExitCode::from(exit::USAGE);
        }
    };
    match setting_flags::load(settings) {
        Ok(settings) => process::block_on(answer(settings, selection, request)),
        Err(code) => code,
    }
}

fn list(filters: FilterArgs, limit: u64, all: bool, json: bool, no_headers: bool) -> (Selection, Request) {
    let selection = Selection::of_filters(filters.into(), Some(limit).filter(|_| !all));
    (selection, Request::List(Listing { json, headers: !no_headers }))
}

impl ActArgs {
    /// The settings of the command, and what it does, or why it may not begin.
    fn split(self, verb: Verb) -> (SettingFlags<Streams>, Result<(Selection, Request), String>) {
        let Self { ids, all, dry_run, yes, limit, filters, settings } = self;
        let begin = || {
            let selection = Selection::of(ids, filters.into(), limit)?;
            verb.allows(&selection, all)?;
            Ok((selection, Request::Act(Action::new(verb, dry_run, yes)?)))
        };
        (settings, begin())
    }
}

enum Request {
    List(Listing),
    Show { json: bool },
    Export(Option<PathBuf>),
    Act(Action),
}

async fn answer(settings: Settings, selection: Selection, request: Request) -> u8 {
    let result = Box::pin(async {
        let url = &settings.redis.display_url;
        let connection = connect(&settings.redis, "startjobs:dead", CONNECT_WITHIN, || {
            output::note(&format!("waiting for Redis at {url}"));
        })
        .await?;
        let dead = DeadLetters::new(connection, &settings.stream);
        match request {
            // An empty list may be that of a mistyped stream.
            Request::List(_) if dead.count().await? == 0 => {
                let session = Session::open(&settings, CONNECT_WITHIN).await?;
                match (session.no_fleet(false).await?, request) {
                    (None, Request::List(listing)) => read::list(&dead, &selection, &listing).await,
                    (code, _) => Ok(code.unwrap_or(exit::DONE)),
                }
            }
            Request::List(listing) => read::list(&dead, &selection, &listing).await,
            Request::Show { json } => read::show(&dead, &selection, json).await,
            Request::Export(out) => read::export(&dead, &selection, out.as_deref()).await,
            Request::Act(action) => act::act(&dead, &selection, &action).await,
        }
    });
    match result.await {
        Ok(code) => code,
        Err(error) => {
            say_unavailable(&settings.redis.display_url, &error);
            exit::UNAVAILABLE
        }
    }
}

fn say_unavailable(url: &str, error: &RedisError) {
    let what = format!("Redis at {url} does not serve this: {}", text::escaped(error.text.as_bytes()));
    output::complain(&what, &session::remedy(error.kind));
}
