//! One request to a web server that a registry's image names, bounded in time and bytes. Redirects are not followed.

use std::pin::Pin;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Peer, Roots, Tls};

/// What is read ahead, and what the head of an answer may have.
const READ_AHEAD: usize = 64 * 1024;

/// The answer of a web server.
#[derive(Debug)]
pub(crate) struct WebAnswer {
    /// Its status.
    pub(crate) status: u16,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body, as far as it is wanted.
    pub(crate) body: Vec<u8>,
}

/// Asks an `http://` or `https://` URL and reads at most `body_max` bytes of the answer. TLS trusts the system's authorities.
/// None where there is no answer. The caller bounds the time.
pub(crate) async fn ask(
    method: Method,
    url: &Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body_max: usize,
) -> Option<WebAnswer> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let mut request = Request::new(String::new());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(url.path_and_query()?.clone());
    request.headers_mut().insert(HOST, HeaderValue::from_str(url.authority()?.as_str()).ok()?);
    request.headers_mut().extend(headers);
    if url.scheme_str() == Some("https") {
        let tls = Tls::new(Peer::Docker, Roots::System, None).ok()?;
        let connector = HttpsConnector::from((connector, tls.config()));
        let connection = TowerToHyperService::new(connector).call(url.clone()).await.ok()?;
        exchange(TokioIo::new(connection), request, body_max).await
    } else {
        let connection = TowerToHyperService::new(connector).call(url.clone()).await.ok()?;
        exchange(connection.into_inner(), request, body_max).await
    }
}

async fn exchange<T>(connection: T, request: Request<String>, body_max: usize) -> Option<WebAnswer>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(READ_AHEAD).handshake(TokioIo::new(connection)).await.ok()?;
    // It ends when the answer has been read or is no longer wanted; its failure is the answer's.
    tokio::spawn(async move { drop(connection.await) });
    let answer = sender.send_request(request).await.ok()?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Some(WebAnswer { status, headers, body: read(answer.into_body(), body_max).await })
}

async fn read(mut body: Incoming, bytes_max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < bytes_max {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(Ok(frame)) = frame else { break };
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data[..data.len().min(bytes_max - bytes.len())]);
        }
    }
    bytes
}
