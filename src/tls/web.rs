//! One request to a web server that a registry's image names, or to a collector of traces, bounded in bytes. Redirects are
//! not followed.

use std::convert::Infallible;
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
    let tls = is_encrypted.then(|| Tls::new(Peer::Docker, Roots::System, None)).transpose().ok()?;
    ask_over(tls.as_ref(), Question { method, url, headers, body: Bytes::new(), answer_max: body_max }).await
}

/// Asks over TLS, or without it where there is none. None where there is no answer. The caller bounds the time.
pub(crate) async fn ask_over(tls: Option<&Tls>, question: Question<'_>) -> Option<WebAnswer> {
    let Question { method, url, headers, body, answer_max } = question;
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let mut request = Request::new(Whole(Some(body)));
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(url.path_and_query()?.clone());
    request.headers_mut().insert(HOST, HeaderValue::from_str(url.authority()?.as_str()).ok()?);
    request.headers_mut().extend(headers);
    if let Some(tls) = tls {
        let connector = HttpsConnector::from((connector, tls.config()));
        let connection = TowerToHyperService::new(connector).call(url.clone()).await.ok()?;
        exchange(TokioIo::new(connection), request, answer_max).await
    } else {
        let connection = TowerToHyperService::new(connector).call(url.clone()).await.ok()?;
        exchange(connection.into_inner(), request, answer_max).await
    }
}

async fn exchange<T>(connection: T, request: Request<Whole>, body_max: usize) -> Option<WebAnswer>
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
