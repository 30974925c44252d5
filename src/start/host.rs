//! Which host this process drives, and for which fleet: settled with the engine and with Redis before the first start, and
//! said again and again, so that the fleet can tell a host that is dead.
//!
//! An engine has a key of its own, kept in a named volume, because nothing that an engine says about itself tells it from
//! another one on the same machine. The name of a host belongs to the engine that is written down with it in Redis.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::StartError;
use super::engine_failure::try_again;
use super::outlook::Outlook;
use super::record::{Beat, Here, Hosts, Records, Standing};
use crate::contract::error_code::ErrorCode;
use crate::engine::{Engine, EngineError, label};
use crate::policy::Current;
use crate::redis::RedisError;

/// The named volume that holds an engine's key.
const KEY_VOLUME: &str = "rtm-engine";
/// Its label.
const KEY_LABEL: &str = "rtm.engine";
/// The host of a fleet that has only one.
pub(crate) const FIRST_HOST: &str = "default";
/// Beats in one heartbeat.
const BEATS: u32 = 6;
/// The hosts are read again for one that is not known, once in so long for all jobs together.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Characters of an engine's key that name a host which has no other name.
const KEY_PART: usize = 12;

/// What a process is told about its host.
#[derive(Debug, Clone)]
pub(crate) struct HostConfig {
    /// `engine-host-id`; none: chosen, and kept.
    pub(crate) id: Option<String>,
    /// `fleet-id`; none: chosen, and kept.
    pub(crate) fleet: Option<String>,
    /// `host-heartbeat`
    pub(crate) heartbeat: Duration,
    /// For operators: what is written down with the host, a JSON object.
    pub(crate) about: serde_json::Value,
    /// How many games the host may have is written down too.
    pub(crate) policy: Current,
}

/// Host and fleet, once they are settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The host, under all its names.
    pub(crate) here: Here,
    /// The fleet: containers that carry another one's name are not ours.
    pub(crate) fleet: String,
    engine_key: String,
}

#[cfg(test)]
impl Identity {
    /// A host of a fleet, for tests.
    pub(super) fn of(fleet: &str, host: &str) -> Self {
        Self { here: Here::new(host, []), fleet: fleet.to_owned(), engine_key: "k".to_owned() }
    }
}

/// Why host or fleet cannot be settled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostError {
    /// The engine failed.
    #[error("{0}")]
    Engine(EngineError),
    /// Redis failed.
    #[error("{0}")]
    Store(#[from] RedisError),
    /// The engine keeps no volumes for us.
    #[error(
        "the engine cannot keep a name for this host ({0}); set engine-host-id, a different one on every host, or allow volumes"
    )]
    NeedsId(String),
    /// The name belongs to another engine that is alive.
    #[error("engine-host-id {id} belongs to another engine, heard of {ago:?} ago; give each engine a name of its own")]
    Taken {
        /// The name.
        id: String,
        /// Since when that engine was not heard of.
        ago: Duration,
    },
    /// Redis is empty, and the engine has served several fleets.
    #[error("Redis has no fleet, and this engine has served {0}; set fleet-id to the one that Redis belongs to")]
    SeveralFleets(String),
    /// Redis belongs to another fleet than the one that is set.
    #[error("Redis belongs to fleet {found}, and fleet-id says {wanted}; correct one of them")]
    OtherFleet {
        /// What Redis says.
        found: String,
        /// The setting.
        wanted: String,
    },
    /// No replica has settled it yet.
    #[error("no replica has worked with this engine and this Redis yet: there is nothing to look up")]
    Unsettled,
    /// There are too many hosts.
    #[error(
        "the fleet has as many hosts as it may have; a host that is gone for good is forgotten with `startjobs runtime evict`"
    )]
    TooMany,
}

impl From<HostError> for StartError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Engine(error) => try_again(error),
            HostError::Store(error) => Self::Store(error),
            other => Self::Engine { code: ErrorCode::EngineUnavailable, message: other.to_string() },
        }
    }
}

/// The host of this process.
#[derive(Debug)]
pub(crate) struct Host {
    records: Records,
    engine: Arc<dyn Engine>,
    config: HostConfig,
    known: RwLock<Known>,
    /// Held while host and fleet are being settled.
    settling: tokio::sync::Mutex<()>,
    /// What was read for a host that was not known, and when. Held meanwhile: jobs that meet one together ask once.
    looked: tokio::sync::Mutex<Option<(Instant, Hosts)>>,
}

#[derive(Debug, Default)]
struct Known {
    identity: Option<Arc<Identity>>,
    /// What this process has heard of the others.
    outlook: Outlook,
    /// When the engine answered last.
    engine_answered: Option<Instant>,
    /// The host was away for longer than its heartbeat: what the others have placed anew meanwhile has not been removed here
    /// yet.
    has_to_clear: bool,
}

impl Host {
    /// Nothing is asked yet.
    pub(crate) fn new(records: Records, engine: Arc<dyn Engine>, config: HostConfig) -> Self {
        let (known, settling) = (RwLock::default(), tokio::sync::Mutex::new(()));
        Self { records, engine, config, known, settling, looked: tokio::sync::Mutex::default() }
    }

    /// Host and fleet; asks engine and Redis where they are not settled yet.
    pub(crate) async fn identity(&self) -> Result<Arc<Identity>, HostError> {
        if let Some(identity) = self.settled() {
            return Ok(identity);
        }
        let _one_at_a_time = self.settling.lock().await;
        if let Some(identity) = self.settled() {
            return Ok(identity);
        }
        let engine_key = self.engine_key().await?;
        let fleet = self.fleet().await?;
        let id = match &self.config.id {
            Some(id) => id.clone(),
            None => self.choose_id(&engine_key).await?,
        };
        self.say_alive(&id, &fleet, &engine_key).await
    }

    /// Host and fleet as the replicas here have settled them. Says nothing to Redis, and leaves no mark on the engine.
    pub(crate) async fn look_up(&self) -> Result<Arc<Identity>, HostError> {
        let marks = self.engine.marks(KEY_LABEL).await;
        let key = match marks {
            Ok(marks) => marks.into_iter().find_map(|mut labels| labels.remove(KEY_LABEL)).filter(|key| is_word(key)),
            Err(EngineError::Refused(_)) => None,
            Err(error) => return Err(HostError::Engine(error)),
        };
        let key = key.or_else(|| self.config.id.as_deref().map(unkept)).ok_or(HostError::Unsettled)?;
        let fleet = self.records.fleet(None).await?.ok_or(HostError::Unsettled)?;
        let id = match &self.config.id {
            Some(id) => id.clone(),
            None => self.choose_id(&key).await?,
        };
        let hosts = self.records.hosts().await?;
        let here = Here::new(&id, hosts.names_of(&key).filter(|name| *name != id));
        let identity = Arc::new(Identity { here, fleet, engine_key: key });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.identity = Some(Arc::clone(&identity));
        known.outlook.heard(hosts, Instant::now(), self.config.heartbeat);
        Ok(identity)
    }

    /// Host and fleet, where they are settled, and the fleet has been told so within the heartbeat: others take a host for dead
    /// that has been silent for longer, and have placed its games anew.
    pub(crate) fn settled(&self) -> Option<Arc<Identity>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.identity.clone().filter(|_| known.outlook.is_younger_than(self.config.heartbeat, Instant::now()))
    }

    /// Host and fleet, where this host was settled once and has been cut off from Redis for two thirds of its heartbeat: soon
    /// others take it for dead.
    pub(crate) fn isolated(&self) -> Option<Arc<Identity>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let is_heard = known.outlook.is_younger_than(self.config.heartbeat * 2 / 3, Instant::now());
        known.identity.clone().filter(|_| !is_heard)
    }

    /// How often it is worth asking whether the host is isolated.
    pub(crate) fn beat_interval(&self) -> Duration {
        self.config.heartbeat / BEATS
    }

    /// What is known about another host. That it is dead is asked for once more: it may have come back. One that is not known may
    /// have come since this host last said that it is alive.
    pub(crate) async fn standing(&self, host: &str) -> Result<Standing, RedisError> {
        let standing = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.outlook.standing(host, self.config.heartbeat, Instant::now())
        };
        match standing {
            Standing::Alive => Ok(standing),
            Standing::Dead => Ok(self.records.hosts().await?.standing(host, Duration::ZERO)),
            Standing::Unknown => self.look_for(host).await,
        }
    }

    /// Whether a host that is not known has come meanwhile. What was read says nothing about one that is silent: whether it is dead
    /// is judged by those who have listened for a while.
    async fn look_for(&self, host: &str) -> Result<Standing, RedisError> {
        let mut looked = self.looked.lock().await;
        if looked.as_ref().is_none_or(|(at, _)| at.elapsed() >= LOOK_AGAIN) {
            // Before the answer, so that a Redis that is slow is not asked more often.
            let asked = Instant::now();
            *looked = Some((asked, self.records.hosts().await?));
        }
        let is_alive = looked.as_ref().is_some_and(|(at, hosts)| hosts.standing(host, at.elapsed()) == Standing::Alive);
        Ok(if is_alive { Standing::Alive } else { Standing::Unknown })
    }

    /// Whether containers of games that were placed anew have to be removed before anything is started here.
    pub(crate) fn has_to_clear(&self) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).has_to_clear
    }

    /// They are removed.
    pub(crate) fn is_cleared(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).has_to_clear = false;
    }

    /// `host-heartbeat`
    pub(crate) fn heartbeat(&self) -> Duration {
        self.config.heartbeat
    }

    /// The engine has answered a ping.
    pub(crate) fn engine_answered(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).engine_answered = Some(Instant::now());
    }

    /// Whether the engine has answered before, and not for a heartbeat.
    pub(crate) fn engine_is_silent(&self) -> bool {
        let answered = self.known.read().unwrap_or_else(PoisonError::into_inner).engine_answered;
        answered.is_some_and(|at| at.elapsed() >= self.config.heartbeat)
    }

    /// Until [`Self::engine_is_silent`].
    pub(crate) async fn engine_falls_silent(&self) {
        while !self.engine_is_silent() {
            tokio::time::sleep(self.config.heartbeat / BEATS).await;
        }
    }

    /// Says again and again that the host is alive, for as long as it is polled and the engine answers.
    pub(crate) async fn tend(&self) -> std::convert::Infallible {
        let interval = self.beat_interval();
        loop {
            if let Err(error) = self.tend_once().await {
                tracing::debug!(err = %error, "could not say that the host is alive");
            }
            tokio::time::sleep(interval).await;
        }
    }

    async fn tend_once(&self) -> Result<(), HostError> {
        // A host whose engine does not answer starts nothing, and no one can tell what runs there: it is no better than dead.
        self.engine.ping().await.map_err(HostError::Engine)?;
        self.engine_answered();
        let Some(identity) = self.settled() else { return self.identity().await.map(drop) };
        self.say_alive(identity.here.host(), &identity.fleet, &identity.engine_key).await.map(drop)
    }

    async fn say_alive(&self, id: &str, fleet: &str, engine_key: &str) -> Result<Arc<Identity>, HostError> {
        let mut about = self.config.about.clone();
        about["containers_max"] = self.config.policy.now().containers_max().into();
        let beat = self.records.beat(id, engine_key, self.config.heartbeat, &about.to_string()).await?;
        let heard = Instant::now();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match beat {
            Beat::Heard { away, hosts } => {
                let others = hosts.names_of(engine_key).filter(|name| *name != id);
                let here = Here::new(id, others);
                let identity = Arc::new(Identity { here, fleet: fleet.to_owned(), engine_key: engine_key.to_owned() });
                known.identity = Some(Arc::clone(&identity));
                // Its line may have been forgotten meanwhile, and another replica of the host may have been the first to say that
                // it is back. In a fleet of one host no other has placed anything anew.
                let was_away = away.is_none_or(|away| away >= self.config.heartbeat)
                    || !known.outlook.is_younger_than(self.config.heartbeat, heard);
                known.has_to_clear |= was_away && hosts.hosts.keys().any(|name| !identity.here.is(name));
                known.outlook.heard(hosts, heard, self.config.heartbeat);
                Ok(identity)
            }
            Beat::Held(ago) => {
                known.identity = None;
                Err(HostError::Taken { id: id.to_owned(), ago })
            }
            Beat::Full => {
                known.identity = None;
                Err(HostError::TooMany)
            }
        }
    }

    /// The key that only this engine has.
    async fn engine_key(&self) -> Result<String, HostError> {
        let wanted = BTreeMap::from([(KEY_LABEL.to_owned(), uuid::Uuid::new_v4().simple().to_string())]);
        let refused = match self.engine.mark(KEY_VOLUME, &wanted).await {
            Ok(labels) => match labels.get(KEY_LABEL).filter(|key| is_word(key)) {
                Some(key) => return Ok(key.clone()),
                None => format!("the volume {KEY_VOLUME} has no label {KEY_LABEL}"),
            },
            Err(EngineError::Refused(words)) => words,
            Err(error) => return Err(HostError::Engine(error)),
        };
        // Two engines with one name are then told apart by no one.
        self.config.id.as_deref().map(unkept).ok_or(HostError::NeedsId(refused))
    }

    /// The fleet that Redis belongs to. An empty Redis belongs to the one that the engine has served, if it is only one.
    async fn fleet(&self) -> Result<String, HostError> {
        let wanted = self.config.fleet.as_ref();
        let mut found = self.records.fleet(wanted.map(String::as_str)).await?;
        if found.is_none() {
            let served = self.fleets_served().await?;
            let served: Vec<&str> = served.iter().map(String::as_str).collect();
            let wanted = match served.as_slice() {
                [] => uuid::Uuid::new_v4().simple().to_string()[..KEY_PART].to_owned(),
                [only] => (*only).to_owned(),
                several => return Err(HostError::SeveralFleets(several.join(", "))),
            };
            found = self.records.fleet(Some(&wanted)).await?;
        }
        let fleet = found.ok_or_else(|| RedisError::unexpected("fleet"))?;
        if let Some(wanted) = wanted
            && *wanted != fleet
        {
            return Err(HostError::OtherFleet { found: fleet, wanted: wanted.clone() });
        }
        let labels = BTreeMap::from([(label::FLEET.to_owned(), fleet.clone())]);
        match self.engine.mark(&format!("{}{fleet}", label::FLEET_VOLUME), &labels).await {
            // Then only Redis has it.
            Ok(_) | Err(EngineError::Refused(_)) => Ok(fleet),
            Err(error) => Err(HostError::Engine(error)),
        }
    }

    async fn fleets_served(&self) -> Result<BTreeSet<String>, HostError> {
        match self.engine.marks(label::FLEET).await {
            Ok(marks) => Ok(marks.into_iter().filter_map(|mut labels| labels.remove(label::FLEET)).collect()),
            Err(EngineError::Refused(_)) => Ok(BTreeSet::new()),
            Err(error) => Err(HostError::Engine(error)),
        }
    }

    /// A name for a host that was given none: the one that its engine has in Redis, else the one that its containers were
    /// created under, else a new one.
    async fn choose_id(&self, engine_key: &str) -> Result<String, HostError> {
        let hosts = self.records.hosts().await?;
        let own: Vec<&str> = hosts.names_of(engine_key).collect();
        if let Some(name) = own.iter().find(|name| **name == FIRST_HOST).or(own.first()) {
            return Ok((*name).to_owned());
        }
        let by_key = format!("h-{}", engine_key.chars().take(KEY_PART).collect::<String>());
        let names = self.names_on_containers().await?;
        let is_free = |name: &str| !hosts.hosts.contains_key(name);
        Ok(match names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [only] if is_free(only) => (*only).to_owned(),
            _ if is_free(FIRST_HOST) => FIRST_HOST.to_owned(),
            _ => by_key,
        })
    }

    /// The hosts under which the containers on this engine were created.
    async fn names_on_containers(&self) -> Result<BTreeSet<String>, HostError> {
        let (mut names, mut from) = (BTreeSet::new(), String::new());
        loop {
            let page = self.engine.list(&from).await.map_err(HostError::Engine)?;
            let ours = page.containers.iter().filter(|container| !container.label(label::OWNER).is_empty());
            names.extend(ours.map(|container| container.label(label::HOST).to_owned()).filter(|name| is_word(name)));
            match page.next {
                // Two names are as good as many.
                Some(next) if names.len() < 2 => from = next,
                _ => return Ok(names),
            }
        }
    }
}

/// The key of an engine that keeps none, and has been given this name.
fn unkept(id: &str) -> String {
    format!("unkept:{id}")
}

/// What may be a word of a host's line in Redis.
fn is_word(text: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-:".contains(letter);
    !text.is_empty() && text.len() <= 64 && text.chars().all(is_plain)
}
