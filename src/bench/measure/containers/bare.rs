//! The bare client of a container engine: create, start, inspect, look whether it is ready; no record, no stream, and
//! nothing that would be safe to repeat.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig, PortBinding};
use bollard::query_parameters::{CreateContainerOptionsBuilder, InspectContainerOptions, StartContainerOptions};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::options::{ContainersOptions, HostOptions, Started};
use crate::bench::Error;
use crate::engine::docker::{DockerEngine, DockerOptions};
use crate::engine::{Container, ContainerState, Engine, Ready, label};
use crate::settings::Settings;
use crate::tls::docker_client;

/// No call takes so long.
const CALL_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks whether a container is ready.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The bare clients of all engines.
#[derive(Debug)]
pub(crate) struct Bare<'a> {
    clients: Vec<Client<'a>>,
    /// Starts under way at once on each engine.
    in_flight_on_one: usize,
}

/// The bare client of one engine.
#[derive(Debug)]
struct Client<'a> {
    docker: bollard::Docker,
    /// For the very same look at readiness that the worker takes, and nothing else.
    look: DockerEngine,
    host: &'a HostOptions,
    options: &'a ContainersOptions,
    settings: &'a Settings,
    permits: Semaphore,
}

impl<'a> Bare<'a> {
    /// Clients of these engines that create and start no more at once than all the workers do.
    pub(crate) async fn connect(options: &'a ContainersOptions, settings: &'a Settings) -> Result<Self, Error> {
        let clients = options.hosts.iter().map(|host| Client::connect(host, options, settings));
        let clients = futures_util::future::try_join_all(clients).await?;
        Ok(Self { clients, in_flight_on_one: options.in_flight_on_one() })
    }

    /// Starts all of these games, so many at a time. An engine that has started one gets the next.
    pub(crate) async fn start_all(&self, games: &[String]) -> Result<Started, Error> {
        let began = Instant::now();
        let mut waiting = games.iter();
        let places = std::iter::repeat_n((), self.in_flight_on_one).flat_map(|()| &self.clients);
        let mut under_way: FuturesUnordered<_> =
            places.zip(waiting.by_ref()).map(|(client, game)| client.start_next(game)).collect();
        let mut each = Vec::with_capacity(games.len());
        while let Some((took, client)) = under_way.next().await {
            each.push(took?);
            under_way.extend(waiting.next().map(|game| client.start_next(game)));
        }
        Ok(Started { took: began.elapsed(), each })
    }
}

impl<'a> Client<'a> {
    async fn connect(
        host: &'a HostOptions,
        options: &'a ContainersOptions,
        settings: &'a Settings,
    ) -> Result<Self, Error> {
        let (address, seconds) = (host.docker_host.as_str(), CALL_WITHIN.as_secs());
        let tls = host.docker_tls.clone();
        let docker =
            docker_client(address, tls.as_ref(), seconds).map_err(failed)?.negotiate_version().await.map_err(failed)?;
        let at_once = settings.engine.start_concurrency * options.replicas;
        let look = DockerOptions { tls, ..DockerOptions::new(address, settings.engine.port, at_once) };
        let look = DockerEngine::connect_with(look).map_err(|error| failed(error.to_string()))?;
        Ok(Self { docker, look, host, options, settings, permits: Semaphore::new(at_once) })
    }

    /// Starts one game; answers also whose turn is next.
    async fn start_next(&self, game: &str) -> (Result<Duration, Error>, &Self) {
        (self.start_one(game).await, self)
    }

    async fn start_one(&self, game: &str) -> Result<Duration, Error> {
        let began = Instant::now();
        let id = self.create_and_start(game).await?;
        let mut container = Container {
            id: id.clone(),
            state: ContainerState::Running,
            labels: std::collections::BTreeMap::new(),
            endpoint: None,
            ended_at_ms: None,
        };
        while began.elapsed() < self.settings.start.ready_timeout {
            if container.endpoint.is_none() {
                let seen = self.docker.inspect_container(&id, None::<InspectContainerOptions>).await.map_err(failed)?;
                container.endpoint = self.endpoint(&seen);
            }
            let readiness = &self.settings.start.readiness;
            if container.endpoint.is_some() && self.look.is_ready(&container, readiness).await == Ready::Yes {
                return Ok(began.elapsed());
            }
            sleep(LOOK_INTERVAL).await;
        }
        Err(failed(format!("container {id} was not ready within {:?}", self.settings.start.ready_timeout)))
    }

    async fn create_and_start(&self, game: &str) -> Result<String, Error> {
        let _permit = self.permits.acquire().await.map_err(failed)?;
        let name = CreateContainerOptionsBuilder::new().name(&format!("rtm-{game}")).build();
        let created = self.docker.create_container(Some(name), self.body(game)).await.map_err(failed)?;
        self.docker.start_container(&created.id, None::<StartContainerOptions>).await.map_err(failed)?;
        Ok(created.id)
    }

    /// What the worker asks for: image, environment, labels, and one published port.
    fn body(&self, game: &str) -> ContainerCreateBody {
        let Self { host, options, settings, .. } = self;
        let labels = [
            (label::GAME_ID, game),
            (label::IMAGE_REF, options.image.as_str()),
            (label::SOURCE_REF, "0-0"),
            (label::FENCE, "1"),
            (label::OWNER, "bare"),
            (label::HOST, host.host_id.as_str()),
        ];
        let port = format!("{}/tcp", settings.engine.port);
        let is_local = host.docker_host.starts_with("unix://");
        let host_ip = if is_local { "127.0.0.1" } else { "0.0.0.0" };
        let binding =
            PortBinding { host_ip: Some(host_ip.to_owned()), host_port: Some(host.ports.clone().unwrap_or_default()) };
        ContainerCreateBody {
            image: Some(options.image.clone()),
            env: Some(vec![format!("GAME_ID={game}"), format!("PORT={}", settings.engine.port)]),
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
            exposed_ports: Some(vec![port.clone()]),
            host_config: Some(HostConfig {
                port_bindings: Some(HashMap::from([(port, Some(vec![binding]))])),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    fn endpoint(&self, seen: &ContainerInspectResponse) -> Option<String> {
        let ports = seen.network_settings.as_ref()?.ports.as_ref()?;
        let bindings = ports.get(&format!("{}/tcp", self.settings.engine.port))?.as_ref()?;
        let port = bindings.iter().find_map(|binding| binding.host_port.as_deref().filter(|port| !port.is_empty()))?;
        let authority = self.host.docker_host.strip_prefix("tcp://");
        let host = authority.and_then(|authority| authority.rsplit_once(':')).map_or("127.0.0.1", |(host, _)| host);
        Some(format!("http://{host}:{port}"))
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Subject(format!("the bare client: {error}"))
}
