//! One part of the demonstration: replicas on streams of their own, Lobby's side of them, and the books.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::cli::fleet_settings;
use crate::embedded::fleet::{Fleet, FleetOptions};
use crate::embedded::site::Site;
use crate::lobby::accounting::{Account, Sent};
use crate::lobby::client::{Dead, Lobby, Outcome};
use crate::redis::RedisError;
use crate::settings::Settings;
use crate::stream::entry_id::EntryId;

use super::plan::Entry;
use super::progress::Progress;

/// Replicas of each part.
pub(super) const REPLICAS: usize = 3;
const UP_WITHIN: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Why the demonstration cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("Redis: {0}")]
    Redis(#[from] RedisError),
    #[error("cannot start a replica: {0}")]
    Replica(#[from] std::io::Error),
    #[error("{0}")]
    Settings(#[from] crate::settings::Report),
    #[error("the replicas did not come up; the last log lines: {0}")]
    NotUp(String),
}

/// Running replicas and their streams.
pub(super) struct Stage {
    pub(super) fleet: Fleet,
    pub(super) lobby: Lobby,
    pub(super) settings: Settings,
    pub(super) sent: HashMap<String, Sent>,
    last: Option<EntryId>,
}

/// The state of a part at its end.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Rest {
    /// What was sent against what came back.
    pub(super) account: Account,
    /// Entries still pending in the group.
    pub(super) pending: usize,
    /// The offset that the original worker would resume from.
    pub(super) mirror: String,
    /// The last entry sent.
    pub(super) last_id: String,
    /// Nothing lost, nothing twice, nothing unexpected, nothing pending, and the mirror at the last entry.
    pub(super) exact: bool,
}

/// Every answer there is.
pub(super) struct Answers {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) dead: Vec<Dead>,
}

impl Stage {
    /// Starts the replicas on streams and records that begin with `namespace`, and waits until all have shown
    /// themselves.
    pub(super) async fn open(site: &mut Site, namespace: &str, settings: Vec<(String, String)>) -> Result<Self, Error> {
        let mut all = fleet_settings::pairs([
            ("redis-url", site.redis().url().as_str()),
            ("jobs-stream", &format!("{namespace}:start_jobs")),
            ("results-stream", &format!("{namespace}:job_results")),
            ("offset-key", &format!("{namespace}:offset:{{label}}")),
            ("record-prefix", &format!("{namespace}:")),
            ("retry-min", "200ms"),
            ("log-format", "json"),
        ]);
        all.extend(settings);
        let typed = fleet_settings::settings_of(&all)?;
        let directory = site.directory().join(namespace);
        std::fs::create_dir(&directory)?;
        let options = FleetOptions { program: site.program().to_owned(), directory, settings: all };
        let mut fleet = Fleet::new(options);
        for _ in 0..REPLICAS {
            fleet.start(&[])?;
        }
        let lobby = Lobby::connect_within(&typed.redis, &typed.stream, UP_WITHIN).await?;
        let mut stage = Self { fleet, lobby, settings: typed, sent: HashMap::new(), last: None };
        stage.await_replicas().await?;
        Ok(stage)
    }

    async fn await_replicas(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + UP_WITHIN;
        while self.lobby.replicas().await?.len() < REPLICAS {
            let ended = self.fleet.replicas().find_map(|replica| replica.process().ended().map(|_| replica.log()));
            if ended.is_some() || Instant::now() > deadline {
                let log =
                    ended.or_else(|| self.fleet.replicas().next().map(|replica| replica.log())).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                return Err(Error::NotUp(lines[lines.len().saturating_sub(3)..].join("\n")));
            }
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Appends one entry and keeps it in the books.
    pub(super) async fn send(&mut self, entry: &Entry) -> Result<EntryId, Error> {
        let (id, kind) = match entry {
            Entry::Job { game, image } => (self.lobby.append(game, image, now_ms()).await?, Sent::Job),
            Entry::Malformed { game } => (self.lobby.append_fields(&[("game_id", game)]).await?, Sent::Malformed),
        };
        self.sent.insert(id.to_string(), kind);
        self.last = Some(id);
        Ok(id)
    }

    /// How many answers there are by now, outcomes and dead letters.
    pub(super) async fn answered(&self) -> Result<u64, Error> {
        let (outcomes, dead) = self.lobby.answers().await?;
        Ok(outcomes + dead)
    }

    pub(super) async fn answers(&self) -> Result<Answers, Error> {
        Ok(Answers { outcomes: self.lobby.all_outcomes().await?, dead: self.lobby.all_dead().await? })
    }

    /// Waits until everything is answered and nothing is pending, for at most `patience`; answers the state then.
    pub(super) async fn rest(&mut self, progress: &mut Progress, patience: Duration) -> Result<Rest, Error> {
        let deadline = Instant::now() + patience;
        loop {
            let answered = self.answered().await?;
            progress.at(self.sent.len(), answered);
            let late = Instant::now() > deadline;
            let enough = usize::try_from(answered).unwrap_or(usize::MAX) >= self.sent.len();
            if enough || late {
                let rest = self.standing().await?;
                if rest.exact || late {
                    return Ok(rest);
                }
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    async fn standing(&self) -> Result<Rest, Error> {
        let Answers { outcomes, dead } = self.answers().await?;
        let account = Account::draw(&self.sent, &outcomes, &dead);
        let pending = self.lobby.pending().await?.len();
        let mirror = self.lobby.mirror().await?.unwrap_or_default();
        let last_id = self.last.map(|id| id.to_string()).unwrap_or_default();
        let exact = account.is_exact() && pending == 0 && mirror == last_id;
        Ok(Rest { account, pending, mirror, last_id, exact })
    }
}

/// The wall clock, in Unix milliseconds.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
