//! Which job may start next: in order of arrival, but never two of one lane at once.

use std::collections::{HashMap, HashSet, VecDeque};

/// Jobs that wait for their turn, and the lanes that have one running.
#[derive(Debug)]
pub(crate) struct Lanes<J> {
    /// Jobs whose lane is idle, in order of arrival.
    ready: VecDeque<J>,
    /// Jobs whose lane has one ready or running, by lane, in order of arrival.
    behind: HashMap<String, VecDeque<J>>,
    /// Lanes with a job ready or running.
    taken: HashSet<String>,
}

/// Something that has a lane.
pub(crate) trait HasLane {
    /// Of two with the same lane, one starts when the other has ended.
    fn lane(&self) -> &str;
}

impl<J: HasLane> Default for Lanes<J> {
    fn default() -> Self {
        Self { ready: VecDeque::new(), behind: HashMap::new(), taken: HashSet::new() }
    }
}

impl<J: HasLane> Lanes<J> {
    /// A job arrives.
    pub(crate) fn push(&mut self, job: J) {
        if self.taken.insert(job.lane().to_owned()) {
            self.ready.push_back(job);
        } else {
            self.behind.entry(job.lane().to_owned()).or_default().push_back(job);
        }
    }

    /// The next job that may start; its lane is taken until [`Lanes::finished`].
    pub(crate) fn take_next(&mut self) -> Option<J> {
        self.ready.pop_front()
    }

    /// The lane's running job has ended, well or not.
    pub(crate) fn finished(&mut self, lane: &str) {
        let next = self.behind.get_mut(lane).and_then(VecDeque::pop_front);
        if self.behind.get(lane).is_some_and(VecDeque::is_empty) {
            self.behind.remove(lane);
        }
        match next {
            Some(job) => self.ready.push_back(job),
            None => {
                self.taken.remove(lane);
            }
        }
    }

    /// Takes out every waiting job for which this holds, freeing the lanes of those that were next.
    pub(crate) fn remove_where(&mut self, mut unwanted: impl FnMut(&J) -> bool) -> Vec<J> {
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
            self.finished(job.lane());
            removed.push(job);
        }
        removed
    }

    /// The next job that may start.
    pub(crate) fn next(&self) -> Option<&J> {
        self.ready.front()
    }

    /// How many jobs wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.ready.len() + self.behind.values().map(VecDeque::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Job(String, usize);

    impl HasLane for Job {
        fn lane(&self) -> &str {
            &self.0
        }
    }

    proptest! {
        #[test]
        fn one_at_a_time_per_game_in_order_and_none_is_lost(steps in proptest::collection::vec((0..4_u8, 0..4_usize), 0..120)) {
            let (mut lanes, mut running) = (Lanes::default(), Vec::<Job>::new());
            let (mut pushed, mut left) = (0_usize, 0_usize);
            let mut last_started: HashMap<String, usize> = HashMap::new();
            for (step, lane) in steps {
                match step {
                    0 | 1 => { lanes.push(Job(format!("g{lane}"), pushed)); pushed += 1; }
                    2 => if let Some(job) = lanes.take_next() {
                        prop_assert!(running.iter().all(|other| other.0 != job.0), "two of one lane");
                        if let Some(&before) = last_started.get(&job.0) { prop_assert!(before < job.1); }
                        last_started.insert(job.0.clone(), job.1);
                        running.push(job);
                    },
                    _ => if running.is_empty() {
                        left += lanes.remove_where(|job| job.1 % 3 == 0).len();
                    } else {
                        let job = running.swap_remove(lane % running.len());
                        lanes.finished(&job.0);
                        left += 1;
                    },
                }
                prop_assert_eq!(lanes.waiting() + running.len() + left, pushed);
            }
            for job in std::mem::take(&mut running) { lanes.finished(&job.0); left += 1; }
            while let Some(job) = lanes.take_next() { lanes.finished(&job.0); left += 1; }
            prop_assert_eq!(left, pushed);
            prop_assert!(lanes.taken.is_empty() && lanes.behind.is_empty());
        }
    }
}
