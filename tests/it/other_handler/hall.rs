//! A redis-server, replicas that greet, the sender's side of the streams, and what must hold at the end of every test.

use std::collections::{BTreeMap, HashMap};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use startjobs::embedded::redis_server::RedisServer;
use startjobs::lobby::accounting::Sent;
use startjobs::stream::entry_id::EntryId;

use super::book::{ANSWERS, Answered, BREACHES, CALLS, GREETED};
use super::greeter::OUTCOME_FIELDS;
use super::process::Replica;
use crate::support::replica_log::Log;
use crate::support::world::{Entry, FAST, PATIENCE, World};

/// Everything a test needs.
pub struct Hall {
    /// Redis and the sender's side; it has no replicas of its own.
    pub world: World,
    pub replicas: Vec<Replica>,
    settings: Vec<(String, String)>,
    /// Whom each job greets, by entry.
    names: HashMap<String, String>,
}

impl Hall {
    /// The default redis-server, and these settings besides the fast ones for every replica.
    pub async fn new(settings: &[(&str, &str)]) -> Self {
        Self::on(RedisServer::start().expect("redis-server starts"), settings).await
    }

    /// The same on this server.
    pub async fn on(redis: RedisServer, settings: &[(&str, &str)]) -> Self {
        let all = FAST.iter().chain(settings).map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let all = all.chain([("redis-url".to_owned(), redis.url())]).collect();
        let world = World::on(redis, settings).await;
        Self { world, replicas: Vec::new(), settings: all, names: HashMap::new() }
    }

    /// From now on replicas get this value of a setting.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(one, _)| one != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Starts a replica; answers its number.
    pub fn replica(&mut self) -> usize {
        self.replica_on(None)
    }

    /// The same on a host.
    pub fn replica_on(&mut self, host: Option<&str>) -> usize {
        let number = self.replicas.len();
        self.replicas.push(Replica::start(self.world.directory.path(), number, &self.settings, host));
        number
    }

    /// Starts a replica on a host and waits until it works and the others see it there.
    pub async fn working_replica_on(&mut self, host: &str) -> usize {
        let number = self.replica_on(Some(host));
        self.logged(number, "that it works", |log| log.count("start jobs consumer started") == 1).await;
        let pid = format!("\"pid\":{},", self.replicas[number].process.id());
        self.eventually("it takes work and is heard", async |world: &World| {
            let records = world.presences().await;
            let is_there = |record: &String| {
                record.contains(&pid) && record.contains("\"heard_ms\":") && record.contains("\"serves\":true")
            };
            records.values().any(is_there)
        })
        .await;
        number
    }

    /// Starts a replica and waits until it works.
    pub async fn working_replica(&mut self) -> usize {
        let number = self.replica();
        self.logged(number, "that it works", |log| log.count("start jobs consumer started") == 1).await;
        number
    }

    /// Appends a job and keeps it in the books.
    pub async fn send(&mut self, name: &str, wish: &str) -> EntryId {
        let id = self.world.send_fields(&[("name", name), ("wish", wish)], Sent::Job).await;
        self.names.insert(id.to_string(), name.to_owned());
        id
    }

    /// The same for a job that says when it was requested.
    pub async fn send_requested_at(&mut self, name: &str, wish: &str, requested_at_ms: u64) -> EntryId {
        let requested = requested_at_ms.to_string();
        let fields = [("name", name), ("wish", wish), ("requested_at_ms", &requested)];
        let id = self.world.send_fields(&fields, Sent::Job).await;
        self.names.insert(id.to_string(), name.to_owned());
        id
    }

    /// Appends so many jobs of different names.
    pub async fn send_many(&mut self, prefix: &str, count: usize, wish: &str) {
        for number in 0..count {
            self.send(&format!("{prefix}-{number}"), wish).await;
        }
    }

    /// Sends jobs of this wish, which must take a while, until one is under way at this moment; answers it.
    pub async fn under_way(&mut self, prefix: &str, wish: &str) -> EntryId {
        let (began, mut number) = (Instant::now(), 0);
        loop {
            let job = self.send(&format!("{prefix}-{number}"), wish).await;
            number += 1;
            while self.calls(job).await == 0 {
                assert!(began.elapsed() < PATIENCE, "{job} is not begun\n{}", self.logs());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if self.world.account().await.lost.contains(&job.to_string()) {
                return job;
            }
        }
    }

    /// Waits until a state holds.
    pub async fn eventually(&mut self, what: &str, state: impl AsyncFn(&World) -> bool) {
        let began = Instant::now();
        while !state(&self.world).await {
            assert!(began.elapsed() < PATIENCE, "never came true: {what}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until something is in a replica's log.
    pub async fn logged(&self, number: usize, what: &str, holds: impl Fn(&Log) -> bool) {
        let began = Instant::now();
        while !holds(&self.log(number)) {
            assert!(began.elapsed() < PATIENCE, "replica {number} never logged {what}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// One replica's log.
    pub fn log(&self, number: usize) -> Log {
        Log::new(&self.replicas[number].log())
    }

    /// Every replica's log, for a failure's text.
    pub fn logs(&self) -> String {
        let text = |(number, replica): (usize, &Replica)| {
            let log = replica.log();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("start job processed")).collect();
            format!("--- replica {number}\n{}\n", lines[lines.len().saturating_sub(40)..].join("\n"))
        };
        self.replicas.iter().enumerate().map(text).collect()
    }

    /// The entries that are pending for this replica, by its process id.
    pub async fn pending_for(&self, number: usize) -> Vec<String> {
        let pid = self.replicas[number].process.id();
        let pending = self.world.lobby.pending().await.unwrap_or_default();
        let replicas = self.world.lobby.replicas().await.unwrap_or_default();
        pending.into_iter().filter(|entry| replicas.get(&entry.consumer) == Some(&pid)).map(|entry| entry.id).collect()
    }

    /// Stops a replica with SIGSTOP while it has entries in hand; answers those.
    pub async fn freeze_with_work(&mut self, number: usize) -> Vec<String> {
        let began = Instant::now();
        loop {
            if !self.pending_for(number).await.is_empty() {
                self.replicas[number].process.signal(Signal::STOP);
                while !self.replicas[number].process.is_stopped() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let in_hand = self.pending_for(number).await;
                if !in_hand.is_empty() {
                    return in_hand;
                }
                self.replicas[number].process.signal(Signal::CONT);
            }
            assert!(began.elapsed() < PATIENCE, "replica {number} never has anything in hand\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a replica has ended.
    pub async fn ended(&mut self, number: usize) -> ExitStatus {
        let status = self.replicas[number].process.wait_async(PATIENCE).await;
        status.unwrap_or_else(|| panic!("replica {number} does not end\n{}", self.logs()))
    }

    /// Stops a replica with SIGTERM, which it must answer with status 0.
    pub async fn stop(&mut self, number: usize) {
        self.replicas[number].process.signal(Signal::TERM);
        let status = self.ended(number).await;
        assert_eq!(status.code(), Some(0), "{}", self.logs());
    }

    /// Waits until everything sent is answered, then checks all that must hold: one outcome a job with this handler's fields
    /// and the stored answer, one dead letter a malformed entry, no breach, nothing pending, the mirror at the last entry.
    pub async fn at_rest(&mut self) {
        let began = Instant::now();
        loop {
            let account = self.world.account().await;
            if account.lost.is_empty() {
                assert!(account.is_exact(), "the account does not balance: {account:?}\n{}", self.logs());
                break;
            }
            assert!(began.elapsed() < PATIENCE, "still without an answer: {account:?}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let last = self.world.sent.keys().map(|id| id.parse::<EntryId>().expect("an id")).max().expect("one was sent");
        self.eventually("nothing is pending and the mirror is at the last entry", async |world: &World| {
            let pending = world.lobby.pending().await.unwrap_or_default();
            pending.is_empty() && world.lobby.mirror().await.unwrap_or_default() == Some(last.to_string())
        })
        .await;
        self.audit().await;
    }

    async fn audit(&self) {
        assert_eq!(self.hash(BREACHES).await, BTreeMap::new(), "{}", self.logs());
        let answers = self.hash(ANSWERS).await;
        assert_eq!(answers.len(), self.names.len(), "every job has a stored answer: {answers:?}");
        let mut greeted: BTreeMap<&str, usize> = BTreeMap::new();
        let outcomes = self.world.entries(&self.world.settings.stream.results).await;
        let by_source: HashMap<&str, &Entry> =
            outcomes.iter().map(|outcome| (outcome.get("source_ref"), outcome)).collect();
        // The account has found one for each job, and no other.
        assert_eq!((outcomes.len(), by_source.len()), (self.names.len(), self.names.len()), "{outcomes:?}");
        for (id, name) in &self.names {
            let Answered { result, greeting, error, .. } = Answered::of_text(&answers[id]);
            let outcome = by_source[&**id];
            let expected = [name, &result, &greeting, &error, id];
            let expected = OUTCOME_FIELDS.iter().zip(expected).map(|(&field, value)| (field.to_owned(), value.clone()));
            assert_eq!(outcome.pairs, expected.collect::<Vec<_>>());
            if result == "greeted" {
                *greeted.entry(name).or_default() += 1;
            }
        }
        // Greeted so often, and not once more: no job was done twice.
        let greeted = greeted.into_iter().map(|(name, times)| (name.to_owned(), times.to_string())).collect();
        assert_eq!(self.hash(GREETED).await, greeted);
    }

    /// The one outcome of a job, its `source_ref` left out.
    pub async fn said(&self, id: EntryId) -> [String; 4] {
        let outcome = self.world.outcome(id).await;
        ["name", "result", "greeting", "error"].map(|field| outcome.get(field).to_owned())
    }

    /// How often a job was begun.
    pub async fn calls(&self, id: EntryId) -> u64 {
        self.hash(CALLS).await.get(&id.to_string()).map_or(0, |calls| calls.parse().expect("a number"))
    }

    /// The only dead letter of an entry.
    pub async fn dead(&self, id: EntryId) -> Entry {
        let mut dead = self.world.entries(&self.world.settings.stream.dead).await;
        dead.retain(|letter| letter.get("source_ref") == id.to_string());
        assert_eq!(dead.len(), 1, "{dead:?}");
        dead.remove(0)
    }

    /// How many dead letters there are.
    pub async fn all_dead(&self) -> usize {
        self.world.lobby.all_dead().await.expect("dead letters").len()
    }

    /// How many consumers the group has.
    pub async fn consumers(&self) -> usize {
        let stream = &self.world.settings.stream;
        let list = self.world.redis(&["XINFO", "CONSUMERS", &stream.jobs, &stream.group]).await;
        list.convert::<Vec<startjobs::redis::Value>>().expect("a list").len()
    }

    async fn hash(&self, key: &str) -> BTreeMap<String, String> {
        let flat: Vec<String> = self.world.redis(&["HGETALL", key]).await.convert().expect("a hash");
        flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }
}
