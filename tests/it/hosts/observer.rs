//! What runs on all hosts, seen from outside: the engines are asked about ten times a second, each by a thread of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::dockerd::{Api, Dockerd};

const INTERVAL: Duration = Duration::from_millis(100);
/// An engine that does not answer within this has said nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// A container ran at least from the first answer that showed it until the last question that was answered with it.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) host: usize,
    pub(super) game: String,
    pub(super) container: String,
    from: Instant,
    until: Instant,
}

/// Two containers of one game that ran at the same time.
#[derive(Debug, Clone)]
pub(super) struct Overlap {
    pub(super) game: String,
    pub(super) hosts: [usize; 2],
    pub(super) from: Instant,
    pub(super) until: Instant,
}

#[derive(Debug, Default)]
struct Seen {
    runs: Vec<Run>,
    samples: usize,
}

/// Asks until it is dropped.
pub(super) struct Observer {
    is_over: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

impl Observer {
    /// Watches the containers of this fleet.
    pub(super) fn start(dockerds: &[Dockerd], fleet: &str) -> Self {
        let (is_over, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let watch = |(host, dockerd): (usize, &Dockerd)| {
            let (api, fleet) = (dockerd.api(PATIENCE), fleet.to_owned());
            let (is_over, seen) = (Arc::clone(&is_over), Arc::clone(&seen));
            std::thread::spawn(move || {
                let mut open = HashMap::new();
                while !is_over.load(Ordering::Relaxed) {
                    sample(host, &api, &fleet, &mut open, &seen);
                    std::thread::sleep(INTERVAL);
                }
            })
        };
        let threads = dockerds.iter().enumerate().map(watch).collect();
        Self { is_over, seen, threads }
    }

    /// Every time at which two containers of one game ran, on one host or on two.
    pub(super) fn overlaps(&self) -> Vec<Overlap> {
        let seen = self.seen.lock().expect("no panic while it is held");
        let mut overlaps = Vec::new();
        for (at, one) in seen.runs.iter().enumerate() {
            for other in seen.runs[at + 1..].iter().filter(|other| other.game == one.game) {
                let (from, until) = (one.from.max(other.from), one.until.min(other.until));
                if one.container != other.container && from < until {
                    overlaps.push(Overlap { game: one.game.clone(), hosts: [one.host, other.host], from, until });
                }
            }
        }
        overlaps
    }

    /// The containers of a game that were ever seen to run.
    pub(super) fn runs_of(&self, game: &str) -> Vec<Run> {
        let seen = self.seen.lock().expect("no panic while it is held");
        seen.runs.iter().filter(|run| run.game == game).cloned().collect()
    }

    /// How often an engine has answered.
    pub(super) fn samples(&self) -> usize {
        self.seen.lock().expect("no panic while it is held").samples
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// One question. `open`: the runs that were seen in the answer before, by container. An engine that is silent says nothing about
/// what runs: a container that is there before and after was there in between.
fn sample(host: usize, api: &Api, fleet: &str, open: &mut HashMap<String, usize>, seen: &Mutex<Seen>) {
    let asked = Instant::now();
    let Some(mut listed) = api.running() else { return };
    let answered = Instant::now();
    listed.retain(|container| container["Labels"]["rtm.fleet"] == fleet);
    let mut seen = seen.lock().expect("no panic while it is held");
    seen.samples += 1;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut still = HashMap::new();
    for container in &listed {
        let id = text(&container["Id"]);
        let run = open.get(&id).copied().unwrap_or_else(|| {
            let game = text(&container["Labels"]["rtm.game_id"]);
            seen.runs.push(Run { host, game, container: id.clone(), from: answered, until: answered });
            seen.runs.len() - 1
        });
        seen.runs[run].until = seen.runs[run].until.max(asked);
        still.insert(id, run);
    }
    *open = still;
}
