//! A fleet on this machine while it runs: says which replica, engine or host dies, and what becomes of its jobs.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::engines::{Engines, HEARTBEAT};
use super::hosts::{self, Change, Hosts};
use super::words::{self, OnHost};
use crate::cli::{exit, fleet_settings, output};
use crate::embedded::fleet::{Fleet, FleetOptions};
use crate::embedded::process::Process;
use crate::embedded::site::Site;
use crate::lobby::client::Lobby;

/// How long the replicas may take to show themselves before the banner is printed without them.
const UP_WITHIN: Duration = Duration::from_secs(10);
/// How long a question to Redis may take: its own end must be noticed too.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What has been seen so far.
struct Seen {
    /// Replicas that have ended.
    replicas: HashSet<usize>,
    /// Hosts whose engine has ended.
    engines: HashSet<usize>,
    hosts: Hosts,
    /// What hosts that went down had in their hands, until it is answered.
    left: Vec<Left>,
    none_is_left: bool,
}

/// What a host had in its hands when it went down.
struct Left {
    host: usize,
    jobs: BTreeSet<String>,
    since: Instant,
}

/// Prints the banner, then says who dies. Returns only when Redis has ended.
pub(super) async fn watch(site: &mut Site, fleet: &mut Fleet, options: &FleetOptions, engines: &mut Engines) -> u8 {
    let lobby = connect(options).await;
    await_up(fleet, lobby.as_ref()).await;
    let lobby = lobby.filter(|_| engines.hosts > 1);
    output::print(&banner(site, fleet, engines));
    let url = site.redis().url();
    let mut seen = Seen {
        replicas: HashSet::new(),
        engines: HashSet::new(),
        hosts: Hosts::new(engines.hosts),
        left: Vec::new(),
        none_is_left: false,
    };
    loop {
        seen.look_at_replicas(fleet, &url);
        if engines.hosts > 1 {
            seen.look_at_hosts(fleet, engines, lobby.as_ref()).await;
        }
        if site.redis().has_ended() {
            output::complain("redis-server has ended by itself", "start `startjobs dev` again");
            return exit::UNAVAILABLE;
        }
        sleep(LOOK_INTERVAL).await;
    }
}

impl Seen {
    fn look_at_replicas(&mut self, fleet: &mut Fleet, url: &str) {
        let mut living = 0;
        for (number, replica) in fleet.replicas().enumerate() {
            let process = replica.process();
            match process.ended() {
                None => living += 1,
                Some(status) if self.replicas.insert(number) => words::say_death(number, process.id(), status, url),
                Some(_) => {}
            }
        }
        if living == 0 && !self.none_is_left {
            self.none_is_left = true;
            output::note("no replica is left; jobs wait in Redis until Ctrl-C ends everything");
        }
    }

    async fn look_at_hosts(&mut self, fleet: &mut Fleet, engines: &mut Engines, lobby: Option<&Lobby>) {
        for host in 0..engines.hosts {
            let has_engine =
                engines.docker.as_mut().and_then(|docker| docker.own.get_mut(host)).is_none_or(|dockerd| {
                    let process = dockerd.process();
                    if let Some(status) = process.ended()
                        && self.engines.insert(host)
                    {
                        words::say_engines_end(host, process.id(), status);
                    }
                    runs(process)
                });
            let mut has_replica = false;
            for replica in on_host(fleet, engines.hosts, host) {
                has_replica |= runs(replica);
            }
            match self.hosts.see(host, has_engine && has_replica, Instant::now()) {
                None => {}
                Some(Change::Up(after)) => words::say_up(host, after),
                Some(Change::Down) => {
                    let pids: Vec<u32> = on_host(fleet, engines.hosts, host).map(|process| process.id()).collect();
                    let jobs = match lobby {
                        Some(lobby) => {
                            timeout(ANSWERED_WITHIN, jobs_of(lobby, &pids)).await.ok().flatten().unwrap_or_default()
                        }
                        None => BTreeSet::new(),
                    };
                    words::say_down(host, jobs.len(), HEARTBEAT);
                    if !jobs.is_empty() {
                        self.left.push(Left { host, jobs, since: Instant::now() });
                    }
                }
            }
        }
        if !self.left.is_empty()
            && let Some(lobby) = lobby
            && let Ok(Ok(pending)) = timeout(ANSWERED_WITHIN, lobby.pending()).await
        {
            self.left.retain(|left| {
                let is_answered = !pending.iter().any(|entry| left.jobs.contains(&entry.id));
                if is_answered {
                    words::say_answered(left.host, left.jobs.len(), left.since.elapsed());
                }
                !is_answered
            });
        }
    }
}

/// The processes of the replicas on a host.
fn on_host(fleet: &mut Fleet, hosts: usize, host: usize) -> impl Iterator<Item = &mut Process> {
    let replicas = fleet.replicas().enumerate();
    let here = replicas.filter(move |(number, _)| hosts::of_replica(*number, hosts) == host);
    here.map(|(_, replica)| replica.process())
}

fn runs(process: &mut Process) -> bool {
    process.ended().is_none() && !process.is_stopped()
}

/// What is pending for the replicas that these processes are. A moment after their end the other hosts have claimed some of it
/// already, so this may be less than they had.
async fn jobs_of(lobby: &Lobby, pids: &[u32]) -> Option<BTreeSet<String>> {
    let replicas = lobby.replicas().await.ok()?;
    let pending = lobby.pending().await.ok()?;
    let is_theirs = |consumer: &str| replicas.get(consumer).is_some_and(|pid| pids.contains(pid));
    Some(pending.into_iter().filter(|entry| is_theirs(&entry.consumer)).map(|entry| entry.id).collect())
}

async fn connect(options: &FleetOptions) -> Option<Lobby> {
    let settings = fleet_settings::settings_of(&options.settings).ok()?;
    Lobby::connect_within(&settings.redis, &settings.stream, UP_WITHIN).await.ok()
}

/// Waits until every living replica has shown itself in Redis.
async fn await_up(fleet: &mut Fleet, lobby: Option<&Lobby>) {
    let Some(lobby) = lobby else { return };
    let deadline = Instant::now() + UP_WITHIN;
    while Instant::now() < deadline {
        let ended = fleet.replicas().filter_map(|replica| replica.process().ended()).count();
        let present = lobby.replicas().await.unwrap_or_default().len();
        if present + ended >= fleet.replicas().count() {
            return;
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn banner(site: &mut Site, fleet: &mut Fleet, engines: &mut Engines) -> String {
    let (url, redis_cli) = (site.redis().url(), site.redis().cli_words());
    let logs = site.directory().join("replica-*.log");
    let count = if engines.hosts > 1 { engines.hosts } else { 0 };
    let hosts = (0..count)
        .map(|host| OnHost {
            pids: on_host(fleet, count, host).map(|process| process.id()).collect(),
            engine: engines
                .docker
                .as_mut()
                .and_then(|docker| docker.own.get_mut(host))
                .map(|dockerd| (dockerd.process().id(), dockerd.host())),
        })
        .collect();
    words::banner(&words::Fleet {
        url: &url,
        redis_cli: &redis_cli,
        logs: &logs.to_string_lossy(),
        has_docker: engines.docker.is_some(),
        image: engines.docker.as_ref().and_then(|docker| docker.image.as_deref()),
        pids: fleet.replicas().map(|replica| replica.process().id()).collect(),
        hosts,
    })
}
