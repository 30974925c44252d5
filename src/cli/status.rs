//! `startjobs status`: the whole fleet at a glance.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stdout};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::exit;
use super::output::{self, Colour, paint};
use super::session::{FleetArgs, Session};
use super::wrap::{self, wrapped};
use crate::ops::alerts::Raised;
use crate::ops::backlog::COUNTED_MAX;
use crate::ops::hosts::{FleetHosts, HostView};
use crate::ops::overview::Overview;
use crate::ops::printable::{self, printable, span, time};
use crate::ops::snapshot::Snapshot;
use crate::ops::verdict::{Health, Impact, Players, Problem};
use crate::redis::RedisError;

const EXAMPLES: &str = "Examples:
  startjobs status
  startjobs status --watch 1s
  startjobs status --json | jq .waiting.count";

const NOTES: &str = "The first line says whether anything is wrong, with two causes at most: Healthy, Paused, Degraded, Down, Not known, or
There is no fleet here. The second says what players notice. Every problem follows with its next step, the worst first.
On a terminal, and where COLUMNS is set, long lines are wrapped. `waiting` is counted by this command; `>= N` is a lower bound, where an
exact count would take too long. `lag` is Redis's own figure, which may be unknown or wrong.

Exit codes: 0 shown, whatever the state (`startjobs check` judges it); 2 usage; 69 Redis is unavailable; 78 a setting is
wrong.";

/// Show how the fleet is doing
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct StatusArgs {
    /// Show it repeatedly, at this interval of 100ms or more
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    watch: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Redis is asked once an interval: never without a break.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < INTERVAL_MIN {
        return Err(format!("{text} is too short: use 100ms or more"));
    }
    Ok(interval)
}

/// Runs it.
pub(super) fn run(args: StatusArgs) -> ExitCode {
    let json = args.json;
    Session::run(args.fleet, async |session| match args.watch {
        None => once(session, json).await,
        Some(interval) => again_and_again(session, json, interval).await,
    })
}

async fn look(session: &Session) -> Result<Overview, RedisError> {
    session.ask(session.view.overview(COUNTED_MAX)).await
}

async fn once(session: &Session, json: bool) -> u8 {
    match look(session).await {
        Ok(overview) => {
            output::print(&shown(&overview, json));
            exit::DONE
        }
        Err(error) => session.failed(&error),
    }
}

/// Until it is stopped; an outage is said and waited out.
async fn again_and_again(session: &Session, json: bool, interval: Duration) -> u8 {
    let clears = stdout().is_terminal() && !json;
    let mut is_first = true;
    loop {
        match look(session).await {
            Ok(overview) => {
                let before = match (clears, is_first || json) {
                    (true, _) => "\x1b[H\x1b[2J",
                    (false, true) => "",
                    (false, false) => "\n",
                };
                let text = format!("{before}{}", shown(&overview, json));
                // The reader has seen enough: `startjobs status --watch 1s | head`.
                if stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()).is_err() {
                    return exit::DONE;
                }
                is_first = false;
            }
            Err(error) => drop(session.failed(&error)),
        }
        tokio::time::sleep(interval).await;
    }
}

fn shown(overview: &Overview, json: bool) -> String {
    if json { printable::json(overview) } else { text(overview, wrap::width()) }
}

fn text(overview: &Overview, width: Option<usize>) -> String {
    let Overview { verdict, snapshot, .. } = overview;
    let colour = match verdict.health {
        Health::Healthy => Colour::Green,
        Health::Paused => Colour::Yellow,
        Health::NoFleet | Health::Unknown | Health::Down | Health::Degraded => Colour::Red,
    };
    let mut lines = vec![
        ("waiting", waiting(snapshot)),
        ("in flight", in_flight(snapshot)),
        ("dead letters", snapshot.dead_letters.to_string()),
        ("replicas", replicas(snapshot)),
        ("hosts", snapshot.hosts.counted().unwrap_or_else(|| "-".to_owned())),
        ("lag", lag(snapshot)),
        ("mirror", mirror(snapshot)),
        ("engine", listed(&snapshot.engines)),
        ("version", listed(&snapshot.versions)),
        ("redis", printable(&snapshot.redis.text())),
        ("paused", if snapshot.paused.is_some() { "yes" } else { "no" }.to_owned()),
    ];
    if let Some(alerts) = alerts(overview) {
        lines.push(("alerts", alerts));
    }
    let sentence = paint(&wrapped(&verdict.sentence, width, 0), colour);
    let impact = impact(&verdict.impact, width);
    let problems: String = verdict.problems.iter().map(|one| problem(one, snapshot, width)).collect();
    let lines = wrap::aligned(&lines, width);
    format!("{sentence}\n{impact}\n{problems}\n{lines}{}", hosts(&snapshot.hosts, width))
}

/// What players notice; coloured where they do.
fn impact(impact: &Impact, width: Option<usize>) -> String {
    let sentence = wrapped(&impact.sentence, width, 0);
    match impact.players {
        Players::Served => sentence,
        Players::Delayed | Players::NotKnown => paint(&sentence, Colour::Yellow),
        Players::NotServed => paint(&sentence, Colour::Red),
    }
}

/// What is wrong, since when, and beside it the next step and the runbook.
fn problem(problem: &Problem, snapshot: &Snapshot, width: Option<usize>) -> String {
    let since = problem.since_ms.map_or_else(String::new, |since_ms| {
        format!(" (since {}, {} ago)", time(since_ms), span(snapshot.at_ms.saturating_sub(since_ms)))
    });
    // What goes away by itself is what is remembered of replicas that have ended.
    let until = problem.until_ms.map_or_else(String::new, |until_ms| {
        let left = span(until_ms.saturating_sub(snapshot.at_ms));
        format!("\n  ends: in {left} ({})\n  at once: startjobs replicas forget --gone", time(until_ms))
    });
    let next = problem.next.command.map_or_else(String::new, |command| format!("\n  next: {command}"));
    let runbook = problem.runbook.as_deref().map_or_else(String::new, |runbook| format!("\n  read: {runbook}"));
    let sentence = wrapped(&format!("- {}{since}", problem.sentence), width, 2);
    format!("\n{sentence}{next}{runbook}{until}\n")
}

/// Each host, where there is more than one or something is wrong with it.
fn hosts(hosts: &FleetHosts, width: Option<usize>) -> String {
    let is_well = hosts.dead == 0 && hosts.full().next().is_none() && hosts.sick().next().is_none();
    if hosts.listed.len() < 2 && is_well {
        return String::new();
    }
    let row = |host: &HostView| {
        let heard = host.last_heard_ago_ms.map(|ago| format!("{} ago", span(ago)));
        let numbers = [host.replicas, host.slots, host.in_flight].map(|number| number.to_string());
        let [replicas, slots, in_flight] = numbers;
        let games = output::or_dash(host.games_text());
        let standing = if host.is_sick && !host.is_full() { "sick" } else { host.standing };
        [printable(&host.host), standing.to_owned(), output::or_dash(heard), replicas, slots, in_flight, games]
    };
    let rows: Vec<[String; 7]> = hosts.listed.iter().map(row).collect();
    let mut text =
        wrap::table(["host", "standing", "last heard", "replicas", "slots", "in use", "games"], &rows, width);
    if hosts.more > 0 {
        _ = writeln!(text, "and {} more", hosts.more);
    }
    format!("\n{text}")
}

/// Said only when there is something to say.
fn alerts(overview: &Overview) -> Option<String> {
    let named: Vec<String> = overview.alerts.iter().map(Raised::soon).collect();
    (!named.is_empty()).then(|| format!("{}: see `startjobs alerts`", named.join(", ")))
}

fn waiting(snapshot: &Snapshot) -> String {
    let waiting = &snapshot.waiting;
    let oldest = |age| format!(", the oldest for {} (since {})", span(age), time(snapshot.at_ms.saturating_sub(age)));
    let bound = if waiting.waiting.exact { "" } else { " (a lower bound)" };
    format!("{}{bound}{}", waiting.waiting.text(), waiting.oldest_age_ms.map_or_else(String::new, oldest))
}

fn in_flight(snapshot: &Snapshot) -> String {
    let oldest =
        |age| format!("; the oldest was appended {} ago ({})", span(age), time(snapshot.at_ms.saturating_sub(age)));
    let held = snapshot.held();
    let mut text = held.in_flight.to_string();
    if held.backing_off > 0 {
        _ = write!(text, ", {} backing off", held.backing_off);
        if let Some(next_ms) = snapshot.backing_off.next_at_ms {
            let next = match next_ms.saturating_sub(snapshot.at_ms) {
                0 => "due".to_owned(),
                left => format!("in {}", span(left)),
            };
            _ = write!(text, " (next {next})");
        }
    }
    if held.given_back > 0 {
        _ = write!(text, ", {} given back", held.given_back);
    }
    match held.for_room {
        0 => {}
        1 => text.push_str(", 1 waits for room"),
        count => _ = write!(text, ", {count} wait for room"),
    }
    text + &snapshot.in_flight.oldest_age_ms.map_or_else(String::new, oldest)
}

fn replicas(snapshot: &Snapshot) -> String {
    let counts = snapshot.replicas;
    let mut text = format!("{} alive", counts.alive);
    for (count, what) in [(counts.draining, "draining"), (counts.dead, "dead"), (counts.lost, "lost")] {
        if count > 0 {
            _ = write!(text, ", {count} {what}");
        }
    }
    if counts.slots > 0 {
        _ = write!(text, ", {} slots", counts.slots);
    }
    text
}

fn lag(snapshot: &Snapshot) -> String {
    match (snapshot.lag.value, snapshot.lag.agrees) {
        (None, _) => "unknown to Redis".to_owned(),
        (Some(lag), Some(false)) => format!("{lag} as Redis counts, which is wrong"),
        (Some(lag), _) => format!("{lag} as Redis counts"),
    }
}

fn mirror(snapshot: &Snapshot) -> String {
    let mirror = &snapshot.mirror;
    let id = mirror.id.as_deref().map_or_else(|| "none".to_owned(), printable);
    match (mirror.exact, mirror.foreign) {
        (None, _) => id,
        (Some(true), false) => format!("{id}, the exact watermark"),
        (Some(_), _) => {
            format!("{id}, not the watermark {}", mirror.watermark.as_deref().unwrap_or("before the oldest in flight"))
        }
    }
}

fn listed(names: &std::collections::BTreeSet<String>) -> String {
    let names: Vec<String> = names.iter().map(|name| printable(name)).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}
