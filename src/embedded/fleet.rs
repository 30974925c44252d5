//! Replicas of this very binary, as child processes.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use super::process::Process;

/// How the replicas of a fleet are started.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// The `startjobs` binary.
    pub program: PathBuf,
    /// Where logs go, one file per replica.
    pub directory: PathBuf,
    /// Settings of every replica, by their names in kebab-case, and variables of OpenTelemetry.
    pub settings: Vec<(String, String)>,
}

/// Replicas, by the order they were started in.
#[derive(Debug)]
pub struct Fleet {
    options: FleetOptions,
    replicas: Vec<Replica>,
}

/// One replica's process.
#[derive(Debug)]
pub struct Replica {
    process: Process,
    log: PathBuf,
}

impl Fleet {
    /// No replicas yet.
    pub fn new(options: FleetOptions) -> Self {
        Self { options, replicas: Vec::new() }
    }

    /// Starts one more replica, with these settings besides the fleet's; answers its number.
    pub fn start(&mut self, settings: &[(&str, &str)]) -> io::Result<usize> {
        let number = self.replicas.len();
        let log = self.options.directory.join(format!("replica-{number}.log"));
        let own = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let environment: Vec<(String, String)> =
            self.options.settings.iter().cloned().chain(own).map(|(name, value)| (variable(&name), value)).collect();
        let process = Process::start(&self.options.program, &["worker".to_owned()], &environment, &log)?;
        self.replicas.push(Replica { process, log });
        Ok(number)
    }

    /// One replica.
    pub fn replica(&mut self, number: usize) -> &mut Replica {
        &mut self.replicas[number]
    }

    /// All of them, ended ones included.
    pub fn replicas(&mut self) -> impl Iterator<Item = &mut Replica> {
        self.replicas.iter_mut()
    }

    /// Asks every living replica to stop, and waits until all have ended; what is left after `limit` is killed.
    pub async fn stop(&mut self, limit: Duration) -> Vec<Option<ExitStatus>> {
        for replica in &self.replicas {
            replica.process.signal(Signal::TERM);
        }
        let deadline = tokio::time::Instant::now() + limit;
        let mut ends = Vec::new();
        for replica in &mut self.replicas {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let end = replica.process.wait_async(left).await;
            if end.is_none() {
                replica.process.kill();
            }
            ends.push(end);
        }
        ends
    }
}

/// The variable of a setting. What is in capitals is a variable itself.
fn variable(name: &str) -> String {
    if name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_') {
        return name.to_owned();
    }
    format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"))
}

impl Replica {
    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
