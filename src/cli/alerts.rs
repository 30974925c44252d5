//! `startjobs alerts`: which alerts fire, without a Prometheus.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::exit;
use super::output::{self, Colour, or_dash, paint};
use super::session::{FleetArgs, Session};
use crate::ops::alerts::{Alert, Alerts, State};
use crate::ops::backlog::COUNTED_MAX;
use crate::ops::printable::{json, printable, span};
use crate::ops::thresholds::number;

const EXAMPLES: &str = "Examples:
  startjobs alerts
  startjobs alerts --json | jq -r '.alerts[] | select(.state == \"firing\") | .name'";

const NOTES: &str = "The alerts, limits and times are those of deploy/monitoring/alerts.yml as shipped; docs/runbooks.md says under each
alert's name what to do.

States:
  firing   the condition has been true for long enough
  pending  the condition is true, but as far as Redis shows not yet for long enough
  unknown  Redis alone does not show it, because the alert needs a rate or a replica's own figures: query the metric
           named in the detail
  quiet    the condition is not true
The time that a condition has been true is a lower bound. Dead letters that were removed are not counted.

Exit codes: 0 no alert is firing or pending; 2 usage; 3 at least one is; 69 Redis is unavailable; 78 a setting is wrong.";

const HEADINGS: [&str; 7] = ["alert", "state", "severity", "value", "limit", "true for", "runbook"];

/// Show which alerts fire or are about to, and where their runbooks are
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct AlertsArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Runs it.
pub(super) fn run(args: AlertsArgs) -> ExitCode {
    Session::run(args.fleet, async |session| match session.ask(session.view.alerts(COUNTED_MAX)).await {
        Ok(alerts) => {
            output::print(&if args.json { json(&alerts) } else { text(&alerts) });
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
    let mut text = format!("{}\n\n{}", paint(&alerts.sentence, colour), output::table(HEADINGS, &rows));
    for alert in alerts.raised() {
        // Writing to a String cannot fail.
        _ = write!(text, "\n{}: {}\n  {}\n", alert.name, alert.summary, printable(&alert.detail));
    }
    let unknown = alerts.alerts.iter().filter(|alert| alert.state == State::Unknown);
    let unknown: Vec<_> = unknown
        .map(|alert| (format!("  {}", alert.name), format!("{} ({})", printable(&alert.detail), alert.metric)))
        .collect();
    if !unknown.is_empty() {
        _ = write!(text, "\nNot to be known from Redis alone:\n{}", output::aligned(&unknown));
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
