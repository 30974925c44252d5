//! The simulated engine: containers in Redis, for load tests, demonstrations and crash tests.
//!
//! It takes time as a real engine does (`simulated-latency`) and fails as configured (`simulated-failures`,
//! `simulated-errors`, and images that act). While the set `<record-prefix>sim:full` has the consumer name of a replica, the disk
//! of that replica's host is full: it creates nothing and answers all the same. Every record, log entry, id and endpoint shows that it is simulated.

// how it behaves
pub(crate) mod config;
// images that act, and random faults
mod behaviour;
// a container as it is stored in Redis
mod stored;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::{
    Container, ContainerSpec, ContainerState, Engine, EngineError, Events, Listed, Page, PullStep, Readiness, Ready,
    Reply, label,
};
use crate::contract::error_code::ErrorCode;
use crate::redis::{Coalescer, Connection, RedisError};
use behaviour::{Act, RandomFault};
use config::Config;
use stored::{State, Stored};

/// Images a process remembers as present; beyond this it asks Redis again.
const KNOWN_IMAGES_MAX: usize = 1_024;
/// How long an answer about the disk of the host is good.
const FULL_FOR: Duration = Duration::from_millis(50);
/// Containers a process remembers between creating and starting them; beyond this it asks Redis again.
const MADE_HERE_MAX: usize = 1_024;

/// An engine whose containers live under the record prefix, and under its own name where it has one.
#[derive(Debug)]
pub struct SimulatedEngine {
    calls: Coalescer,
    /// What all of its keys begin with: `<prefix>sim:`, or `<prefix>sim@<name>:` of one that has a name.
    base: String,
    settings: Config,
    permits: Arc<Semaphore>,
    known_images: Mutex<HashSet<String>>,
    /// Containers that this process has created and not started yet, by id, so that it need not ask Redis for them.
    made_here: Mutex<HashMap<String, Stored>>,
    /// Whether the disk of this replica's host was full, and when that was asked.
    full: Mutex<Option<(Instant, bool)>>,
}

impl SimulatedEngine {
    /// An engine under `prefix`; replicas that share the prefix and the name share the engine. Engines of different names
    /// have nothing in common.
    pub fn new(
        connection: Arc<Connection>,
        prefix: &str,
        settings: Config,
        concurrency: usize,
        name: Option<String>,
    ) -> Self {
        Self {
            calls: Coalescer::new(connection, include_str!("engine.lua")),
            base: match name {
                None => format!("{prefix}sim:"),
                Some(name) => format!("{prefix}sim@{name}:"),
            },
            settings,
            permits: Arc::new(Semaphore::new(concurrency)),
            known_images: Mutex::new(HashSet::new()),
            made_here: Mutex::new(HashMap::new()),
            full: Mutex::new(None),
        }
    }

    /// Calls a verb, the first word, on the containers of one name.
    async fn call(&self, name: &str, words: &[&str]) -> Result<Vec<String>, EngineError> {
        let (key, log) = (format!("{}{{{name}}}", self.base), format!("{}log", self.base));
        self.calls.call(key, Some(log), words).await.map_err(|error| store(&error))
    }

    async fn find_stored(&self, name_or_id: &str) -> Result<Option<Stored>, EngineError> {
        let name = name_of(name_or_id);
        let words = self.call(name, &["find"]).await?;
        let [text] = words.as_slice() else { return Ok(None) };
        let stored = Stored::parse(text).ok_or_else(|| {
            EngineError::failed(ErrorCode::InternalError, format!("simulated container {name}: {text:?}"))
        })?;
        Ok(Some(stored).filter(|stored| name_or_id == name || name_or_id == stored.id))
    }

    async fn image_is_here(&self, image: &str) -> Result<bool, EngineError> {
        if self.lock_images().contains(image) {
            return Ok(true);
        }
        if Act::of(image) == Act::Missing {
            return Ok(false);
        }
        let key = format!("{}images", self.base);
        let is_here = self.calls.connection().is_member(&key, image).await.map_err(|error| store(&error))?;
        if is_here {
            self.image_is_known(image);
        }
        Ok(is_here)
    }

    async fn bring_image(&self, image: &str, progress: &(dyn Fn(PullStep) + Send + Sync)) -> Result<(), EngineError> {
        progress(PullStep::Starting);
        if Act::of(image) == Act::Missing {
            let message = format!("simulated: manifest for {image} not found");
            return Err(EngineError::failed(ErrorCode::ImageNotFound, message));
        }
        progress(PullStep::Receiving);
        let key = format!("{}images", self.base);
        self.calls.connection().add_member(&key, image).await.map_err(|error| store(&error))?;
        self.image_is_known(image);
        Ok(())
    }

    fn image_is_known(&self, image: &str) {
        let mut known = self.lock_images();
        if known.len() >= KNOWN_IMAGES_MAX {
            known.clear();
        }
        known.insert(image.to_owned());
    }

    /// Is the disk of this replica's host full? Asked of Redis a few times a second at most: most simulations have no such host.
    async fn is_full(&self, spec: &ContainerSpec) -> bool {
        let asked = *self.lock_full();
        if let Some((at, is_full)) = asked
            && at.elapsed() < FULL_FOR
        {
            return is_full;
        }
        let owner = spec.labels.get(label::OWNER).map_or("", String::as_str);
        let key = format!("{}full", self.base);
        // A Redis that refuses this answers what follows too, or refuses it for a reason of its own.
        let is_full = self.calls.connection().is_member(&key, owner).await.unwrap_or(false);
        *self.lock_full() = Some((Instant::now(), is_full));
        is_full
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        if self.is_full(spec).await {
            let message = "simulated: mkdir /containers: no space left on device";
            return Err(EngineError::failed(ErrorCode::EngineUnavailable, message));
        }
        match RandomFault::draw(&self.settings, spec) {
            RandomFault::None => {}
            RandomFault::Failure => {
                return Err(EngineError::failed(ErrorCode::SimulatedFailure, "simulated: random failure (seeded)"));
            }
            RandomFault::Error => {
                return Err(EngineError::failed(
                    ErrorCode::SimulatedError,
                    "simulated: random failure of this attempt (seeded)",
                ));
            }
        }
        let id = format!("simulated.{}.{:012x}", spec.name, fastrand::u64(..1 << 48));
        let mut labels = spec.labels.clone();
        labels.remove(label::FLEET);
        let stored = Stored { id: id.clone(), state: State::Created, created_at_ms: now_ms(), labels };
        let reply = self.call(&spec.name, &["create", &stored.who(), &stored.rest()]).await?;
        if !is_yes(&reply) {
            return Err(EngineError::NameTaken);
        }
        let mut made_here = self.lock_made_here();
        if made_here.len() >= MADE_HERE_MAX {
            made_here.clear();
        }
        made_here.insert(id.clone(), stored);
        Ok(id)
    }

    /// Finds names by SCAN: the engine keeps no list of its own, because only the reconciler needs one.
    async fn list_from(&self, cursor: &str) -> Result<Page, EngineError> {
        let (pattern, begins) = (format!("{}{{*}}", literal(&self.base)), self.base.len() + "{".len());
        let cursor = if cursor.is_empty() { "0" } else { cursor };
        let words = ["SCAN", cursor, "MATCH", &pattern, "COUNT", "1000"];
        let reply = self.calls.connection().raw(&words).await.map_err(|error| store(&error))?;
        let (next, keys): (String, Vec<String>) = reply.convert().map_err(|error| store(&error))?;
        let mut page = Page { containers: Vec::new(), next: Some(next).filter(|next| next != "0") };
        for key in keys {
            let name = key.get(begins..).and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
            if let Some(stored) = self.find_stored(name).await? {
                let created_at = SystemTime::UNIX_EPOCH + Duration::from_millis(stored.created_at_ms);
                let (state, endpoint) = (stored.listed_state(), Some(stored::endpoint(name)));
                let Stored { id, labels, .. } = stored;
                page.containers.push(Listed { id, name: name.to_owned(), labels, created_at, state, endpoint });
            }
        }
        Ok(page)
    }

    async fn start_container(&self, id: &str) -> Result<Option<Container>, EngineError> {
        let made_here = self.lock_made_here().remove(id);
        let mut stored = match made_here {
            Some(stored) => stored,
            None => self.find_stored(id).await?.ok_or(EngineError::NoSuchContainer)?,
        };
        if stored.state == State::Running {
            return Ok(Some(stored.shown(name_of(id))));
        }
        let act = Act::of(stored.label(label::IMAGE_REF));
        if act == Act::Unavailable {
            return Err(EngineError::failed(ErrorCode::EngineUnavailable, "simulated: sim/unavailable never succeeds"));
        }
        let latency = self.latency(&act, stored.label(label::SOURCE_REF));
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if act == Act::Retry {
            return Err(EngineError::failed(ErrorCode::SimulatedError, "simulated: sim/retry never succeeds"));
        }
        if act == Act::Abort {
            eprintln!("simulated engine: sim/abort kills the process");
            crate::faults::signal_self(rustix::process::Signal::KILL);
        }
        let exits = act == Act::Exit;
        stored.state = if exits { State::Exited } else { State::Running };
        let reply = self.call(name_of(id), &[if exits { "exit" } else { "start" }, &stored.who()]).await?;
        if is_yes(&reply) { Ok(Some(stored.shown(name_of(id)))) } else { Err(EngineError::NoSuchContainer) }
    }

    /// The labels that this name has: the first that were written.
    async fn marked(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, EngineError> {
        let (key, connection) = (format!("{}marks", self.base), self.calls.connection());
        let text = serde_json::to_string(labels).expect("strings are always JSON");
        connection.raw(&["HSETNX", &key, name, &text]).await.map_err(|error| store(&error))?;
        let reply = connection.raw(&["HGET", &key, name]).await.map_err(|error| store(&error))?;
        labels_of(&reply.convert::<String>().map_err(|error| store(&error))?)
    }

    async fn all_marks(&self, label: &str) -> Result<Vec<BTreeMap<String, String>>, EngineError> {
        let key = format!("{}marks", self.base);
        let reply = self.calls.connection().raw(&["HVALS", &key]).await.map_err(|error| store(&error))?;
        let texts: Vec<String> = reply.convert().map_err(|error| store(&error))?;
        let marks: Result<Vec<_>, _> = texts.iter().map(|text| labels_of(text)).collect();
        Ok(marks?.into_iter().filter(|labels| labels.contains_key(label)).collect())
    }

    fn latency(&self, act: &Act, source: &str) -> Duration {
        if let Act::Slow(latency) = act {
            return *latency;
        }
        let (min, max) = (self.settings.latency_min, self.settings.latency_max);
        if min >= max {
            return min;
        }
        min + max.saturating_sub(min).mul_f64(behaviour::unit(&[&self.settings.seed.to_string(), "latency", source]))
    }

    fn lock_images(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.known_images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_full(&self) -> std::sync::MutexGuard<'_, Option<(Instant, bool)>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_made_here(&self) -> std::sync::MutexGuard<'_, HashMap<String, Stored>> {
        self.made_here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for SimulatedEngine {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    fn ping(&self) -> Reply<'_, ()> {
        async { Ok(()) }.boxed()
    }

    fn has_image<'a>(&'a self, image: &'a str) -> Reply<'a, bool> {
        self.image_is_here(image).boxed()
    }

    fn pull<'a>(&'a self, image: &'a str, progress: &'a (dyn Fn(PullStep) + Send + Sync)) -> Reply<'a, ()> {
        self.bring_image(image, progress).boxed()
    }

    fn find<'a>(&'a self, name_or_id: &'a str) -> Reply<'a, Option<Container>> {
        async move { Ok(self.find_stored(name_or_id).await?.map(|stored| stored.shown(name_of(name_or_id)))) }.boxed()
    }

    fn create<'a>(&'a self, spec: &'a ContainerSpec) -> Reply<'a, String> {
        self.create_container(spec).boxed()
    }

    fn start<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Container>> {
        self.start_container(id).boxed()
    }

    fn unpause<'a>(&'a self, _id: &'a str) -> Reply<'a, ()> {
        async { Err(EngineError::NoSuchContainer) }.boxed()
    }

    fn keeps_containers(&self) -> bool {
        true
    }

    fn stop<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        async move {
            let Some(stored) = self.find_stored(id).await? else { return Ok(()) };
            self.call(name_of(id), &["exit", &stored.who()]).await.map(drop)
        }
        .boxed()
    }

    fn remove<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        async move { self.call(name_of(id), &["remove", id]).await.map(drop) }.boxed()
    }

    fn is_ready<'a>(&'a self, container: &'a Container, _readiness: &'a Readiness) -> BoxFuture<'a, Ready> {
        let is_ready = container.state == ContainerState::Running;
        async move { if is_ready { Ready::Yes } else { Ready::NotYet } }.boxed()
    }

    fn log_tail<'a>(&'a self, _id: &'a str) -> BoxFuture<'a, String> {
        async { String::new() }.boxed()
    }

    fn list<'a>(&'a self, from: &'a str) -> Reply<'a, Page> {
        self.list_from(from).boxed()
    }

    fn events(&self) -> Reply<'_, Events> {
        // Nothing happens to these containers by itself.
        async { Ok(stream::pending().boxed()) }.boxed()
    }

    fn mark<'a>(&'a self, name: &'a str, labels: &'a BTreeMap<String, String>) -> Reply<'a, BTreeMap<String, String>> {
        self.marked(name, labels).boxed()
    }

    fn marks<'a>(&'a self, label: &'a str) -> Reply<'a, Vec<BTreeMap<String, String>>> {
        self.all_marks(label).boxed()
    }

    fn permit(&self) -> BoxFuture<'_, OwnedSemaphorePermit> {
        let permits = Arc::clone(&self.permits);
        async { permits.acquire_owned().await.expect("the semaphore is never closed") }.boxed()
    }
}

/// `simulated.<name>.<hex>`; a name itself may hold dots, the hex cannot.
fn name_of(name_or_id: &str) -> &str {
    name_or_id.strip_prefix("simulated.").and_then(|rest| rest.rsplit_once('.')).map_or(name_or_id, |(name, _)| name)
}

fn labels_of(text: &str) -> Result<BTreeMap<String, String>, EngineError> {
    serde_json::from_str(text)
        .map_err(|_| EngineError::failed(ErrorCode::InternalError, format!("labels of a simulated volume: {text:?}")))
}

/// The text as a pattern of SCAN that matches nothing else.
fn literal(text: &str) -> String {
    text.chars().flat_map(|char| r"*?[]\^".contains(char).then_some('\\').into_iter().chain([char])).collect()
}

fn is_yes(words: &[String]) -> bool {
    words.first().is_some_and(|word| word == "1")
}

/// The store of this engine is Redis, and its failure says nothing about the game.
fn store(error: &RedisError) -> EngineError {
    EngineError::failed(ErrorCode::StateStoreUnavailable, error.to_string())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
