//! `startjobs check`: limits for monitoring and for scripts.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgGroup, ArgMatches, Command};
use tokio::time::{Instant, sleep};

use super::operate::{self, Session};
use super::{common, exit};
use crate::ops::overview::Overview;
use crate::ops::printable::printable;
use crate::ops::thresholds::{Checked, Measured, Thresholds, number};
use crate::redis::RedisError;
use crate::settings::Settings;

const EXAMPLES: &str = "Examples:
  startjobs check --max-waiting 1000 --max-oldest 30s --min-replicas 2
  startjobs check --max-dead 0 --format nagios
  startjobs check --min-replicas 1 --wait 60s        until it is so, for scripts";

const NOTES: &str = "Exit codes: 0 every limit is kept; 2 usage; 3 one is broken; 69 Redis is unavailable; 75 --wait timed out; 78 a setting
is wrong. With --format nagios: 0 OK, 1 WARNING (the fleet is paused), 2 CRITICAL, 3 UNKNOWN (Redis is unavailable).";

/// Between two looks of `--wait`.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

const LIMITS: [&str; 4] = ["max-waiting", "max-oldest", "max-dead", "min-replicas"];

/// The command and its flags.
pub fn command() -> Command {
    let count = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("COUNT").value_parser(clap::value_parser!(u64)).help(help)
    };
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .default_value("text")
        .value_parser(["text", "json", "prometheus", "nagios"])
        .help("How to say it");
    Command::new("check")
        .about("Compare the fleet with limits")
        .before_help(EXAMPLES)
        .after_help(NOTES)
        .arg(count("max-waiting", "Entries that nobody has read yet, at most"))
        .arg(operate::duration("max-oldest", "How long the oldest of them waits, at most"))
        .arg(count("max-dead", "Dead letters, at most"))
        .arg(count("min-replicas", "Replicas that take work, at least"))
        .arg(format)
        .arg(operate::duration("wait", "Look again until every limit is kept, for at most this long"))
        .group(ArgGroup::new("limits").args(LIMITS).multiple(true).required(true))
        .args(operate::args())
}

struct Request {
    thresholds: Thresholds,
    format: String,
    patience: Option<Duration>,
    limit: Duration,
}

/// Runs it.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let settings = match common::settings(&common::sources(matches)) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let count = |name| matches.get_one::<u64>(name).copied();
    let request = Request {
        thresholds: Thresholds {
            max_waiting: count("max-waiting"),
            max_oldest: matches.get_one::<Duration>("max-oldest").copied(),
            max_dead: count("max-dead"),
            min_replicas: count("min-replicas"),
        },
        format: matches.get_one::<String>("format").cloned().unwrap_or_default(),
        patience: matches.get_one::<Duration>("wait").copied(),
        limit: operate::limit(matches),
    };
    common::block_on(check(settings, request))
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
            return if is_kept || request.format == "nagios" { code } else { exit::TIMED_OUT };
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
    let is_nagios = request.format == "nagios";
    let text = match request.format.as_str() {
        "json" => operate::json(checked),
        "prometheus" => prometheus(checked),
        "nagios" => nagios(checked, overview),
        _ => text(checked),
    };
    common::print(&text);
    match (checked.ok, is_nagios) {
        (true, true) => u8::from(overview.snapshot.paused.is_some()),
        (true, false) => exit::DONE,
        (false, true) => 2,
        (false, false) => broken,
    }
}

fn say_unavailable(settings: &Settings, request: &Request, error: &RedisError) -> u8 {
    let why = format!("Redis at {}: {}", settings.redis.display_url, printable(&error.text));
    match request.format.as_str() {
        "nagios" => {
            common::print(&format!("STARTJOBS UNKNOWN - {why}\n"));
            return 3;
        }
        "prometheus" => {
            common::print(&format!("{HELP_UP}startjobs_check_up 0\n"));
        }
        _ => {}
    }
    eprintln!("startjobs: {why}");
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
        let range = if check.name.starts_with("min-") { ":" } else { "" };
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
