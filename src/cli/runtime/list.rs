//! `runtime list`.

use std::time::Duration;

use tokio::time::Instant;

use crate::cli::exit;
use crate::cli::output::{self, or_dash};
use crate::cli::session::Session;
use crate::ops::games::{Filter, Game, GameState, Games};
use crate::ops::printable::{json, printable, since};

/// Characters of a container's id that a table shows, as Docker does.
const SHORT_ID: usize = 12;
const HEADINGS: [&str; 7] = ["game", "state", "host", "container", "endpoint", "since", "image"];

/// What is to be listed.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) host: Option<String>,
    pub(super) state: Option<GameState>,
    /// Look for so long at most.
    pub(super) within: Duration,
    pub(super) json: bool,
}

/// Lists.
pub(super) async fn run(session: &Session, wanted: &Wanted) -> u8 {
    let until = Instant::now() + wanted.within.max(Duration::from_millis(1));
    let filter = Filter { host: wanted.host.as_deref(), state: wanted.state, until };
    match session.ask(session.view.games(filter)).await {
        Ok(games) => {
            output::print(&if wanted.json { json(&games) } else { text(&games) });
            say(&games);
            exit::DONE
        }
        Err(error) => session.failed(&error),
    }
}

fn text(games: &Games) -> String {
    let rows: Vec<[String; 7]> = games.games.iter().map(|game| row(game, games.at_ms)).collect();
    output::table(HEADINGS, &rows)
}

fn row(game: &Game, now_ms: u64) -> [String; 7] {
    let Game { game_id, since_ms, record } = game;
    let text = |text: &str| or_dash(Some(printable(text)).filter(|text| !text.is_empty()));
    let state = match record.end() {
        Some(end) => format!("{} ({end})", record.state),
        None => record.state.clone(),
    };
    [
        printable(game_id),
        printable(&state),
        text(&record.host),
        text(&short(&record.container_id)),
        text(&record.engine_endpoint),
        since(now_ms.saturating_sub(*since_ms), now_ms),
        text(&record.image_ref),
    ]
}

/// The id as a table shows it: a long one of Docker is shown as Docker shows it.
pub(super) fn short(id: &str) -> String {
    let is_hex = id.len() == 64 && id.chars().all(|letter| letter.is_ascii_hexdigit());
    if is_hex { id.chars().take(SHORT_ID).collect() } else { id.to_owned() }
}

/// What the table does not say.
fn say(games: &Games) {
    if !games.is_whole {
        output::complain(
            &format!("there are more: the first {} records were looked at", games.looked_at),
            "--state and --host narrow the list",
        );
    }
    output::say_damaged(&games.damaged, games.unreadable.saturating_sub(games.damaged.len()));
    if games.games.is_empty() && games.is_whole && games.unreadable == 0 {
        output::note("no such game");
    }
}
