//! A collector of traces: OTLP over HTTP, with an answer of the test's choice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::certificates::Certificates;
use super::world::PATIENCE;

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes all spans.
    Takes,
    /// Takes all but so many.
    Refuses(i64),
    /// Answers this status and takes nothing.
    Says(&'static str),
    /// Never answers.
    Hangs,
    /// Takes all spans, and its answer has no end.
    NeverEnds,
}

/// The collector. Its tasks end with the test's runtime.
pub struct Collector {
    endpoint: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    heads: Vec<String>,
    spans: Vec<Recorded>,
}

/// A span that it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub name: String,
    pub kind: SpanKind,
    pub trace: String,
    pub id: String,
    /// Empty where it has none.
    pub parent: String,
    /// Unix nanoseconds.
    pub began: u64,
    pub ended: u64,
    pub attributes: BTreeMap<String, String>,
    pub resource: BTreeMap<String, String>,
    /// Trace and span of each.
    pub links: Vec<(String, String)>,
    pub has_failed: bool,
}

impl Recorded {
    /// The attribute of this name; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl Collector {
    /// One that does so with every request.
    pub async fn start(manner: Manner) -> Self {
        Self::listen(None, manner).await
    }

    /// One that takes all spans over TLS, and shows the certificate of a server.
    pub async fn encrypted(certificates: &Certificates) -> Self {
        let chain =
            CertificateDer::pem_file_iter(certificates.path("server-cert.pem")).expect("a file of certificates");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(certificates.path("server-key.pem")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let config = Arc::new(config.expect("the key belongs to the certificate"));
        Self::listen(Some(TlsAcceptor::from(config)), Manner::Takes).await
    }

    async fn listen(tls: Option<TlsAcceptor>, manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://{}", listener.local_addr().expect("its address"));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, tls) = (Arc::clone(&shared), tls.clone());
                // The client may end the connection at any time.
                tokio::spawn(async move {
                    drop(match tls {
                        Some(tls) => serve(tls.accept(stream).await?, &seen, manner).await,
                        None => serve(stream, &seen, manner).await,
                    });
                    std::io::Result::Ok(())
                });
            }
        });
        Self { endpoint, seen }
    }

    /// What makes a replica send its spans here.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// The heads of all requests.
    pub fn heads(&self) -> Vec<String> {
        self.seen.lock().expect("no panic while it is held").heads.clone()
    }

    /// All spans of these that it was sent.
    pub fn spans(&self, is_wanted: impl Fn(&Recorded) -> bool) -> Vec<Recorded> {
        let seen = self.seen.lock().expect("no panic while it is held");
        seen.spans.iter().filter(|&span| is_wanted(span)).cloned().collect()
    }

    /// Waits until it was sent so many of these.
    pub async fn got(&self, count: usize, what: &str, is_wanted: impl Fn(&Recorded) -> bool) -> Vec<Recorded> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self.spans(&is_wanted);
            if found.len() >= count {
                return found;
            }
            let all = || self.spans(|_| true);
            assert!(tokio::time::Instant::now() < deadline, "the collector never got {what}: {:#?}", all());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for so many requests.
    pub async fn asked(&self, count: usize) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.heads().len() < count {
            assert!(tokio::time::Instant::now() < deadline, "the collector is not asked");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn serve<S>(mut stream: S, seen: &Mutex<Seen>, manner: Manner) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.expect("a request says how long it is")];
    stream.read_exact(&mut body).await?;
    let request = ExportTraceServiceRequest::decode(&body[..]).expect("OTLP");
    {
        let mut seen = seen.lock().expect("no panic while it is held");
        seen.heads.push(head);
        if matches!(manner, Manner::Takes | Manner::Refuses(_) | Manner::NeverEnds) {
            seen.spans.extend(recorded(request));
        }
    }
    let refused = if let Manner::Refuses(count) = manner { count } else { 0 };
    let partial_success = ExportTracePartialSuccess { rejected_spans: refused, error_message: String::new() };
    let answer = ExportTraceServiceResponse { partial_success: Some(partial_success) }.encode_to_vec();
    match manner {
        Manner::Takes | Manner::Refuses(_) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
            stream.write_all(&[head.as_bytes(), &answer].concat()).await
        }
        Manner::Says(status) => {
            stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await
        }
        Manner::Hangs => std::future::pending().await,
        Manner::NeverEnds => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 4096]).await?;
            }
        }
    }
}

fn recorded(request: ExportTraceServiceRequest) -> Vec<Recorded> {
    let mut all = Vec::new();
    for resource_spans in request.resource_spans {
        let resource = texts(&resource_spans.resource.expect("a resource").attributes);
        let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        all.extend(spans.map(|span| of(&span, &resource)));
    }
    all
}

fn of(span: &Span, resource: &BTreeMap<String, String>) -> Recorded {
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
    let links = span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect();
    Recorded {
        name: span.name.clone(),
        kind: span.kind(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        began: span.start_time_unix_nano,
        ended: span.end_time_unix_nano,
        attributes: texts(&span.attributes),
        resource: resource.clone(),
        links,
        has_failed: span.status.as_ref().is_some_and(|status| status.code == 2),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{}: {other:?}", attribute.key),
    };
    let texts: BTreeMap<String, String> =
        attributes.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect();
    assert_eq!(texts.len(), attributes.len(), "an attribute twice: {attributes:?}");
    texts
}
