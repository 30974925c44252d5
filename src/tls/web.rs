//! One request to a web server that a registry's image names, or to a collector of traces, bounded in bytes. Redirects are
//! not followed.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{FileError, Peer, Roots, Tls};

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

/// A request.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// Its method.
    pub(crate) method: Method,
    /// Where it goes, `http://` or `https://`.
    pub(crate) url: &'a Uri,
    /// What it has besides `Host`.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// What is sent.
    pub(crate) body: Bytes,
    /// How many bytes of the answer are read.
    pub(crate) answer_max: usize,
}

/// Asks an `http://` or `https://` URL and reads at most `body_max` bytes of the answer. TLS trusts the system's authorities.
/// None where there is no answer. The caller bounds the time.
pub(crate) async fn ask(
    method: Method,
    url: &Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body_max: usize,
) -> Option<WebAnswer> {
    let is_encrypted = url.scheme_str() == Some("https");
    let tls = is_encrypted.then(system_tls).transpose().ok()?;
    let question = Question { method, url, headers, body: Bytes::new(), answer_max: body_max };
    ask_over(tls.as_ref(), question).await.ok()
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    /// Nothing can be asked there.
    #[error("{0} is no URL of a web server")]
    Url(String),
    /// The server cannot be reached, or the handshake failed.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// It has ended the connection, or what it sent is no HTTP.
    #[error("no answer over the connection: {0}")]
    Unanswered(String),
}

/// TLS to a web server that shows a certificate of the system's authorities.
pub(crate) fn system_tls() -> Result<Tls, FileError> {
    Tls::new(Peer::Web, Roots::System, None)
}

/// Asks over TLS, or without it where there is none. The caller bounds the time.
pub(crate) async fn ask_over(tls: Option<&Tls>, question: Question<'_>) -> Result<WebAnswer, WebError> {
    let Question { method, url, headers, body, answer_max } = question;
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let no_url = || WebError::Url(url.to_string());
    let host = url.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let mut request = Request::new(Whole(Some(body)));
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(url.path_and_query().ok_or_else(no_url)?.clone());
    request.headers_mut().insert(HOST, host.ok_or_else(no_url)?);
    request.headers_mut().extend(headers);
    if let Some(tls) = tls {
        let connector = HttpsConnector::from((connector, tls.config()));
        let unreachable = |error: Box<dyn Error + Send + Sync>| {
            WebError::Unreachable(tls.explain_causes(&*error).unwrap_or_else(|| causes(&*error)))
        };
        let connection = TowerToHyperService::new(connector).call(url.clone()).await.map_err(unreachable)?;
        exchange(TokioIo::new(connection), request, answer_max).await
    } else {
        let connection = TowerToHyperService::new(connector).call(url.clone()).await;
        let connection = connection.map_err(|error| WebError::Unreachable(causes(&error)))?;
        exchange(connection.into_inner(), request, answer_max).await
    }
}

/// An error with what caused it.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

async fn exchange<T>(connection: T, request: Request<Whole>, body_max: usize) -> Result<WebAnswer, WebError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let unanswered = |error: hyper::Error| WebError::Unanswered(causes(&error));
    let http = http1::Builder::new().max_buf_size(READ_AHEAD).handshake(TokioIo::new(connection)).await;
    let (mut sender, connection) = http.map_err(unanswered)?;
    // It ends when the answer has been read or is no longer wanted; its failure is the answer's.
    tokio::spawn(async move { drop(connection.await) });
    let answer = sender.send_request(request).await.map_err(unanswered)?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Ok(WebAnswer { status, headers, body: read(answer.into_body(), body_max).await })
}

/// A body that is there as a whole.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len().try_into().unwrap_or(u64::MAX)))
    }
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
