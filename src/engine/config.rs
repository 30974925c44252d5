//! Which engine starts containers, and how.

use std::net::IpAddr;
use std::time::Duration;

use super::docker::CredentialSources;
use super::simulated::config::Config as SimulatedConfig;
use crate::tls::Tls;

/// Which engine starts containers, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// `engine`
    pub kind: EngineKind,
    /// `docker-host`, else `DOCKER_HOST`, else the local socket; a `unix://` or `tcp://` URL.
    pub docker_host: String,
    /// `engines`: further ones, in the same form.
    pub(crate) further_hosts: Vec<String>,
    /// How the connection to it is encrypted (`docker-tls-*`); none: it is not.
    pub docker_tls: Option<Tls>,
    /// `engine-port`: where a game engine listens inside its container.
    pub(crate) port: u16,
    /// `publish-address`; none: by the form of `docker_host`.
    pub(crate) publish_address: Option<IpAddr>,
    /// `advertise-host`; none: by the form of `docker_host`.
    pub(crate) advertise_host: Option<String>,
    /// `port-range`; none: the engine's own choice.
    pub(crate) port_range: Option<(u16, u16)>,
    /// `pull-timeout`
    pub pull_timeout: Duration,
    /// `pull-silence`
    pub pull_silence: Duration,
    /// `docker-config` and `registry-credentials-dir`
    pub(crate) credentials: CredentialSources,
    /// `start-concurrency`: containers created and started at once by one process.
    pub start_concurrency: usize,
    /// `simulated-*`
    pub simulated: SimulatedConfig,
}

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// A Docker Engine.
    Docker,
    /// Containers that exist only in Redis.
    Simulated,
}
