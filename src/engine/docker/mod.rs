//! A Docker Engine, reached through its socket or by TCP.
//!
//! It need not be up: whatever is asked of an engine that does not answer fails with
//! [`ErrorCode::EngineUnavailable`], and the next call tries again.

// where it is, and the connection to it
mod address;
mod client;
// what goes out
mod request;
// images
mod pull;
mod shared_pulls;
// containers
mod inspect;
mod ready;
// what failures mean
mod classify;
mod text;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions,
};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::contract::error_code::ErrorCode;
use crate::engine::{Container, ContainerSpec, Engine, EngineError, Listed, Page, PullStep, Readiness, Reply, label};
use crate::tls::Tls;

pub(crate) use self::address::ConnectError;
pub use self::client::Limits;

use self::address::Address;
use self::classify::{Call, Failure, classify};
use self::client::Client;
use self::shared_pulls::SharedPulls;

/// Between two looks at a removal that another client has begun.
const REMOVE_POLL: Duration = Duration::from_millis(50);

/// How many lines of a container's log an outcome shows.
const LOG_LINES: usize = 10;

/// An [`Engine`] that is a Docker Engine.
#[derive(Debug)]
pub struct DockerEngine {
    client: Arc<Client>,
    limits: Limits,
    /// Where a game engine listens inside its container.
    port: u16,
    pulls: SharedPulls,
    permits: Arc<Semaphore>,
}

impl DockerEngine {
    /// The engine behind `host` (`unix:///path` or `tcp://host[:port]`), whose containers listen on `port`. Nothing
    /// is sent yet.
    pub fn connect(host: &str, port: u16, start_concurrency: usize) -> Result<Self, ConnectError> {
        Self::connect_with(host, None, port, start_concurrency)
    }

    /// An engine like that of [`Self::connect`], over TLS where `tls` is given.
    pub fn connect_with(
        host: &str,
        tls: Option<Tls>,
        port: u16,
        start_concurrency: usize,
    ) -> Result<Self, ConnectError> {
        let address = Address::parse(host)?;
        if tls.is_some() && matches!(address, Address::Unix { .. }) {
            return Err(ConnectError::EncryptedSocket(host.to_owned()));
        }
        if port == 0 {
            return Err(ConnectError::EnginePort);
        }
        if start_concurrency == 0 {
            return Err(ConnectError::Concurrency);
        }
        Ok(Self {
            client: Arc::new(Client::new(address, tls)),
            limits: Limits::default(),
            port,
            pulls: SharedPulls::default(),
            permits: Arc::new(Semaphore::new(start_concurrency.min(Semaphore::MAX_PERMITS))),
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

    async fn ensure(&self, image: &str, progress: &(dyn Fn(PullStep) + Send + Sync)) -> Result<(), EngineError> {
        request::check_image(image)?;
        if pull::is_present(&self.client, &self.limits, image).await? {
            return Ok(());
        }
        progress(PullStep::Starting);
        let begin = |reporter| pull::pull(Arc::clone(&self.client), self.limits, image.to_owned(), reporter);
        self.pulls.join(image, || progress(PullStep::Receiving), begin).await
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
        inspect::container(seen, self.port, self.client.address().endpoint_host()).map(Some)
    }

    async fn list_ours(&self) -> Result<Vec<Listed>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), vec![label::GAME_ID.to_owned()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let answer = self.client.call("list of containers", self.limits.look, |docker| async move {
            docker.list_containers(Some(options)).await
        });
        let seen = answer.await.map_err(|failure| classify(Call::Other, &failure))?;
        seen.into_iter().map(inspect::listed).collect()
    }

    async fn create_once(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        // An empty name would be no error: the engine would make one up, and the container would never be found again.
        request::check_name(&spec.name)?;
        request::check_image(&spec.image)?;
        let options = CreateContainerOptionsBuilder::new().name(&spec.name).build();
        let body = request::create_body(spec, self.client.address().publish_ip());
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

    async fn has_become_ready(&self, container: &Container, readiness: &Readiness) -> bool {
        match (readiness, container.endpoint.as_deref()) {
            (Readiness::Health, _) => {
                let seen = self.inspect(&container.id).await;
                seen.is_ok_and(|seen| seen.is_some_and(|seen| inspect::is_healthy(&seen)))
            }
            (_, None) => false,
            (Readiness::Tcp, Some(endpoint)) => ready::accepts(endpoint).await,
            (Readiness::Http(path), Some(endpoint)) => ready::answers(endpoint, path).await,
        }
    }

    async fn last_lines(&self, id: &str) -> Result<String, EngineError> {
        request::check_name(id)?;
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&LOG_LINES.to_string()).build();
        let answer = self.client.call("logs", self.limits.look, |docker| async move {
            let mut tail = text::Tail::default();
            let mut chunks = docker.logs(id, Some(options));
            while let Some(chunk) = chunks.next().await {
                tail.push(&chunk?.into_bytes());
            }
            Ok::<_, Failure>(tail.into_text(LOG_LINES))
        });
        answer.await.map_err(|failure| classify(Call::Other, &failure))
    }
}

impl Engine for DockerEngine {
    fn kind(&self) -> &'static str {
        "docker"
    }

    fn ping(&self) -> Reply<'_, ()> {
        Box::pin(self.ping_once())
    }

    fn ensure_image<'a>(&'a self, image: &'a str, progress: &'a (dyn Fn(PullStep) + Send + Sync)) -> Reply<'a, ()> {
        Box::pin(self.ensure(image, progress))
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

    fn remove<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(self.remove_until_gone(id))
    }

    fn is_ready<'a>(&'a self, container: &'a Container, readiness: &'a Readiness) -> BoxFuture<'a, bool> {
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

    fn permit(&self) -> BoxFuture<'_, OwnedSemaphorePermit> {
        let permits = Arc::clone(&self.permits);
        Box::pin(async move { permits.acquire_owned().await.expect("the semaphore is never closed") })
    }
}
