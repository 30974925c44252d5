//! `startjobs pause` and `startjobs resume`: an operator holds the whole fleet.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::session::{FleetArgs, Session, who};
use super::{exit, output};
use crate::ops::overview::Overview;
use crate::ops::printable::{printable, span, time};
use crate::ops::replicas::{Replica, State};
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

/// How long the command waits for the replicas to hear of it.
const HEAR_WITHIN: Duration = Duration::from_secs(3);
/// How long after each look for their answers the next one follows.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Replicas that are named where they have not answered.
const NAMED_MAX: usize = 20;

const NOTES: &str = "While the fleet is paused no replica reads or claims entries; starts under way are finished and answered. Jobs stay in
the stream. The pause lasts until `startjobs resume`, also across restarts of every replica. It holds the replicas of
this group; those of another group of the same stream go on, except replicas of an earlier version, which hold while any
group is paused. `resume` also ends a pause of all groups, as an earlier version writes it.

Both commands wait until every running replica has heard of it, for three seconds at most, and say how many have: about 0.2s. Those
that have not answered are named; they hear of it with their next renewal. A job that backs off, or whose start fails during the
pause, waits for its end. `cancel` is answered during the pause; `retry-now` waits for its end.

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
    let since_ms = session.ask(session.view.group().paused()).await?.map_or(0, |pause| pause.at_ms);
    let said = heard(session, |replica| holds(replica, since_ms), ["holds", "hold"]).await?;
    output::print(&format!("paused{said}\n"));
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
    let since_ms = session.ask(session.view.group().now_ms()).await?;
    let goes_on = |replica: &Replica| !replica.is_paused && replica.last_seen_ms >= Some(since_ms);
    let said = heard(session, goes_on, ["goes on", "go on"]).await?;
    output::print(&format!("running{said}\n"));
    Ok(exit::DONE)
}

/// A replica of a version that does not say whether it is paused takes no jobs then.
fn holds(replica: &Replica, since_ms: u64) -> bool {
    replica.is_paused || (replica.serves == Some(false) && replica.last_seen_ms > Some(since_ms))
}

/// Waits until the replicas that run have heard of it; what is said of them.
async fn heard(
    session: &Session,
    has_heard: impl Fn(&Replica) -> bool,
    verbs: [&str; 2],
) -> Result<String, RedisError> {
    let until = Instant::now() + HEAR_WITHIN;
    loop {
        let look = session.ask(session.view.look()).await?;
        let mut replicas = session.view.replicas(&look).replicas;
        replicas.retain(|replica| replica.state == State::Running);
        let all = replicas.len();
        replicas.retain(|replica| !has_heard(replica));
        if !replicas.is_empty() && Instant::now() < until {
            sleep(LOOK_AGAIN_AFTER).await;
            continue;
        }
        replicas.iter().take(NAMED_MAX).for_each(|replica| say_silent(replica, verbs[1]));
        let more = replicas.len().saturating_sub(NAMED_MAX);
        if more > 0 {
            eprintln!("startjobs: {more} more have not answered yet");
        }
        return Ok(match all {
            0 => String::new(),
            1 => format!(": {} of 1 replica {}", all - replicas.len(), verbs[0]),
            _ => format!(": {} of {all} replicas {}", all - replicas.len(), verbs[1]),
        });
    }
}

/// What is known of a replica that has not answered.
fn say_silent(replica: &Replica, verb: &str) {
    let version = replica
        .version
        .as_deref()
        .map_or_else(|| "unknown version".to_owned(), |version| format!("version {}", printable(version)));
    let seen = replica.last_seen_ago_ms.map_or_else(String::new, |ago| format!(", last seen {} ago", span(ago)));
    let renewal = replica.claim_idle_ms.map_or_else(String::new, |idle| format!(", within {}", span(idle / 3)));
    let name = printable(&replica.name);
    eprintln!("startjobs: {name}: no answer yet ({version}{seen}); it will {verb} with its next renewal{renewal}");
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
