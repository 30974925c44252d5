//! A client of a Docker Engine, in whichever form it is reached; the one place that makes one.
//!
//! The client library has connections of its own, which we do not use. Its TLS trusts the system's authorities besides
//! the one that is named, and reads the client certificate anew for each connection, silently doing without one that it
//! cannot read. And none of its connections bounds what it reads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::service::Service;
use hyper::{Response, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use super::Tls;
use super::budget::{Budget, Counted};

/// What is read ahead of the library, and what the head of an answer may have.
const READ_AHEAD: usize = 64 * 1024;
/// A connection on which nothing comes for so long, a stream of events say, is asked whether it is still there, and given
/// up after three questions.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Where an engine is, and how a connection to it is made.
enum Place {
    Unix(String),
    Tcp { connector: HttpConnector, uri: Uri },
    Tls { connector: HttpsConnector<HttpConnector>, uri: Uri },
}

/// The connection itself failed. The library's error does not show what it is made of, but it does show this one's source.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect: {0}")]
struct Unconnected(#[source] Box<dyn std::error::Error + Send + Sync>);

fn unconnected(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    io::Error::other(Unconnected(error.into())).into()
}

/// A client of the engine at `unix:///PATH` or `tcp://HOST:PORT`. Nothing is sent yet; the head of no answer may take
/// longer than `seconds`. A request's [`Budget`] bounds its answer; without one the default does.
pub(crate) fn docker_client(host: &str, tls: Option<&Tls>, seconds: u64) -> Result<Docker, Error> {
    let (place, url) = place(host, tls)?;
    let place = Arc::new(place);
    let send = move |request: BollardRequest| {
        let place = Arc::clone(&place);
        async move { place.send(request).await }
    };
    Docker::connect_with_custom_transport(send, Some(url), seconds, API_DEFAULT_VERSION)
}

/// The place, and the URL that requests have.
fn place(host: &str, tls: Option<&Tls>) -> Result<(Place, String), Error> {
    if let Some(path) = host.strip_prefix("unix://") {
        return Ok((Place::Unix(path.to_owned()), "http://localhost".to_owned()));
    }
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE));
    connector.set_keepalive_retries(Some(3));
    // What is connected to may be https://.
    connector.enforce_http(false);
    let address = host.strip_prefix("tcp://").unwrap_or(host);
    let url = format!("{}://{address}", if tls.is_some() { "https" } else { "http" });
    let uri = url.parse().map_err(|error| Error::from(io::Error::other(error)))?;
    let place = match tls {
        None => Place::Tcp { connector, uri },
        Some(tls) => Place::Tls { connector: HttpsConnector::from((connector, tls.config())), uri },
    };
    Ok((place, url))
}

impl Place {
    /// Sends a request over a connection of its own: a kept one that the engine has just closed would fail the call.
    async fn send(&self, request: BollardRequest) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Unix(path) => {
                let connection = UnixStream::connect(path).await.map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => Error::SocketNotFoundError(path.clone()),
                    _ => unconnected(error),
                })?;
                exchange(connection, request).await
            }
            Self::Tcp { connector, uri } => {
                let connected = TowerToHyperService::new(connector.clone()).call(uri.clone()).await;
                exchange(connected.map_err(unconnected)?.into_inner(), request).await
            }
            Self::Tls { connector, uri } => {
                let connected = TowerToHyperService::new(connector.clone()).call(uri.clone()).await;
                exchange(TokioIo::new(connected.map_err(unconnected)?), request).await
            }
        }
    }
}

/// One request and the head of its answer, whose body the connection goes on to read for as long as it is wanted.
async fn exchange<T>(connection: T, mut request: BollardRequest) -> Result<Response<Incoming>, Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let budget = request.extensions_mut().remove::<Budget>().unwrap_or_default();
    budget.begin();
    // The library gives each request the whole URL, and a client that names no proxy sends its path alone.
    if let Some(host) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        request.headers_mut().insert(HOST, host);
    }
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    let connection = TokioIo::new(Counted { connection, budget: budget.clone() });
    let (mut sender, connection) = http1::Builder::new().max_buf_size(READ_AHEAD).handshake(connection).await?;
    // It ends when the answer has been read or is no longer wanted; its failure is the answer's.
    tokio::spawn(async move { drop(connection.await) });
    let answer = sender.send_request(request).await?;
    // The library takes it for a success, and nothing here asks for it.
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(io::Error::other("the engine answered 101 and switched to another protocol").into());
    }
    budget.head_arrived();
    Ok(answer)
}
