//! How many containers of one game ran at the same time, from the simulated engine's own log. Pure.

use std::collections::{HashMap, HashSet};

use crate::engine::label;
use crate::lobby::client::{Page, field};

/// The most containers that any one game had running at once. The worker has no part in this count.
pub(super) fn running_at_once_max(log: &Page) -> usize {
    let mut running: HashMap<String, HashSet<String>> = HashMap::new();
    let mut max = 0;
    for (_, pairs) in log {
        let text = |name| field(pairs, name).unwrap_or_default();
        let container: serde_json::Value = serde_json::from_str(&text("container")).unwrap_or_default();
        let game = container["labels"][label::GAME_ID].as_str().unwrap_or_default().to_owned();
        let lives = running.entry(game).or_default();
        match text("event").as_str() {
            "start" => drop(lives.insert(text("container_id"))),
            "exit" | "remove" => drop(lives.remove(&text("container_id"))),
            _ => {}
        }
        max = max.max(lives.len());
    }
    max
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: &[(&str, &str, &str)]) -> Page {
        let entry = |&(event, id, game): &(&str, &str, &str)| {
            let container = serde_json::json!({ "labels": { "rtm.game_id": game } }).to_string();
            let pairs = [("event", event.to_owned()), ("container_id", id.to_owned()), ("container", container)];
            (String::new(), pairs.map(|(name, value)| (name.into(), value.into())).to_vec())
        };
        events.iter().map(entry).collect()
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
