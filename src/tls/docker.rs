//! A client of a Docker Engine, in whichever form it is reached; the one place that makes one.
//!
//! The client library has TLS of its own. It trusts the system's authorities besides the one that is named, and reads
//! the client certificate anew for each connection, silently doing without one that it cannot read; so it gets our
//! transport instead.

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::Tls;

/// A client of the engine at `unix:///PATH` or `tcp://HOST:PORT`. Nothing is sent yet; no answer may take longer than
/// `seconds`.
pub(crate) fn docker_client(host: &str, tls: Option<&Tls>, seconds: u64) -> Result<Docker, Error> {
    match (host.strip_prefix("unix://"), tls) {
        (Some(path), _) => Docker::connect_with_unix(path, seconds, API_DEFAULT_VERSION),
        (None, Some(tls)) => encrypted(host, tls, seconds),
        (None, None) => Docker::connect_with_http(host, seconds, API_DEFAULT_VERSION),
    }
}

fn encrypted(host: &str, tls: &Tls, seconds: u64) -> Result<Docker, Error> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    // What is connected to is https://.
    tcp.enforce_http(false);
    let connector = HttpsConnector::from((tcp, tls.config()));
    // As the library does: a kept connection that the engine has just closed would fail the next call.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let send = move |request: BollardRequest| {
        let client = client.clone();
        async move { client.request(request).await.map_err(Error::from) }
    };
    let address = host.strip_prefix("tcp://").unwrap_or(host);
    Docker::connect_with_custom_transport(send, Some(format!("https://{address}")), seconds, API_DEFAULT_VERSION)
}
