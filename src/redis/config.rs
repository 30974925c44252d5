//! How to reach Redis.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::files::read_text;
use crate::secret::Secret;
use crate::tls::Tls;

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
    /// The path of `redis-password-file`: read again when the server refuses the password.
    pub(crate) password_file: Option<String>,
    /// How the connection is encrypted (`redis-tls-*`); none: it is not, or is a socket of this machine.
    pub(crate) tls: Option<Tls>,
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
}

impl Address {
    /// A socket or a loopback address: what is sent there does not leave this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
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
