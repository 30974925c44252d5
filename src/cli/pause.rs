//! `startjobs pause` and `startjobs resume`: an operator holds the whole fleet.

use std::process::ExitCode;

use clap::Args;
use tokio::time::Instant;

use super::session::{FleetArgs, Session, who};
use super::{exit, output};
use crate::ops::overview::Overview;
use crate::ops::printable::{printable, time};
use crate::ops::verdict::Health;
use crate::redis::RedisError;
use crate::stream::fleet_event::{FleetEvent, Happened};
use crate::stream::pause::Pause;

const PAUSE_EXAMPLES: &str = "Examples:
  startjobs pause --reason 'engine upgrade, INC-42'
  startjobs pause --even-if-empty                    before the first replica of a new fleet
  startjobs status                                   shows who has paused, since when and why
  startjobs resume";

const RESUME_EXAMPLES: &str = "Examples:
  startjobs resume";

const NOTES: &str = "While the fleet is paused no replica reads or claims entries; starts under way are finished and answered. Jobs stay in
the stream. The pause lasts until `startjobs resume`, also across restarts of every replica. It holds the replicas of
this group; those of another group of the same stream go on, except replicas of an earlier version, which hold while any
group is paused. `resume` also ends a pause of all groups, as an earlier version writes it.

Exit codes: 0 done, also where nothing had to change; 1 there is no fleet here, and nothing was changed; 2 usage; 69 Redis
is unavailable; 78 a setting is wrong.";

/// Hold the whole fleet: nothing is read or claimed until resume
#[derive(Debug, Args)]
#[command(before_help = PAUSE_EXAMPLES, after_long_help = NOTES)]
pub(super) struct PauseArgs {
    /// The reason, which status shows
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Also where there is no fleet yet: its replicas hold from their start
    #[arg(long)]
    even_if_empty: bool,
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
    let PauseArgs { reason, even_if_empty, fleet } = args;
    Session::run(fleet, async |session| match pause(session, &reason, even_if_empty).await {
        Ok(code) => code,
        Err(error) => session.failed(&error),
    })
}

/// Runs `resume`.
pub(super) fn resume(args: ResumeArgs) -> ExitCode {
    Session::run(args.fleet, async |session| match end(session).await {
        Ok(code) => code,
        Err(error) => session.failed(&error),
    })
}

async fn pause(session: &Session, reason: &str, even_if_empty: bool) -> Result<u8, RedisError> {
    let overview = session.ask(session.view.overview(0)).await?;
    let is_missing = overview.verdict.health == Health::NoFleet;
    if is_missing && !even_if_empty {
        return Ok(refused(&overview, "To pause a fleet before its first replica starts, add --even-if-empty."));
    }
    let before = session.ask(session.view.group().pause(&who(), reason)).await?;
    if before.is_none() && !is_missing {
        session.note(FleetEvent::new(Happened::Paused, Instant::now()).saying("", reason)).await;
    }
    match before {
        Some(before) => eprintln!("startjobs: paused before, which stays as it is: {}", said(&before)),
        None if is_missing => {
            eprintln!("startjobs: there is no fleet here yet; its replicas will hold from their start");
        }
        None if overview.snapshot.replicas.running == 0 => {
            eprintln!("startjobs: no replica reads now; those that start will hold");
        }
        None => {}
    }
    output::print("paused\n");
    Ok(exit::DONE)
}

async fn end(session: &Session) -> Result<u8, RedisError> {
    if let Some(pause) = session.ask(session.view.group().resume()).await? {
        session.note(FleetEvent::new(Happened::Resumed, Instant::now())).await;
        eprintln!("startjobs: the pause has ended: {}", said(&pause));
    } else {
        let overview = session.ask(session.view.overview(0)).await?;
        if overview.verdict.health == Health::NoFleet {
            return Ok(refused(&overview, "A pause of another stream or group stays as it is."));
        }
        eprintln!("startjobs: the fleet was not paused");
    }
    output::print("running\n");
    Ok(exit::DONE)
}

/// Says what was found instead of a fleet.
fn refused(overview: &Overview, hint: &str) -> u8 {
    eprintln!("startjobs: nothing was changed. {}", overview.verdict.sentence);
    eprintln!("  {hint}");
    exit::FAILED
}

fn said(pause: &Pause) -> String {
    let by = if pause.by.is_empty() { "unknown".to_owned() } else { printable(&pause.by) };
    let since = if pause.at_ms == 0 { String::new() } else { format!(" since {}", time(pause.at_ms)) };
    let reason = if pause.reason.is_empty() { String::new() } else { format!(" ({})", printable(&pause.reason)) };
    let all = if pause.group.is_none() { ", every group of the stream" } else { "" };
    format!("by {by}{since}{reason}{all}")
}
