//! `runtime stop`.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::list::short;
use crate::cli::session::Session;
use crate::cli::{confirm, exit, output};
use crate::ops::printable::printable;
use crate::redis::RedisError;
use crate::start::game_id::GameId;
use crate::start::record::{RecordView, Standing, StopWhere};
use crate::stream::fleet_event::{FleetEvent, Happened};

/// Between two looks.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Which game, and who stops it.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) game: GameId,
    pub(super) by: String,
    /// On a terminal, without `--yes`.
    pub(super) asks: bool,
    /// How long the host may take to remove the container.
    pub(super) wait: Duration,
}

/// Stops a game, and waits until its container is gone.
pub(super) async fn run(session: &Session, stop: &Stop) -> u8 {
    let records = session.view.records();
    let game = printable(stop.game.as_str());
    let record = match session.ask(records.view(&stop.game)).await {
        Ok(record) => record,
        Err(error) => return session.failed(&error),
    };
    let Some(record) = record else { return refused(&game, "absent") };
    if !["running", "starting"].contains(&record.state.as_str()) {
        return refused(&game, &record.state);
    }
    if stop.asks && !confirm::confirmed(question(&game, &record)).await {
        output::note("nothing was changed");
        return exit::FAILED;
    }
    let answer = match session.ask(records.stop(&stop.game, &stop.by, StopWhere::Anywhere)).await {
        Ok(answer) => answer,
        Err(error) => return session.failed(&error),
    };
    match answer.was.as_str() {
        "running" | "starting" => {}
        was => return refused(&game, was),
    }
    session
        .note(FleetEvent { game: stop.game.as_str().to_owned(), ..FleetEvent::new(Happened::Stopped, Instant::now()) })
        .await;
    match gone(session, &stop.game, stop.wait).await {
        Ok(found) => {
            output::print(&format!("{game} is stopped{}\n", found.words(&printable(&answer.host))));
            found.code()
        }
        Err(error) => {
            output::note(&format!("{game} is stopped; whether its container is gone is not known"));
            session.failed(&error)
        }
    }
}

fn refused(game: &str, was: &str) -> u8 {
    match was {
        "absent" => {
            output::complain(&format!("there is no game {game}"), "`startjobs runtime list` lists those that run");
        }
        was => {
            let what = format!("game {game} does not run: its record says {}", printable(was));
            output::complain(&what, "there is nothing to stop; `startjobs inspect` tells the rest");
        }
    }
    exit::FAILED
}

fn question(game: &str, record: &RecordView) -> String {
    let container = match record.container_id.as_str() {
        "" => String::new(),
        id => format!(", container {}", short(id)),
    };
    format!(
        "Stop game {game}, which is {} on host {}{}.\n",
        record.state,
        printable(&record.host),
        printable(&container)
    )
}

/// What became of the container.
enum Found {
    Gone,
    /// A new job has come meanwhile.
    StartedAgain,
    /// The host has not removed it.
    Left {
        is_host_alive: bool,
    },
}

impl Found {
    fn words(&self, host: &str) -> String {
        match self {
            Self::Gone => format!(", and host {host} has no container of it"),
            Self::StartedAgain => "; a new job has started it again since".to_owned(),
            Self::Left { is_host_alive: true } => {
                format!("; host {host} has not removed its container yet, and goes on trying")
            }
            Self::Left { is_host_alive: false } => {
                format!("; host {host} is not alive, and removes its container when it comes back")
            }
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Gone | Self::StartedAgain => exit::DONE,
            Self::Left { .. } => exit::TIMED_OUT,
        }
    }
}

async fn gone(session: &Session, game: &GameId, wait: Duration) -> Result<Found, RedisError> {
    let until = Instant::now() + wait;
    loop {
        let Some(record) = session.ask(session.view.records().view(game)).await? else { return Ok(Found::Gone) };
        if record.state != "stopped" {
            return Ok(Found::StartedAgain);
        }
        if record.condemned.is_empty() {
            return Ok(Found::Gone);
        }
        let hosts = session.ask(session.view.host_lines()).await?;
        let is_host_alive = hosts.standing(&record.host, Duration::ZERO) == Standing::Alive;
        if !is_host_alive || Instant::now() >= until {
            return Ok(Found::Left { is_host_alive });
        }
        sleep(LOOK_AGAIN_AFTER).await;
    }
}
