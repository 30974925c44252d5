//! A dead replica is noticed at once, and a living one is never taken for dead: fleets of real processes on real servers.
//!
//! Claim idle is longer here than any wait, so that only the notice explains a recovery; where claim idle is what a test is
//! about, it says so. At the end of each test every job has one outcome, every game one container, no crash is left against
//! what was finished, no innocent job is condemned, and the replicas that were declared dead are those that the test killed.

// processes that end: killed, aborted, panicked, out of memory
mod deaths;
// connections that end while the process lives
mod cuts;
// a server that stands still, restarts, or fails over
mod restarts;
// what no connection tells: claim idle, as without the notice
mod silence;
// jobs that kill, and storms of kills
mod storms;
// replicas that leave, pause, or are full while others die
mod busy;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use startjobs::embedded::fleet::{Fleet, FleetOptions};
use startjobs::embedded::redis_server::RedisServer;
use startjobs::lobby::accounting::{Account, Sent};
use startjobs::lobby::client::Lobby;
use startjobs::redis::Value;
use startjobs::stream::entry_id::EntryId;
use tokio::task::JoinHandle;

use crate::support::counted::Counted;
use crate::support::scrape::{self, free_port};
use crate::support::servers;
use crate::support::world::{FAST, PATIENCE, World};

/// Longer than any test waits: see [`PATIENCE`].
const LONG: Duration = Duration::from_secs(90);
/// What a noticed death must be well below, on a loaded machine too.
const AT_ONCE: Duration = Duration::from_secs(20);
const RHYTHMS: &[(&str, &str)] = &[
    ("claim-idle", "90s"),
    // The default.
    ("sweep-interval", "500ms"),
    ("slots", "8"),
    ("simulated-latency", "20ms..120ms"),
];
/// Holds what it takes for longer than a test lasts.
const NEVER_READY: (&str, &str) = ("simulated-latency", "10m");

/// The test on every supported server.
macro_rules! on_every_server {
    ($($name:ident)+) => {
        mod on_7_0 { $(#[tokio::test] async fn $name() {
            super::$name(startjobs::embedded::redis_server::RedisServer::start().expect("redis-server starts")).await;
        })+ }
        mod on_6_2 { $(#[tokio::test] async fn $name() {
            if let Some(redis) = crate::liveness::server("6.2") { super::$name(redis).await; }
        })+ }
        mod on_8_2 { $(#[tokio::test] async fn $name() {
            if let Some(redis) = crate::liveness::server("8.2") { super::$name(redis).await; }
        })+ }
    };
}
use on_every_server;

fn server(version: &str) -> Option<RedisServer> {
    servers::fetched(version).map(|program| RedisServer::start_with(&program, &[]).expect("this redis-server starts"))
}

/// How long something that takes long in a search lasts: so many seconds, or what this variable says.
fn seconds(variable: &str, otherwise: u64) -> Duration {
    let seconds = std::env::var(variable).ok().map(|text| text.parse().expect("seconds"));
    Duration::from_secs(seconds.unwrap_or(otherwise))
}

/// A counter's value.
fn whole(value: f64) -> usize {
    format!("{value:.0}").parse().expect("a counter")
}

/// One replica: its number in the fleet, and where it is asked.
#[derive(Debug, Clone, Copy)]
struct Crewman {
    number: usize,
    port: u16,
}

/// A presence record.
#[derive(Debug, Clone)]
struct Shown {
    name: String,
    state: String,
    about: serde_json::Value,
}

impl Shown {
    fn pid(&self) -> u64 {
        self.about["pid"].as_u64().unwrap_or(0)
    }

    fn is_heard(&self) -> bool {
        self.about["heard_ms"].is_u64()
    }

    /// Of its subscription.
    fn generation(&self) -> u64 {
        self.about["gen"].as_u64().unwrap_or(0)
    }

    /// Its process takes part under this name.
    fn is_there(&self) -> bool {
        self.state == "running" || self.state == "draining"
    }
}

/// A fleet, what has been counted against its jobs, and who of it must be found dead in the end.
struct Crew {
    world: World,
    counted: Counted,
    settings: Vec<(String, String)>,
    /// Who lives.
    living: Vec<Crewman>,
    /// Names of those that the test has killed.
    killed: BTreeSet<String>,
}

impl Crew {
    /// No replicas yet.
    async fn on(redis: RedisServer, settings: &[(&str, &str)]) -> Self {
        let url = redis.url();
        let redis_url = [("redis-url", url.as_str())];
        let all: Vec<(&str, &str)> = redis_url.iter().chain(RHYTHMS).chain(settings).copied().collect();
        let world = World::on(redis, &all).await;
        let settings = FAST.iter().chain(&all).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let counted = Counted::of(&world);
        Self { world, counted, settings, living: Vec::new(), killed: BTreeSet::new() }
    }

    /// So many replicas, each of which is heard.
    async fn of(count: usize, redis: RedisServer, settings: &[(&str, &str)]) -> Self {
        let mut crew = Self::on(redis, settings).await;
        for _ in 0..count {
            crew.launch(&[]);
        }
        crew.all_heard().await;
        crew
    }

    /// Starts one more.
    fn launch(&mut self, settings: &[(&str, &str)]) -> Crewman {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let own: Vec<(&str, &str)> = settings.iter().copied().chain([("http-addr", address.as_str())]).collect();
        let crewman = Crewman { number: self.world.replica(&own), port };
        self.living.push(crewman);
        crewman
    }

    /// A fleet of other processes: of this program, which is expected to become a worker.
    fn fleet_of(&self, program: &str, settings: &[(&str, &str)]) -> Fleet {
        let directory = self.world.directory.path().join("others");
        std::fs::create_dir_all(&directory).expect("a directory");
        let path = directory.join("worker.sh");
        let binary = env!("CARGO_BIN_EXE_startjobs");
        std::fs::write(&path, format!("#!/bin/sh\n{program}\n").replace("WORKER", binary)).expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&path, mode).expect("it is ours");
        let own = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let settings = self.settings.iter().cloned().chain(own).collect();
        Fleet::new(FleetOptions { program: path, directory, settings })
    }

    /// The presence records.
    async fn shown(&self) -> Vec<Shown> {
        let key = format!("{}:replicas", self.world.settings.stream.jobs);
        let Ok(reply) = self.world.try_redis(&["HGETALL", &key]).await else { return Vec::new() };
        let flat: Vec<String> = reply.convert().expect("a hash");
        let pairs = flat.chunks_exact(2);
        pairs
            .map(|pair| {
                let mut parts = pair[1].splitn(3, ' ').skip(1);
                let state = parts.next().expect("a state").to_owned();
                let about = serde_json::from_str(parts.next().expect("what it says")).expect("JSON");
                Shown { name: pair[0].clone(), state, about }
            })
            .collect()
    }

    fn pids(&mut self) -> BTreeSet<u64> {
        let Self { world, living, .. } = self;
        living.iter().map(|one| u64::from(world.fleet.replica(one.number).process().id())).collect()
    }

    /// Waits until the server has heard the subscription of everyone that lives.
    async fn all_heard(&mut self) {
        let pids = self.pids();
        self.heard(&pids).await;
    }

    async fn heard(&mut self, pids: &BTreeSet<u64>) {
        self.until("every subscription is heard", async |crew: &Self| {
            let shown = crew.shown().await;
            let heard: BTreeSet<u64> =
                shown.iter().filter(|one| one.is_there() && one.is_heard()).map(Shown::pid).collect();
            pids.is_subset(&heard)
        })
        .await;
    }

    /// Waits until a state holds.
    async fn until(&mut self, what: &str, state: impl AsyncFn(&Self) -> bool) {
        let began = Instant::now();
        while !state(self).await {
            let shown = self.shown().await;
            assert!(began.elapsed() < PATIENCE, "never came true: {what}\n{shown:#?}\n{}", self.world.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Under which name this process takes part.
    async fn name_of_pid(&self, pid: u32) -> String {
        let shown = self.shown().await;
        let named = shown.iter().find(|one| one.is_there() && one.pid() == u64::from(pid));
        named.unwrap_or_else(|| panic!("no replica with the process {pid}: {shown:?}")).name.clone()
    }

    async fn name(&mut self, crewman: Crewman) -> String {
        let pid = self.world.fleet.replica(crewman.number).process().id();
        self.name_of_pid(pid).await
    }

    /// The id of the connection by which a replica is subscribed, if it is now.
    async fn subscriber(&self, name: &str) -> Option<String> {
        let list = self.world.try_redis(&["CLIENT", "LIST", "TYPE", "pubsub"]).await.ok()?.as_string()?;
        let word = |line: &str, key: &str| line.split(' ').find_map(|word| word.strip_prefix(key).map(str::to_owned));
        let wanted = format!("startjobs:{name}");
        list.lines()
            .find(|line| word(line, "name=").is_some_and(|one| one == wanted))
            .and_then(|line| word(line, "id="))
    }

    /// Makes a replica renew now: its subscription is cut.
    async fn renews(&mut self, crewman: Crewman) {
        let name = self.name(crewman).await;
        let generation = async |crew: &Self| {
            let shown = crew.shown().await;
            shown.iter().find(|one| one.name == name).and_then(|one| one.about["gen"].as_u64())
        };
        let before = generation(self).await;
        let id = self.subscriber(&name).await.expect("it is heard");
        self.world.redis(&["CLIENT", "KILL", "ID", &id]).await;
        self.until("a later generation is heard", async |crew: &Self| generation(crew).await > before).await;
    }

    /// From now on this replica is expected to be declared dead.
    async fn will_die(&mut self, crewman: Crewman) -> String {
        let name = self.name(crewman).await;
        self.living.retain(|one| one.number != crewman.number);
        self.killed.insert(name.clone());
        name
    }

    /// SIGKILL, of all at once.
    async fn kill(&mut self, crewmen: &[Crewman]) {
        for &crewman in crewmen {
            self.will_die(crewman).await;
        }
        for crewman in crewmen {
            self.world.signal(crewman.number, rustix::process::Signal::KILL);
        }
        for crewman in crewmen {
            self.world.killed(crewman.number).await;
        }
    }

    /// What is pending for these names.
    async fn held_by(&self, names: &BTreeSet<String>) -> Vec<String> {
        let pending = self.world.lobby.pending().await.unwrap_or_default();
        pending.into_iter().filter(|entry| names.contains(&entry.consumer)).map(|entry| entry.id).collect()
    }

    /// Waits until everything is answered that was held by those who died; answers how long that took.
    async fn taken_over(&mut self, held: &[String]) -> Duration {
        let began = Instant::now();
        self.until("what the dead held is answered", async |crew: &Self| {
            let lost = crew.world.account().await.lost;
            held.iter().all(|id| lost.binary_search(id).is_err())
        })
        .await;
        began.elapsed()
    }

    /// The end of a test in which all is well: see the head of this file.
    async fn ends_well(&mut self) -> Account {
        let account = self.world.settled().await;
        self.world.at_rest().await;
        self.only_the_killed_are_declared_dead().await;
        self.one_container_a_game().await;
        self.nothing_is_left_against_the_living().await;
        account
    }

    async fn only_the_killed_are_declared_dead(&mut self) {
        let dead = self.dead().await;
        assert_eq!(dead, self.killed, "{}", self.world.logs());
    }

    /// Where a death may also have been found by its silence.
    async fn only_the_killed_may_be_declared_dead(&mut self) {
        let dead = self.dead().await;
        assert!(dead.is_subset(&self.killed), "{dead:?}, killed were {:?}\n{}", self.killed, self.world.logs());
    }

    /// Who is declared dead.
    async fn dead(&self) -> BTreeSet<String> {
        self.shown().await.into_iter().filter(|one| one.state == "dead").map(|one| one.name).collect()
    }

    /// No living replica was ever declared dead.
    fn none_learned_that_it_was_dead(&mut self) {
        for crewman in self.living.clone() {
            assert_eq!(self.declared_dead(crewman), 0, "{}", self.world.logs());
        }
    }

    /// How often this replica was declared dead although it lived.
    fn declared_dead(&mut self, crewman: Crewman) -> usize {
        let log = self.world.log(crewman.number).count("declared dead while alive; goes on under another name");
        assert_eq!(whole(scrape::metric(crewman.port, "startjobs_declared_dead_total")), log);
        log
    }

    async fn one_container_a_game(&mut self) {
        let sim = self.world.sim_log().await;
        for outcome in self.world.lobby.all_outcomes().await.expect("outcomes") {
            if outcome.outcome == "success" {
                assert_eq!(outcome.container_id, sim.the_only_container(&outcome.game_id), "{outcome:?}");
            }
        }
    }

    /// The attempts have nothing but the lists of what the killed were charged with.
    async fn nothing_is_left_against_the_living(&mut self) {
        let attempts = self.attempts().await;
        let is_known = |field: &String| field.strip_prefix("charges:").is_some_and(|name| self.killed.contains(name));
        assert!(attempts.keys().all(is_known), "{attempts:?}, killed were {:?}\n{}", self.killed, self.world.logs());
    }

    async fn attempts(&self) -> BTreeMap<String, String> {
        let key = format!("{}:attempts", self.world.settings.stream.jobs);
        let flat: Vec<String> = self.world.redis(&["HGETALL", &key]).await.convert().expect("a hash");
        flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    /// The names in the group.
    async fn consumers(&self) -> Vec<String> {
        let stream = &self.world.settings.stream;
        let list = self.world.redis(&["XINFO", "CONSUMERS", &stream.jobs, &stream.group]).await;
        let list: Vec<Vec<Value>> = list.convert().expect("consumers");
        list.into_iter().filter_map(|fields| fields.get(1).and_then(Value::as_string)).collect()
    }

    /// Against which of these entries a crash was counted at any time, and against which others.
    async fn crashes(&self, among: &[String]) -> (usize, Vec<String>) {
        let crashes = self.counted.crashes(&self.world).await;
        let (these, others): (Vec<String>, Vec<String>) = crashes.into_iter().partition(|id| among.contains(id));
        (these.len(), others)
    }
}

/// What a load came to.
#[derive(Debug)]
struct Loaded {
    /// Jobs whose append was acknowledged.
    appended: usize,
    /// Those of them that the stream does not have: Redis has lost them.
    lost: Vec<String>,
}

/// Jobs that come all the while, each for a game of its own.
struct Load {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Vec<EntryId>>,
}

impl Load {
    /// One every so often, until it is stopped.
    async fn begin(world: &World, prefix: &str, interval: Duration) -> Self {
        let lobby = Lobby::connect(&world.settings.redis, &world.settings.stream).await.expect("a connection");
        let (is_over, prefix) = (Arc::new(AtomicBool::new(false)), prefix.to_owned());
        let ended = Arc::clone(&is_over);
        let task = tokio::spawn(async move {
            let mut sent = Vec::new();
            for number in 0.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                // What fails while Redis is away is no job; it may be in the stream all the same.
                sent.extend(lobby.append(&format!("{prefix}-{number}"), "galaxy/engine:1", 17).await);
                tokio::time::sleep(interval).await;
            }
            sent
        });
        Self { is_over, task }
    }

    /// Ends it, and enters into the books everything that the stream has.
    async fn end(self, world: &mut World) -> Loaded {
        self.is_over.store(true, Ordering::Relaxed);
        let sent = self.task.await.expect("a load does not panic");
        let there = world.entries(&world.settings.stream.jobs).await;
        for entry in there {
            world.sent.entry(entry.id).or_insert(Sent::Job);
        }
        let appended = sent.len();
        let lost = sent.iter().map(ToString::to_string).filter(|id| !world.sent.contains_key(id)).collect();
        Loaded { appended, lost }
    }
}
