//! A Docker Engine, reached through its socket or by TCP.
//!
//! It need not be up: whatever is asked of an engine that does not answer fails with
//! [`ErrorCode::EngineUnavailable`], and the next call tries again.

// where it is, and the connection to it
mod address;
mod client;
mod options;
mod ports;
// what it says of itself
mod abilities;
// what goes out
mod request;
mod sandbox;
// images, and who we are to their registries
mod credentials;
mod pull;
mod registry;
// containers
mod inspect;
mod ready;
// what happens to them
mod events;
// volumes that carry labels
mod marks;
// what failures mean
mod classify;
#[cfg(test)]
mod failure_texts;
mod text;
// for the fuzzer
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, StopContainerOptions,
};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::contract::error_code::ErrorCode;
use crate::contract::reference::Reference;
use crate::engine::{
    Container, ContainerSpec, Engine, EngineError, Events, Listed, Page, PullStep, Readiness, Ready, Reply, label,
};
use crate::tls::Budget;

pub(crate) use self::address::ConnectError;
pub use self::client::Limits;
pub use self::credentials::CredentialSources;
pub use self::options::DockerOptions;
pub(crate) use self::request::check_image;

use self::address::Address;
use self::classify::{Call, Failure, classify};
use self::client::Client;
use self::credentials::{CredentialError, Login};
use self::ports::Ports;

/// Between two looks at a removal that another client has begun.
const REMOVE_POLL: Duration = Duration::from_millis(50);

/// How long a main process may take to end when it is asked to, where its container does not say.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How many lines of a container's log an outcome shows.
const LOG_LINES: usize = 10;

/// An [`Engine`] that is a Docker Engine.
#[derive(Debug)]
pub struct DockerEngine {
    client: Arc<Client>,
    limits: Limits,
    ports: Ports,
    credentials: CredentialSources,
    permits: Arc<Semaphore>,
}

impl DockerEngine {
    /// The engine behind `host` (`unix:///path` or `tcp://host[:port]`), whose containers listen on `port`. Nothing
    /// is sent yet.
    pub fn connect(host: &str, port: u16, start_concurrency: usize) -> Result<Self, ConnectError> {
        Self::connect_with(DockerOptions::new(host, port, start_concurrency))
    }

    /// An engine like that of [`Self::connect`], with all of its options.
    pub fn connect_with(options: DockerOptions) -> Result<Self, ConnectError> {
        let address = Address::parse(&options.host)?;
        if options.tls.is_some() && address.is_local() {
            return Err(ConnectError::EncryptedSocket(options.host));
        }
        if options.start_concurrency == 0 {
            return Err(ConnectError::Concurrency);
        }
        Ok(Self {
            ports: Ports::new(&address, &options)?,
            client: Arc::new(Client::new(address, options.tls)),
            limits: Limits::default(),
            credentials: options.credentials,
            permits: Arc::new(Semaphore::new(options.start_concurrency.min(Semaphore::MAX_PERMITS))),
        })
    }

    /// The same engine with other time limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    async fn ping_once(&self) -> Result<(), EngineError> {
        let answer = self.client.call("ping", self.limits.look, |docker| async move { docker.ping().await }).await;
        // Whatever goes wrong here, the engine cannot be used.
        answer.map(drop).map_err(|failure| match classify(Call::Other, &failure) {
            EngineError::Failed { message, .. } => EngineError::failed(ErrorCode::EngineUnavailable, message),
            error => error,
        })
    }

    async fn image_is_present(&self, image: &str) -> Result<bool, EngineError> {
        check_image(image)?;
        pull::is_present(&self.client, &self.limits, image).await
    }

    async fn pull_once(&self, image: &str, progress: &(dyn Fn(PullStep) + Send + Sync)) -> Result<(), EngineError> {
        check_image(image)?;
        let login = self.login(image).await?;
        let pulled = pull::pull(&self.client, &self.limits, image, login.as_ref(), progress).await;
        pulled.map_err(|error| match error {
            EngineError::Failed { code: code @ ErrorCode::ImageAccessDenied, message } => {
                EngineError::failed(code, format!("{message} ({})", who_asked(image, login.as_ref())))
            }
            other => other,
        })
    }

    /// Who we are to the registry of this image.
    async fn login(&self, image: &str) -> Result<Option<Login>, EngineError> {
        let Some(parts) = Reference::parse(image) else { return Ok(None) };
        // What cannot be read may be in the middle of being written.
        let failed = |error: CredentialError| EngineError::failed(ErrorCode::ImagePullFailed, error.to_string());
        self.credentials.login(parts.registry, parts.path).await.map_err(failed)
    }

    async fn asked_wait(&self, image: &str, words: &str) -> Option<Duration> {
        let login = self.login(image).await.ok()?;
        registry::wait(image, words, login.as_ref(), self.client.is_local()).await
    }

    async fn inspect(
        &self,
        name_or_id: &str,
    ) -> Result<Option<bollard::models::ContainerInspectResponse>, EngineError> {
        request::check_name(name_or_id)?;
        let seen = self.client.call("inspect of the container", self.limits.look, |docker| async move {
            docker.inspect_container(name_or_id, None::<InspectContainerOptions>).await
        });
        match seen.await {
            Ok(seen) => Ok(Some(seen)),
            Err(failure) if failure.is_no_such_container() => Ok(None),
            Err(failure) => Err(classify(Call::Other, &failure)),
        }
    }

    async fn look(&self, name_or_id: &str) -> Result<Option<Container>, EngineError> {
        let Some(seen) = self.inspect(name_or_id).await? else {
            return Ok(None);
        };
        // The engine also takes the beginning of an id for a name.
        if !inspect::is_called(&seen, name_or_id)? {
            return Ok(None);
        }
        inspect::container(seen, &self.ports).map(Some)
    }

    async fn list_ours(&self) -> Result<Vec<Listed>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), vec![label::GAME_ID.to_owned()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let budget = Budget::list();
        let answer = self.client.call_within(&budget, "list of containers", self.limits.look, |docker| async move {
            docker.list_containers(Some(options)).await
        });
        let seen = answer.await.map_err(|failure| classify(Call::Other, &failure))?;
        seen.into_iter().map(|seen| inspect::listed(seen, &self.ports)).collect()
    }

    async fn create_once(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        // An empty name would be no error: the engine would make one up, and the container would never be found again.
        request::check_name(&spec.name)?;
        check_image(&spec.image)?;
        let options = CreateContainerOptionsBuilder::new().name(&spec.name).build();
        let abilities = self.client.abilities(self.limits.look).await?;
        let body = request::create_body(spec, &self.ports, &abilities);
        let answer = self.client.call("create", self.limits.create, |docker| async move {
            docker.create_container(Some(options), body).await
        });
        let created = answer.await.map_err(|failure| classify(Call::Create, &failure))?;
        request::check_name(&created.id)?;
        Ok(created.id)
    }

    async fn start_once(&self, id: &str) -> Result<Option<Container>, EngineError> {
        request::check_name(id)?;
        let answer = self.client.call("start", self.limits.start, |docker| async move {
            docker.start_container(id, None::<StartContainerOptions>).await
        });
        // The client library takes 304, "already started", for a success. The reply is empty.
        answer.await.map(|()| None).map_err(|failure| classify(Call::Start, &failure))
    }

    async fn thaw(&self, id: &str) -> Result<(), EngineError> {
        request::check_name(id)?;
        let answer =
            self.client.call("unpause", self.limits.start, |docker| async move { docker.unpause_container(id).await });
        match answer.await {
            Ok(()) => Ok(()),
            Err(failure) if failure.says("is not paused") => Ok(()),
            Err(failure) if failure.is_no_such_container() => Err(EngineError::NoSuchContainer),
            Err(failure) => Err(classify(Call::Other, &failure)),
        }
    }

    async fn stop_once(&self, id: &str) -> Result<(), EngineError> {
        let Some(seen) = self.inspect(id).await? else { return Ok(()) };
        // The call ends when the container has, and its own grace is what the engine gives it.
        let limit = self.limits.remove + stop_grace(&seen);
        let answer = self.client.call("stop", limit, |docker| async move {
            // The client library takes 304, "already stopped", for a success.
            docker.stop_container(id, None::<StopContainerOptions>).await
        });
        match answer.await {
            Ok(()) => Ok(()),
            Err(failure) if failure.is_no_such_container() => Ok(()),
            Err(failure) => Err(classify(Call::Other, &failure)),
        }
    }

    async fn remove_until_gone(&self, id: &str) -> Result<(), EngineError> {
        request::check_name(id)?;
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let run = |docker: bollard::Docker| async move {
            loop {
                match docker.remove_container(id, Some(options.clone())).await.map_err(Failure::from) {
                    Ok(()) => return Ok(()),
                    Err(failure) if failure.is_no_such_container() => return Ok(()),
                    Err(failure) if failure.is(409, "already in progress") => {
                        tokio::time::sleep(REMOVE_POLL).await;
                    }
                    Err(failure) => return Err(failure),
                }
            }
        };
        let answer = self.client.call("remove", self.limits.remove, run).await;
        answer.map_err(|failure| classify(Call::Other, &failure))
    }

    async fn has_become_ready(&self, container: &Container, readiness: &Readiness) -> Ready {
        let reached = container.endpoint.as_deref().map(|endpoint| self.ports.reached(endpoint));
        let answers = match (readiness, reached) {
            (Readiness::Health, _) => {
                return match self.inspect(&container.id).await {
                    Ok(Some(seen)) => inspect::health(&seen),
                    Ok(None) | Err(_) => Ready::NotYet,
                };
            }
            (_, None) => false,
            (Readiness::Tcp, Some(endpoint)) => ready::accepts(&endpoint).await,
            (Readiness::Http(path), Some(endpoint)) => ready::answers(&endpoint, path).await,
        };
        if answers { Ready::Yes } else { Ready::NotYet }
    }

    async fn last_lines(&self, id: &str) -> Result<String, EngineError> {
        request::check_name(id)?;
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&LOG_LINES.to_string()).build();
        let budget = &Budget::log();
        let answer = self.client.call_within(budget, "logs", self.limits.look, |docker| async move {
            let mut tail = text::Tail::default();
            let mut chunks = docker.logs(id, Some(options));
            while let Some(chunk) = chunks.next().await {
                tail.push(&chunk?.into_bytes());
                budget.item_taken();
            }
            Ok::<_, Failure>(tail.into_text(LOG_LINES))
        });
        answer.await.map_err(|failure| classify(Call::Other, &failure))
    }
}

/// For the words of a registry that refuses a pull: whether it was told who asks, and what to set.
fn who_asked(image: &str, login: Option<&Login>) -> String {
    let registry = Reference::parse(image).map_or(image, |parts| parts.registry);
    match login {
        Some(_) => format!("with the credentials for {registry} from registry-credentials-dir or docker-config"),
        None => {
            format!("without credentials: neither registry-credentials-dir nor docker-config has any for {registry}")
        }
    }
}

/// How long the engine waits for the main process before it ends it by force.
fn stop_grace(seen: &bollard::models::ContainerInspectResponse) -> Duration {
    let said = seen.config.as_ref().and_then(|config| config.stop_timeout);
    said.and_then(|seconds| u64::try_from(seconds).ok()).map_or(STOP_GRACE, Duration::from_secs)
}

impl Engine for DockerEngine {
    fn kind(&self) -> &'static str {
        "docker"
    }

    fn ping(&self) -> Reply<'_, ()> {
        Box::pin(self.ping_once())
    }

    fn has_image<'a>(&'a self, image: &'a str) -> Reply<'a, bool> {
        Box::pin(self.image_is_present(image))
    }

    fn pull<'a>(&'a self, image: &'a str, progress: &'a (dyn Fn(PullStep) + Send + Sync)) -> Reply<'a, ()> {
        Box::pin(self.pull_once(image, progress))
    }

    fn registry_wait<'a>(&'a self, image: &'a str, words: &'a str) -> BoxFuture<'a, Option<Duration>> {
        Box::pin(self.asked_wait(image, words))
    }

    fn find<'a>(&'a self, name_or_id: &'a str) -> Reply<'a, Option<Container>> {
        Box::pin(self.look(name_or_id))
    }

    fn create<'a>(&'a self, spec: &'a ContainerSpec) -> Reply<'a, String> {
        Box::pin(self.create_once(spec))
    }

    fn start<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Container>> {
        Box::pin(self.start_once(id))
    }

    fn unpause<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(self.thaw(id))
    }

    fn stop<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(self.stop_once(id))
    }

    fn remove<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(self.remove_until_gone(id))
    }

    fn is_ready<'a>(&'a self, container: &'a Container, readiness: &'a Readiness) -> BoxFuture<'a, Ready> {
        Box::pin(self.has_become_ready(container, readiness))
    }

    fn log_tail<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String> {
        // A log that cannot be read must not hide the failure that it would have explained.
        Box::pin(async move { self.last_lines(id).await.unwrap_or_default() })
    }

    fn list<'a>(&'a self, _from: &'a str) -> Reply<'a, Page> {
        // The engine has no pages, and no more containers than its host carries.
        Box::pin(async { Ok(Page { containers: self.list_ours().await?, next: None }) })
    }

    fn events(&self) -> Reply<'_, Events> {
        Box::pin(events::from_now_on(&self.client, &self.limits))
    }

    fn mark<'a>(&'a self, name: &'a str, labels: &'a BTreeMap<String, String>) -> Reply<'a, BTreeMap<String, String>> {
        Box::pin(marks::mark(&self.client, &self.limits, name, labels))
    }

    fn marks<'a>(&'a self, label: &'a str) -> Reply<'a, Vec<BTreeMap<String, String>>> {
        Box::pin(marks::marks(&self.client, &self.limits, label))
    }

    fn permit(&self) -> BoxFuture<'_, OwnedSemaphorePermit> {
        let permits = Arc::clone(&self.permits);
        Box::pin(async move { permits.acquire_owned().await.expect("the semaphore is never closed") })
    }
}
