//! Who we are to one registry, and which keys of a configuration mean it.

use std::fmt;

use bollard::auth::DockerCredentials;

use crate::secret::Secret;

/// The name that images of Docker Hub carry.
pub(super) const HUB: &str = "docker.io";
/// What Docker's programs call it.
pub(super) const HUB_ADDRESS: &str = "https://index.docker.io/v1/";
/// The most that a file of credentials may have.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Who we are to one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// A user and a password, or a token in its place.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token by which the registry's authority gives out others.
    Identity(Secret),
}

/// Why the credentials for a registry are not known. Quotes nothing of what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CredentialError(pub(super) String);

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Login {
    /// For the client library.
    pub(crate) fn credentials(&self) -> DockerCredentials {
        match self {
            Self::Password { user, password } => DockerCredentials {
                username: Some(user.clone()),
                password: Some(password.expose().to_owned()),
                ..DockerCredentials::default()
            },
            Self::Identity(token) => {
                DockerCredentials { identitytoken: Some(token.expose().to_owned()), ..DockerCredentials::default() }
            }
        }
    }
}

/// Whether a key of a configuration means this registry, and how exactly: keys with a path are for images below it.
pub(super) fn exactness(key: &str, registry: &str, path: &str) -> Option<usize> {
    let bare =
        key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key).trim_end_matches('/');
    let (host, below) = bare.split_once('/').unwrap_or((bare, ""));
    let is_it = host == registry || registry == HUB && ["index.docker.io", "registry-1.docker.io"].contains(&host);
    if !is_it {
        return None;
    }
    // The version of the registry's interface is no path of an image.
    if ["", "v1", "v2"].contains(&below) {
        return Some(0);
    }
    let is_above = path == below || path.strip_prefix(below).is_some_and(|rest| rest.starts_with('/'));
    is_above.then_some(below.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_for_its_own_registry_alone() {
        for (key, registry, path, expected) in [
            ("https://index.docker.io/v1/", "docker.io", "library/redis", Some(0)),
            ("docker.io", "docker.io", "library/redis", Some(0)),
            ("index.docker.io", "docker.io", "a/b", Some(0)),
            ("https://index.docker.io/v1/", "index.docker.io.example", "a", None),
            ("registry.example", "registry.example", "a", Some(0)),
            ("https://registry.example/v2/", "registry.example", "a", Some(0)),
            ("registry.example", "registry.example:5000", "a", None),
            ("registry.example", "evil-registry.example", "a", None),
            ("registry.example/team", "registry.example", "team/a", Some(4)),
            ("registry.example/team", "registry.example", "teams/a", None),
            ("h:1/a/b", "h:1", "a/b", Some(3)),
        ] {
            assert_eq!(exactness(key, registry, path), expected, "{key} for {registry}/{path}");
        }
    }

    #[test]
    fn a_login_shows_no_secret() {
        let login = Login::Password { user: "ann".to_owned(), password: Secret::new("sesame") };
        assert!(!format!("{login:?}").contains("sesame"));
        assert!(!format!("{:?}", Login::Identity(Secret::new("sesame"))).contains("sesame"));
    }
}
