//! `startjobs inspect`: one job's whole story, or one game's.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::session::{FleetArgs, Session};
use super::{exit, output};
use crate::ops::jobs::row::JobRow;
use crate::ops::printable::{ago, json, moment, printable, since, span, time};
use crate::ops::story::entry::{Bound, EntryStage, EntryStory};
use crate::ops::story::game::GameStory;
use crate::ops::story::next::NextStep;
use crate::ops::story::{Record, Stored};
use crate::stream::entry_id::EntryId;

const EXAMPLES: &str = "Examples:
  startjobs inspect 1795511333123-0
  startjobs inspect game-17
  startjobs inspect 1795511333123-0 --json | jq .stage";

const NOTES: &str = "An argument that looks like an entry id is taken for one, unless --game is given. Outcomes and dead letters are searched
from the entry's own time on; the text says so where the search ended at its limit. Of a job without an answer that is not
being started the first line says why, and `next` names the command that helps; of one that has failed, where to read on.

Exit codes: 0 shown; 1 nothing is known; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

/// Show everything known about one job or one game
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct InspectArgs {
    /// The entry id of a job, or a game
    #[arg(value_name = "ENTRY_ID|GAME", value_parser = output::not_blank)]
    subject: String,
    /// Take the argument for a game, even if it looks like an entry id
    #[arg(long)]
    game: bool,
    /// Maximum number of outcomes and dead letters to search
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    scan: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Runs it.
pub(super) fn run(args: InspectArgs) -> ExitCode {
    let subject = args.subject.as_str();
    // A bare number is an id to Redis, but as likely a game.
    let id = subject.parse::<EntryId>().ok().filter(|_| subject.contains('-') && !args.game);
    // The search ends in time for its answer to be shown.
    let search = args.fleet.limit.timeout.mul_f64(0.7).max(Duration::from_millis(1));
    Session::run(args.fleet, async |session| {
        let Some(id) = id else { return game(session, subject, args.json).await };
        let bound = Bound { entries: args.scan, until: Instant::now() + search };
        match session.ask(session.view.entry_story(id, bound)).await {
            Ok(story) => {
                output::print(&if args.json { json(&story) } else { entry_text(&story) });
                output::say_damaged(&story.damaged, 0);
                if story.stage == EntryStage::Absent { exit::FAILED } else { exit::DONE }
            }
            Err(error) => session.failed(&error),
        }
    })
}

async fn game(session: &Session, game: &str, as_json: bool) -> u8 {
    match session.ask(session.view.game_story(game)).await {
        Ok(story) => {
            output::print(&if as_json { json(&story) } else { game_text(&story) });
            output::say_damaged(&story.damaged, 0);
            if story.is_known() { exit::DONE } else { exit::FAILED }
        }
        Err(error) => session.failed(&error),
    }
}

fn entry_text(story: &EntryStory) -> String {
    let mut text = output::paragraph(&format!("{}: {}", story.entry_id, printable(&story.sentence)));
    text += &next_text(story.next.as_ref());
    let known = story.stage != EntryStage::Absent;
    let rows: Vec<[String; 5]> = story
        .moments
        .iter()
        .filter(|_| known)
        .map(|moment| {
            // Lobby's clock may be ahead of the server's, so before and after are both possible.
            let (at, offset) = match moment.at_ms.checked_sub(story.appended_at_ms) {
                _ if story.is_ahead() && moment.what == "appended" => ("unknown".to_owned(), String::new()),
                _ if story.is_ahead() => (time(moment.at_ms), String::new()),
                Some(after) => (time(moment.at_ms), format!("+{}", span(after))),
                None => (time(moment.at_ms), format!("-{}", span(story.appended_at_ms - moment.at_ms))),
            };
            let ago = if at == "unknown" { String::new() } else { ago(moment.at_ms, story.at_ms) };
            [at, ago, offset, moment.what.to_owned(), printable(&moment.detail)]
        })
        .collect();
    if !rows.is_empty() {
        _ = write!(text, "\n{}", output::table(["time", "ago", "after", "event", "detail"], &rows));
    }
    if let Some(record) = &story.record {
        _ = write!(text, "\nrecord of the game\n{}", record_text(record, story.at_ms));
    }
    if story.misses_attempts() {
        text += &missing_attempts(story);
    }
    if !story.search_is_whole {
        text.push_str("\nThe search ended at its bound: raise --scan and --timeout to look further.\n");
    }
    text
}

/// The next step, as `status` tells that of a problem.
fn next_text(next: Option<&NextStep>) -> String {
    let Some(NextStep { command, runbook }) = next else { return String::new() };
    let line = |name: &str, value: &Option<String>| {
        value.as_deref().map_or_else(String::new, |value| format!("  {name}: {}\n", printable(value)))
    };
    line("next", command) + &line("read", runbook)
}

fn missing_attempts(story: &EntryStory) -> String {
    let kept = story.events.kept_from_ms.map_or_else(String::new, |from| format!(" from {} on", time(from)));
    format!("\nAttempts that failed are kept{kept}; earlier ones are not told.\n")
}

/// The jobs of a game that have no answer.
fn open_jobs(story: &GameStory) -> String {
    let rows: Vec<[String; 4]> = story.open_jobs.iter().map(open_row).collect();
    let mut text = String::new();
    if !rows.is_empty() {
        _ = write!(text, "\n{}", output::table(["open job", "state", "for", "detail"], &rows));
    }
    if let Some(id) = story.open_jobs.iter().find_map(|job| job.entry_id.as_deref()) {
        _ = writeln!(text, "  next: startjobs inspect {}", printable(id));
    }
    for bound in &story.open_bounds {
        _ = writeln!(text, "\nThe search for open jobs ended at its bound: {bound}.");
    }
    text
}

fn open_row(job: &JobRow) -> [String; 4] {
    let detail = job.note().map_or_else(String::new, |note| printable(&note));
    [output::or_dash(job.entry_id.clone()), job.state.as_str().to_owned(), span(job.for_ms), detail]
}

/// The story of a game, for people.
pub(super) fn game_text(story: &GameStory) -> String {
    let mut text = output::paragraph(&format!("game {}: {}", printable(&story.game_id), printable(&story.sentence)));
    if let Some(record) = &story.record {
        _ = write!(text, "\nrecord\n{}", record_text(record, story.at_ms));
        let heard = |ago: u64| format!(", heard of {}", since(story.at_ms.saturating_sub(ago), story.at_ms));
        let heard = story.host_heard_ago_ms.map_or_else(String::new, heard);
        if !record.host.is_empty() {
            let standing = story.host_standing.unwrap_or("unknown");
            _ = writeln!(text, "  host {}: {standing}{heard}", printable(&record.host));
        }
    }
    if let Some(pull) = &story.pull {
        _ = writeln!(text, "  image: {}", printable(&pull.sentence()));
    }
    text += &open_jobs(story);
    if !story.jobs.is_empty() {
        let rows: Vec<[String; 4]> = story.jobs.iter().map(|job| job_row(job, story.at_ms)).collect();
        _ = write!(text, "\n{}", output::table(["entry", "appended", "outcome", "detail"], &rows));
    }
    text
}

fn job_row(job: &Stored, now_ms: u64) -> [String; 4] {
    let detail = match job.outcome.as_str() {
        "success" => format!("container {} at {}", job.container_id, job.engine_endpoint),
        _ => format!("{}: {}", job.error_code, job.error_message),
    };
    [job.source_ref.clone(), moment(job.appended_at_ms, now_ms), printable(&job.outcome), printable(&detail)]
}

fn record_text(record: &Record, now_ms: u64) -> String {
    let lease = record.lease.as_ref().map_or_else(
        || "none".to_owned(),
        |lease| format!("{}, {} left", printable(&lease.holder), span(lease.left_ms)),
    );
    let lines = [
        ("  state", printable(&record.state)),
        ("  updated", moment(record.updated_at_ms, now_ms)),
        ("  image", printable(&record.image_ref)),
        ("  by entry", printable(&record.source_ref)),
        ("  fence", record.fence.to_string()),
        ("  owner", printable(&record.owner)),
        ("  lease", lease),
        // No attempt has come to an engine yet where there is no host.
        (
            "  engine",
            [printable(&record.engine), printable(&record.host)].join(" on ").trim_end_matches(" on ").to_owned(),
        ),
        ("  container", printable(&record.container_id)),
        ("  endpoint", printable(&record.engine_endpoint)),
        ("  condemned", printable(&record.condemned)),
        ("  exit code", record.exit_code.map_or_else(String::new, |code| code.to_string())),
        ("  ended", record.ended_at_ms.map_or_else(String::new, |at| moment(at, now_ms))),
        ("  stopped by", printable(&record.stopped_by)),
    ];
    let told: Vec<_> = lines.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    output::aligned(&told)
}
