//! At most one live container per game: the simulated engine's own log, folded; and what a Docker Engine shows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use super::id::Id;

/// A game that had more than one live container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Breach {
    /// The game.
    pub(crate) game: String,
    /// How many were live at once.
    pub(crate) live: u32,
    /// The log entry with which it began; [`Id::ZERO`] where it was only seen.
    pub(crate) at: Id,
}

/// Folds the log of the simulated engine. Memory: a hash for each container, and two more while it runs.
#[derive(Debug)]
pub(crate) struct Fold {
    hasher: RandomState,
    started: HashSet<u64>,
    running: HashSet<u64>,
    by_game: HashMap<u64, u32>,
    breaches: BTreeMap<String, Breach>,
}

impl Fold {
    /// Nothing yet. The hashes are this hasher's, of bytes.
    pub(crate) fn new(hasher: RandomState) -> Self {
        let (started, running) = (HashSet::new(), HashSet::new());
        Self { hasher, started, running, by_game: HashMap::new(), breaches: BTreeMap::new() }
    }

    /// One event of the log, `<container id> <game>`; what is no such event is left alone.
    pub(crate) fn apply(&mut self, at: Id, event: &[u8], container: &[u8]) {
        if !matches!(event, b"start" | b"exit" | b"remove") {
            return;
        }
        let mut parts = container.splitn(2, |&byte| byte == b' ');
        let (Some(container_id), Some(game)) = (parts.next(), parts.next()) else { return };
        let (id, key) = (self.hasher.hash_one(container_id), self.hasher.hash_one(game));
        if event != b"start" {
            if self.running.remove(&id)
                && let Some(live) = self.by_game.get_mut(&key)
            {
                *live -= 1;
            }
            return;
        }
        self.started.insert(id);
        if self.running.insert(id) {
            let live = self.by_game.entry(key).or_default();
            *live += 1;
            if *live > 1 {
                let game = String::from_utf8_lossy(game).into_owned();
                let breach = self.breaches.entry(game.clone()).or_insert(Breach { game, live: 0, at });
                breach.live = breach.live.max(*live);
            }
        }
    }

    /// Whether the container of this hash was ever started.
    pub(crate) fn has_started(&self, container: u64) -> bool {
        self.started.contains(&container)
    }

    /// Whether the game of this hash has a live container now.
    pub(crate) fn has_live(&self, game: u64) -> bool {
        self.by_game.get(&game).is_some_and(|&live| live > 0)
    }

    /// How many run now.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// The games that ever had more than one at once.
    pub(crate) fn breaches(&self) -> Vec<Breach> {
        self.breaches.values().cloned().collect()
    }
}

/// Games with more than one of these live containers.
pub(crate) fn more_than_one(games: impl IntoIterator<Item = String>) -> Vec<Breach> {
    let mut live: BTreeMap<String, u32> = BTreeMap::new();
    for game in games {
        *live.entry(game).or_default() += 1;
    }
    live.into_iter().filter(|(_, live)| *live > 1).map(|(game, live)| Breach { game, live, at: Id::ZERO }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(events: &[(&str, &str, &str)]) -> Vec<Breach> {
        let mut fold = Fold::new(RandomState::new());
        for (at, (event, id, game)) in (1_u64..).zip(events) {
            fold.apply(Id(at, 0), event.as_bytes(), format!("{id} {game}").as_bytes());
        }
        fold.breaches()
    }

    #[test]
    fn two_at_once_are_seen_and_one_after_the_other_are_fine() {
        let fine =
            [("create", "a", "g"), ("start", "a", "g"), ("remove", "a", "g"), ("start", "b", "g"), ("start", "c", "h")];
        assert_eq!(fold(&fine), []);
        assert_eq!(fold(&[("start", "a", "g"), ("start", "a", "g")]), []);
        let two = [("start", "a", "g"), ("start", "b", "g"), ("remove", "a", "g")];
        assert_eq!(fold(&two), [Breach { game: "g".into(), live: 2, at: Id(2, 0) }]);
        let games = ["g", "h", "g"].map(str::to_owned);
        assert_eq!(more_than_one(games), [Breach { game: "g".into(), live: 2, at: Id::ZERO }]);
    }
}
