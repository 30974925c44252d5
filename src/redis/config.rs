//! How to reach Redis.

use std::net::IpAddr;
use std::path::PathBuf;

use super::sentinel::Follower;
use crate::files::read_text;
use crate::secret::Secret;
use crate::tls::Tls;

pub(crate) use super::place::HostPort;

/// No password is longer; a larger file is a mistake in the path.
const PASSWORD_BYTES_MAX: u64 = 16 << 10;

/// How to reach Redis, and how to log in.
#[derive(Debug, Clone)]
pub struct Config {
    /// The URL without its password: safe to print.
    pub display_url: String,
    /// Where the server listens.
    pub address: Address,
    /// Which database; none: the server's first.
    pub database: Option<u8>,
    /// Which user logs in; none: the server's default user.
    pub user: Option<String>,
    /// The password, from the URL or from `redis-password-file`.
    pub password: Option<Secret>,
    /// `redis-password-file`: read again when the server refuses the password.
    pub(crate) password_file: Option<PasswordFile>,
    /// How the connection is encrypted (`redis-tls-*`); none: it is not, or is a socket of this machine.
    pub(crate) tls: Option<Tls>,
    /// How sentinels are asked, where the address names sentinels.
    pub(crate) sentinel: SentinelAccess,
}

/// How sentinels are asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct SentinelAccess {
    /// `redis-sentinel-user`; none: the sentinels' default user.
    pub(crate) user: Option<String>,
    /// The password in `redis-sentinel-password-file`.
    pub(crate) password: Option<Secret>,
    /// That file: read again when a sentinel refuses the password.
    pub(crate) password_file: Option<PasswordFile>,
    /// How the connection is encrypted; none: it is not.
    pub(crate) tls: Option<Tls>,
    /// Who asks them.
    pub(crate) follower: Follower,
}

/// A file with a password.
#[derive(Debug, Clone)]
pub(crate) struct PasswordFile {
    /// The setting that names it.
    pub(crate) setting: &'static str,
    /// Its path.
    pub(crate) path: String,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Host and port.
    Tcp {
        /// A name or an IP address; an IPv6 address keeps its brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket file.
    Unix(PathBuf),
    /// Where the master of this service is, as these sentinels say.
    Sentinel {
        /// Each of them.
        sentinels: Vec<HostPort>,
        /// The service.
        service: String,
    },
}

impl Config {
    /// The same for the server at this place, which sentinels have named.
    pub(crate) fn at(&self, place: &HostPort) -> Self {
        let HostPort { host, port } = place.clone();
        let display_url = format!("redis://{place}");
        let sentinel = SentinelAccess::default();
        Self { display_url, address: Address::Tcp { host, port }, sentinel, ..self.clone() }
    }

    /// How the sentinel at this place is asked.
    pub(super) fn of_sentinel(&self, place: &HostPort) -> Self {
        let SentinelAccess { user, password, password_file, tls, .. } = self.sentinel.clone();
        Self { database: None, user, password, password_file, tls, ..self.at(place) }
    }
}

impl Address {
    /// A socket or a loopback address: what is sent there does not leave this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            // A sentinel may be on each machine, and the master is on one of them.
            Self::Sentinel { .. } => false,
            Self::Tcp { host, .. } => {
                let address = without_brackets(host).parse::<IpAddr>();
                host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

/// A host as certificates and resolvers write it: an IPv6 address without the brackets that it has in a URL.
pub(crate) fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The password in a file. Errors are the rest of a sentence and name nothing of its contents.
pub(crate) fn read_password(path: &str) -> Result<String, String> {
    let text = read_text(path, PASSWORD_BYTES_MAX)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let password = line.strip_suffix('\r').unwrap_or(line);
    if password.is_empty() {
        return Err("holds no password: the file is empty".to_owned());
    }
    if password.contains('\n') {
        return Err("holds more than one line; a password is one line".to_owned());
    }
    Ok(password.to_owned())
}
