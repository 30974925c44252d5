//! The simulated engine: containers in Redis, for load tests, demonstrations and crash tests.
//!
//! It takes time as a real engine does (`simulated-latency`) and fails as configured (`simulated-failures`,
//! `simulated-errors`, and images that act). Every record, log entry, id and endpoint shows that it is simulated.

// how it behaves
pub(crate) mod config;
// images that act, and random faults
mod behaviour;
// a container as it is stored in Redis
mod stored;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Container, ContainerSpec, ContainerState, Engine, EngineError, Listed, Page, PullStep, Readiness, Reply, label,
};
use crate::contract::error_code::ErrorCode;
use crate::redis::{Coalescer, Connection, RedisError};
use behaviour::{Act, RandomFault};
use config::Config;
use stored::{State, Stored};

/// Images a process remembers as present; beyond this it asks Redis again.
const KNOWN_IMAGES_MAX: usize = 1_024;
/// Containers a process remembers between creating and starting them; beyond this it asks Redis again.
const MADE_HERE_MAX: usize = 1_024;

/// An engine whose containers live under the record prefix.
#[derive(Debug)]
pub struct SimulatedEngine {
    calls: Coalescer,
    prefix: String,
    settings: Config,
    permits: Arc<Semaphore>,
    known_images: Mutex<HashSet<String>>,
    /// Containers that this process has created and not started yet, by id, so that it need not ask Redis for them.
    made_here: Mutex<HashMap<String, Stored>>,
}

impl SimulatedEngine {
    /// An engine under `prefix`; replicas that share the prefix share the engine.
    pub fn new(connection: Arc<Connection>, prefix: &str, settings: Config, concurrency: usize) -> Self {
        Self {
            calls: Coalescer::new(connection, include_str!("engine.lua")),
            prefix: prefix.to_owned(),
            settings,
            permits: Arc::new(Semaphore::new(concurrency)),
            known_images: Mutex::new(HashSet::new()),
            made_here: Mutex::new(HashMap::new()),
        }
    }

    /// Calls a verb, the first word, on the containers of one name.
    async fn call(&self, name: &str, words: &[&str]) -> Result<Vec<String>, EngineError> {
        let (key, log) = (format!("{}sim:{{{name}}}", self.prefix), format!("{}sim:log", self.prefix));
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

    async fn bring_image(&self, image: &str, progress: &(dyn Fn(PullStep) + Send + Sync)) -> Result<(), EngineError> {
        if self.lock_images().contains(image) {
            return Ok(());
        }
        if Act::of(image) == Act::Missing {
            progress(PullStep::Starting);
            let message = format!("simulated: manifest for {image} not found");
            return Err(EngineError::failed(ErrorCode::ImageNotFound, message));
        }
        let key = format!("{}sim:images", self.prefix);
        let connection = self.calls.connection();
        if !connection.is_member(&key, image).await.map_err(|error| store(&error))? {
            progress(PullStep::Starting);
            progress(PullStep::Receiving);
            connection.add_member(&key, image).await.map_err(|error| store(&error))?;
        }
        let mut known = self.lock_images();
        if known.len() >= KNOWN_IMAGES_MAX {
            known.clear();
        }
        known.insert(image.to_owned());
        Ok(())
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
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
        let stored =
            Stored { id: id.clone(), state: State::Created, created_at_ms: now_ms(), labels: spec.labels.clone() };
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
        let pattern = format!("{}sim:{{*}}", self.prefix);
        let begins = pattern.len() - "*}".len();
        let cursor = if cursor.is_empty() { "0" } else { cursor };
        let words = ["SCAN", cursor, "MATCH", &pattern, "COUNT", "1000"];
        let reply = self.calls.connection().raw(&words).await.map_err(|error| store(&error))?;
        let (next, keys): (String, Vec<String>) = reply.convert().map_err(|error| store(&error))?;
        let mut page = Page { containers: Vec::new(), next: Some(next).filter(|next| next != "0") };
        for key in keys {
            let name = key.get(begins..).and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
            if let Some(stored) = self.find_stored(name).await? {
                let created_at = SystemTime::UNIX_EPOCH + Duration::from_millis(stored.created_at_ms);
                let Stored { id, labels, .. } = stored;
                page.containers.push(Listed { id, name: name.to_owned(), labels, created_at });
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
        if act == Act::Retry {
            return Err(EngineError::failed(ErrorCode::SimulatedError, "simulated: sim/retry never succeeds"));
        }
        let latency = self.latency(&act, stored.label(label::SOURCE_REF));
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
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

    fn ensure_image<'a>(&'a self, image: &'a str, progress: &'a (dyn Fn(PullStep) + Send + Sync)) -> Reply<'a, ()> {
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

    fn remove<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        async move { self.call(name_of(id), &["remove", id]).await.map(drop) }.boxed()
    }

    fn is_ready<'a>(&'a self, container: &'a Container, _readiness: &'a Readiness) -> BoxFuture<'a, bool> {
        async { container.state == ContainerState::Running }.boxed()
    }

    fn log_tail<'a>(&'a self, _id: &'a str) -> BoxFuture<'a, String> {
        async { String::new() }.boxed()
    }

    fn list<'a>(&'a self, from: &'a str) -> Reply<'a, Page> {
        self.list_from(from).boxed()
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
