//! The Redis URL: which forms there are, and how one is shown without its password.

use super::url::{host_and_port, percent_decode, percent_encode};
use crate::redis::config::{Address, HostPort};
use crate::secret::STARS;

/// What may be said about the forms that work.
const SUPPORTED: &str =
    "supported are redis://, rediss:// (TLS), redis+unix:// and redis-sentinel://, and the same with valkey";
/// The port of a URL that names none, and of a sentinel without one.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// A service has three or five; a longer list is a mistake.
const SENTINELS_MAX: usize = 32;

/// What follows the scheme.
#[derive(Clone, Copy)]
enum Form {
    /// A server.
    Server,
    /// A socket.
    Socket,
    /// Sentinels, and a service.
    Sentinels,
    /// Not supported.
    Other,
}

/// The schemes people use for Redis, so that an unsupported one can be named; whether TLS is used, and what follows.
const SCHEMES: &[(&str, bool, Form)] = &[
    ("redis", false, Form::Server),
    ("valkey", false, Form::Server),
    ("rediss", true, Form::Server),
    ("valkeys", true, Form::Server),
    ("redis+unix", false, Form::Socket),
    ("valkey+unix", false, Form::Socket),
    ("redis-sentinel", false, Form::Sentinels),
    ("valkey-sentinel", false, Form::Sentinels),
    ("rediss-sentinel", true, Form::Sentinels),
    ("valkeys-sentinel", true, Form::Sentinels),
    ("redis-cluster", false, Form::Other),
    ("rediss-cluster", true, Form::Other),
    ("valkey-cluster", false, Form::Other),
    ("redis-socket", false, Form::Other),
    ("unix", false, Form::Other),
];

/// A URL of a supported form, taken apart. Not `Debug`: it holds the password.
pub(super) struct RedisUrl {
    scheme: &'static str,
    is_encrypted: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) address: Address,
    pub(super) database: Option<u8>,
}

impl RedisUrl {
    /// Takes a URL apart; the error is the rest of a sentence and quotes nothing of the URL but a known scheme.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (given, rest) = text.split_once("://").ok_or("has no scheme; write redis://HOST:PORT")?;
        let (scheme, is_encrypted, form) = match known_scheme(given) {
            Some((scheme, _, Form::Other)) => {
                return Err(format!("has the form {scheme}://, which is not supported yet; {SUPPORTED}"));
            }
            Some(known) => known,
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
        let (address, database) = match form {
            Form::Socket => (unix(server, path)?, None),
            Form::Sentinels => sentinels(server, path)?,
            Form::Server | Form::Other => tcp(server, path)?,
        };
        Ok(Self { scheme, is_encrypted, user, password, address, database })
    }

    /// Is the connection made with TLS?
    pub(super) fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Does it name sentinels, and not a server?
    pub(super) fn names_sentinels(&self) -> bool {
        matches!(self.address, Address::Sentinel { .. })
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
        let database = self.database.map(|number| format!("/{number}")).unwrap_or_default();
        match &self.address {
            Address::Tcp { host, port } => format!("{scheme}://{credentials}{host}:{port}{database}"),
            Address::Sentinel { sentinels, service } => {
                let sentinels: Vec<String> = sentinels.iter().map(ToString::to_string).collect();
                format!("{scheme}://{credentials}{}/{service}{database}", sentinels.join(","))
            }
            Address::Unix(path) if credentials.is_empty() => format!("{scheme}://{}", path.display()),
            // URL parsers refuse credentials without a host.
            Address::Unix(path) => format!("{scheme}://{credentials}localhost{}", path.display()),
        }
    }
}

fn known_scheme(given: &str) -> Option<(&'static str, bool, Form)> {
    SCHEMES.iter().copied().find(|(scheme, _, _)| scheme.eq_ignore_ascii_case(given))
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
    let database = database(path.strip_prefix('/').unwrap_or(path))?;
    Ok((Address::Tcp { host, port: port.unwrap_or(PORT) }, database))
}

fn database(text: &str) -> Result<Option<u8>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "has a database that is not a number from 0 to 255".to_owned())
}

fn sentinels(servers: &str, path: &str) -> Result<(Address, Option<u8>), String> {
    let mut sentinels: Vec<HostPort> = Vec::new();
    for server in servers.split(',') {
        let (host, port) = host_and_port(server)?;
        let sentinel = HostPort { host, port: port.unwrap_or(SENTINEL_PORT) };
        // An answer that is counted twice could outvote the others.
        if sentinels.contains(&sentinel) {
            return Err("names one sentinel twice".to_owned());
        }
        sentinels.push(sentinel);
    }
    if sentinels.len() > SENTINELS_MAX {
        return Err(format!("names more than {SENTINELS_MAX} sentinels"));
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    let (service, number) = path.split_once('/').unwrap_or((path, ""));
    if service.is_empty() {
        return Err("names no service; write redis-sentinel://HOST:26379/SERVICE".to_owned());
    }
    if !service.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._".contains(letter)) {
        return Err("has a service with other characters than letters, digits, -, . and _".to_owned());
    }
    Ok((Address::Sentinel { sentinels, service: service.to_owned() }, database(number)?))
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
