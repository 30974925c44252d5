//! A redis-server, a fleet of replicas of this binary, and Lobby's side of the streams.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use startjobs::embedded::fleet::{Fleet, FleetOptions};
use startjobs::embedded::redis_server::RedisServer;
use startjobs::lobby::accounting::{Account, Sent};
use startjobs::lobby::client::Lobby;
use startjobs::settings::{Settings, Sources, Values};
use startjobs::stream::entry_id::EntryId;
use tempfile::TempDir;

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
        all.push(("redis-url".to_owned(), redis.url()));
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

    /// The account as of now.
    pub async fn account(&self) -> Account {
        let outcomes = self.lobby.all_outcomes().await.expect("outcomes");
        let dead = self.lobby.all_dead().await.expect("dead letters");
        Account::draw(&self.sent, &outcomes, &dead)
    }

    /// Waits until nothing sent is without its answer, and answers the account, which balances.
    pub async fn settled(&mut self) -> Account {
        let began = Instant::now();
        loop {
            let account = self.account().await;
            if account.lost.is_empty() {
                assert!(account.is_exact(), "the account does not balance: {account:?}\n{}", self.logs());
                return account;
            }
            assert!(began.elapsed() < PATIENCE, "still without an answer: {account:?}\n{}", self.logs());
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
            all.push_str(&format!("--- replica {number}\n"));
            all.extend(tail.into_iter().rev().map(|line| format!("{line}\n")));
        }
        all
    }

    /// Runs a raw command, for what a hostile or clumsy operator does.
    pub async fn redis(&self, words: &[&str]) -> startjobs::redis::Value {
        self.lobby.connection().raw(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }
}

/// Settings from names and values alone.
pub fn load(values: &[(String, String)]) -> Settings {
    let environment = values
        .iter()
        .map(|(name, value)| (format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_")), value.clone()));
    Settings::load(&Sources::new(Values::new(), environment)).unwrap_or_else(|report| panic!("{report}")).settings
}

/// Runs an async test on one thread, as the worker runs.
pub fn block_on<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test)
}
