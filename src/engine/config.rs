//! Which engine starts containers, and how.

use super::simulated::config::Config as SimulatedConfig;
use crate::tls::Tls;

/// Which engine starts containers, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// `engine`
    pub kind: EngineKind,
    /// `docker-host`, else `DOCKER_HOST`, else the local socket; a `unix://` or `tcp://` URL.
    pub docker_host: String,
    /// How the connection to it is encrypted (`docker-tls-*`); none: it is not.
    pub docker_tls: Option<Tls>,
    /// `engine-port`: where a game engine listens inside its container.
    pub(crate) port: u16,
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
