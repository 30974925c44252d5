//! `startjobs jobs`: single jobs, by what they are up to.

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use tokio::time::Instant;

use super::exit;
use super::output::{self, or_dash};
use super::session::{FleetArgs, Session};
use crate::ops::jobs::row::{JobRow, JobState, Jobs, JobsQuery};
use crate::ops::printable::{json, printable, span, time};
use crate::redis::RedisError;

const EXAMPLES: &str = "Examples:
  startjobs jobs
  startjobs jobs --state backing_off
  startjobs jobs --state failed --since 3h --code image_not_found
  startjobs jobs --game player-17
  startjobs jobs --json | jq -r '.jobs[] | [.entry_id, .state] | @tsv'";

const NOTES: &str = "\
Jobs that back off come first (the next one to be tried first), then those in flight and those that wait (the
oldest first), then those that were answered with a failure in the last hour (the newest first). The command
looks at 10,000 entries at most, and says so where it ended there. Which jobs back off, and why, their replicas
say: each tells of the first 100 of its own, and of a replica that is dead nothing is shown. On a terminal with
less than 100 columns each job has lines of its own.

Exit codes: 0 shown, also where there are none; 1 there is no fleet here; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

const HEADINGS: [&str; 7] = ["id", "game", "state", "for", "image", "replica", "error, next try"];
/// Columns below which a table is no help.
const WIDE: usize = 100;

/// List single jobs: waiting, in flight, backing off, failed in the last hour
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct JobsArgs {
    /// Only jobs in this state; may be repeated
    #[arg(long = "state", value_name = "STATE", value_enum, value_delimiter = ',')]
    states: Vec<JobState>,
    /// Only jobs of games whose id contains this
    #[arg(long, value_name = "PART", value_parser = not_empty)]
    game: Option<String>,
    /// Only jobs whose image contains this
    #[arg(long, value_name = "PART", value_parser = not_empty)]
    image: Option<String>,
    /// Only jobs whose last failure has this error code
    #[arg(long, value_name = "CODE", value_parser = not_empty)]
    code: Option<String>,
    /// Only jobs that were appended, or have failed, in this time [default: failed jobs 1h, others all]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Maximum number of jobs to list of each state
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

impl ValueEnum for JobState {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Waiting, Self::InFlight, Self::BackingOff, Self::Failed]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()))
    }
}

fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("must not be empty") } else { Ok(text.trim().to_owned()) }
}

/// Runs it.
pub(super) fn run(args: JobsArgs) -> ExitCode {
    let JobsArgs { states, game, image, code, since, limit, json: as_json, fleet } = args;
    let query =
        JobsQuery { states, game_part: game, game: None, image_part: image, code, since, limit: limit as usize };
    // The list ends in time for it to be shown.
    let patience = fleet.limit.timeout.mul_f64(0.7).max(Duration::from_millis(1));
    Session::run(fleet, async |session| match list(session, &query, patience).await {
        Ok(Ok(jobs)) => {
            show(&jobs, as_json);
            exit::DONE
        }
        Ok(Err(code)) => code,
        Err(error) => session.failed(&error),
    })
}

/// The jobs, or the exit code where there is no fleet.
async fn list(session: &Session, query: &JobsQuery, patience: Duration) -> Result<Result<Jobs, u8>, RedisError> {
    if let Some(code) = session.no_fleet(true).await? {
        return Ok(Err(code));
    }
    session.ask(session.view.jobs(query, Instant::now() + patience)).await.map(Ok)
}

fn show(jobs: &Jobs, as_json: bool) {
    let text = if as_json { json(jobs) } else { table(jobs, output::columns()) };
    output::print(&text);
    for bound in jobs.bounds() {
        output::complain(&bound, "--state, --since or --timeout look further into what is left");
    }
    let unlisted = jobs.unlisted();
    if unlisted > 0 {
        output::complain(&format!("{unlisted} more"), "raise --limit to see them");
    }
}

/// The jobs in columns, or where there are not many columns each with lines of its own.
pub(super) fn table(jobs: &Jobs, columns: Option<usize>) -> String {
    if jobs.jobs.is_empty() {
        return "no such jobs\n".to_owned();
    }
    if columns.is_some_and(|columns| columns < WIDE) {
        return jobs.jobs.iter().map(block).collect();
    }
    let rows: Vec<_> = jobs.jobs.iter().map(row).collect();
    output::table(HEADINGS, &rows)
}

fn shown(text: Option<&String>) -> String {
    or_dash(text.map(|text| printable(text)))
}

fn row(job: &JobRow) -> [String; 7] {
    [
        shown(job.entry_id.as_ref()),
        shown(job.game_id.as_ref()),
        job.state.as_str().to_owned(),
        span(job.for_ms),
        shown(job.image_ref.as_ref()),
        shown(job.replica.as_ref()),
        or_dash(job.note().map(|note| printable(&note))),
    ]
}

fn block(job: &JobRow) -> String {
    let state = format!("{} for {}", job.state.as_str(), span(job.for_ms));
    let lines = [
        ("  game", shown(job.game_id.as_ref())),
        ("  state", state),
        ("  since", time(job.since_ms)),
        ("  image", shown(job.image_ref.as_ref())),
        ("  replica", shown(job.replica.as_ref())),
        ("  note", or_dash(job.note().map(|note| printable(&note)))),
    ];
    let told: Vec<_> = lines.into_iter().filter(|(_, value)| value != "-").collect();
    format!("{}\n{}", shown(job.entry_id.as_ref()), output::aligned(&told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobRow {
        JobRow {
            entry_id: Some("1795511333123-0".to_owned()),
            appended_at_ms: Some(1_795_511_333_123),
            game_id: Some("game\u{1b}[31m".to_owned()),
            image_ref: Some("galaxy/engine:1".to_owned()),
            state: JobState::BackingOff,
            since_ms: 1_795_511_333_123,
            for_ms: 61_000,
            waits_outside: false,
            replica: Some("r-1".to_owned()),
            replica_is_alive: Some(true),
            deliveries: Some(1),
            failures: Some(2),
            error_code: Some("engine_exited".to_owned()),
            error_message: Some("exit code 1".to_owned()),
            next_at_ms: Some(1_795_511_345_123),
            next_in_ms: Some(12_000),
            outcome_id: None,
        }
    }

    #[test]
    fn a_job_is_readable_in_sixty_columns_and_obeyed_by_no_terminal() {
        let jobs =
            Jobs { schema_version: 1, at_ms: 0, jobs: vec![job()], matched: vec![], looked_at: 1, looked: vec![] };
        let narrow = table(&jobs, Some(60));
        assert!(narrow.starts_with("1795511333123-0\n  game     game\\u{1b}[31m\n"), "{narrow}");
        assert!(narrow.contains("  note     next try in 12s; engine_exited: exit code 1\n"), "{narrow}");
        assert!(narrow.lines().all(|line| line.len() <= 60), "{narrow}");
        let wide = table(&jobs, None);
        assert!(wide.lines().count() == 2 && wide.starts_with("ID "), "{wide}");
    }
}
