//! What `startjobs dev` prints.

use std::process::ExitStatus;
use std::time::Duration;

use super::hosts;
use crate::cli::{exit, output, process};
use crate::embedded::redis_server::StartError;

/// Says why there is no redis-server; answers the exit code.
pub(in crate::cli) fn say_no_redis(error: &StartError) -> u8 {
    output::complain(&error.to_string(), "or name a Redis of your own: `startjobs worker --redis-url URL`");
    match error {
        StartError::Missing(_) | StartError::Failed(_) => exit::UNAVAILABLE,
        StartError::Directory(_) | StartError::Io(_) => exit::FAILED,
    }
}

/// Says what the machine refused; answers the exit code.
pub(super) fn failed(what: &str, error: &std::io::Error) -> u8 {
    output::complain(&format!("{what}: {error}"), "check the disk, and the limits of the process: `ulimit -a`");
    exit::FAILED
}

/// Says that a replica has ended, and which commands tell the rest, ready to be pasted where nothing is set.
pub(super) fn say_death(number: usize, pid: u32, status: ExitStatus, url: &str) {
    let program = process::program_as_typed();
    output::note(&format!(
        "replica {number} (pid {pid}) has ended ({status}) and is not started again; the others take over what it held\n  \
         export STARTJOBS_REDIS_URL={url}\n  \
         {program} replicas        it is dead within a second\n  \
         {program} alerts          which alert that raises, and its runbook\n  \
         {program} pending         what is in whose hands\n  \
         {program} inspect JOB     what became of a job: its entry id or its game"
    ));
}

/// Says that a host's engine has ended.
pub(super) fn say_engines_end(host: usize, pid: u32, status: ExitStatus) {
    let name = hosts::name(host);
    output::note(&format!("the dockerd of {name} (pid {pid}) has ended ({status}) and is not started again"));
}

/// Says that a host is down, with so many jobs in its hands.
pub(super) fn say_down(host: usize, jobs: usize, heartbeat: &str) {
    let name = hosts::name(host);
    let has = match jobs {
        0 => "with no job under way".to_owned(),
        1 => "with 1 job under way".to_owned(),
        _ => format!("with {jobs} jobs under way"),
    };
    output::note(&format!("{name} is down, {has}; the other hosts take over after its heartbeat, {heartbeat}"));
}

/// Says that what a host had in its hands when it went down is answered.
pub(super) fn say_answered(host: usize, jobs: usize, after: Duration) {
    let (name, seconds) = (hosts::name(host), after.as_secs_f64());
    let what = match jobs {
        1 => format!("the job that {name} had under way is"),
        _ => format!("the {jobs} jobs that {name} had under way are"),
    };
    output::note(&format!("{what} answered, {seconds:.1} s after it went down"));
}

/// Says that a host does jobs again.
pub(super) fn say_up(host: usize, after: Duration) {
    output::note(&format!("{} is back after {:.1} s", hosts::name(host), after.as_secs_f64()));
}

/// What the banner shows of a fleet.
pub(super) struct Fleet<'a> {
    /// `redis-url`
    pub(super) url: &'a str,
    /// The words of a `redis-cli` command that lead to the same server.
    pub(super) redis_cli: &'a str,
    /// Where the replicas log.
    pub(super) logs: &'a str,
    /// Whether containers are started.
    pub(super) has_docker: bool,
    /// An image that all engines have.
    pub(super) image: Option<&'a str>,
    /// Every replica's process.
    pub(super) pids: Vec<u32>,
    /// Hosts, where there are several.
    pub(super) hosts: Vec<OnHost>,
}

/// What is on one host.
pub(super) struct OnHost {
    /// Its replicas' processes.
    pub(super) pids: Vec<u32>,
    /// The process of its private engine, and where that answers.
    pub(super) engine: Option<(u32, String)>,
}

impl OnHost {
    /// Every process, for `kill`.
    fn all(&self) -> String {
        listed(&self.pids.iter().copied().chain(self.engine.as_ref().map(|(pid, _)| *pid)).collect::<Vec<_>>())
    }

    fn words(&self) -> String {
        let replicas = listed(&self.pids);
        let named = if self.pids.len() == 1 { "replica" } else { "replicas" };
        match &self.engine {
            None => format!("{named} {replicas}"),
            Some((pid, at)) => format!("{named} {replicas}; dockerd {pid} at {at}"),
        }
    }
}

fn listed(pids: &[u32]) -> String {
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

/// What is printed once everything runs.
pub(super) fn banner(fleet: &Fleet<'_>) -> String {
    let program = process::program_as_typed();
    let engine = match (fleet.has_docker, fleet.hosts.is_empty()) {
        (false, _) => "simulated: no container is started",
        (true, true) => "docker: containers are removed at the end",
        (true, false) => "docker: each host has a dockerd of its own, removed at the end",
    };
    let image = match (fleet.has_docker, fleet.image) {
        (_, Some(image)) => image,
        (false, None) => "galaxy/engine:1",
        (true, None) => "IMAGE_THAT_LISTENS_ON_8080",
    };
    let pids = listed(&fleet.pids);
    let mut facts: Vec<(String, String)> =
        [("  redis", fleet.url), ("  engine", engine), ("  logs", fleet.logs), ("  pids", &pids)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    facts.extend(fleet.hosts.iter().enumerate().map(|(host, on)| (format!("  {}", hosts::name(host)), on.words())));
    let facts = output::aligned(&facts);
    let on_hosts = if fleet.hosts.is_empty() { String::new() } else { format!(" on {} hosts", fleet.hosts.len()) };
    let first = fleet.pids.first().map_or_else(String::new, u32::to_string);
    let (url, redis_cli) = (fleet.url, fleet.redis_cli);
    let send = format!("{program} send --image {image} --wait --game");
    let kill = match fleet.hosts.first() {
        None => format!("kill -9 {first}; {send} g2"),
        Some(host) => format!("kill -9 {}; {send} g2", host.all()),
    };
    let stop = fleet.hosts.get(1).map_or_else(String::new, |host| {
        let (all, name) = (host.all(), hosts::name(1));
        format!("\n  kill -STOP {all}   # {name} is cut off\n  kill -CONT {all}   # and comes back")
    });
    format!(
        "{} replicas are running{on_hosts}.\n{facts}\nTry, in another terminal:\n  export STARTJOBS_REDIS_URL={url}\n  {send} g1\n  \
         {kill}\n  {program} status; {program} alerts; {program} inspect g2{stop}\n  \
         redis-cli {redis_cli} XLEN runtime:job_results\n\nCtrl-C stops and removes everything.\n",
        fleet.pids.len()
    )
}
