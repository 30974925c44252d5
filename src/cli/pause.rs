//! `startjobs pause` and `startjobs resume`: an operator holds the whole fleet.

use std::process::ExitCode;

use clap::Args;

use super::session::{FleetArgs, Session, who};
use super::{exit, output};
use crate::ops::printable::{printable, time};
use crate::stream::pause::Pause;

const PAUSE_EXAMPLES: &str = "Examples:
  startjobs pause --reason 'engine upgrade, INC-42'
  startjobs status                                   shows who has paused, since when and why
  startjobs resume";

const RESUME_EXAMPLES: &str = "Examples:
  startjobs resume";

const NOTES: &str = "While the fleet is paused no replica reads or claims entries; starts under way are finished and answered. Jobs stay in
the stream. The pause lasts until `startjobs resume`, also across restarts of every replica.

Exit codes: 0 done, also where nothing had to change; 2 usage; 69 Redis is unavailable; 78 a setting is wrong.";

/// Hold the whole fleet: nothing is read or claimed until resume
#[derive(Debug, Args)]
#[command(before_help = PAUSE_EXAMPLES, after_long_help = NOTES)]
pub(super) struct PauseArgs {
    /// The reason, which status shows
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// End the pause of the fleet
#[derive(Debug, Args)]
#[command(before_help = RESUME_EXAMPLES, after_long_help = NOTES)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Runs `pause`.
pub(super) fn run(args: PauseArgs) -> ExitCode {
    let PauseArgs { reason, fleet } = args;
    Session::run(fleet, async |session| match session.ask(session.view.group().pause(&who(), &reason)).await {
        Ok(None) => {
            output::print("paused\n");
            exit::DONE
        }
        Ok(Some(before)) => {
            eprintln!("startjobs: paused before, which stays as it is: {}", said(&before));
            output::print("paused\n");
            exit::DONE
        }
        Err(error) => session.failed(&error),
    })
}

/// Runs `resume`.
pub(super) fn resume(args: ResumeArgs) -> ExitCode {
    Session::run(args.fleet, async |session| match session.ask(session.view.group().resume()).await {
        Ok(before) => {
            match before {
                Some(pause) => eprintln!("startjobs: the pause has ended: {}", said(&pause)),
                None => eprintln!("startjobs: the fleet was not paused"),
            }
            output::print("running\n");
            exit::DONE
        }
        Err(error) => session.failed(&error),
    })
}

fn said(pause: &Pause) -> String {
    let by = if pause.by.is_empty() { "unknown".to_owned() } else { printable(&pause.by) };
    let since = if pause.at_ms == 0 { String::new() } else { format!(" since {}", time(pause.at_ms)) };
    let reason = if pause.reason.is_empty() { String::new() } else { format!(" ({})", printable(&pause.reason)) };
    format!("by {by}{since}{reason}")
}
