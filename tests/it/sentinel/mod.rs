//! A fleet on a master with replicas and sentinels, all real processes, through each kind of failover. Each test ends with
//! the account of what was sent.

// the master dies, stands still, or gives way
mod failovers;
// what sentinels get wrong, and sentinels that are gone
mod sentinels;
// credentials and TLS
mod access;
// what a failover loses, and what keeps it from losing more
mod losses;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use startjobs::audit::finding::Kind;
use startjobs::audit::report::AuditReport;
use startjobs::audit::{Options, Since, audit};
use startjobs::embedded::redis_server::RedisServer;
use startjobs::embedded::sentinels::{SERVICE, SentinelOptions, Sentinels};
use startjobs::lobby::accounting::Sent;
use startjobs::redis::{Connection, RedisError, Role, Value};
use startjobs::settings::Settings;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::world::{PATIENCE, World, load};

/// Servers, sentinels, and a fleet that uses them.
struct Rig {
    sentinels: Sentinels,
    asked: Vec<Connection>,
    world: World,
    load: Option<(watch::Sender<bool>, JoinHandle<Sending>)>,
}

/// What a sender under load has seen.
#[derive(Debug, Default)]
struct Sending {
    ids: Vec<String>,
    /// The longest time without an acknowledged entry.
    longest_gap: Duration,
}

impl Rig {
    async fn new(settings: &[(&str, &str)]) -> Self {
        Self::with(&SentinelOptions::new(), settings).await
    }

    /// All sentinels know all servers and each other, and the fleet's settings name them.
    async fn with(options: &SentinelOptions, settings: &[(&str, &str)]) -> Self {
        let sentinels = Sentinels::start(options).expect("servers and sentinels start");
        let url = sentinels.url_of("redis-sentinel", "", &sentinels.sentinel_ports());
        Self::at(sentinels, &url, settings, options, &[]).await
    }

    /// The same with another URL; the sentinels are asked with these settings.
    async fn at(
        sentinels: Sentinels,
        url: &str,
        settings: &[(&str, &str)],
        options: &SentinelOptions,
        asking: &[(&str, &str)],
    ) -> Self {
        let mut asked = Vec::new();
        for port in sentinels.sentinel_ports() {
            let mut values: Vec<(String, String)> =
                asking.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            let scheme = if options.is_encrypted { "rediss" } else { "redis" };
            values.push(("redis-url".to_owned(), format!("{scheme}://127.0.0.1:{port}")));
            let opened = Connection::open(&load(&values).redis, Role::Commands, "startjobs:test", |_| {}).await;
            asked.push(opened.expect("a sentinel answers"));
        }
        for sentinel in &asked {
            await_knowledge(sentinel, options.replicas, options.sentinels - 1).await;
        }
        // The world wants a server of its own; nothing uses this one.
        let unused = RedisServer::start().expect("redis-server starts");
        let all: Vec<(&str, &str)> = settings.iter().copied().chain([("redis-url", url)]).collect();
        let world = World::on(unused, &all).await;
        Self { sentinels, asked, world, load: None }
    }

    /// Replicas that have begun.
    async fn replicas(&mut self, count: usize) {
        for _ in 0..count {
            let replica = self.world.replica(&[]);
            self.world.begun(replica).await;
        }
    }

    /// The port of the master that most sentinels name.
    async fn master(&self) -> Option<u16> {
        let mut votes: HashMap<u16, usize> = HashMap::new();
        for sentinel in &self.asked {
            let named = sentinel.raw(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await;
            if let Ok((_, port)) = named.and_then(Value::convert::<(String, u64)>) {
                *votes.entry(u16::try_from(port).expect("a port")).or_default() += 1;
            }
        }
        let most = self.asked.len() / 2;
        votes.into_iter().find(|(_, votes)| *votes > most).map(|(port, _)| port)
    }

    /// Waits until most sentinels name another master than this one, and a command works there.
    async fn failed_over(&mut self, from: u16) -> u16 {
        let began = Instant::now();
        loop {
            if let Some(port) = self.master().await.filter(|port| *port != from)
                && self.world.try_redis(&["INCR", "failed-over"]).await.is_ok()
            {
                println!("{from} was replaced by {port} after {:?}", began.elapsed());
                return port;
            }
            // Sentinels that fail to elect a leader, or find no replica that they know well enough, begin anew after ten seconds.
            assert!(began.elapsed() < 2 * PATIENCE, "no failover\n{}", self.world.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The master is killed under load, and every job has its one answer.
    async fn outlives_its_master(&mut self) {
        let master = self.master().await.expect("a master");
        self.begin_load();
        self.under_load(20).await;
        self.sentinels.server_at(master).expect("one of the servers").kill();
        self.failed_over(master).await;
        self.noticed(1).await;
        self.under_load(20).await;
        self.end_load().await;
        self.exact().await;
    }

    /// Waits until every sentinel that is asked knows a replica of this master with which a failover can begin.
    async fn can_fail_over(&mut self, master: u16) {
        let port = master.to_string();
        let follows = |words: &Vec<String>| {
            let has = |name: &str, value: &str| words.chunks_exact(2).any(|pair| pair[0] == name && pair[1] == value);
            has("master-port", &port) && has("master-link-status", "ok") && has("flags", "slave")
        };
        let began = Instant::now();
        for sentinel in &self.asked {
            loop {
                let known = sentinel.raw(&["SENTINEL", "REPLICAS", SERVICE]).await;
                let known = known.and_then(Value::convert::<Vec<Vec<String>>>).unwrap_or_default();
                if known.iter().any(follows) {
                    break;
                }
                assert!(began.elapsed() < 2 * PATIENCE, "no replica of {master} is known: {known:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Waits until each living replica has noticed so many failovers.
    async fn noticed(&mut self, times: usize) {
        let count = self.world.fleet.replicas().count();
        for replica in 0..count {
            self.world.logged(replica, "a failover", |log| log.count(FAILED_OVER) >= times).await;
        }
    }

    /// Sends a job every few milliseconds until [`Rig::end_load`].
    fn begin_load(&mut self) {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(send(self.world.settings.clone(), stopped));
        self.load = Some((stop, task));
    }

    /// Waits until so many jobs more have been acknowledged.
    async fn under_load(&mut self, outcomes: u64) {
        let before = self.answered().await;
        let began = Instant::now();
        while self.answered().await < before + outcomes {
            assert!(began.elapsed() < PATIENCE, "nothing is answered\n{}", self.world.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn answered(&self) -> u64 {
        let length = self.world.try_redis(&["XLEN", &self.world.settings.stream.results]).await;
        length.and_then(Value::convert).unwrap_or(0)
    }

    /// Ends the load and enters what was sent in the books; answers what it has seen.
    async fn end_load(&mut self) -> Sending {
        let (stop, task) = self.load.take().expect("there is a load");
        stop.send(true).expect("the load listens");
        let sending = task.await.expect("the load ends");
        self.world.sent.extend(sending.ids.iter().map(|id| (id.clone(), Sent::Job)));
        println!("{} jobs sent, longest gap {:?}", sending.ids.len(), sending.longest_gap);
        sending
    }

    /// The ids that the surviving stream of jobs has.
    async fn surviving(&self) -> HashSet<String> {
        self.world.entries(&self.world.settings.stream.jobs).await.into_iter().map(|entry| entry.id).collect()
    }

    /// Every job that survived has one outcome and nothing else was answered, but for jobs that Redis lost after a replica had
    /// read them. Answers how many were lost.
    async fn exact(&mut self) -> (usize, AuditReport) {
        let last = self.world.send("last", "galaxy/engine:1").await;
        let there = self.surviving().await;
        assert!(there.contains(&last.to_string()));
        let before = self.world.sent.len();
        self.world.sent.retain(|id, _| there.contains(id));
        let lost = before - self.world.sent.len();
        let account = self.world.answered_within(PATIENCE).await;
        assert!(account.answered_twice.is_empty(), "{account:?}\n{}", self.world.logs());
        assert!(account.unexpected.len() <= lost, "{lost} were lost: {account:?}\n{}", self.world.logs());
        self.world.at_rest().await;
        let options = Options { since: Since::Ledger, stuck_after: Duration::from_secs(60), list_max: 20 };
        let report = audit(&self.world.settings, &options).await.expect("Redis answers");
        // The containers of the simulated engine are lost with the rest.
        let may_be = |kind: &str| lost > 0 && kind == Kind::SuccessWithoutContainer.name();
        let is_fine = report.by_kind.keys().all(|kind| may_be(kind));
        assert!(is_fine, "{}\n{}", report.table(), self.world.logs());
        // No living replica was taken for dead, and none of its jobs was taken from it.
        let logs = self.world.logs();
        assert!(!logs.contains("declared dead"), "{logs}");
        (lost, report)
    }
}

/// What a replica logs when it uses another master.
const FAILED_OVER: &str = "Redis failed over, going on with the new master";

/// Waits until a sentinel knows so many replicas that follow their master, and so many other sentinels.
async fn await_knowledge(sentinel: &Connection, replicas: usize, others: usize) {
    let began = Instant::now();
    loop {
        let knows = async {
            let master: Vec<String> = flat(sentinel.raw(&["SENTINEL", "MASTER", SERVICE]).await?)?;
            let value = |name: &str| {
                let at = master.iter().position(|word| word == name);
                at.and_then(|at| master.get(at + 1)).cloned().unwrap_or_default()
            };
            let text = sentinel.raw(&["INFO", "sentinel"]).await?.convert::<String>()?;
            let followers = sentinel.raw(&["SENTINEL", "REPLICAS", SERVICE]).await?.into_list()?;
            let mut linked = 0;
            for follower in followers {
                linked += usize::from(flat(follower)?.iter().any(|word| word == "ok"));
            }
            let is_fine = value("flags") == "master"
                && value("num-slaves") == replicas.to_string()
                && value("num-other-sentinels") == others.to_string()
                && linked == replicas
                && text.contains("status=ok");
            Ok::<bool, RedisError>(is_fine)
        };
        if matches!(knows.await, Ok(true)) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "a sentinel never learned of the others");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn flat(reply: Value) -> Result<Vec<String>, RedisError> {
    reply.convert()
}

/// One job after the other, with ids of the sender's own: one whose answer was lost is sent again, and Redis refuses it where
/// it was taken.
async fn send(settings: Settings, mut stopped: watch::Receiver<bool>) -> Sending {
    let jobs = &settings.stream.jobs;
    let opened = Connection::open(&settings.redis, Role::Commands, "startjobs:load", |_| {}).await;
    let connection = opened.expect("a connection");
    let (mut sending, mut acknowledged) = (Sending::default(), Instant::now());
    let (mut last_ms, mut number) = (0, 0_u64);
    while !*stopped.borrow_and_update() {
        let time: Result<(u64, u64), _> = connection.raw(&["TIME"]).await.and_then(Value::convert);
        let now_ms = time.map_or(0, |(seconds, micros)| seconds * 1_000 + micros / 1_000);
        last_ms = now_ms.max(last_ms + 1);
        number += 1;
        let (id, game) = (format!("{last_ms}-7"), format!("load-{number}"));
        let words = ["XADD", jobs, &id, "game_id", &game, "image_ref", "galaxy/engine:1", "requested_at_ms", "17"];
        loop {
            match connection.raw(&words).await {
                Ok(_) => break,
                Err(error) if error.text.contains("equal or smaller") => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        sending.ids.push(id);
        sending.longest_gap = sending.longest_gap.max(acknowledged.elapsed());
        acknowledged = Instant::now();
        drop(tokio::time::timeout(Duration::from_millis(5), stopped.changed()).await);
    }
    sending
}
