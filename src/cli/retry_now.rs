//! `startjobs retry-now`: a job that backs off is tried again at once.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::cancel::entry_id;
use super::session::{FleetArgs, Session, who};
use super::{exit, output};
use crate::ops::printable::{json, printable};
use crate::ops::story::next::WaitsFor;
use crate::redis::RedisError;
use crate::stream::entry_id::EntryId;
use crate::stream::mark::Placed;

const EXAMPLES: &str = "Examples:
  startjobs retry-now 1795511333123-0
  startjobs retry-now 1795511333123-0 --json | jq .result";

const NOTES: &str = "The replica that holds the job does not wait for the end of its back-off. The attempt counts like any other. A job that is
being started, or that no replica has read, is left as it is. While the fleet is paused the job waits for `startjobs resume`.

Exit codes: 0 the replica was told; 1 there is nothing to hurry: the job is answered, waits to be read, or is unknown; 2 usage; 69
Redis is unavailable; 75 no replica had asked for its marks when --wait ended: it is tried again when one does; 78 a setting is
wrong.";

/// How long after each look whether the replica was told the next one follows.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Try a job again now that waits for its next attempt
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct RetryNowArgs {
    /// The entry id of the job
    #[arg(value_name = "ENTRY_ID", value_parser = entry_id)]
    id: EntryId,
    /// Maximum time to wait until the replica that holds the job was told
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// What became of it.
#[derive(Debug, serde::Serialize)]
struct Answer {
    schema_version: u32,
    entry_id: String,
    /// `told`, `undecided` or `refused`.
    result: &'static str,
    /// For people.
    sentence: String,
}

/// Runs it.
pub(super) fn run(args: RetryNowArgs) -> ExitCode {
    let RetryNowArgs { id, wait, json: as_json, fleet } = args;
    Session::run(fleet, async |session| {
        let (result, sentence) = match ask(session, id, wait).await {
            Ok(said) => said,
            Err(error) => return session.failed(&error),
        };
        if as_json {
            output::print(&json(&Answer { schema_version: 1, entry_id: id.to_string(), result, sentence }));
        } else if result == "told" {
            output::print(&format!("{id}: {}\n", printable(&sentence)));
        } else {
            eprintln!("startjobs: {id}: {}", printable(&sentence));
        }
        match result {
            "told" => exit::DONE,
            "undecided" => exit::TIMED_OUT,
            _ => exit::FAILED,
        }
    })
}

async fn ask(session: &Session, id: EntryId, wait: Duration) -> Result<(&'static str, String), RedisError> {
    let group = session.view.group();
    // What waits for room or for its image would wait for the same again.
    let waits = session.ask(session.view.wait_of(id)).await?;
    if let Some(wait) = waits.as_ref().filter(|wait| matches!(wait.waits_for, WaitsFor::Room | WaitsFor::Image)) {
        return Ok(("refused", format!("not started: {}; a retry changes nothing", wait.sentence)));
    }
    let holder = match session.ask(group.retry_now(id, &who())).await? {
        Placed::Marked { replica } => replica.unwrap_or_else(|| "no replica".to_owned()),
        Placed::Before(_) => "a replica".to_owned(),
        Placed::Waiting => {
            let why = waits.map_or_else(|| "it waits for a free slot".to_owned(), |wait| wait.sentence);
            return Ok(("refused", format!("no replica has read it yet: {why}; a retry changes nothing")));
        }
        other => return Ok(("refused", refusal(&other).to_owned())),
    };
    if session.ask(group.paused()).await?.is_some() {
        eprintln!("startjobs: {id}: the fleet is paused: nothing is tried before `startjobs resume`");
    }
    let until = Instant::now() + wait;
    while session.ask(group.is_retry_untold(id)).await? {
        if Instant::now() >= until {
            let sentence = if session.ask(group.paused()).await?.is_some() {
                "the fleet is paused: it is tried again, without its back-off, after `startjobs resume`".to_owned()
            } else {
                format!("{holder} holds it, and has not asked for its marks yet; it is tried again when one does")
            };
            return Ok(("undecided", sentence));
        }
        sleep(LOOK_AGAIN_AFTER.min(wait)).await;
    }
    let pause = session.ask(group.paused()).await?;
    let pause = pause
        .map_or("", |_| "; the fleet is paused, so an attempt that fails now is repeated after `startjobs resume`");
    Ok(("told", format!("{holder} holds it, and does not wait any longer if it did; a start under way goes on{pause}")))
}

fn refusal(placed: &Placed) -> &'static str {
    match placed {
        Placed::Settled => "it is answered: there is nothing to try again",
        Placed::Passed => "the offset is past it: another program counts it as answered",
        Placed::Old => "it is older than ledger-ttl, and whether it was answered is not known any more",
        Placed::Gone => "it is not in the stream any more",
        Placed::Malformed(_) => "it is no start job",
        Placed::Unknown | Placed::Waiting | Placed::Marked { .. } | Placed::Answered { .. } | Placed::Before(_) => {
            "there is no such entry: check the id, --jobs-stream and --redis-url"
        }
    }
}
