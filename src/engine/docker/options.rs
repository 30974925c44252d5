//! What a Docker Engine is made from.

use std::net::IpAddr;

use super::credentials::CredentialSources;
use crate::tls::Tls;

/// Where a Docker Engine is, and how it publishes the ports of containers.
#[derive(Debug, Clone)]
pub struct DockerOptions {
    /// `unix:///path` or `tcp://host[:port]`.
    pub host: String,
    /// How the connection is encrypted; none: it is not. Only of an engine behind TCP.
    pub tls: Option<Tls>,
    /// Where a game engine listens inside its container.
    pub port: u16,
    /// Containers created and started at once.
    pub start_concurrency: usize,
    /// The address of the engine's machine on which ports are published; none: loopback of an engine behind a socket, all
    /// addresses of another.
    pub publish_address: Option<IpAddr>,
    /// The host of endpoints, a name or an address; none: the one under which they are reached from here.
    pub advertise_host: Option<String>,
    /// The first and last of the host ports to publish on; none: the engine's own choice.
    pub port_range: Option<(u16, u16)>,
    /// Where credentials for registries are looked for.
    pub credentials: CredentialSources,
}

impl DockerOptions {
    /// An engine without encryption that chooses host ports itself.
    pub fn new(host: &str, port: u16, start_concurrency: usize) -> Self {
        Self {
            host: host.to_owned(),
            tls: None,
            port,
            start_concurrency,
            publish_address: None,
            advertise_host: None,
            port_range: None,
            credentials: CredentialSources::default(),
        }
    }
}
