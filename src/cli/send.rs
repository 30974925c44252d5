//! `startjobs send`: one start job by hand, or those of a file, followed to its outcome if asked.

use std::cell::Cell;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep, timeout_at};

use super::process::Stops;
use super::send_file::follow::Form;
use super::send_file::run::{self, FileArgs};
use super::setting_flags::{self, Streams};
use super::{exit, output, process, session};
use crate::contract::job_result::FIELDS;
use crate::lobby::client::{Lobby, Outcome};
use crate::ops::printable::{self, printable};
use crate::redis::RedisError;
use crate::settings::Settings;
use crate::settings::flags::SettingFlags;

const EXAMPLES: &str = "Examples:
  startjobs send --game g1 --image galaxy/engine:1
  startjobs send --game g1 --image galaxy/engine:1 --wait --timeout 2m
  startjobs send --game g1 --image galaxy/engine:1 --wait --json | jq .engine_endpoint
  startjobs send --file jobs.ndjson --wait";

const NOTES: &str =
    "A file has one JSON object a line, with the fields of the stream: game_id, image_ref, and if wanted requested_at_ms,
traceparent and tracestate. Every line of a file is checked before the first job is sent; what comes from a pipe is
checked line by line. Sending ends at the first error, which says from which line to go on. With --wait at most
100,000 jobs are followed.

Exit codes: 0 appended, or with --wait every job a success; 1 with --wait a failure; 2 usage, or a line that is no job;
69 Redis is unavailable;
75 --wait timed out, the job stays in the stream; 78 a setting is wrong; 130 or 143 Ctrl-C or SIGTERM: it says how many were
sent, and from which line to go on.";

/// The version of the JSON form.
const SCHEMA_VERSION: u32 = 1;
/// The fields of an outcome that are numbers.
const NUMBERS: [&str; 3] = ["requested_at_ms", "finished_at_ms", "attempt"];
/// How long Redis may take to answer at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Between two attempts to read the results while Redis does not answer.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Append start jobs, as Lobby (the producer of jobs) does
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct SendArgs {
    /// The game to start a container for
    #[arg(long, value_name = "GAME", value_parser = output::not_blank, required_unless_present = "file", conflicts_with = "file")]
    game: Option<String>,
    /// The image of its game engine
    #[arg(long, value_name = "IMAGE", value_parser = output::not_blank, required_unless_present = "file", conflicts_with = "file")]
    image: Option<String>,
    #[command(flatten)]
    file: FileArgs,
    /// Wait for the outcome and print it
    #[arg(long)]
    wait: bool,
    /// Maximum time that --wait waits
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags<Streams>,
}

struct Request {
    game: String,
    image: String,
    /// None: the outcome is not waited for.
    patience: Option<Duration>,
    json: bool,
}

/// Runs it.
pub(super) fn run(args: SendArgs) -> ExitCode {
    let settings = match setting_flags::load(args.settings) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let patience = Some(args.timeout).filter(|_| args.wait);
    if args.file.file.is_some() {
        let form = if args.json { Form::Json { object: json } } else { Form::Plain };
        return run::run(&settings, args.file, patience, form);
    }
    let (game, image) = (args.game.unwrap_or_default(), args.image.unwrap_or_default());
    let request = Request { game, image, patience, json: args.json };
    for (name, value) in [("game", &request.game), ("image", &request.image)] {
        let limit = settings.stream.max_field_bytes;
        if value.len() > limit {
            output::complain(
                &format!("--{name} is longer than max-field-bytes, {limit} bytes: no replica would start it"),
                "shorten it, or raise max-field-bytes here and at every replica",
            );
            return ExitCode::from(exit::USAGE);
        }
    }
    process::block_on(async {
        let mut stops = match Stops::listen() {
            Ok(stops) => stops,
            Err(error) => return process::no_signals(&error),
        };
        let appended = Cell::new(Appended::No);
        tokio::select! {
            code = send(&settings, &request, &appended) => code,
            code = stops.next() => {
                appended.into_inner().say();
                code
            }
        }
    })
}

/// How far it has come, for when a signal ends it.
#[derive(Debug)]
enum Appended {
    No,
    /// The call is under way.
    Perhaps,
    Yes(String),
}

impl Appended {
    fn say(&self) {
        match self {
            Self::No => output::complain("stopped: nothing was sent", "run the command again"),
            Self::Perhaps => output::complain(
                "stopped: the job may or may not have been appended",
                "run the command again: a job that is sent again does no harm",
            ),
            Self::Yes(id) => output::complain(
                &format!("stopped: sent 1 job, {id}, which stays in the stream"),
                &format!("startjobs inspect {id}"),
            ),
        }
    }
}

async fn send(settings: &Settings, request: &Request, appended: &Cell<Appended>) -> u8 {
    let url = &settings.redis.display_url;
    let unavailable = |what: &str, error: &RedisError| {
        output::complain(&format!("{what} Redis at {url}: {}", printable(&error.text)), &session::remedy(error.kind));
        exit::UNAVAILABLE
    };
    let lobby = match Lobby::connect_within(&settings.redis, &settings.stream, CONNECT_WITHIN).await {
        Ok(lobby) => lobby,
        Err(error) => return unavailable("no connection to", &error),
    };
    // Before the append, so that an answer that is quicker than our next read is not missed.
    let end = match request.patience {
        Some(_) => lobby.results_end().await,
        // A producer that may not read the results can still append.
        None => Ok(String::new()),
    };
    let end = match end {
        Ok(end) => end,
        Err(error) => return unavailable("cannot read the results from", &error),
    };
    appended.set(Appended::Perhaps);
    let id = match lobby.append(&request.game, &request.image, process::now_ms()).await {
        Ok(id) => id.to_string(),
        Err(error) if error.is_refusal() => return unavailable("the job was not appended, it was refused by", &error),
        Err(error) => {
            output::note("the job may or may not have been appended; sending it again does no harm");
            return unavailable("no answer from", &error);
        }
    };
    appended.set(Appended::Yes(id.clone()));
    let Some(patience) = request.patience else {
        output::print(&if request.json { json(&id, None) } else { format!("{id}\n") });
        return exit::DONE;
    };
    if !request.json {
        output::print(&format!("{}  {id}\n", padded("entry_id")));
    }
    let mut follower =
        Follower { lobby: &lobby, id: &id, game: &request.game, said_by_game: false, said_trouble: false };
    if let Ok(outcome) = timeout_at(Instant::now() + patience, follower.outcome_after(end)).await {
        output::print(&if request.json { json(&id, Some(&outcome)) } else { plain(&outcome) });
        return if outcome.outcome == "success" { exit::DONE } else { exit::FAILED };
    }
    if request.json {
        output::print(&json(&id, None));
    }
    say_timed_out(settings, &id, patience);
    exit::TIMED_OUT
}

/// Reads the results until the one for our job.
struct Follower<'a> {
    lobby: &'a Lobby,
    id: &'a str,
    game: &'a str,
    said_by_game: bool,
    said_trouble: bool,
}

impl Follower<'_> {
    async fn outcome_after(&mut self, mut seen: String) -> Outcome {
        loop {
            let outcomes = match self.lobby.outcomes_after(&seen).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    if !self.said_trouble {
                        output::note(&format!(
                            "the job is in the stream, but the results cannot be read: {error}; still trying"
                        ));
                        self.said_trouble = true;
                    }
                    sleep(READ_AGAIN_AFTER).await;
                    continue;
                }
            };
            for outcome in outcomes {
                seen.clone_from(&outcome.id);
                if self.is_ours(&outcome) {
                    return outcome;
                }
            }
        }
    }

    fn is_ours(&mut self, outcome: &Outcome) -> bool {
        if let Some(source) = &outcome.source_ref {
            return source == self.id;
        }
        if !self.said_by_game {
            say_by_game(self.game);
            self.said_by_game = true;
        }
        outcome.game_id == self.game
    }
}

fn say_by_game(game: &str) {
    output::note(&format!(
        "outcomes carry no source_ref (outcome-fields is original), so the next outcome of game {game} is taken for this \
         job's; it may be another job's"
    ));
}

fn say_timed_out(settings: &Settings, id: &str, patience: Duration) {
    let streams = &settings.stream;
    let within = humantime::format_duration(patience);
    let redis = output::cli_words(&settings.redis.display_url);
    output::complain(
        &format!("no outcome within {within}: the job stays queued and is answered as soon as a replica can"),
        &format!("startjobs inspect {id}\n  redis-cli {redis} XRANGE {} {id} +", streams.results),
    );
}

/// The outcome's fields in wire order, with its own id first.
fn fields(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let values = [
        Some(outcome.game_id.clone()),
        Some(outcome.outcome.clone()),
        Some(outcome.container_id.clone()),
        Some(outcome.engine_endpoint.clone()),
        Some(outcome.error_code.clone()),
        Some(outcome.error_message.clone()),
        outcome.source_ref.clone(),
        outcome.requested_at_ms.clone(),
        outcome.finished_at_ms.clone(),
        outcome.attempt.clone(),
    ];
    let present = FIELDS.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?)));
    [("outcome_id", outcome.id.clone())].into_iter().chain(present).collect()
}

fn padded(name: &str) -> String {
    let width = FIELDS.iter().map(|name| name.len()).max().unwrap_or_default();
    format!("{name:width$}")
}

fn plain(outcome: &Outcome) -> String {
    let line =
        |(name, value): (&str, String)| format!("{}  {}", padded(name), printable(&value)).trim_end().to_owned() + "\n";
    fields(outcome).into_iter().map(line).collect()
}

/// Numbers are numbers, although the stream has texts alone.
fn json(id: &str, outcome: Option<&Outcome>) -> String {
    let mut object = serde_json::Map::new();
    object.insert("schema_version".to_owned(), SCHEMA_VERSION.into());
    object.insert("entry_id".to_owned(), id.into());
    for (name, value) in outcome.map(fields).unwrap_or_default() {
        let value = if NUMBERS.contains(&name) { printable::number(value) } else { value.into() };
        object.insert(name.to_owned(), value);
    }
    printable::json(&object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(source_ref: Option<&str>) -> Outcome {
        Outcome {
            id: "9-1".into(),
            game_id: "g".into(),
            outcome: "failure".into(),
            container_id: String::new(),
            engine_endpoint: String::new(),
            error_code: "image_not_found".into(),
            error_message: "a \"b\"".into(),
            source_ref: source_ref.map(str::to_owned),
            requested_at_ms: source_ref.map(|_| "1764000000000".to_owned()),
            finished_at_ms: None,
            attempt: source_ref.map(|_| "many".to_owned()),
        }
    }

    #[test]
    fn plain_lines_align_and_leave_out_what_the_outcome_does_not_carry() {
        let text = plain(&outcome(Some("5-0")));
        assert_eq!(text.lines().count(), 10);
        assert!(
            text.contains("\nerror_code       image_not_found\n") && text.contains("\nsource_ref       5-0\n"),
            "{text}"
        );
        assert!(text.contains("\ncontainer_id\n"), "{text}");
        assert!(!plain(&outcome(None)).contains("source_ref"));
    }

    #[test]
    fn json_is_one_object_with_every_field() {
        let value: serde_json::Value = serde_json::from_str(&json("5-0", Some(&outcome(Some("5-0"))))).expect("JSON");
        assert_eq!((&value["schema_version"], &value["entry_id"]), (&1.into(), &"5-0".into()));
        assert_eq!((&value["outcome_id"], &value["error_message"]), (&"9-1".into(), &"a \"b\"".into()));
        assert_eq!(value["requested_at_ms"], 1_764_000_000_000_u64, "a number");
        assert_eq!(value["attempt"], "many", "what is no number stays as it came");
    }
}
