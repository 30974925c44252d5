//! The files of an encrypted connection. Nothing here may put their contents into a problem.

use super::check::{Check, Read};
use crate::files::read_bytes;
use crate::tls::{FileError, Identity, Peer, Roots, Tls, certificates, private_key};

/// A system's whole list of authorities is a quarter of this.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The names of one connection's three settings.
pub(super) struct Files {
    peer: Peer,
    pub(super) ca: &'static str,
    pub(super) cert: &'static str,
    pub(super) key: &'static str,
}

pub(super) const REDIS: Files =
    Files { peer: Peer::Redis, ca: "redis-tls-ca-file", cert: "redis-tls-cert-file", key: "redis-tls-key-file" };
pub(super) const DOCKER: Files =
    Files { peer: Peer::Docker, ca: "docker-tls-ca-file", cert: "docker-tls-cert-file", key: "docker-tls-key-file" };

impl Files {
    /// The first of them that names a file.
    pub(super) fn given(&self, check: &Check) -> Option<&'static str> {
        [self.ca, self.cert, self.key].into_iter().find(|name| is_given(check, name))
    }

    /// Reads all of them and puts them together.
    pub(super) fn read(&self, check: &mut Check) -> Read<Tls> {
        let roots = check.parsed(self.ca, |path| read(path, certificates));
        let chain = check.parsed(self.cert, |path| read(path, certificates));
        let key = check.parsed(self.key, |path| read(path, private_key));
        let (roots, chain, key) = (roots?, chain?, key?);
        let identity = match (chain, key) {
            (Some(chain), Some(key)) => Some(Identity { chain, key }),
            (None, None) => None,
            (Some(_), None) => return lacks(check, self.cert, self.key),
            (None, Some(_)) => return lacks(check, self.key, self.cert),
        };
        match Tls::new(self.peer, roots.map_or(Roots::System, Roots::Own), identity) {
            Ok(tls) => Some(tls),
            Err(error) => {
                let (blamed, other) = match error {
                    FileError::OtherKey | FileError::UnusableKey => (self.key, Some(self.cert)),
                    _ => (self.ca, None),
                };
                let beside = other.map_or_else(String::new, |other| format!("; see {}", check.quoted(other)));
                check.refuse(blamed, format!("{error}{beside}"));
                None
            }
        }
    }
}

fn is_given(check: &Check, name: &str) -> bool {
    !matches!(check.text_of(name).as_str(), "" | "none")
}

fn read<T>(path: &str, understand: impl Fn(&[u8]) -> Result<T, FileError>) -> Result<Option<T>, String> {
    if path == "none" || path.is_empty() {
        return Ok(None);
    }
    let bytes = read_bytes(path, FILE_BYTES_MAX)?;
    understand(&bytes).map(Some).map_err(|error| error.to_string())
}

fn lacks<T>(check: &mut Check, given: &'static str, other: &'static str) -> Read<T> {
    check.refuse(given, format!("needs {other} too: certificate and key go together"));
    None
}
