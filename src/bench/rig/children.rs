//! The processes under load: replicas of this program, or what is measured in their place.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Serialize, Serializer};

use super::place::{Pairs, Place};
use crate::bench::Error;
use crate::bench::observe::cost::{self, ProcessCost};
use crate::embedded::process::Process;
use crate::redis::CLIENT_LOG;

/// What is put under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The whole worker on the simulated engine.
    Worker,
    /// The worker with a start service that does nothing.
    Noop,
    /// A bare client: one script a batch, and no safety at all.
    Floor,
    /// The same with pipelined commands.
    FloorPipeline,
    /// Another program. Named on the command line, so it lives as long as this process.
    Peer(&'static Peer),
}

/// Another program that does a worker's work, for comparison. With the argument `fill` it takes the backlog over into
/// queues of its own, if it has any, and ends; with `run` it answers until it is killed. The settings of ours that it
/// needs are in its environment, named as ours are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Peer {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
}

impl std::str::FromStr for Peer {
    type Err = &'static str;

    /// `NAME=PROGRAM ARGUMENT...`
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write NAME=PROGRAM ARGUMENT...";
        let (name, command) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(FORM)?;
        if name.contains(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-') {
            return Err("a peer's name is of letters, digits and hyphens");
        }
        let mut words = command.split_whitespace().map(str::to_owned);
        let program = words.next().ok_or(FORM)?.into();
        Ok(Self { name: name.to_owned(), program, arguments: words.collect() })
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Subject {
    /// Its name on the command line and in reports.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Noop => "noop",
            Self::Floor => "floor",
            Self::FloorPipeline => "floor-pipeline",
            Self::Peer(peer) => &peer.name,
        }
    }

    /// By name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Worker, Self::Noop, Self::Floor, Self::FloorPipeline]
            .into_iter()
            .find(|subject| subject.as_str() == name)
    }

    /// Whether it is a worker, with everything that a worker promises.
    pub(crate) fn is_worker(self) -> bool {
        matches!(self, Self::Worker | Self::Noop)
    }

    /// What it has to do before its backlog can be drained.
    fn preparation(self) -> Option<Vec<String>> {
        match self {
            Self::Peer(peer) => Some(peer.arguments.iter().cloned().chain(["fill".to_owned()]).collect()),
            _ => None,
        }
    }

    fn arguments(self) -> Vec<String> {
        match self {
            Self::Peer(peer) => peer.arguments.iter().cloned().chain(["run".to_owned()]).collect(),
            Self::Worker => vec!["worker".to_owned()],
            other => vec!["bench-subject".to_owned(), other.as_str().to_owned()],
        }
    }
}

/// Running processes of one kind, all with the same settings.
#[derive(Debug)]
pub(crate) struct Children {
    subject: Subject,
    program: PathBuf,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    living: Vec<Child>,
    started: usize,
    /// What those that have ended had cost.
    ended: ProcessCost,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Child {
    /// The process.
    pub(crate) process: Process,
    log: PathBuf,
}

/// How long a drained subject may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

impl Children {
    /// None yet. `log_level` is what a worker logs: `info` is what it logs in production.
    pub(crate) fn new(place: &Place, subject: Subject, settings: &Pairs, log_level: &str) -> Self {
        let mut environment: Vec<(String, String)> = variables(settings).collect();
        environment.push(("RUST_LOG".to_owned(), format!("{log_level},{CLIENT_LOG}=off")));
        Self {
            subject,
            program: match subject {
                Subject::Peer(peer) => peer.program.clone(),
                _ => place.program().to_owned(),
            },
            directory: place.directory().to_owned(),
            environment,
            living: Vec::new(),
            started: 0,
            ended: ProcessCost::default(),
        }
    }

    /// Runs this program from now on, with the same arguments and settings.
    pub(crate) fn set_program(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Lets a peer take the backlog over, for at most so long.
    pub(crate) async fn prepare(&self, within: Duration) -> Result<(), Error> {
        let Some(arguments) = self.subject.preparation() else { return Ok(()) };
        let log = self.directory.join(format!("{}-fill.log", self.subject.as_str()));
        let mut process = Process::start(&self.program, &arguments, &self.environment, &log)?;
        match process.wait_async(within).await {
            Some(status) if status.success() => Ok(()),
            ended => {
                let how = ended.map_or_else(|| format!("not done within {within:?}"), |status| status.to_string());
                let name = self.subject.as_str();
                Err(Error::Subject(format!("{name} did not take the backlog over: {how}: {}", tail(&log))))
            }
        }
    }

    /// Starts one more.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        self.start_with(&[])
    }

    /// Starts one more, with these settings besides.
    pub(crate) fn start_with(&mut self, settings: &[(String, String)]) -> io::Result<()> {
        let name = format!("{}-{}-{}.log", self.subject.as_str(), std::process::id(), self.started);
        let log = self.directory.join(name);
        let environment: Vec<_> = self.environment.iter().cloned().chain(variables(settings)).collect();
        let process = Process::start(&self.program, &self.subject.arguments(), &environment, &log)?;
        self.started += 1;
        self.living.push(Child { process, log });
        Ok(())
    }

    /// Those that live, as far as is known.
    pub(crate) fn living(&mut self) -> &mut Vec<Child> {
        &mut self.living
    }

    /// Their process ids.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.living.iter().map(|child| child.process.id()).collect()
    }

    /// Takes out those that have ended by themselves; answers how many.
    pub(crate) fn bury(&mut self) -> usize {
        let before = self.living.len();
        self.living.retain_mut(|child| child.process.ended().is_none());
        before - self.living.len()
    }

    /// Kills one of the living and answers its process id.
    pub(crate) fn kill(&mut self, position: usize) -> u32 {
        let mut child = self.living.remove(position);
        // Its memory goes with it.
        self.ended.cpu += cost::of_process(child.process.id()).cpu;
        child.process.kill();
        child.process.id()
    }

    /// What all of them have cost so far. Of a process that killed itself nothing is known.
    pub(crate) fn cost(&self) -> ProcessCost {
        let mut sum = self.ended;
        for child in &self.living {
            sum.add(cost::of_process(child.process.id()));
        }
        sum
    }

    /// The last lines of the log of one that has ended, for an error's text.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        let ended =
            self.living.iter_mut().find_map(|child| child.process.ended().map(|status| (status, child.log.clone())))?;
        Some(format!("{}: {}", ended.0, tail(&ended.1)))
    }

    /// Stops all of them; a worker drains.
    pub(crate) async fn stop(&mut self) {
        for child in &self.living {
            child.process.signal(Signal::CONT);
            child.process.signal(Signal::TERM);
        }
        for mut child in std::mem::take(&mut self.living) {
            // What has not ended by then is killed when it is dropped.
            child.process.wait_async(ENDS_WITHIN).await;
        }
    }
}

/// Settings as a process finds them in its environment.
fn variables(settings: &[(String, String)]) -> impl Iterator<Item = (String, String)> {
    let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
    settings.iter().map(move |(name, value)| (variable(name), value.clone()))
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_name_and_a_command() {
        let peer: Peer = "bull-mq=node peers/bullmq.js".parse().expect("a peer");
        assert_eq!((peer.name.as_str(), peer.program.as_path()), ("bull-mq", Path::new("node")));
        assert_eq!(peer.arguments, ["peers/bullmq.js"]);
        for bad in ["", "node x", "=node", "a=", "a b=node", "../a=node"] {
            assert!(bad.parse::<Peer>().is_err(), "{bad}");
        }
    }
}
