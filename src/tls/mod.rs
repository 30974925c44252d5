//! Encrypted connections: which certificates are trusted and shown, and what a handshake that failed means.
//!
//! One place for Redis and for a Docker Engine, so that both have the same forms of files, the same implementation of
//! the cryptography and the same messages for the same problem. Files are read once, with the settings: after renewing a
//! certificate the replica must be restarted.

// from files to a configuration
mod files;
// what a failed handshake means
mod handshake;
// a Docker Engine, encrypted or not, and how much it may answer
mod budget;
mod docker;
// a web server
pub(crate) mod web;
// without a runtime, for the bench
pub(crate) mod blocking;

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;

pub(crate) use budget::Budget;
pub(crate) use docker::docker_client;
pub(crate) use files::{FileError, Identity, Roots, certificates, private_key};
pub(crate) use handshake::variant;

/// Where a connection leads. Names of settings and texts about trouble begin with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// `redis-url`
    Redis,
    /// `docker-host`
    Docker,
    /// A URL that no setting of TLS belongs to: a collector of traces, a registry.
    Web,
}

/// Everything a connection needs to be encrypted. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    peer: Peer,
    config: Arc<ClientConfig>,
    has_own_roots: bool,
    has_identity: bool,
}

impl Tls {
    /// Puts it together.
    pub(crate) fn new(peer: Peer, roots: Roots, identity: Option<Identity>) -> Result<Self, FileError> {
        let (has_own_roots, has_identity) = (matches!(roots, Roots::Own(_)), identity.is_some());
        let config = Arc::new(files::config(roots, identity)?);
        Ok(Self { peer, config, has_own_roots, has_identity })
    }

    /// For the client that makes the connection.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

impl fmt::Debug for Tls {
    /// The configuration holds a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.to_string()).finish()
    }
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = if self.has_own_roots { "a named authority" } else { "the system's authorities" };
        let identity = if self.has_identity { "with a client certificate" } else { "without a client certificate" };
        write!(f, "TLS, trusting {roots}, {identity}")
    }
}

impl Peer {
    /// What the names of its settings begin with; none has settings of its own where there is no prefix.
    fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Redis => Some("redis"),
            Self::Docker => Some("docker"),
            Self::Web => None,
        }
    }

    /// What says where it is.
    fn place(self) -> &'static str {
        match self {
            Self::Redis => "redis-url",
            Self::Docker => "docker-host",
            Self::Web => "its URL",
        }
    }
}
