//! Where Redis answers, as the bench's own connection takes it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use crate::redis;
use crate::redis::config::without_brackets;
use crate::redis::sentinel::resolved;
use crate::tls::Tls;

/// A server and how to log in.
#[derive(Clone)]
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) address: Address,
    /// User and password.
    pub(crate) credentials: Option<(String, String)>,
    /// Which database.
    pub(crate) database: u8,
    /// How the connection is encrypted, and for which host the server's certificate must be.
    pub(crate) tls: Option<(Tls, String)>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the password.
        f.debug_struct("Target").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// Host and port.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

/// How long sentinels may take to name a server.
const RESOLVED_WITHIN: Duration = Duration::from_secs(5);

impl Target {
    /// The server of these settings; where they name sentinels, the one that is the master now.
    pub(crate) fn of(settings: &redis::Config) -> io::Result<Self> {
        let credentials = settings.password.as_ref().map(|password| {
            let user = settings.user.clone().unwrap_or_else(|| "default".to_owned());
            (user, password.expose().to_owned())
        });
        let database = settings.database.unwrap_or_default();
        Ok(match &settings.address {
            redis::Address::Unix(path) => {
                Self { address: Address::Unix(path.clone()), credentials, database, tls: None }
            }
            redis::Address::Tcp { host, port } => {
                let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
                let address = format!("{host}:{port}").to_socket_addrs()?.next().ok_or_else(unknown)?;
                let tls = settings.tls.clone().map(|tls| (tls, without_brackets(host).to_owned()));
                Self { address: Address::Tcp(address), credentials, database, tls }
            }
            redis::Address::Sentinel { .. } => Self::of(&named_by_sentinels(settings)?)?,
        })
    }
}

/// Asks on a thread of its own: this one may drive a runtime already.
fn named_by_sentinels(settings: &redis::Config) -> io::Result<redis::Config> {
    let ask = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(resolved(settings, RESOLVED_WITHIN)).map_err(io::Error::other)
    };
    std::thread::scope(|scope| scope.spawn(ask).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
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
