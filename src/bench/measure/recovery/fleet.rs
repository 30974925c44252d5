//! A fleet, what is sent to it, and whether all of it was answered.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::time::sleep;

use crate::bench::Error;
use crate::bench::rig::children::Children;
use crate::lobby::accounting::{Account, Sent};
use crate::lobby::client::Lobby;
use crate::stream::entry_id::EntryId;
use crate::stream::presence::Presence;

/// What a start takes: always the same, so that everything beyond it is waiting.
pub(super) const START: Duration = Duration::from_millis(100);
/// Far more than any step here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// How often something is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(10);
/// The image of a job that does no harm.
pub(super) const IMAGE: &str = "galaxy/engine:1";

/// A fleet and its Lobby.
pub(super) struct Fleet {
    pub(super) children: Children,
    pub(super) lobby: Lobby,
    pub(super) sent: HashMap<String, Sent>,
    /// The jobs stream, beside which the replicas' records are.
    pub(super) jobs: String,
    /// How long a new replica is awaited to hear its own subscription; none where deaths are not noticed by it.
    pub(super) hears_within: Option<Duration>,
}

impl Fleet {
    /// Starts one replica and waits until it shows itself, and until its death would be noticed.
    pub(super) async fn start(&mut self) -> Result<(), Error> {
        self.children.start()?;
        let pid = self.children.ids().last().copied();
        let deadline = Instant::now() + PATIENCE;
        let mut shown = None;
        loop {
            if let Some(presence) = self.presence_of(pid).await? {
                let shown = *shown.get_or_insert_with(Instant::now);
                let patience = self.hears_within.unwrap_or_default();
                if presence.life.heard_ms.is_some() || shown.elapsed() >= patience {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                let why = self.children.last_words().unwrap_or_else(|| "it does not come up".to_owned());
                return Err(Error::Subject(why));
            }
            sleep(LOOK).await;
        }
    }

    /// What the replica of this process says about itself.
    async fn presence_of(&self, pid: Option<u32>) -> Result<Option<Presence>, Error> {
        let records = self.lobby.connection().hash(&format!("{}:replicas", self.jobs)).await?;
        let mut presences = records.iter().filter_map(|(_, record)| Presence::parse(record));
        Ok(presences.find(|presence| presence.about.pid == pid.map(u64::from)))
    }

    /// Sends one job; answers its id.
    pub(super) async fn send(&mut self, image: &str) -> Result<String, Error> {
        let game = format!("game-{}", self.sent.len());
        let id = self.lobby.append(&game, image, 0).await?.to_string();
        self.sent.insert(id.clone(), Sent::Job);
        Ok(id)
    }

    /// Sends as many jobs as are missing until so many wait or are in hand.
    pub(super) async fn top_up(&mut self, waiting: usize) -> Result<(), Error> {
        let answered = usize::try_from(self.lobby.answers().await?.0).unwrap_or(usize::MAX);
        let first = self.sent.len();
        let games: Vec<String> =
            (first..answered.saturating_add(waiting)).map(|number| format!("game-{number}")).collect();
        let ids = try_join_all(games.iter().map(|game| self.lobby.append(game, IMAGE, 0))).await?;
        self.sent.extend(ids.into_iter().map(|id| (id.to_string(), Sent::Job)));
        Ok(())
    }

    /// Waits until everything sent is answered.
    pub(super) async fn rest(&mut self) -> Result<Account, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let account = self.account().await?;
            if account.lost.is_empty() || Instant::now() > deadline {
                return Ok(account);
            }
            sleep(10 * LOOK).await;
        }
    }

    /// What was sent against what came back.
    pub(super) async fn account(&self) -> Result<Account, Error> {
        Ok(Account::draw(&self.sent, &self.lobby.all_outcomes().await?, &self.lobby.all_dead().await?))
    }
}

/// When Redis made an entry, by its id.
pub(super) fn ms_of(id: &str) -> u64 {
    id.parse().map_or(0, |id: EntryId| id.ms)
}
