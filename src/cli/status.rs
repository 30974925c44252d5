//! `startjobs status`: the whole fleet at a glance.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stdout};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::exit;
use super::output::{self, Colour, paint};
use super::session::{FleetArgs, Session};
use crate::ops::alerts::Raised;
use crate::ops::backlog::COUNTED_MAX;
use crate::ops::hosts::{FleetHosts, HostView};
use crate::ops::overview::Overview;
use crate::ops::printable::{self, printable, span};
use crate::ops::snapshot::Snapshot;
use crate::ops::verdict::Health;
use crate::redis::RedisError;

const EXAMPLES: &str = "Examples:
  startjobs status
  startjobs status --watch 1s
  startjobs status --json | jq .waiting.count";

const NOTES: &str = "The first line says whether anything is wrong. `waiting` is counted by this command; `>= N` is a lower bound, where an
exact count would take too long. `lag` is Redis's own figure, which may be unknown or wrong.

Exit codes: 0 shown, whatever the state (`startjobs check` judges it); 2 usage; 69 Redis is unavailable; 78 a setting is
wrong.";

/// Show how the fleet is doing
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct StatusArgs {
    /// Show it repeatedly, at this interval
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    watch: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
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
        tokio::time::sleep(interval.max(Duration::from_millis(100))).await;
    }
}

fn shown(overview: &Overview, json: bool) -> String {
    if json { printable::json(overview) } else { text(overview) }
}

fn text(overview: &Overview) -> String {
    let Overview { verdict, snapshot, .. } = overview;
    let colour = match verdict.health {
        Health::Healthy => Colour::Green,
        Health::Paused => Colour::Yellow,
        Health::Degraded => Colour::Red,
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
    format!("{}\n\n{}{}", paint(&verdict.sentence, colour), output::aligned(&lines), hosts(&snapshot.hosts))
}

/// Each host, where there is more than one or something is wrong with it.
fn hosts(hosts: &FleetHosts) -> String {
    if hosts.listed.len() < 2 && hosts.dead == 0 && hosts.full().next().is_none() {
        return String::new();
    }
    let row = |host: &HostView| {
        let heard = host.last_heard_ago_ms.map(|ago| format!("{} ago", span(ago)));
        let numbers = [host.replicas, host.slots, host.in_flight].map(|number| number.to_string());
        let [replicas, slots, in_flight] = numbers;
        let games = output::or_dash(host.games_text());
        [printable(&host.host), host.standing.to_owned(), output::or_dash(heard), replicas, slots, in_flight, games]
    };
    let rows: Vec<[String; 7]> = hosts.listed.iter().map(row).collect();
    let mut text = output::table(["host", "standing", "last heard", "replicas", "slots", "in use", "games"], &rows);
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
    let oldest = waiting.oldest_age_ms.map_or_else(String::new, |age| format!(", the oldest for {}", span(age)));
    let bound = if waiting.waiting.exact { "" } else { " (a lower bound)" };
    format!("{}{bound}{oldest}", waiting.waiting.text())
}

fn in_flight(snapshot: &Snapshot) -> String {
    let oldest = snapshot
        .in_flight
        .oldest_age_ms
        .map_or_else(String::new, |age| format!(", the oldest appended {} ago", span(age)));
    format!("{}{oldest}", snapshot.in_flight.count)
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
