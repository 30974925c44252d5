//! What Redis and its operators do to a fleet, one after the other. Each fault repairs itself, whatever comes between.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use startjobs::embedded::redis_server::RedisServer;
use startjobs::lobby::client::Lobby;
use startjobs::redis::RedisError;
use startjobs::stream;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::FLEET_USER;
use super::stage::{Stage, ms};

/// Between two faults.
const INTERVAL_MS: std::ops::Range<u64> = 300..4_000;
/// A repair succeeds within this time: what refuses it is over by itself.
const REPAIRED_WITHIN: Duration = Duration::from_secs(60);
/// How far the group is set back.
const BACK_MAX: usize = 200;

/// Rights that the fleet lives by.
const RIGHTS: &[&str] = &[
    "xadd",
    "xack",
    "xclaim",
    "xpending",
    "xreadgroup",
    "xrange",
    "evalsha",
    "script|load",
    "sadd",
    "smismember",
    "hset",
    "hdel",
    "hmget",
    "hgetall",
    "get",
    "set",
    "mget",
    "mset",
    "del",
    "time",
    "exists",
    "zadd",
    "xinfo|stream",
    "xinfo|groups",
    "xgroup|create",
    "xgroup|destroy",
    "xgroup|setid",
];

// In one step each: what a replica would write in between would be lost by the test itself. A second time they do
// nothing.
const SPOIL: &str = "
if redis.call('TYPE', KEYS[1]).ok == ARGV[1] then return end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end
if ARGV[1] == 'list' then redis.call('RPUSH', KEYS[1], 'x') else redis.call('SET', KEYS[1], 'x') end";
const REPAIR: &str = "
if redis.call('TYPE', KEYS[1]).ok == ARGV[1] then redis.call('DEL', KEYS[1]) end
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[1]) end";

/// It ends by itself where it is not killed.
const LONG_SCRIPT: &[u8] = b"EVAL \"for _ = 1, 1e9 do end\" 0\r\n";

/// A server, and a connection that no proxy stands before, of a user that may do everything.
pub(super) struct Disturber<'a> {
    pub(super) stage: &'a Stage,
    pub(super) redis: &'a mut RedisServer,
    pub(super) lobby: &'a Lobby,
    pub(super) streams: &'a stream::Config,
    pub(super) random: fastrand::Rng,
}

impl Disturber<'_> {
    /// Until the time for faults is over, and then until nothing is left of them.
    pub(super) async fn run(mut self) {
        while !self.stage.is_over() {
            let pause = ms(&mut self.random, INTERVAL_MS);
            self.stage.sleep(pause).await;
            if self.stage.is_over() {
                break;
            }
            self.disturb().await;
            assert!(!self.redis.has_ended(), "seed {}: redis-server ended by itself", self.stage.seed);
        }
        self.done(&["PING"]).await;
    }

    async fn disturb(&mut self) {
        let (jobs, group) = (self.streams.jobs.as_str(), self.streams.group.as_str());
        let lasts = ms(&mut self.random, 200..3_000);
        match self.random.u8(0..13) {
            0 => self.kill(lasts).await,
            1 => {
                let kind = if self.random.bool() { "WRITE" } else { "ALL" };
                self.stage.fault("CLIENT PAUSE", format_args!("{kind} for {lasts:?}"));
                self.once(&["CLIENT", "PAUSE", &lasts.as_millis().to_string(), kind]).await;
                tokio::time::sleep(lasts).await;
            }
            2 => {
                self.stage.fault("CLIENT KILL", "TYPE normal");
                self.once(&["CLIENT", "KILL", "TYPE", "normal"]).await;
            }
            3 => {
                self.stage.fault("SCRIPT FLUSH", "");
                self.once(&["SCRIPT", "FLUSH"]).await;
            }
            4 => {
                self.stage.fault("out of memory", format_args!("for {lasts:?}"));
                self.once(&["CONFIG", "SET", "maxmemory", "1"]).await;
                self.stage.sleep(lasts).await;
                self.done(&["CONFIG", "SET", "maxmemory", "0"]).await;
            }
            5 => {
                self.stage.fault("XGROUP DESTROY", "");
                self.once(&["XGROUP", "DESTROY", jobs, group]).await;
            }
            6 => self.drop_consumer().await,
            7 => {
                let back = self.back();
                self.stage.fault("XGROUP SETID", format_args!("to {back}"));
                self.once(&["XGROUP", "SETID", jobs, group, &back]).await;
            }
            8 | 9 => {
                let right = RIGHTS[self.random.usize(..RIGHTS.len())];
                self.stage.fault("right withdrawn", format_args!("{right} for {lasts:?}"));
                self.stage.may_refuse_for(REPAIRED_WITHIN);
                self.once(&["ACL", "SETUSER", FLEET_USER, &format!("-{right}")]).await;
                self.stage.sleep(lasts).await;
                self.done(&["ACL", "SETUSER", FLEET_USER, "+@all"]).await;
                self.stage.may_refuse_for(Duration::ZERO);
            }
            10 | 11 => self.spoil(lasts).await,
            _ => self.keep_busy(lasts).await,
        }
    }

    async fn kill(&mut self, lasts: Duration) {
        self.stage.fault("Redis killed", format_args!("for {lasts:?}"));
        let log = self.redis.directory().join("redis.log");
        let before = std::fs::read(&log).map_or(0, |text| text.len());
        self.redis.kill();
        self.stage.sleep(lasts).await;
        self.redis.start_again().expect("redis-server starts again");
        self.stage.say("Redis is back");
        let text = std::fs::read(&log).unwrap_or_default();
        let said = String::from_utf8_lossy(&text[before.min(text.len())..]).into_owned();
        // What docs/runbooks.md tells to do after such a start.
        if said.contains("Truncating the AOF") || said.contains("aof-load-truncated") {
            self.stage.fault("append-only file had lost its end", "and is rewritten");
            self.done(&["BGREWRITEAOF"]).await;
            let began = Instant::now();
            loop {
                let info = self.done(&["INFO", "persistence"]).await.as_string().unwrap_or_default();
                let has = |line: &str| info.lines().any(|one| one.trim() == line);
                if has("aof_rewrite_in_progress:0") && has("aof_rewrite_scheduled:0") {
                    break;
                }
                assert!(began.elapsed() < REPAIRED_WITHIN, "seed {}: no rewrite: {info}", self.stage.seed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// The pending records of a consumer are lost, of one that lives or one that has died.
    async fn drop_consumer(&mut self) {
        let Ok(pending) = self.lobby.pending().await else { return };
        let mut consumers: Vec<String> = pending.into_iter().map(|entry| entry.consumer).collect();
        consumers.extend(self.lobby.replicas().await.unwrap_or_default().into_keys());
        consumers.sort_unstable();
        consumers.dedup();
        let Some(consumer) = self.random.choice(consumers) else { return };
        self.stage.fault("XGROUP DELCONSUMER", &consumer);
        self.once(&["XGROUP", "DELCONSUMER", &self.streams.jobs, &self.streams.group, &consumer]).await;
    }

    /// An id that the group is set back to.
    fn back(&mut self) -> String {
        let books = self.stage.books.borrow();
        let entries = self.random.usize(1..BACK_MAX);
        books.len().checked_sub(entries).map_or_else(|| "0".to_owned(), |at| books[at].0.to_string())
    }

    async fn spoil(&mut self, lasts: Duration) {
        let stream::Config { jobs, results, dead, offset_key, .. } = self.streams;
        let hour = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs() / 3_600;
        let (key, kind) = match self.random.u8(0..11) {
            0 => (results.clone(), "list"),
            1 => (dead.clone(), "string"),
            2 => (offset_key.clone(), "list"),
            3 => (format!("{offset_key}:shadow"), "list"),
            4 => (format!("{jobs}:ledgers"), "string"),
            5 => (format!("{jobs}:ledger:{hour}"), "string"),
            6 => (format!("{jobs}:attempts"), "string"),
            7 => (format!("{jobs}:sweep"), "string"),
            8 => (format!("{jobs}:replicas"), "string"),
            9 => (format!("{jobs}:verified"), "list"),
            _ => (jobs.clone(), "string"),
        };
        self.stage.fault("wrong type", format_args!("{key} for {lasts:?}"));
        self.stage.may_refuse_for(REPAIRED_WITHIN);
        let aside = format!("{key}:aside");
        self.once(&["EVAL", SPOIL, "2", &key, &aside, kind]).await;
        self.stage.sleep(lasts).await;
        self.done(&["EVAL", REPAIR, "2", &key, &aside, kind]).await;
        self.stage.may_refuse_for(Duration::ZERO);
    }

    /// A script that takes long, and is killed.
    async fn keep_busy(&self, lasts: Duration) {
        self.stage.fault("busy with a script", format_args!("for {lasts:?}"));
        let Ok(mut script) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.redis.port())).await else { return };
        if script.write_all(LONG_SCRIPT).await.is_err() {
            return;
        }
        self.stage.sleep(lasts).await;
        let began = Instant::now();
        loop {
            // An error: it has not begun, or is over.
            self.lobby.connection().raw(&["SCRIPT", "KILL"]).await.ok();
            if self.lobby.connection().raw(&["PING"]).await.is_ok() {
                return;
            }
            assert!(began.elapsed() < REPAIRED_WITHIN, "seed {}: the script goes on", self.stage.seed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A fault is done if it can be done now.
    async fn once(&self, words: &[&str]) {
        if let Err(error) = self.lobby.connection().raw(words).await {
            self.stage.say(format_args!("{}: {error}", words[..2].join(" ")));
        }
    }

    /// A repair is tried until it is done.
    async fn done(&self, words: &[&str]) -> startjobs::redis::Value {
        let began = Instant::now();
        loop {
            let error: RedisError = match self.lobby.connection().raw(words).await {
                Ok(reply) => return reply,
                Err(error) => error,
            };
            assert!(began.elapsed() < REPAIRED_WITHIN, "seed {}: {words:?}: {error}", self.stage.seed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
