//! `startjobs alerts`: which alerts fire, without a Prometheus.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::operate::{self, Colour, Session, or_dash, paint};
use super::{common, exit};
use crate::ops::alerts::{Alert, Alerts, State};
use crate::ops::backlog::COUNTED_MAX;
use crate::ops::printable::{printable, span};
use crate::ops::thresholds::number;

const EXAMPLES: &str = "Examples:
  startjobs alerts
  startjobs alerts --json | jq -r '.alerts[] | select(.state == \"firing\") | .name'";

const NOTES: &str =
    "The alerts, limits and times are those of deploy/monitoring/alerts.yml as it was shipped; what to do about each stands in
docs/runbooks.md under its name.

States: firing; pending (its condition is true, and as far as Redis tells not yet for long enough); unknown (Redis alone
does not tell, because the alert asks how something changed or what a replica knows: ask the metric that is named);
quiet. How long a condition has been true is a lower bound. Dead letters that were removed are not seen.

Exit codes: 0 none is firing or pending; 2 usage; 3 one is; 69 Redis is unavailable; 78 a setting is wrong.";

const HEADINGS: [&str; 7] = ["alert", "state", "severity", "value", "limit", "true for", "runbook"];

/// The command and its flags.
pub fn command() -> Command {
    Command::new("alerts")
        .about("Tell which alerts fire or are about to, and where their runbooks are")
        .before_help(EXAMPLES)
        .after_help(NOTES)
        .arg(operate::json_flag())
        .args(operate::args())
}

/// Runs it.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let json = matches.get_flag("json");
    Session::run(matches, async |session| match session.ask(session.view.alerts(COUNTED_MAX)).await {
        Ok(alerts) => {
            common::print(&if json { operate::json(&alerts) } else { text(&alerts) });
            if alerts.raised().next().is_some() { exit::BREACH } else { exit::DONE }
        }
        Err(error) => session.failed(&error),
    })
}

fn text(alerts: &Alerts) -> String {
    let colour = match alerts.alerts.first().map(|alert| alert.state) {
        Some(State::Firing) => Colour::Red,
        Some(State::Pending) => Colour::Yellow,
        _ => Colour::Green,
    };
    let rows: Vec<_> = alerts.alerts.iter().map(row).collect();
    let mut text = format!("{}\n\n{}", paint(&alerts.sentence, colour), operate::table(HEADINGS, &rows));
    for alert in alerts.raised() {
        // Writing to a String cannot fail.
        _ = write!(text, "\n{}: {}\n  {}\n", alert.name, alert.summary, printable(&alert.detail));
    }
    let unknown = alerts.alerts.iter().filter(|alert| alert.state == State::Unknown);
    let unknown: Vec<_> = unknown
        .map(|alert| (format!("  {}", alert.name), format!("{} ({})", printable(&alert.detail), alert.metric)))
        .collect();
    if !unknown.is_empty() {
        _ = write!(text, "\nNot to be known from Redis alone:\n{}", common::aligned(&unknown));
    }
    text
}

fn row(alert: &Alert) -> [String; 7] {
    let held = alert.for_ms;
    let true_for = match (alert.is_raised(), alert.true_for_ms) {
        (false, _) => None,
        (true, Some(so_far)) => Some(span(so_far)),
        (true, None) => Some("not known".to_owned()),
    };
    [
        alert.name.to_owned(),
        alert.state.as_str().to_owned(),
        alert.severity.to_owned(),
        or_dash(alert.value.map(number)),
        format!("{} {} for {}", alert.sign, number(alert.limit), span(held)),
        or_dash(true_for),
        alert.runbook.clone(),
    ]
}
