//! `startjobs cancel`: a job that has not started is answered as cancelled.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::session::{FleetArgs, Session, who};
use super::setting_flags::Answers;
use super::{exit, output};
use crate::contract::error_code::ErrorCode;
use crate::ops::printable::{json, printable, time};
use crate::ops::story::entry::{Bound, EntryStage, EntryStory};
use crate::redis::RedisError;
use crate::stream::entry_id::EntryId;
use crate::stream::mark::{Cancel, Placed};

const EXAMPLES: &str = "Examples:
  startjobs cancel 1795511333123-0 --reason 'wrong image, INC-42'
  startjobs cancel 1795511333123-0 --wait 2m
  startjobs cancel 1795511333123-0 --json | jq .result";

const NOTES: &str = "The job is answered with the failure `cancelled`, which says who cancelled it and why; it is no dead letter. A job that no
replica has read is answered at once, and its entry is taken out of the stream. Any other job is marked, and the replica that
holds it, or takes it up, answers it instead of trying it again. What earlier attempts have left of it is removed.

A start that is under way is not interrupted. If it succeeds, the success is the answer: `startjobs runtime stop GAME` ends the
game. If it fails, the job is cancelled instead of being tried again. A pause of the fleet does not delay the answer, unless the
replica that had the job has ended. A replica of an older version does not know marks.

Exit codes: 0 cancelled; 1 not cancelled, because it was answered before, had started before, or is unknown; 2 usage; 69 Redis is
unavailable; 75 marked, and not decided when --wait ended, or because the record of its game is damaged: the mark stays; 78 a setting is wrong.";

/// How long after each look for the answer the next one follows.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Outcomes that are searched for the answer.
const SEARCH_MAX: u64 = 100_000;

/// Answer a job that has not started as cancelled
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct CancelArgs {
    /// The entry id of the job
    #[arg(value_name = "ENTRY_ID", value_parser = entry_id)]
    id: EntryId,
    /// The reason, which the outcome shows
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Maximum time to wait for the replica that holds the job
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs<Answers>,
}

/// An entry id; a bare number is as likely a game.
pub(super) fn entry_id(text: &str) -> Result<EntryId, &'static str> {
    let id = text.trim().parse::<EntryId>().ok().filter(|_| text.contains('-'));
    id.ok_or("must be the entry id of a job, such as 1764000000000-0; `startjobs inspect GAME` shows those of a game")
}

/// What became of it.
#[derive(Debug, serde::Serialize)]
struct Answer {
    schema_version: u32,
    entry_id: String,
    /// `cancelled`, `started`, `answered`, `undecided` or `refused`.
    result: &'static str,
    /// For people.
    sentence: String,
}

/// Runs it.
pub(super) fn run(args: CancelArgs) -> ExitCode {
    let CancelArgs { id, reason, wait, json: as_json, fleet } = args;
    let cancel = Cancel::new(&who(), &reason);
    Session::run(fleet, async |session| match ask(session, id, &cancel, wait).await {
        Ok((result, sentence)) => {
            let answer = Answer { schema_version: 1, entry_id: id.to_string(), result, sentence };
            say(&answer, as_json)
        }
        Err(error) => session.failed(&error),
    })
}

fn say(answer: &Answer, as_json: bool) -> u8 {
    let (id, sentence) = (&answer.entry_id, printable(&answer.sentence));
    if as_json {
        output::print(&json(answer));
    } else if answer.result == "cancelled" {
        output::print(&format!("{id}: {sentence}\n"));
    } else {
        eprintln!("startjobs: {id}: {sentence}");
    }
    match answer.result {
        "cancelled" => exit::DONE,
        "undecided" => exit::TIMED_OUT,
        _ => exit::FAILED,
    }
}

type Said = (&'static str, String);

async fn ask(session: &Session, id: EntryId, cancel: &Cancel, wait: Duration) -> Result<Said, RedisError> {
    let before = story(session, id).await?;
    let placed = session.ask(session.view.group().cancel(id, cancel, before.may_have_begun())).await?;
    let refused = |words: &str| Ok(("refused", words.to_owned()));
    match placed {
        Placed::Answered { outcome_id } => {
            Ok(("cancelled", format!("cancelled before any replica had read it; the outcome is {outcome_id}")))
        }
        Placed::Marked { .. } | Placed::Before(_) if before.keeps_open().is_some() => {
            let what = before.keeps_open().map(|damaged| format!("{}. {}", damaged.what(), damaged.remedy));
            let what = what.unwrap_or_default();
            let sentence = format!(
                "marked, and not decided before this is mended: {what}. Then it is cancelled by itself. No replica can tell now \
                 whether an attempt at it is still under way (docs/runbooks.md, A damaged record)"
            );
            Ok(("undecided", sentence))
        }
        Placed::Marked { .. } => decided(session, id, "", wait).await,
        Placed::Before(other) => {
            let since = if other.at_ms == 0 { String::new() } else { format!(" at {}", time(other.at_ms)) };
            decided(session, id, &format!("{}{since}, before this; ", other.message()), wait).await
        }
        Placed::Settled => Ok(ending(&story(session, id).await?)),
        Placed::Malformed(why) => Ok(("refused", format!("it is no start job: {why}; it becomes a dead letter"))),
        Placed::Passed => refused("the offset is past it: another program counts it as answered"),
        Placed::Old => refused("it is older than ledger-ttl, and whether it was answered is not known any more"),
        Placed::Gone => refused("it is not in the stream any more"),
        Placed::Unknown | Placed::Waiting => {
            refused("there is no such entry: check the id, --jobs-stream and --redis-url")
        }
    }
}

async fn story(session: &Session, id: EntryId) -> Result<EntryStory, RedisError> {
    let bound = Bound { entries: SEARCH_MAX, until: Instant::now() + session.limit().mul_f64(0.7) };
    session.ask(session.view.entry_story(id, bound)).await
}

/// Waits for what the replica that holds it makes of it.
async fn decided(session: &Session, id: EntryId, before: &str, wait: Duration) -> Result<Said, RedisError> {
    let until = Instant::now() + wait;
    loop {
        let past = session.ask(session.view.group().history(&[id])).await?;
        if past.first().is_some_and(|past| past.is_settled) {
            return Ok(ending(&story(session, id).await?));
        }
        if Instant::now() >= until {
            let story = story(session, id).await?;
            if story.stage == EntryStage::Settled {
                return Ok(ending(&story));
            }
            let is_paused = session.ask(session.view.group().paused()).await?.is_some();
            return Ok(("undecided", undecided(&story, before, is_paused)));
        }
        sleep(LOOK_AGAIN_AFTER.min(wait)).await;
    }
}

fn undecided(story: &EntryStory, before: &str, is_paused: bool) -> String {
    let held = match &story.pending {
        Some(holder) => format!("{} holds it", holder.replica),
        None => "no replica holds it".to_owned(),
    };
    let paused = if is_paused {
        ". The fleet is paused: where its replica has ended, it is answered after `startjobs resume`"
    } else {
        ""
    };
    format!(
        "{before}marked, and not decided yet: {held}{paused}. A start that is under way is not interrupted; if it fails, or is taken up \
         anew, the job is cancelled. Look again: startjobs inspect {}",
        story.entry_id
    )
}

/// What a settled job was answered with.
fn ending(story: &EntryStory) -> Said {
    let field = |name: &str| {
        let value = story.outcome.as_ref().and_then(|outcome| outcome.get(name));
        value.and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    // Where outcomes name no entry, the record of the game tells.
    let stored = story.stored.as_ref().filter(|_| story.outcome.is_none());
    let (outcome, code, message) = stored.map_or_else(
        || (field("outcome"), field("error_code"), field("error_message")),
        |stored| (stored.outcome.clone(), stored.error_code.clone(), stored.error_message.clone()),
    );
    let game = story.payload.as_ref().and_then(|payload| payload.game_id.clone()).unwrap_or_else(|| field("game_id"));
    match (outcome.as_str(), code.as_str()) {
        ("failure", code) if code == ErrorCode::Cancelled.as_str() => ("cancelled", message),
        ("success", _) => (
            "started",
            format!("not cancelled: it had started before. This ends the game: startjobs runtime stop {game}"),
        ),
        ("failure", code) => ("answered", format!("not cancelled: it had failed before: {code}: {message}")),
        _ if story.dead_letter.is_some() => ("answered", "not cancelled: it is a dead letter".to_owned()),
        _ => ("answered", "not cancelled: it was answered before; its outcome is not found any more".to_owned()),
    }
}
