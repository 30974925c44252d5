//! Secrets, and what may be shown of a text that could hold one.

use std::fmt;

/// What is shown instead of a secret.
pub(crate) const STARS: &str = "***";

/// A text that is never printed: its `Debug` and `Display` show stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A text that is from now on never printed.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

/// The longest port, in digits.
const PORT_DIGITS: usize = 5;

/// The text with every credential in it starred, whichever setting it was given to: people paste URLs and keys into the
/// wrong one. A text without a credential stays as it is.
pub(crate) fn without_credentials(text: &str) -> String {
    if text.contains("-----BEGIN") && text.contains("PRIVATE KEY") {
        return STARS.to_owned();
    }
    match text.split_once("://") {
        Some((before, rest)) => url_without_credentials(before, rest),
        // USER:PASSWORD@HOST, as a URL that lost its scheme. A key such as `jobs:start@blue` is none.
        None => match text.rsplit_once('@') {
            Some((user, server)) if user.contains(':') && is_server(server) => format!("{STARS}@{server}"),
            _ => text.to_owned(),
        },
    }
}

fn url_without_credentials(before: &str, rest: &str) -> String {
    let rest = match rest.split_once('?') {
        // As in `?password=...`, but not where the ? is part of a password.
        Some((url, query)) if !query.contains('@') && query.contains('=') => format!("{url}?{STARS}"),
        _ => rest.to_owned(),
    };
    // What is not only a scheme may hold a credential itself.
    let before = if before.contains('@') { STARS } else { before };
    let unchanged = || format!("{before}://{rest}");
    // After three slashes there is a path: `unix:///run/user@1000/docker.sock`.
    if rest.starts_with('/') && !rest.contains(':') {
        return unchanged();
    }
    // The last @: a password may hold one itself.
    match rest.rsplit_once('@') {
        // A key or an agent logs in there, never a password.
        Some((user, _)) if before.eq_ignore_ascii_case("ssh") && !user.contains([':', '/', '@']) => unchanged(),
        Some((_, after)) => format!("{before}://{STARS}@{after}"),
        None => unchanged(),
    }
}

/// Is this plainly the address of a server, which no password looks like: `localhost`, `10.0.0.1`, `redis.example`,
/// `redis:6379/0`?
fn is_server(text: &str) -> bool {
    let (server, database) = text.split_once('/').unwrap_or((text, ""));
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (server, None),
    };
    let is_host = if host.starts_with('[') { host.ends_with(']') } else { is_name(host) };
    is_host
        && database.len() <= 3
        && is_number(database)
        && match port {
            Some(port) => !port.is_empty() && port.len() <= PORT_DIGITS && is_number(port),
            None => host == "localhost" || host.contains('.') || host.starts_with('['),
        }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._".contains(letter))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What may be shown of a text that was meant to be a URL with a password, and is none: the scheme, the host, and what
/// cannot be a password.
pub(crate) fn of_broken_url(text: &str) -> String {
    let is_scheme = |text: &str| {
        text.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    };
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        // A lone word may be the password.
        return if is_server(text) { text.to_owned() } else { STARS.to_owned() };
    };
    if let Some((_, server)) = rest.rsplit_once('@') {
        let server = if is_server(server) || is_name(server) { server } else { STARS };
        return format!("{scheme}://{STARS}@{server}");
    }
    let is_path = rest.starts_with('/') && !rest.contains(['?', '#', ':']);
    if rest.is_empty() || is_path || is_server(rest) {
        return format!("{scheme}://{rest}");
    }
    // A password is in the place of the port, or after it.
    let end = rest.find(|letter: char| !is_name(letter.encode_utf8(&mut [0; 4]))).unwrap_or(rest.len());
    let (host, more) = rest.split_at(end);
    match more.chars().next() {
        None => format!("{scheme}://{host}"),
        Some(separator) if "/:?#".contains(separator) => format!("{scheme}://{host}{separator}{STARS}"),
        Some(_) => format!("{scheme}://{STARS}"),
    }
}

/// What may be shown of the name of a file with a secret that cannot be read: people write the secret itself there.
pub(crate) fn of_missing_file(text: &str) -> String {
    let is_path = ["/", "./", "../", "~/"].iter().any(|begin| text.starts_with(begin));
    if is_path { without_credentials(text) } else { STARS.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_starred_and_nothing_else() {
        for (given, shown) in [
            ("redis://u:secret@h", "redis://***@h"),
            ("redis://secret@h:1/2", "redis://***@h:1/2"),
            ("https://u:a@b/secret@h/path", "https://***@h/path"),
            ("redis://h/0?password=secret", "redis://h/0?***"),
            ("redis://u:secret@h1,redis://u:secret@h2", "redis://***@h2"),
            ("u:secret@h redis://h", "***://h"),
            ("u:secret@redis.example", "***@redis.example"),
            (":secret@redis:6379/0", "***@redis:6379/0"),
            ("-----BEGIN PRIVATE KEY-----\nsecret", "***"),
            ("ssh://u:secret@h", "ssh://***@h"),
        ] {
            assert_eq!(without_credentials(given), shown, "{given}");
        }
        for plain in [
            "runtime:start_jobs",
            "runtime:jobs@blue",
            "unix:///run/user@1000/docker.sock",
            "redis+unix:///run/redis@1/r.sock",
            "ssh://me@h",
            "tcp://h:2375",
            "/run/secrets/redis",
            "me@example.com",
            "64KiB",
        ] {
            assert_eq!(without_credentials(plain), plain);
        }
    }

    #[test]
    fn a_broken_url_shows_what_is_no_password() {
        for (given, shown) in [
            ("localhost:6379", "localhost:6379"),
            ("sesame", "***"),
            ("u:sesame", "***"),
            ("u:sesame@h", "***"),
            ("redis-cluster://h:7000", "redis-cluster://h:7000"),
            ("http://h", "http://h"),
            ("redis://h:sesame", "redis://h:***"),
            ("redis://u:12a@h:sesame", "redis://***@***"),
            ("redis://h/sesame", "redis://h/***"),
            ("redis://h?password=sesame", "redis://h?***"),
            ("redis://:sesame", "redis://:***"),
            ("redis://", "redis://"),
            ("redis+unix:///a b", "redis+unix:///a b"),
            ("redis://u:ses ame", "redis://u:***"),
            ("redis://ses%41me", "redis://***"),
        ] {
            assert_eq!(of_broken_url(given), shown, "{given}");
        }
    }
}
