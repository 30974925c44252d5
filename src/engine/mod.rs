//! The container engine as the start service needs it: a few calls that each do one thing.
//!
//! An engine decides nothing: it does not adopt, retry or remove on its own. Any call may have taken effect even when it
//! returned an error or a time-out, so the caller looks again by name.

// which engine, and how
pub(crate) mod config;
// a Docker Engine
pub mod docker;
// what a container may use and do
pub mod sandbox;
// how far a pull has come
pub mod pull;
// containers that exist only in Redis
pub mod simulated;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::contract::error_code::ErrorCode;

pub use config::{Config, EngineKind};
pub use pull::{PullProgress, PullStep};
pub use sandbox::Sandbox;

/// The label names every container of ours carries. An image's own labels of these names are overridden at create.
pub mod label {
    /// The job's game id, raw.
    pub const GAME_ID: &str = "rtm.game_id";
    /// The normalised image reference that was asked for.
    pub const IMAGE_REF: &str = "rtm.image_ref";
    /// The stream entry id of the job that created the container.
    pub const SOURCE_REF: &str = "rtm.source_ref";
    /// The fencing token of the attempt that created the container.
    pub const FENCE: &str = "rtm.fence";
    /// The consumer name of the process that created the container.
    pub const OWNER: &str = "rtm.owner";
    /// The `engine-host-id` the container was created under.
    pub const HOST: &str = "rtm.host";
    /// The fleet whose replica created the container.
    pub const FLEET: &str = "rtm.fleet";
    /// How the named volume of a fleet begins, which carries [`FLEET`]; the fleet's name follows.
    pub(crate) const FLEET_VOLUME: &str = "rtm-fleet-";
}

/// What a container is created from. Its `Debug` shows no value of its environment: a policy may put secrets there.
#[derive(Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// The deterministic container name; unique per engine.
    pub name: String,
    /// Normalised image reference, always with a tag or a digest.
    pub image: String,
    /// The port the game engine listens on inside the container.
    pub port: u16,
    /// `NAME=value` pairs for the game engine's environment.
    pub env: Vec<String>,
    /// Those of [`label`], and those that a policy adds.
    pub labels: BTreeMap<String, String>,
    /// What it may use and do.
    pub sandbox: Sandbox,
}

impl fmt::Debug for ContainerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, image, port, env, labels, sandbox } = self;
        let names: Vec<&str> = env.iter().filter_map(|pair| pair.split('=').next()).collect();
        f.debug_struct("ContainerSpec")
            .field("name", name)
            .field("image", image)
            .field("port", port)
            .field("env", &names)
            .field("labels", labels)
            .field("sandbox", sandbox)
            .finish()
    }
}

/// How far a container has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Created, never started.
    Created,
    /// Created, and a start was refused; the engine's text.
    StartFailed(String),
    /// Its main process runs.
    Running,
    /// Frozen by an operator.
    Paused,
    /// Its main process ended with this code.
    Exited(i64),
    /// The engine is taking it away, or it is dead.
    Removing,
}

/// One container as the engine shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The engine's full id.
    pub id: String,
    /// How far it has come.
    pub state: ContainerState,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where the game engine answers (`http://host:port`), once the engine has published its port.
    pub endpoint: Option<String>,
    /// When its main process ended, by the engine's clock in ms since 1970; only of one that has exited.
    pub ended_at_ms: Option<u64>,
}

impl Container {
    /// The value of a label; empty where it has none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// How far a container in a list has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedState {
    /// Its main process runs.
    Running,
    /// Frozen by an operator.
    Paused,
    /// Its main process ended.
    Ended,
    /// Created, being removed, or a state that this program does not tell apart.
    Other,
}

/// One container in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The engine's full id.
    pub id: String,
    /// Its name, without a leading slash.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was created, by the engine's clock.
    pub(crate) created_at: SystemTime,
    /// How far it has come.
    pub state: ListedState,
    /// Where the game engine answers, as in [`Container::endpoint`].
    pub endpoint: Option<String>,
}

impl Listed {
    /// The value of a label; empty where it has none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// A part of the list of containers: there may be more than a process should hold in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The containers of this page.
    pub containers: Vec<Listed>,
    /// Where the next page begins; none after the last.
    pub(crate) next: Option<String>,
}

/// When a running game engine counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// A TCP connection to the endpoint is accepted.
    Tcp,
    /// A GET of this path answers a 2xx status.
    Http(String),
    /// The image's own health check says healthy.
    Health,
}

/// What a look at a running game engine found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// It answers.
    Yes,
    /// It does not answer yet, or the look failed.
    NotYet,
    /// It can never count as ready, and why; waiting is of no use.
    Never(String),
}

/// Something happened to a container of ours: it started, ended, went away, or was paused, thawed or renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEvent {
    /// The value of its [`label::GAME_ID`].
    pub game_id: String,
    /// The engine's full id.
    pub container_id: String,
    /// Its name, without a leading slash.
    pub container_name: String,
}

/// Events as they happen. The last item is an error: the connection has ended.
pub type Events = BoxStream<'static, Result<EngineEvent, EngineError>>;

/// A failed engine call: what the caller may do next is the variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// `create`: the name is taken (the container behind it may not be visible yet).
    #[error("the container name is taken")]
    NameTaken,
    /// `create`: the image is not on the engine.
    #[error("the image is not on the engine")]
    ImageMissing,
    /// `start`, `unpause`: no such container (any more).
    #[error("no such container")]
    NoSuchContainer,
    /// `mark`, `marks`, `events`: the engine, or a proxy before it, does not allow this call; its words.
    #[error("the engine refuses the call: {0}")]
    Refused(String),
    /// Anything else, with the code an outcome would carry and the engine's own words.
    #[error("{code}: {message}")]
    Failed {
        /// Decides whether it is tried again.
        code: ErrorCode,
        /// The engine's text.
        message: String,
    },
}

impl EngineError {
    /// A failure with the code an outcome would carry.
    pub(crate) fn failed(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Failed { code, message: message.into() }
    }
}

/// The answer of an engine call.
pub(crate) type Reply<'a, T> = BoxFuture<'a, Result<T, EngineError>>;

/// A container engine. Calls are bounded in time by the engine itself.
pub trait Engine: Send + Sync + fmt::Debug {
    /// `docker` or `simulated`, as it is written in every record and in the log line at the start.
    fn kind(&self) -> &'static str;

    /// Checks that the engine answers at all. Fails with [`ErrorCode::EngineUnavailable`] where it does not.
    fn ping(&self) -> Reply<'_, ()>;

    /// Whether the image is on the engine.
    fn has_image<'a>(&'a self, image: &'a str) -> Reply<'a, bool>;

    /// Asks the registry for the image and brings what is missing of it onto the engine. Ends when it is dropped.
    /// `progress` is called with each [`PullStep`] as it is reached.
    fn pull<'a>(&'a self, image: &'a str, progress: &'a (dyn Fn(PullStep) + Send + Sync)) -> Reply<'a, ()>;

    /// After a pull that the registry refused because of too many requests, with these words: how long it wants to be left
    /// alone, where that can be learnt.
    fn registry_wait<'a>(&'a self, image: &'a str, words: &'a str) -> BoxFuture<'a, Option<Duration>> {
        let _ = (image, words);
        Box::pin(std::future::ready(None))
    }

    /// Makes sure the image is on the engine: looks, and pulls where it is missing. `progress` is not called where it is there
    /// already. For callers that need not do anything between the two.
    fn ensure_image<'a>(&'a self, image: &'a str, progress: &'a (dyn Fn(PullStep) + Send + Sync)) -> Reply<'a, ()> {
        Box::pin(async move { if self.has_image(image).await? { Ok(()) } else { self.pull(image, progress).await } })
    }

    /// The container of this name or id, if there is one.
    fn find<'a>(&'a self, name_or_id: &'a str) -> Reply<'a, Option<Container>>;

    /// Creates a container and answers its id; does not start it.
    fn create<'a>(&'a self, spec: &'a ContainerSpec) -> Reply<'a, String>;

    /// Starts a created container; one that runs already is a success. Answers the container where the engine shows it
    /// with the start; otherwise the caller looks.
    fn start<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Container>>;

    /// Thaws a paused container.
    fn unpause<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;

    /// Asks a container's main process to end, and ends it by force after the container's [`Sandbox::stop_grace`]; one that has
    /// ended or is gone is a success.
    fn stop<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;

    /// Removes a container by id with force and its anonymous volumes, and waits until it is gone; one that is gone
    /// already is a success.
    fn remove<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;

    /// Looks once whether the game engine in this running container is ready.
    fn is_ready<'a>(&'a self, container: &'a Container, readiness: &'a Readiness) -> BoxFuture<'a, Ready>;

    /// The last lines the container wrote, for an outcome's message; empty where there are none.
    fn log_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String>;

    /// A page of the containers that carry [`label::GAME_ID`], in any state. `from` is the [`Page::next`] of the page
    /// before, or empty for the first. A container that comes or goes meanwhile may be in one page, in none or in two.
    fn list<'a>(&'a self, from: &'a str) -> Reply<'a, Page>;

    /// Events of the containers that carry [`label::GAME_ID`], from now on. Some may be lost all the same, so the caller
    /// also looks from time to time.
    fn events(&self) -> Reply<'_, Events>;

    /// The labels of the named volume `name`, which is made with `labels` where there is none. Of several callers at the
    /// same time all get the same labels. The volume is a mark that stays on the engine: nothing is kept in it.
    fn mark<'a>(&'a self, name: &'a str, labels: &'a BTreeMap<String, String>) -> Reply<'a, BTreeMap<String, String>>;

    /// The labels of each volume that carries this label.
    fn marks<'a>(&'a self, label: &'a str) -> Reply<'a, Vec<BTreeMap<String, String>>>;

    /// Whether containers end and go by this program's calls alone. Then there is nothing to listen to, and no container is gone
    /// without a trace.
    fn keeps_containers(&self) -> bool {
        false
    }

    /// Held while a container is created and started, so that one process does not ask more of the engine than it can
    /// do at once (`start-concurrency`).
    fn permit(&self) -> BoxFuture<'_, tokio::sync::OwnedSemaphorePermit>;
}
