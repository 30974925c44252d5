//! `runtime show`.

use crate::cli::inspect::game_text;
use crate::cli::session::Session;
use crate::cli::{exit, output};
use crate::ops::printable::json;

/// Shows what is known about a game.
pub(super) async fn run(session: &Session, game: &str, as_json: bool) -> u8 {
    match session.ask(session.view.game_story(game)).await {
        Ok(story) => {
            output::print(&if as_json { json(&story) } else { game_text(&story) });
            output::say_damaged(&story.damaged, 0);
            if story.is_known() { exit::DONE } else { exit::FAILED }
        }
        Err(error) => session.failed(&error),
    }
}
