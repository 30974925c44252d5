//! A redis-server, a fleet of replicas of this binary, and Lobby's side of the streams.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use startjobs::embedded::fleet::{Fleet, FleetOptions};
use startjobs::embedded::redis_server::RedisServer;
use startjobs::lobby::accounting::{Account, Sent};
use startjobs::lobby::client::Lobby;
use startjobs::redis::{RedisError, Value};
use startjobs::settings::{Settings, Sources, Values};
use startjobs::stream::entry_id::EntryId;
use tempfile::TempDir;

use super::replica_log::Log;
use super::sim_log::SimLog;

/// Far more than anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Short rhythms, so that a crash is recovered from in about a second.
pub const FAST: &[(&str, &str)] = &[
    ("engine", "simulated"),
    ("simulated-latency", "5ms..15ms"),
    ("claim-idle", "600ms"),
    ("sweep-interval", "100ms"),
    ("block", "500ms"),
    ("retry-min", "100ms"),
    ("retry-max", "400ms"),
    ("allow-fault-injection", "on"),
    ("log-format", "json"),
];

/// Everything a test of the fleet needs.
pub struct World {
    pub fleet: Fleet,
    pub lobby: Lobby,
    pub settings: Settings,
    pub sent: HashMap<String, Sent>,
    pub redis: RedisServer,
    /// Holds the logs for as long as the world lasts.
    pub directory: TempDir,
}

impl World {
    /// A world with the default redis-server and fast rhythms.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A world with further settings for every replica.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::on(RedisServer::start().expect("redis-server starts"), settings).await
    }

    /// A world on this server.
    pub async fn on(redis: RedisServer, settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("startjobs-test-").tempdir().expect("a temporary directory");
        let mut all: Vec<(String, String)> =
            FAST.iter().chain(settings).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        if !settings.iter().any(|&(name, _)| name == "redis-url") {
            all.push(("redis-url".to_owned(), redis.url()));
        }
        let typed = load(&all);
        let lobby = Lobby::connect(&typed.redis, &typed.stream).await.expect("a connection");
        let fleet = Fleet::new(FleetOptions {
            program: PathBuf::from(env!("CARGO_BIN_EXE_startjobs")),
            directory: directory.path().to_owned(),
            settings: all,
        });
        Self { fleet, lobby, settings: typed, sent: HashMap::new(), redis, directory }
    }

    /// Starts a replica with settings of its own.
    pub fn replica(&mut self, settings: &[(&str, &str)]) -> usize {
        self.fleet.start(settings).expect("the binary runs")
    }

    /// Appends a job and keeps it in the books.
    pub async fn send(&mut self, game: &str, image: &str) -> EntryId {
        let id = self.lobby.append(game, image, 17).await.expect("appended");
        self.sent.insert(id.to_string(), Sent::Job);
        id
    }

    /// Appends an entry that is no job and keeps it in the books.
    pub async fn send_malformed(&mut self) -> EntryId {
        let id = self.lobby.append_fields(&[("game_id", "g"), ("image_ref", " ")]).await.expect("appended");
        self.sent.insert(id.to_string(), Sent::Malformed);
        id
    }

    /// Appends this many plain jobs, one for each of as many games.
    pub async fn send_games(&mut self, prefix: &str, count: usize) {
        for number in 0..count {
            self.send(&format!("{prefix}{number}"), "galaxy/engine:1").await;
        }
    }

    /// Sends jobs that run for two seconds until a replica (this one, where one is named) has one in hand just now: what
    /// happens next happens under load. [`World::was_under_way`] proves it afterwards.
    pub async fn under_way(&mut self, batch: &str, by: Option<usize>) -> UnderWay {
        let pid = by.map(|by| self.fleet.replica(by).process().id());
        let (began, mut number) = (Instant::now(), 0);
        loop {
            let job = self.send(&format!("{batch}-under-way-{number}"), "sim/slow:2s").await;
            number += 1;
            let id = job.to_string();
            let is_over = loop {
                assert!(began.elapsed() < PATIENCE, "nothing is taken up\n{}", self.logs());
                let pending = self.lobby.pending().await.unwrap_or_default();
                let replicas = self.lobby.replicas().await.unwrap_or_default();
                let holder = pending.iter().find(|entry| entry.id == id).map(|entry| replicas.get(&entry.consumer));
                match holder {
                    Some(held_by) if pid.is_none() || held_by.copied() == pid => break false,
                    Some(Some(_)) => break true,
                    _ if self.account().await.lost.binary_search(&id).is_err() => break true,
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            if !is_over {
                return UnderWay { job, seen_ms: self.now_ms().await };
            }
        }
    }

    /// Everything is answered: this was not yet when it was seen.
    pub async fn was_under_way(&self, UnderWay { job, seen_ms }: UnderWay) {
        let outcome = self.outcome(job).await;
        assert!(numbers(&outcome.id).0 >= seen_ms, "{job} was answered before: {outcome:?}");
    }

    /// The server's clock, Unix milliseconds.
    pub async fn now_ms(&self) -> u64 {
        let (seconds, micros): (u64, u64) = self.redis(&["TIME"]).await.convert().expect("two numbers");
        seconds * 1_000 + micros / 1_000
    }

    /// Makes the group, as an operator would who is early.
    pub async fn create_group(&self) {
        let stream = &self.settings.stream;
        self.redis(&["XGROUP", "CREATE", &stream.jobs, &stream.group, "0", "MKSTREAM"]).await;
    }

    /// Reads new entries by hand, as a consumer of this name.
    pub async fn read_as(&self, consumer: &str, count: &str) {
        let stream = &self.settings.stream;
        self.redis(&["XREADGROUP", "GROUP", &stream.group, consumer, "COUNT", count, "STREAMS", &stream.jobs, ">"])
            .await;
    }

    /// Waits until exactly this many entries are in somebody's hands.
    pub async fn held(&mut self, count: usize) {
        let what = format!("{count} entries are held");
        self.eventually(&what, async |world: &Self| world.lobby.pending().await.unwrap_or_default().len() == count)
            .await;
    }

    /// The account as of now.
    pub async fn account(&self) -> Account {
        let outcomes = self.lobby.all_outcomes().await.expect("outcomes");
        let dead = self.lobby.all_dead().await.expect("dead letters");
        Account::draw(&self.sent, &outcomes, &dead)
    }

    /// Waits until nothing sent is without its answer, and answers the account, which balances.
    pub async fn settled(&mut self) -> Account {
        let account = self.answered_within(PATIENCE).await;
        assert!(account.is_exact(), "the account does not balance: {account:?}\n{}", self.logs());
        account
    }

    /// Waits until nothing sent is without its answer, and answers the account.
    pub async fn answered_within(&mut self, patience: Duration) -> Account {
        let began = Instant::now();
        loop {
            let account = self.account().await;
            if account.lost.is_empty() {
                return account;
            }
            assert!(began.elapsed() < patience, "still without an answer: {account:?}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// At rest: nothing pending, and the mirror at the stream's last entry.
    pub async fn at_rest(&mut self) {
        let last = self.sent.keys().map(|id| id.parse::<EntryId>().expect("an id")).max().expect("something was sent");
        self.eventually("nothing pending and the mirror at the last id", async |world: &Self| {
            let pending = world.lobby.pending().await.unwrap_or_default();
            let mirror = world.lobby.mirror().await.unwrap_or_default();
            pending.is_empty() && mirror == Some(last.to_string())
        })
        .await;
    }

    /// Waits until a state holds.
    pub async fn eventually(&mut self, what: &str, state: impl AsyncFn(&Self) -> bool) {
        let began = Instant::now();
        while !state(self).await {
            assert!(began.elapsed() < PATIENCE, "never came true: {what}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Every replica's log, for a failure's text.
    pub fn logs(&mut self) -> String {
        let mut all = String::new();
        for (number, replica) in self.fleet.replicas().enumerate() {
            let log = replica.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            let head = format!("--- replica {number}");
            all.extend(std::iter::once(head.as_str()).chain(tail.into_iter().rev()).flat_map(|line| [line, "\n"]));
        }
        all
    }

    /// Runs a raw command, for what a hostile or clumsy operator does.
    pub async fn redis(&self, words: &[&str]) -> Value {
        self.try_redis(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Runs a raw command that may fail, as it does while Redis is away.
    pub async fn try_redis(&self, words: &[&str]) -> Result<Value, RedisError> {
        self.lobby.connection().raw(words).await
    }

    /// Appends an entry of these fields as a job and keeps it in the books.
    pub async fn send_fields(&mut self, fields: &[(&str, &str)], kind: Sent) -> EntryId {
        let id = self.lobby.append_fields(fields).await.expect("appended");
        self.sent.insert(id.to_string(), kind);
        id
    }

    /// Every entry of a stream, oldest first.
    pub async fn entries(&self, stream: &str) -> Vec<Entry> {
        let reply = self.redis(&["XRANGE", stream, "-", "+"]).await;
        let entries: Vec<(String, Vec<String>)> = reply.convert().expect("a stream's entries");
        entries.into_iter().map(|(id, flat)| Entry::new(id, &flat)).collect()
    }

    /// The one outcome of a job.
    pub async fn outcome(&self, job: EntryId) -> Entry {
        let mut outcomes = self.entries(&self.settings.stream.results).await;
        outcomes.retain(|outcome| outcome.get("source_ref") == job.to_string());
        assert_eq!(outcomes.len(), 1, "outcomes of {job}: {outcomes:?}");
        outcomes.remove(0)
    }

    /// What the simulated engine wrote down, checked: never two running containers of one game.
    pub async fn sim_log(&self) -> SimLog {
        let log = format!("{}sim:log", self.settings.start.record_prefix);
        SimLog::read(&self.entries(&log).await)
    }

    /// Takes a game's container away, as an operator would, and lets the engine log it. Answers its id.
    pub async fn remove_container(&self, game: &str) -> String {
        let prefix = &self.settings.start.record_prefix;
        let name = format!("{prefix}sim:{{rtm-{game}}}");
        let container = self.redis(&["GET", &name]).await.as_string().expect("the game has a container");
        let id = container.split(' ').next().expect("split answers at least one");
        let script = concat!(
            "local ARGV = { cmsgpack.pack({ 2, 'remove', ARGV[1] }), '1' }\n",
            include_str!("../../../src/redis/scripts/coalesced_head.lua"),
            include_str!("../../../src/engine/simulated/engine.lua"),
            include_str!("../../../src/redis/scripts/coalesced_tail.lua"),
        );
        let log = format!("{prefix}sim:log");
        self.redis(&["EVAL", script, "2", &name, &log, id]).await;
        id.to_owned()
    }

    /// Waits until a replica has died by SIGKILL, as a crash point does it.
    pub async fn killed(&mut self, number: usize) {
        let status = self.ended(number, PATIENCE).await;
        assert_eq!(status.signal(), Some(9), "replica {number} ended by {status}, not by SIGKILL\n{}", self.logs());
    }

    /// Waits until a replica has ended.
    pub async fn ended(&mut self, number: usize, limit: Duration) -> ExitStatus {
        let status = self.fleet.replica(number).process().wait_async(limit).await;
        status.unwrap_or_else(|| panic!("replica {number} still runs after {limit:?}\n{}", self.logs()))
    }

    /// Waits until a replica stands still by SIGSTOP.
    pub async fn paused(&mut self, number: usize) {
        let began = Instant::now();
        while !self.fleet.replica(number).process().is_stopped() {
            assert!(began.elapsed() < PATIENCE, "replica {number} never stopped itself\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends a replica a signal.
    pub fn signal(&mut self, number: usize, signal: Signal) {
        self.fleet.replica(number).process().signal(signal);
    }

    /// One replica's log as it stands.
    pub fn log(&mut self, number: usize) -> Log {
        Log::new(&self.fleet.replica(number).log())
    }

    /// Waits until something is in a replica's log.
    pub async fn logged(&mut self, number: usize, what: &str, holds: impl Fn(&Log) -> bool) {
        let began = Instant::now();
        while !holds(&self.log(number)) {
            assert!(began.elapsed() < PATIENCE, "replica {number} never logged: {what}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a replica works.
    pub async fn begun(&mut self, number: usize) {
        self.logged(number, "start jobs consumer started", |log| log.count("start jobs consumer started") == 1).await;
    }

    /// The presence records, by consumer: `<last seen> <state> <JSON>`.
    pub async fn presences(&self) -> BTreeMap<String, String> {
        let key = format!("{}:replicas", self.settings.stream.jobs);
        let flat: Vec<String> = self.redis(&["HGETALL", &key]).await.convert().expect("a hash");
        flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    /// The mirror and the smallest entry without an answer (0-0 and none where there is none), seen in one moment;
    /// panics where the mirror is at or above such an entry.
    pub async fn watch_mirror(&self) {
        let streams = &self.settings.stream;
        let words = ["EVAL", WATCH_MIRROR, "4", &streams.jobs, &streams.results, &streams.dead, &streams.offset_key];
        // Nobody can look while Redis is away or a key holds something else for the sake of the test.
        let Ok(reply) = self.try_redis(&words).await else {
            return;
        };
        let seen: Vec<String> = reply.convert().expect("two ids");
        let [mirror, unanswered] = seen.as_slice() else { panic!("not two ids: {seen:?}") };
        if mirror.is_empty() || unanswered.is_empty() {
            return;
        }
        let (at, open) = (numbers(mirror), numbers(unanswered));
        assert!(at < open, "the mirror {mirror} is not before {unanswered}, which has no outcome");
    }

    /// Waits like [`World::settled`], looking at the mirror all the while.
    pub async fn settled_under_watch(&mut self) -> Account {
        let began = Instant::now();
        while !self.account().await.lost.is_empty() {
            self.watch_mirror().await;
            assert!(began.elapsed() < PATIENCE, "still without an answer\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.settled().await
    }
}

/// Answers the mirror and the smallest entry without outcome and dead letter.
const WATCH_MIRROR: &str = "
local answered = {}
for i = 2, 3 do
  for _, entry in ipairs(redis.call('XRANGE', KEYS[i], '-', '+')) do
    for at = 1, #entry[2], 2 do
      if entry[2][at] == 'source_ref' then answered[entry[2][at + 1]] = true; break end
    end
  end
end
local mirror = redis.call('GET', KEYS[4]) or ''
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
  if not answered[entry[1]] then return { mirror, entry[1] } end
end
return { mirror, '' }";

/// An id's two numbers; arithmetic of the tests' own, so that a mistake in the worker's is seen.
pub fn numbers(id: &str) -> (u64, u64) {
    let mut parts = id.split('-').map(|part| part.parse().expect("decimal digits"));
    (parts.next().expect("split answers at least one"), parts.next().unwrap_or(0))
}

/// A job that a replica had in hand, and when that was seen.
#[derive(Debug, Clone, Copy)]
pub struct UnderWay {
    job: EntryId,
    seen_ms: u64,
}

/// One entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: String,
    pub pairs: Vec<(String, String)>,
}

impl Entry {
    fn new(id: String, flat: &[String]) -> Self {
        let pairs = flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        Self { id, pairs }
    }

    /// The first value of this field; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// The field names in order.
    pub fn names(&self) -> Vec<&str> {
        self.pairs.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// Settings from names and values alone.
pub fn load(values: &[(String, String)]) -> Settings {
    let environment = values
        .iter()
        .map(|(name, value)| (format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_")), value.clone()));
    Settings::load(&Sources::new(Values::new(), environment)).unwrap_or_else(|report| panic!("{report}")).settings
}
