//! Where the engine is: a local socket or a TCP address, and what follows for published ports.

use std::fmt;

/// The port `dockerd` serves plain HTTP on, when the URL names none.
const DEFAULT_TCP_PORT: u16 = 2375;

/// Why no [`DockerEngine`](super::DockerEngine) could be made from its settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Neither `unix://` nor `tcp://`.
    #[error("`{0}` is neither a unix:// nor a tcp:// URL")]
    Scheme(String),
    /// A `unix://` URL without an absolute path.
    #[error("`{0}` names no absolute socket path")]
    SocketPath(String),
    /// A `tcp://` URL whose host or port cannot be one.
    #[error("`{0}` names no host and port")]
    HostAndPort(String),
    /// TLS to a socket of this machine.
    #[error("`{0}` is a socket, which is not encrypted")]
    EncryptedSocket(String),
    /// Port 0 cannot be published.
    #[error("the game engine's port must not be 0")]
    EnginePort,
    /// Nothing could ever be started.
    #[error("the start concurrency must be at least 1")]
    Concurrency,
    /// An advertised host that no URL can have.
    #[error("`{0}` is no host name and no IP address")]
    AdvertisedHost(String),
    /// A range of host ports without ports, or with port 0.
    #[error("{0}-{1} is no range of ports")]
    PortRange(u16, u16),
}

/// A parsed engine URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket file on this machine.
    Unix {
        /// Absolute path of the socket.
        path: String,
    },
    /// Another machine, or this one by TCP.
    Tcp {
        /// The host as it is written in a URL (an IPv6 address in brackets).
        host: String,
        /// The engine's port.
        port: u16,
    },
}

impl Address {
    /// Parses `unix:///path` or `tcp://host[:port]`.
    pub(super) fn parse(url: &str) -> Result<Self, ConnectError> {
        if let Some(path) = url.strip_prefix("unix://") {
            if !path.starts_with('/') || path.ends_with('/') {
                return Err(ConnectError::SocketPath(url.to_owned()));
            }
            return Ok(Self::Unix { path: path.to_owned() });
        }
        let Some(authority) = url.strip_prefix("tcp://") else {
            return Err(ConnectError::Scheme(url.to_owned()));
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = split_port(authority).ok_or_else(|| ConnectError::HostAndPort(url.to_owned()))?;
        Ok(Self::Tcp { host: host.to_owned(), port })
    }

    /// Whether the engine is behind a socket of this machine.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Unix { .. })
    }

    /// The host of this machine, or the one that the URL names.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Unix { .. } => "127.0.0.1",
            Self::Tcp { host, .. } => host,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path } => write!(f, "unix://{path}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// Host (brackets kept) and port of a URL authority.
fn split_port(authority: &str) -> Option<(&str, u16)> {
    // The last colon starts a port, unless it belongs to a bracketed IPv6 address.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port != 0)?),
        _ => (authority, DEFAULT_TCP_PORT),
    };
    is_host(host).then_some((host, port))
}

/// Whether a URL may name this host: a name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, want: Result<&str, ConnectError>) {
        let got = Address::parse(url).map(|address| address.to_string());
        assert_eq!(got, want.map(str::to_owned), "{url}");
    }

    #[test]
    fn urls_are_read_or_refused() {
        check("unix:///var/run/docker.sock", Ok("unix:///var/run/docker.sock"));
        check("tcp://engine-1:2376", Ok("tcp://engine-1:2376"));
        check("tcp://10.0.0.7:2375/", Ok("tcp://10.0.0.7:2375"));
        check("tcp://engine", Ok("tcp://engine:2375"));
        check("tcp://[::1]:99", Ok("tcp://[::1]:99"));
        check("tcp://[::1]", Ok("tcp://[::1]:2375"));
        for url in ["unix://", "unix://relative", "unix:///"] {
            check(url, Err(ConnectError::SocketPath(url.into())));
        }
        for url in
            ["tcp://", "tcp://:1", "tcp://h:0", "tcp://h:70000", "tcp://h:x", "tcp://u@h:1", "tcp://h/x", "tcp://::1"]
        {
            check(url, Err(ConnectError::HostAndPort(url.into())));
        }
        for url in ["", "/var/run/docker.sock", "http://h:1", "ssh://h", "npipe:////./pipe/x"] {
            check(url, Err(ConnectError::Scheme(url.into())));
        }
    }
}
