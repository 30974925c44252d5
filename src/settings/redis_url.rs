//! The Redis URL: which forms there are, and how one is shown without its password.

use super::url::{host_and_port, percent_decode, percent_encode};
use crate::redis::config::Address;
use crate::secret::STARS;

/// What may be said about the forms that work.
const SUPPORTED: &str = "supported are redis://, rediss:// (TLS) and redis+unix://, and the same with valkey";
/// The port of a URL that names none.
const PORT: u16 = 6379;

/// The schemes people use for Redis, so that an unsupported one can be named. `true`: supported.
const SCHEMES: &[(&str, bool)] = &[
    ("redis", true),
    ("valkey", true),
    ("redis+unix", true),
    ("valkey+unix", true),
    ("rediss", true),
    ("valkeys", true),
    ("redis-sentinel", false),
    ("rediss-sentinel", false),
    ("valkey-sentinel", false),
    ("redis-cluster", false),
    ("rediss-cluster", false),
    ("valkey-cluster", false),
    ("redis-socket", false),
    ("unix", false),
];

/// A URL of a supported form, taken apart. Not `Debug`: it holds the password.
pub(super) struct RedisUrl {
    scheme: &'static str,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) address: Address,
    pub(super) database: Option<u8>,
}

impl RedisUrl {
    /// Takes a URL apart; the error is the rest of a sentence and quotes nothing of the URL but a known scheme.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (given, rest) = text.split_once("://").ok_or("has no scheme; write redis://HOST:PORT")?;
        let scheme = match known_scheme(given) {
            Some((scheme, true)) => scheme,
            Some((scheme, false)) => {
                return Err(format!("has the form {scheme}://, which is not supported yet; {SUPPORTED}"));
            }
            None => return Err(format!("has a form that is not supported yet; {SUPPORTED}")),
        };
        if rest.contains(['?', '#']) {
            return Err(
                "has query parameters or a fragment, which are not supported; in a password write ? as %3F and # as %23"
                    .to_owned(),
            );
        }
        if rest.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
            return Err("holds white space; in a password write a space as %20".to_owned());
        }
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        // Without an authority the path is all there is, and it may hold an @: /run/redis@1/r.sock.
        if path.contains('@') && (!authority.is_empty() || path.contains(':')) {
            return Err("has a / before its @; in a password write / as %2F".to_owned());
        }
        let (user, password, server) = credentials(authority)?;
        let (address, database) =
            if scheme.ends_with("+unix") { (unix(server, path)?, None) } else { tcp(server, path)? };
        Ok(Self { scheme, user, password, address, database })
    }

    /// Is the connection made with TLS?
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.scheme, "rediss" | "valkeys")
    }

    /// The URL with stars for its password.
    pub(super) fn display(&self) -> String {
        let user = self.user.as_deref().map(percent_encode).unwrap_or_default();
        let credentials = match self.password {
            Some(_) => format!("{user}:{STARS}@"),
            None if user.is_empty() => String::new(),
            None => format!("{user}@"),
        };
        let scheme = self.scheme;
        match &self.address {
            Address::Tcp { host, port } => {
                let database = self.database.map(|number| format!("/{number}")).unwrap_or_default();
                format!("{scheme}://{credentials}{host}:{port}{database}")
            }
            Address::Unix(path) if credentials.is_empty() => format!("{scheme}://{}", path.display()),
            // URL parsers refuse credentials without a host.
            Address::Unix(path) => format!("{scheme}://{credentials}localhost{}", path.display()),
        }
    }
}

fn known_scheme(given: &str) -> Option<(&'static str, bool)> {
    SCHEMES.iter().copied().find(|(scheme, _)| scheme.eq_ignore_ascii_case(given))
}

type Credentials<'a> = (Option<String>, Option<String>, &'a str);

/// User, password and what follows them.
fn credentials(authority: &str) -> Result<Credentials<'_>, String> {
    let Some((credentials, server)) = authority.rsplit_once('@') else {
        return Ok((None, None, authority));
    };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let decoded = |text: &str| Ok::<_, String>(Some(percent_decode(text)?).filter(|text| !text.is_empty()));
    Ok((decoded(user)?, decoded(password)?, server))
}

fn tcp(server: &str, path: &str) -> Result<(Address, Option<u8>), String> {
    let (host, port) = host_and_port(server)?;
    let database = match path {
        "" | "/" => None,
        _ => {
            let number = path[1..].parse().map_err(|_| "has a database that is not a number from 0 to 255")?;
            Some(number)
        }
    };
    Ok((Address::Tcp { host, port: port.unwrap_or(PORT) }, database))
}

fn unix(server: &str, path: &str) -> Result<Address, String> {
    if !server.is_empty() && server != "localhost" {
        return Err("names a host before the path; a socket has three slashes: redis+unix:///PATH".to_owned());
    }
    if path.len() < 2 {
        return Err("has no path; write redis+unix:///PATH".to_owned());
    }
    if !path.chars().all(|letter| letter.is_ascii_graphic() && !"\"<>`{}%^|\\".contains(letter)) {
        return Err("has a path with characters that a URL does not allow; use a simpler path".to_owned());
    }
    Ok(Address::Unix(path.into()))
}
