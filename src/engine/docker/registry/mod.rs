//! Asks a registry how long it wants to be left alone. An engine says that there were too many requests, and loses for how
//! long: so the manifest's head is asked for once, with the credentials of the pull, which go to the registry and to an authority
//! of its own domain alone.

// what it wants of the one who asks
mod challenge;
// how long it says
mod pause;
// for the fuzzer
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzed;

use std::time::Duration;

use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use hyper::{Method, Uri};
use tokio::time::timeout;

use self::challenge::{Challenge, basic, secret, token};
use self::pause::{said_by, said_in};
use super::credentials::Login;
use crate::contract::reference::Reference;
use crate::tls::web::{WebAnswer, ask};

/// How long all of it may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// The registry of Docker Hub.
const HUB_REGISTRY: &str = "registry-1.docker.io";

/// How long the registry of this image wants to be left alone, after an engine heard these words from it.
pub(super) async fn wait(image: &str, words: &str, login: Option<&Login>, is_local: bool) -> Option<Duration> {
    if let Some(said) = said_in(words) {
        return Some(said);
    }
    let image = Reference::parse(image)?;
    let base = base_of(image.registry, is_local)?;
    timeout(TIME_MAX, asked(&base, &image, login)).await.ok().flatten()
}

/// Where the registry is. A registry on loopback speaks plain HTTP, as engines have it, and is this machine's only where the
/// engine is on it.
fn base_of(registry: &str, is_local: bool) -> Option<String> {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => registry.split(':').next()?,
    };
    let is_loopback =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match (is_loopback, is_local) {
        (true, true) => Some(format!("http://{registry}")),
        (true, false) => None,
        (false, _) if registry == "docker.io" => Some(format!("https://{HUB_REGISTRY}")),
        (false, _) => Some(format!("https://{registry}")),
    }
}

async fn asked(base: &str, image: &Reference<'_>, login: Option<&Login>) -> Option<Duration> {
    let url: Uri = format!("{base}/v2/{}/manifests/{}", image.path, image.version).parse().ok()?;
    let answer = head(&url, None).await?;
    if answer.status != 401 {
        return said_by(&answer);
    }
    let challenge = Challenge::of(&answer.headers, image.path)?;
    let authorization = match challenge {
        Challenge::Basic => basic(login?)?,
        Challenge::Bearer { realm, query } => match token(&url, (&realm, &query), login).await? {
            Ok(token) => HeaderValue::from_str(&format!("Bearer {token}")).ok()?,
            Err(wait) => return Some(wait),
        },
    };
    said_by(&head(&url, Some(authorization)).await?)
}

async fn head(url: &Uri, authorization: Option<HeaderValue>) -> Option<WebAnswer> {
    const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
        application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
    let mut headers = vec![(ACCEPT, HeaderValue::from_static(MANIFESTS))];
    headers.extend(authorization.map(|value| (AUTHORIZATION, secret(value))));
    ask(Method::HEAD, url, headers, 0).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_asked_in_the_clear_and_only_beside_the_engine() {
        for (registry, is_local, expected) in [
            ("127.0.0.1:5000", true, Some("http://127.0.0.1:5000")),
            ("[::1]:5000", true, Some("http://[::1]:5000")),
            ("localhost:5000", false, None),
            ("10.0.0.1:5000", true, Some("https://10.0.0.1:5000")),
            ("docker.io", false, Some("https://registry-1.docker.io")),
        ] {
            assert_eq!(base_of(registry, is_local).as_deref(), expected, "{registry}");
        }
    }
}
