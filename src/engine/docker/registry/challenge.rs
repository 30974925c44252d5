//! What a registry wants of the one who asks, and the token of the authority that it names.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Uri};
use serde::Deserialize;

use super::pause::{said_by, text_of};
use crate::engine::docker::credentials::Login;
use crate::tls::web::ask;

/// What an authority's answer may have.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// How a registry wants to be told who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        /// `service` and `scope`, as part of a URL.
        query: String,
    },
}

impl Challenge {
    /// What the answer says; a scope that it leaves out is to read this image.
    pub(super) fn of(headers: &HeaderMap, path: &str) -> Option<Self> {
        let text = text_of(headers, &WWW_AUTHENTICATE)?;
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, format!("repository:{path}:pull"));
        let mut rest = rest;
        while let Some((name, more)) = rest.split_once("=\"") {
            let (value, more) = more.split_once('"')?;
            match name.trim_matches([',', ' ']) {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value),
                "scope" => value.clone_into(&mut scope),
                _ => {}
            }
            rest = more;
        }
        let service = service.map(|service| format!("service={}&", escaped(service))).unwrap_or_default();
        Some(Self::Bearer { realm: realm?, query: format!("{service}scope={}", escaped(&scope)) })
    }
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b':' | b'/' | b',' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// Whether the authority at `realm` may hear who we are to the registry at `base`: it is on the registry's own host, below it,
/// or beside it under the same domain, and is not spoken to in the clear unless the registry is. A realm is whatever the
/// registry's answer says.
fn is_trusted(realm: &Uri, base: &Uri) -> bool {
    let host_of = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    let (Some(theirs), Some(own)) = (host_of(realm), host_of(base)) else { return false };
    if theirs == own {
        return true;
    }
    // Addresses have no domain.
    if own.starts_with('[') || own.parse::<IpAddr>().is_ok() {
        return false;
    }
    let is_within =
        |domain: &str| theirs == domain || theirs.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    // What ends in one label alone, such as `com`, belongs to many.
    let parent = own.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'));
    is_within(&own) || parent.is_some_and(is_within)
}

/// A header that the client library does not show.
pub(super) fn secret(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

pub(super) fn basic(login: &Login) -> Option<HeaderValue> {
    let Login::Password { user, password } = login else { return None };
    HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())))).ok()
}

/// Not `Debug`: it is made of secrets.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Given {
    token: Option<String>,
    /// The same under the name that OAuth has for it; some authorities give both.
    access_token: Option<String>,
}

/// A token of the authority; or how long that wants to be left alone.
pub(super) async fn token(
    base: &Uri,
    (realm, query): (&str, &str),
    login: Option<&Login>,
) -> Option<Result<String, Duration>> {
    let separator = if realm.contains('?') { '&' } else { '?' };
    let url: Uri = format!("{realm}{separator}{query}").parse().ok()?;
    let is_in_the_clear = url.scheme_str() != Some("https");
    if is_in_the_clear && base.scheme_str() != Some("http") || login.is_some() && !is_trusted(&url, base) {
        return None;
    }
    let headers = login.and_then(basic).map(|value| (AUTHORIZATION, secret(value))).into_iter().collect();
    let answer = ask(Method::GET, &url, headers, TOKEN_BYTES_MAX).await?;
    if let Some(wait) = said_by(&answer) {
        return Some(Err(wait));
    }
    let given: Given = serde_json::from_slice(&answer.body).ok()?;
    given.token.or(given.access_token).map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_the_domain_of_the_registry_alone() {
        for (realm, base, expected) in [
            ("https://r.example/token", "https://r.example:5000", true),
            ("https://R.Example/token", "https://r.example", true),
            ("https://auth.docker.io/token", "https://registry-1.docker.io", true),
            ("https://gitlab.example.org/jwt", "https://registry.gitlab.example.org", true),
            ("https://auth.example.org/t", "https://r.example.org", true),
            ("https://auth.ghcr.io/t", "https://ghcr.io", true),
            ("https://evil.io/t", "https://ghcr.io", false),
            ("https://evilexample.org/t", "https://r.example.org", false),
            ("https://r.example.org.evil.org/t", "https://r.example.org", false),
            ("https://r.example.org@evil.org/t", "https://r.example.org", false),
            ("http://127.0.0.1:6000/t", "http://127.0.0.1:5000", true),
            ("http://9.0.0.1/t", "http://127.0.0.1:5000", false),
            ("http://[::1]:6000/t", "http://[::1]:5000", true),
        ] {
            let uri = |text: &str| text.parse().expect("a URL");
            assert_eq!(is_trusted(&uri(realm), &uri(base)), expected, "{realm} of {base}");
        }
    }

    #[test]
    fn challenges_are_understood() {
        let of = |text: &'static str| {
            let headers: HeaderMap = [(WWW_AUTHENTICATE, HeaderValue::from_static(text))].into_iter().collect();
            Challenge::of(&headers, "a/b")
        };
        let bearer = r#"Bearer realm="https://a.example/token",service="r.example",scope="repository:a/b:pull""#;
        let query = "service=r.example&scope=repository:a/b:pull".to_owned();
        let realm = "https://a.example/token".to_owned();
        assert_eq!(of(bearer), Some(Challenge::Bearer { realm: realm.clone(), query: query.clone() }));
        let without_scope = r#"Bearer realm="https://a.example/token",service="r.example""#;
        assert_eq!(of(without_scope), Some(Challenge::Bearer { realm, query }));
        assert_eq!(of("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(of("Negotiate"), None);
        assert_eq!(of("Bearer service=\"x\""), None);
    }
}
