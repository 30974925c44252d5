//! `startjobs check`: limits for monitoring and for scripts.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use tokio::time::{Instant, sleep};

use super::session::{FleetArgs, Session};
use super::{exit, output, policy, process};
use crate::ops::overview::Overview;
use crate::ops::printable::{json, printable};
use crate::ops::thresholds::{Checked, Measured, Thresholds, number};
use crate::redis::RedisError;
use crate::settings::Settings;

const EXAMPLES: &str = "Examples:
  startjobs check --max-waiting 1000 --max-oldest 30s --min-replicas 2
  startjobs check --max-dead 0 --format nagios
  startjobs check --min-replicas 1 --wait 60s        until it is so, for scripts";

const NOTES: &str = "Where there is no fleet, on a mistyped stream for example, no limit is kept: the check `fleet` is broken.

Exit codes: 0 every limit is kept; 2 usage; 3 a limit is broken, or there is no fleet; 69 Redis is unavailable; 75 --wait
timed out; 78 a setting is wrong. With --format nagios: 0 OK, 1 WARNING (the fleet is paused), 2 CRITICAL, 3 UNKNOWN
(Redis is unavailable).";

/// Between two looks of `--wait`.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

const LIMITS: [&str; 4] = ["max_waiting", "max_oldest", "max_dead", "min_replicas"];

/// Compare the fleet with limits
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
#[command(group(ArgGroup::new("limits").args(LIMITS).multiple(true).required(true)))]
pub(super) struct CheckArgs {
    /// Maximum number of entries that no replica has read yet
    #[arg(long, value_name = "COUNT")]
    max_waiting: Option<u64>,
    /// Maximum age of the oldest of them
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_oldest: Option<Duration>,
    /// Maximum number of dead letters
    #[arg(long, value_name = "COUNT")]
    max_dead: Option<u64>,
    /// Minimum number of replicas that take work
    #[arg(long, value_name = "COUNT")]
    min_replicas: Option<u64>,
    /// Form of the answer
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Look again until every limit is kept, for at most this long
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    fleet: FleetArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Prometheus,
    Nagios,
}

struct Request {
    thresholds: Thresholds,
    format: Format,
    patience: Option<Duration>,
    limit: Duration,
}

/// Runs it.
pub(super) fn run(args: CheckArgs) -> ExitCode {
    let (settings, limit) = match args.fleet.load() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Some(problem) = policy::problem(&settings) {
        output::note(&format!("warning: {problem}"));
    }
    let thresholds = Thresholds {
        max_waiting: args.max_waiting,
        max_oldest: args.max_oldest,
        max_dead: args.max_dead,
        min_replicas: args.min_replicas,
    };
    process::block_on(check(settings, Request { thresholds, format: args.format, patience: args.wait, limit }))
}

async fn check(settings: Settings, request: Request) -> u8 {
    let Some(patience) = request.patience else {
        let seen = once(&settings, &request, request.limit).await;
        return say(&settings, &request, &seen, exit::BREACH);
    };
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let seen = once(&settings, &request, request.limit.min(left.max(LOOK_AGAIN_AFTER))).await;
        let is_kept = seen.as_ref().is_ok_and(|(checked, _)| checked.ok);
        if is_kept || Instant::now() + LOOK_AGAIN_AFTER >= end {
            let code = say(&settings, &request, &seen, exit::TIMED_OUT);
            return if is_kept || request.format == Format::Nagios { code } else { exit::TIMED_OUT };
        }
        sleep(LOOK_AGAIN_AFTER).await;
    }
}

type Seen = Result<(Checked, Overview), RedisError>;

/// Each look on a connection of its own: one that hangs costs one look.
async fn once(settings: &Settings, request: &Request, limit: Duration) -> Seen {
    let session = Session::open(settings, limit).await?;
    let overview = session.ask(session.view.overview(request.thresholds.counted_max())).await?;
    Ok((request.thresholds.check(&overview), overview))
}

/// Prints what was seen; answers the exit code, `broken` where a limit is.
fn say(settings: &Settings, request: &Request, seen: &Seen, broken: u8) -> u8 {
    let (checked, overview) = match seen {
        Ok(seen) => seen,
        Err(error) => return say_unavailable(settings, request, error),
    };
    let is_nagios = request.format == Format::Nagios;
    let text = match request.format {
        Format::Text => text(checked),
        Format::Json => json(checked),
        Format::Prometheus => prometheus(checked),
        Format::Nagios => nagios(checked, overview),
    };
    output::print(&text);
    match (checked.ok, is_nagios) {
        (true, true) => u8::from(overview.snapshot.paused.is_some()),
        (true, false) => exit::DONE,
        (false, true) => 2,
        (false, false) => broken,
    }
}

fn say_unavailable(settings: &Settings, request: &Request, error: &RedisError) -> u8 {
    let why = format!("Redis at {}: {}", settings.redis.display_url, printable(&error.text));
    match request.format {
        Format::Nagios => {
            output::print(&format!("STARTJOBS UNKNOWN - {why}\n"));
            return 3;
        }
        Format::Prometheus => {
            output::print(&format!("{HELP_UP}startjobs_check_up 0\n"));
        }
        Format::Text | Format::Json => {}
    }
    output::complain(&why, "`startjobs doctor` looks for the cause");
    exit::UNAVAILABLE
}

fn text(checked: &Checked) -> String {
    let line = |check: &Measured| format!("{}  {}\n", if check.ok { "ok    " } else { "broken" }, check.text());
    let lines: String = checked.checks.iter().map(line).collect();
    format!("{lines}{}\n", checked.sentence)
}

fn nagios(checked: &Checked, overview: &Overview) -> String {
    let word = match (checked.ok, overview.snapshot.paused.is_some()) {
        (false, _) => "CRITICAL",
        (true, true) => "WARNING",
        (true, false) => "OK",
    };
    let told = checked.checks.iter().filter(|check| checked.ok || !check.ok).map(Measured::text);
    let mut told: Vec<String> = told.collect();
    if overview.snapshot.paused.is_some() {
        told.push("the fleet is paused".to_owned());
    }
    let data = checked.checks.iter().map(|check| {
        let what = check.name.trim_start_matches("max-").trim_start_matches("min-");
        // A minimum is a range without an upper end.
        let range = if check.name.starts_with("max-") { "" } else { ":" };
        format!("{what}={}{};;{}{range};0;", number(check.value), check.unit, number(check.limit))
    });
    // `|` begins the data.
    let told = told.join(", ").replace('|', "/");
    format!("STARTJOBS {word} - {told} | {}\n", data.collect::<Vec<_>>().join(" "))
}

const HELP_UP: &str = "# HELP startjobs_check_up Redis answered the check.\n# TYPE startjobs_check_up gauge\n";

fn prometheus(checked: &Checked) -> String {
    let mut text = format!("{HELP_UP}startjobs_check_up 1\n");
    // Writing to a String cannot fail.
    let mut family = |name: &str, help: &str, of: &dyn Fn(&Measured) -> String| {
        _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for check in &checked.checks {
            _ = writeln!(text, "{name}{{check=\"{}\"}} {}", check.name, of(check));
        }
    };
    family("startjobs_check_ok", "The limit is kept.", &|check| u8::from(check.ok).to_string());
    family("startjobs_check_value", "What was found; seconds for ages.", &|check| number(check.value));
    family("startjobs_check_limit", "The limit.", &|check| number(check.limit));
    text
}
