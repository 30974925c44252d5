//! The replicas and their supervisor: it starts again what has ended. Replicas are killed, stopped for longer than claim
//! idle, and told to stop.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use startjobs::embedded::fleet::Fleet;

use super::stage::{Stage, ms};
use super::{CLAIM_IDLE, DRAIN};
use crate::support::scrape;

const TICK: Duration = Duration::from_millis(50);
/// Between two faults.
const INTERVAL_MS: std::ops::Range<u64> = 1_500..6_000;
/// How much longer than its time limit a drain may take, on a machine that does much else.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// One place in the fleet: the replica that runs there now.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) url: String,
    pub(super) number: usize,
    pub(super) port: u16,
    pub(super) started: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    StoppedUntil(Instant),
    /// Killed by this test.
    Killed,
    /// Told to stop.
    EndsUntil(Instant),
    /// Has ended; another one is started then.
    DownUntil(Instant),
}

impl Seat {
    pub(super) fn started(fleet: &mut Fleet, url: String) -> Self {
        let mut seat = Self { url, number: 0, port: 0, started: Instant::now(), state: State::Running };
        seat.start(fleet);
        seat
    }

    fn start(&mut self, fleet: &mut Fleet) {
        self.port = scrape::free_port();
        let address = format!("127.0.0.1:{}", self.port);
        self.number = fleet.start(&[("redis-url", &self.url), ("http-addr", &address)]).expect("the binary runs");
        self.started = Instant::now();
        self.state = State::Running;
    }
}

/// All seats, and the fleet that they are of.
pub(super) struct Supervisor<'a> {
    pub(super) fleet: &'a mut Fleet,
    pub(super) seats: Vec<Seat>,
    random: fastrand::Rng,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(fleet: &'a mut Fleet, urls: Vec<String>, random: fastrand::Rng) -> Self {
        let seats = urls.into_iter().map(|url| Seat::started(fleet, url)).collect();
        Self { fleet, seats, random }
    }

    /// Does what there is to do, until the time for faults is over and all replicas run.
    pub(super) async fn run(&mut self, stage: &Stage) {
        let mut next = Instant::now() + ms(&mut self.random, INTERVAL_MS);
        loop {
            self.supervise(stage);
            if stage.is_over() {
                if self.seats.iter().all(|seat| seat.state == State::Running) {
                    return;
                }
            } else if Instant::now() >= next {
                next = Instant::now() + ms(&mut self.random, INTERVAL_MS);
                self.disturb(stage);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// One look at every seat; were replicas started?
    pub(super) fn supervise(&mut self, stage: &Stage) -> bool {
        let mut has_started = false;
        for at in 0..self.seats.len() {
            let Seat { number, state, .. } = self.seats[at];
            let process = self.fleet.replica(number).process();
            match (process.ended(), state) {
                (_, State::DownUntil(then)) if Instant::now() >= then => {
                    self.seats[at].start(self.fleet);
                    stage.say(format_args!("replica {} runs in place of {number}", self.seats[at].number));
                    has_started = true;
                }
                (_, State::DownUntil(_)) => {}
                (Some(status), state) => {
                    self.look_at_end(stage, number, status, state);
                    let pause = ms(&mut self.random, 0..1_000);
                    self.seats[at].state = State::DownUntil(Instant::now() + pause);
                }
                (None, State::StoppedUntil(then)) if Instant::now() >= then || stage.is_over() => {
                    process.signal(Signal::CONT);
                    stage.say(format_args!("replica {number} goes on"));
                    self.seats[at].state = State::Running;
                }
                (None, State::EndsUntil(then)) => {
                    assert!(Instant::now() < then, "seed {}: replica {number} does not end", stage.seed);
                }
                (None, State::Running | State::StoppedUntil(_) | State::Killed) => {}
            }
        }
        has_started
    }

    /// Does a replica run on this seat just now?
    pub(super) fn runs(&mut self, at: usize) -> bool {
        self.seats[at].state == State::Running && self.fleet.replica(self.seats[at].number).process().ended().is_none()
    }

    /// Every end has its reason.
    fn look_at_end(&mut self, stage: &Stage, number: usize, status: ExitStatus, state: State) {
        let log = self.fleet.replica(number).log();
        let last = log.lines().last().unwrap_or_default();
        match (state, status.signal(), status.code()) {
            (State::Killed, Some(9), _) | (State::EndsUntil(_), None, Some(0)) => {}
            (_, Some(9), _) if last.contains("sim/abort kills the process") => {
                stage.fault("replica died of its job", number);
            }
            // It had not come so far as to listen for the signal.
            (State::EndsUntil(_), Some(15), _) if log.is_empty() => {}
            // With entries in hand, for there was no Redis to give them back to.
            (State::EndsUntil(_), None, Some(1)) => stage.fault("drain ended by its time limit", number),
            (_, None, Some(78)) if stage.may_refuse() || last.contains("in use") => {
                stage.fault("replica refused to start", format_args!("{number}: {last}"));
            }
            _ => panic!("seed {}: replica {number} ended by {status} while {state:?}: {log}", stage.seed),
        }
    }

    fn disturb(&mut self, stage: &Stage) {
        let running: Vec<usize> = (0..self.seats.len()).filter(|&at| self.seats[at].state == State::Running).collect();
        let Some(one) = self.random.choice(running.iter().copied()) else { return };
        match self.random.u8(0..12) {
            0..5 => self.kill(stage, &[one], "SIGKILL"),
            5 => {
                let all: Vec<usize> = (0..self.seats.len())
                    .filter(|&at| !matches!(self.seats[at].state, State::DownUntil(_) | State::Killed))
                    .collect();
                self.kill(stage, &all, "SIGKILL to the whole fleet");
            }
            6..9 => {
                let lasts = CLAIM_IDLE + ms(&mut self.random, 500..3_000);
                let number = self.seats[one].number;
                stage.fault("SIGSTOP", format_args!("to replica {number} for {lasts:?}"));
                self.fleet.replica(number).process().signal(Signal::STOP);
                self.seats[one].state = State::StoppedUntil(Instant::now() + lasts);
            }
            _ => {
                let number = self.seats[one].number;
                stage.fault("SIGTERM", format_args!("to replica {number}"));
                self.fleet.replica(number).process().signal(Signal::TERM);
                self.seats[one].state = State::EndsUntil(Instant::now() + DRAIN + ENDS_WITHIN);
            }
        }
    }

    fn kill(&mut self, stage: &Stage, which: &[usize], kind: &str) {
        let numbers: Vec<usize> = which.iter().map(|&at| self.seats[at].number).collect();
        stage.fault(kind, format_args!("to {numbers:?}"));
        for &at in which {
            self.fleet.replica(self.seats[at].number).process().signal(Signal::KILL);
            self.seats[at].state = State::Killed;
        }
    }
}
