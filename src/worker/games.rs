//! Which held entry may start next: in order of arrival, but never two of one game at once. Pure.

use std::collections::{HashMap, HashSet, VecDeque};

/// Jobs that wait for their turn, and the games that have one running.
#[derive(Debug)]
pub struct Games<J> {
    /// Jobs whose game is idle, in order of arrival.
    ready: VecDeque<J>,
    /// Jobs whose game has one ready or running, by game, in order of arrival.
    behind: HashMap<String, VecDeque<J>>,
    /// Games with a job ready or running.
    taken: HashSet<String>,
}

/// A job belongs to a game.
pub trait OfGame {
    /// Which.
    fn game(&self) -> &str;
}

impl<J: OfGame> Default for Games<J> {
    fn default() -> Self {
        Self { ready: VecDeque::new(), behind: HashMap::new(), taken: HashSet::new() }
    }
}

impl<J: OfGame> Games<J> {
    /// A job arrives.
    pub fn push(&mut self, job: J) {
        if self.taken.insert(job.game().to_owned()) {
            self.ready.push_back(job);
        } else {
            self.behind.entry(job.game().to_owned()).or_default().push_back(job);
        }
    }

    /// The next job that may start; its game is taken until [`Games::finished`].
    pub fn take_next(&mut self) -> Option<J> {
        self.ready.pop_front()
    }

    /// The game's running job has ended, well or not.
    pub fn finished(&mut self, game: &str) {
        let next = self.behind.get_mut(game).and_then(VecDeque::pop_front);
        if self.behind.get(game).is_some_and(VecDeque::is_empty) {
            self.behind.remove(game);
        }
        match next {
            Some(job) => self.ready.push_back(job),
            None => {
                self.taken.remove(game);
            }
        }
    }

    /// Takes out every waiting job for which this holds, freeing the games of those that were next.
    pub fn remove_where(&mut self, mut unwanted: impl FnMut(&J) -> bool) -> Vec<J> {
        let mut removed = Vec::new();
        for jobs in self.behind.values_mut() {
            let (out, kept): (Vec<J>, Vec<J>) = jobs.drain(..).partition(&mut unwanted);
            removed.extend(out);
            jobs.extend(kept);
        }
        self.behind.retain(|_, jobs| !jobs.is_empty());
        let (out, kept): (Vec<J>, Vec<J>) = self.ready.drain(..).partition(&mut unwanted);
        self.ready.extend(kept);
        for job in out {
            self.finished(job.game());
            removed.push(job);
        }
        removed
    }

    /// Is there a job that may start?
    pub fn has_next(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.ready.len() + self.behind.values().map(VecDeque::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Job(String, usize);

    impl OfGame for Job {
        fn game(&self) -> &str {
            &self.0
        }
    }

    proptest! {
        #[test]
        fn one_at_a_time_per_game_in_order_and_none_is_lost(steps in proptest::collection::vec((0..4_u8, 0..4_usize), 0..120)) {
            let (mut games, mut running) = (Games::default(), Vec::<Job>::new());
            let (mut pushed, mut left) = (0_usize, 0_usize);
            let mut last_started: HashMap<String, usize> = HashMap::new();
            for (step, game) in steps {
                match step {
                    0 | 1 => { games.push(Job(format!("g{game}"), pushed)); pushed += 1; }
                    2 => if let Some(job) = games.take_next() {
                        prop_assert!(running.iter().all(|other| other.0 != job.0), "two of one game");
                        if let Some(&before) = last_started.get(&job.0) { prop_assert!(before < job.1); }
                        last_started.insert(job.0.clone(), job.1);
                        running.push(job);
                    },
                    _ => if running.is_empty() {
                        left += games.remove_where(|job| job.1 % 3 == 0).len();
                    } else {
                        let job = running.swap_remove(game % running.len());
                        games.finished(&job.0);
                        left += 1;
                    },
                }
                prop_assert_eq!(games.waiting() + running.len() + left, pushed);
            }
            for job in std::mem::take(&mut running) { games.finished(&job.0); left += 1; }
            while let Some(job) = games.take_next() { games.finished(&job.0); left += 1; }
            prop_assert_eq!(left, pushed);
            prop_assert!(games.taken.is_empty() && games.behind.is_empty());
        }
    }
}
