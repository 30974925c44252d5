//! How many containers of one game ran at the same time, from the simulated engine's own log. Pure.

use std::collections::{HashMap, HashSet};

use crate::lobby::client::Page;

/// The most containers that any one game had running at once. The worker has no part in this count.
pub(super) fn running_at_once_max(log: &Page) -> usize {
    let mut running: HashMap<String, HashSet<String>> = HashMap::new();
    let mut max = 0;
    for (event, container) in log.iter().flat_map(|(_, pairs)| pairs) {
        let container = String::from_utf8_lossy(container);
        let (id, game) = container.split_once(' ').unwrap_or_default();
        let lives = running.entry(game.to_owned()).or_default();
        match &event[..] {
            b"start" => drop(lives.insert(id.to_owned())),
            b"exit" | b"remove" => drop(lives.remove(id)),
            _ => {}
        }
        max = max.max(lives.len());
    }
    max
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: &[(&'static str, &str, &str)]) -> Page {
        let pair = |&(event, id, game): &(&'static str, &str, &str)| (event.into(), format!("{id} {game}").into());
        // Entries of two events: where one ends says nothing.
        events.chunks(2).map(|run| (String::new(), run.iter().map(pair).collect())).collect()
    }

    #[test]
    fn two_of_one_game_are_seen_and_two_games_are_not_mixed_up() {
        let fine =
            [("create", "a", "1"), ("start", "a", "1"), ("start", "b", "2"), ("remove", "a", "1"), ("start", "c", "1")];
        assert_eq!(running_at_once_max(&log(&fine)), 1);
        let twice = [("start", "a", "1"), ("create", "b", "1"), ("start", "b", "1"), ("exit", "b", "1")];
        assert_eq!(running_at_once_max(&log(&twice)), 2);
        assert_eq!(running_at_once_max(&log(&[])), 0);
    }
}
