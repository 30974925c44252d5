//! `startjobs dead`: what nobody could answer, looked at, put back or removed.

// which dead letters a command is about
mod select;
// list, show, export
mod read;
// requeue, remove
mod act;
// foreign bytes as text for a terminal
mod text;
// the same without loss
mod json;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{common, exit};
use crate::ops::connect::connect;
use crate::redis::RedisError;
use crate::settings::table::Group;
use crate::settings::{Settings, flags};
use crate::stream::dead_letters::DeadLetters;
use select::Selection;

const EXAMPLES: &str = "Examples:
  startjobs dead list --newer-than 1h                       what died in the last hour, newest first
  startjobs dead show 1795502500004-0                       everything about one
  startjobs dead requeue 1795502500004-0                    a job again, under a new id
  startjobs dead requeue --all --reason retries_exhausted --dry-run
  startjobs dead export --out dead.jsonl                    all of them, byte for byte
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

const IDS: &str = "An ID is a dead letter's own id or the id of the entry it was made of (source_ref). Ages go by the server's clock.";

const EXIT_CODES: &str =
    "Exit codes: 0 done; 1 something failed, and the text names it; 2 usage; 69 Redis is unavailable;
78 a setting is wrong.";

/// How long Redis may take to answer at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How many `list` shows unless told otherwise.
const LISTED: &str = "50";

/// The command, its subcommands and their flags.
pub fn command() -> Command {
    Command::new("dead")
        .about("Look at dead letters, put them back as jobs, or remove them")
        .before_help(EXAMPLES)
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            subcommand("list", "List dead letters, newest first", LIST_EXAMPLES)
                .args(filters())
                .arg(limit("Show at most so many").default_value(LISTED))
                .arg(switch("all", "Show them all").overrides_with("limit"))
                .arg(switch("json", "Print one JSON object, with everything there is"))
                .arg(switch("no-headers", "Leave out the line of column names")),
        )
        .subcommand(
            subcommand("show", "Show everything about one dead letter", SHOW_EXAMPLES)
                .arg(ids().required(true).num_args(1))
                .arg(switch("json", "Print one JSON object")),
        )
        .subcommand(
            subcommand("requeue", "Append the original jobs again, and take the dead letters away", REQUEUE_EXAMPLES)
                .args(acting()),
        )
        .subcommand(subcommand("remove", "Remove dead letters for good", REMOVE_EXAMPLES).args(acting()))
        .subcommand(
            subcommand("export", "Write dead letters as JSON Lines, oldest first, without loss", EXPORT_EXAMPLES)
                .arg(ids().num_args(0..))
                .args(filters())
                .arg(limit("Write at most so many"))
                .arg(
                    Arg::new("out")
                        .long("out")
                        .value_name("FILE")
                        .value_parser(clap::value_parser!(std::path::PathBuf))
                        .help("Write to this file, which must not exist yet, instead of stdout"),
                ),
        )
}

fn subcommand(name: &'static str, about: &'static str, examples: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .before_help(examples)
        .after_help(format!("{IDS}\n{EXIT_CODES}"))
        .args(flags::args(&[Group::File, Group::Redis, Group::Streams]))
}

fn acting() -> Vec<Arg> {
    let mut args = vec![
        ids().num_args(0..),
        switch("all", "Instead of ids: every dead letter that the filters let through").conflicts_with("ids"),
        switch("dry-run", "Change nothing; print exactly what would be taken"),
        switch("yes", "Do not ask"),
        limit("Take at most so many, the oldest first"),
    ];
    args.extend(filters());
    args
}

fn ids() -> Arg {
    Arg::new("ids").value_name("ID").value_parser(select::id).help("Which dead letters")
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn limit(help: &'static str) -> Arg {
    let number = clap::value_parser!(u64).range(1..);
    Arg::new("limit").long("limit").value_name("N").value_parser(number).help(help)
}

fn filters() -> Vec<Arg> {
    let filter = |name: &'static str, placeholder: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(placeholder).help(help)
    };
    vec![
        filter("reason", "REASON", "Only with this reason; may be given several times")
            .action(ArgAction::Append)
            .value_parser(["malformed", "poison", "retries_exhausted", "entry_lost", "job_too_large"]),
        filter("older-than", "DURATION", "Only dead for longer, e.g. 1h").value_parser(humantime::parse_duration),
        filter("newer-than", "DURATION", "Only dead for less, e.g. 10m").value_parser(humantime::parse_duration),
        filter("game", "GAME", "Only of this game"),
    ]
}

/// Runs the subcommand that `matches` of [`command`] names.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let Some((name, matches)) = matches.subcommand() else {
        return ExitCode::from(common::USAGE);
    };
    let selection = match Selection::of(name, matches) {
        Ok(selection) => selection,
        Err(text) => return usage(&text),
    };
    let request = match name {
        "list" => Request::List(read::Listing::of(matches)),
        "show" => Request::Show { json: matches.get_flag("json") },
        "export" => Request::Export(matches.get_one("out").cloned()),
        _ => match act::Action::of(name, matches) {
            Ok(action) => Request::Act(action),
            Err(text) => return usage(&text),
        },
    };
    match common::settings(&common::sources(matches)) {
        Ok(settings) => common::block_on(answer(settings, selection, request)),
        Err(code) => code,
    }
}

fn usage(text: &str) -> ExitCode {
    eprintln!("error: {text}");
    ExitCode::from(common::USAGE)
}

enum Request {
    List(read::Listing),
    Show { json: bool },
    Export(Option<std::path::PathBuf>),
    Act(act::Action),
}

async fn answer(settings: Settings, selection: Selection, request: Request) -> u8 {
    let result = async {
        let url = &settings.redis.display_url;
        let connection = connect(&settings.redis, "startjobs:dead", CONNECT_WITHIN, || {
            eprintln!("startjobs: waiting for Redis at {url}");
        })
        .await?;
        let dead = DeadLetters::new(connection, &settings.stream);
        match request {
            Request::List(listing) => read::list(&dead, &selection, &listing).await,
            Request::Show { json } => read::show(&dead, &selection, json).await,
            Request::Export(out) => read::export(&dead, &selection, out.as_deref()).await,
            Request::Act(action) => act::act(&dead, &selection, &action).await,
        }
    };
    match result.await {
        Ok(code) => code,
        Err(error) => {
            say_unavailable(&settings.redis.display_url, &error);
            exit::UNAVAILABLE
        }
    }
}

fn say_unavailable(url: &str, error: &RedisError) {
    eprintln!("startjobs: Redis at {url} does not serve this: {}", text::escaped(common::in_words(error).as_bytes()));
}
