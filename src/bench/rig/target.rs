//! Where Redis answers, as the bench's own connection takes it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use crate::settings::RedisSettings;
use crate::tls::Tls;

/// A server and how to log in.
#[derive(Clone)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// Which database.
    pub database: u8,
    /// How the connection is encrypted, and for which host the server's certificate must be.
    pub tls: Option<(Tls, String)>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the password.
        f.debug_struct("Target").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Host and port.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

impl Target {
    /// The server of these settings. The URL has been validated by them; what cannot be read here is an error all the
    /// same.
    pub fn of(settings: &RedisSettings) -> io::Result<Self> {
        let bad = || io::Error::new(io::ErrorKind::InvalidInput, "the Redis URL has a form that the bench cannot use");
        let (scheme, rest) = settings.url.expose().split_once("://").ok_or_else(bad)?;
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let credentials = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            let user = if user.is_empty() { "default".to_owned() } else { decoded(user) };
            (user, decoded(password))
        });
        if scheme.ends_with("+unix") {
            let path = rest.find('/').map(|slash| PathBuf::from(decoded(&rest[slash..]))).ok_or_else(bad)?;
            return Ok(Self { address: Address::Unix(path), credentials, database: 0, tls: None });
        }
        let (server, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = if database.is_empty() { 0 } else { database.parse().map_err(|_| bad())? };
        let address = server.to_socket_addrs()?.next().ok_or_else(bad)?;
        let host = server.rsplit_once(':').map_or(server, |(host, _)| host).trim_matches(['[', ']']);
        let tls = settings.tls.clone().map(|tls| (tls, host.to_owned()));
        Ok(Self { address: Address::Tcp(address), credentials, database, tls })
    }
}

/// Percent-decoding; what is no escape stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at..at + 3).filter(|three| three[0] == b'%');
        let hex = escape
            .and_then(|three| std::str::from_utf8(&three[1..]).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Settings, Sources, Values};

    fn target(url: &str) -> Target {
        let given = Values::from([("redis-url", url.to_owned()), ("engine", "simulated".to_owned())]);
        let settings =
            Settings::load(&Sources::new(given, std::iter::empty::<(String, String)>())).expect("valid").settings;
        Target::of(&settings.redis).expect("a target")
    }

    #[test]
    fn every_form_of_the_url_is_understood() {
        let plain = target("redis://127.0.0.1:7000/3");
        assert_eq!((plain.address, plain.database), (Address::Tcp(([127, 0, 0, 1], 7_000).into()), 3));
        let with_password = target("redis://me:p%40ss%2F@127.0.0.1");
        assert_eq!(with_password.credentials, Some(("me".into(), "p@ss/".into())));
        assert_eq!(with_password.address, Address::Tcp(([127, 0, 0, 1], 6_379).into()));
        assert_eq!(target("redis://:x@127.0.0.1").credentials, Some(("default".into(), "x".into())));
        assert_eq!(target("redis+unix:///run/r.sock").address, Address::Unix("/run/r.sock".into()));
        assert_eq!(target("redis+unix://:x@/run/r.sock").address, Address::Unix("/run/r.sock".into()));
        assert!(!format!("{with_password:?}").contains("p@ss",), "a password is never printed");
    }
}
