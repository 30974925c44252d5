//! The simulated engine's own log, folded by code that knows nothing of the worker: which containers of which game
//! existed and ran when.

use std::collections::{BTreeMap, BTreeSet};

use super::world::Entry;

/// What the log says in the end.
#[derive(Debug, Default)]
pub struct SimLog {
    /// Containers that exist, by game.
    existing: BTreeMap<String, BTreeSet<String>>,
    /// Containers that run, by game.
    running: BTreeMap<String, BTreeSet<String>>,
    /// Containers that were ever created, in order, by game.
    created: BTreeMap<String, Vec<String>>,
}

impl SimLog {
    /// Folds the log; panics at the first moment at which two containers of one game run, and at events that no
    /// engine can have.
    pub fn read(entries: &[Entry]) -> Self {
        let mut log = Self::default();
        for entry in entries {
            for (event, container) in &entry.pairs {
                log.apply(entry, event, container);
            }
        }
        log
    }

    fn apply(&mut self, entry: &Entry, event: &str, container: &str) {
        let (id, game) = container.split_once(' ').expect("the engine logs an id and a game");
        assert!(id.starts_with("simulated.") && !game.is_empty(), "a container without id or game: {entry:?}");
        let (id, game) = (id.to_owned(), game.to_owned());
        let existing = self.existing.entry(game.clone()).or_default();
        let running = self.running.entry(game.clone()).or_default();
        match event {
            "create" => {
                assert!(existing.insert(id.clone()), "created twice: {entry:?}");
                self.created.entry(game).or_default().push(id);
            }
            "start" => {
                assert!(existing.contains(&id), "started without existing: {entry:?}");
                running.insert(id);
                assert!(running.len() <= 1, "two containers of {game} run: {running:?}");
            }
            "exit" => {
                assert!(existing.contains(&id), "ended without existing: {entry:?}");
                running.remove(&id);
            }
            "remove" => {
                assert!(existing.remove(&id), "removed without existing: {entry:?}");
                running.remove(&id);
            }
            other => panic!("unknown event {other:?}: {entry:?}"),
        }
    }

    /// The game has exactly one container, which runs; answers its id.
    pub fn the_only_container(&self, game: &str) -> &str {
        let existing = self.existing.get(game).cloned().unwrap_or_default();
        let running = self.running.get(game).cloned().unwrap_or_default();
        assert_eq!(existing.len(), 1, "containers of {game}: {existing:?}");
        assert_eq!(existing, running, "the container of {game} does not run");
        self.running[game].first().expect("it has one element")
    }

    /// How many containers exist in all, running or not.
    pub fn existing(&self) -> usize {
        self.existing.values().map(BTreeSet::len).sum()
    }

    /// How many containers run.
    pub fn running(&self) -> usize {
        self.running.values().map(BTreeSet::len).sum()
    }

    /// Every container there ever was of this game, in order.
    pub fn created(&self, game: &str) -> &[String] {
        self.created.get(game).map_or(&[], Vec::as_slice)
    }
}
