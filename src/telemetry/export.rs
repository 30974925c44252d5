//! The way of spans out of the process: a bounded queue, and a thread of its own that sends what is in it.
//!
//! Nothing waits for a collector. While it is away, slow or wrong, spans are dropped and counted.

use std::io;
use std::time::Duration;

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Message};
use prometheus_client::metrics::counter::Counter;
use prost::Message as _;
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::queue::Queue;
use super::span::{Recording, Tracer, text};
use crate::tls::Tls;
use crate::tls::web::{Question, ask_over, system_tls};

/// Spans of one request.
const BATCH_MAX: usize = 512;
/// How long a span waits for others to be sent with. Until then nothing wakes the thread, which would cost the replica a
/// call to the system for each span.
const BATCH_WAIT: Duration = Duration::from_millis(250);
/// After a request that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// What is read of an answer: it says how many spans were refused.
const ANSWER_MAX: usize = 16 << 10;
/// How long a process that ends waits for its last spans to be sent.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// And for the thread to notice that.
const FLUSH_MARGIN: Duration = Duration::from_millis(100);

const HINT: &str =
    "check OTEL_EXPORTER_OTLP_ENDPOINT and the collector; until then spans are dropped, and nothing else";

/// What became of spans.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    /// A collector has taken them.
    pub(crate) exported: Counter,
    /// The queue was full, or no collector took them.
    pub(crate) dropped: Counter,
}

/// The thread that sends spans.
#[derive(Debug)]
pub(crate) struct Exporter {
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Exporter {
    /// Starts it.
    pub(crate) fn start(config: Config, counters: Counters) -> io::Result<(Tracer, Self)> {
        let (sampler, (queue, spans)) = (config.sampler, Queue::new(counters.dropped.clone()));
        let courier = Courier::new(config, counters)?;
        let stop = CancellationToken::new();
        let (has_ended, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stops = stop.clone();
        std::thread::Builder::new().name("traces".to_owned()).spawn(move || {
            runtime.block_on(courier.run(spans, stops));
            // A name lookup must not hold up the end.
            runtime.shutdown_background();
            // Where the process does not wait for it any more, it ends anyway.
            has_ended.send(()).ok();
        })?;
        Ok((Tracer::new(Recording { sampler, queue }), Self { stop, ended }))
    }

    /// Sends what waits, for [`FLUSH_MAX`] at most.
    pub(crate) async fn flush(self) {
        self.stop.cancel();
        drop(timeout(FLUSH_MAX + FLUSH_MARGIN, self.ended).await);
    }
}

/// Brings spans to the collector.
struct Courier {
    config: Config,
    tls: Option<Tls>,
    resource: Resource,
    counters: Counters,
    is_failing: bool,
}

impl Courier {
    fn new(config: Config, counters: Counters) -> io::Result<Self> {
        let is_encrypted = config.endpoint.scheme_str() == Some("https");
        let tls = is_encrypted.then(system_tls).transpose();
        let tls = tls.map_err(|error| io::Error::other(error.to_string()))?;
        let resource = resource(&config);
        Ok(Self { config, tls, resource, counters, is_failing: false })
    }

    /// Until it is stopped, and a moment longer for what waits then.
    async fn run(mut self, mut spans: Receiver<Message>, stop: CancellationToken) {
        let is_late = async {
            stop.cancelled().await;
            sleep(FLUSH_MAX).await;
        };
        tokio::select! {
            biased;
            () = self.carry(&mut spans, &stop) => {}
            () = is_late => {}
        }
    }

    async fn carry(&mut self, spans: &mut Receiver<Message>, stop: &CancellationToken) {
        while let Some(batch) = gather(spans, stop).await {
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            match self.send(batch).await {
                Ok(refused) => {
                    let refused = refused.min(count);
                    self.counters.dropped.inc_by(refused);
                    self.counters.exported.inc_by(count - refused);
                    self.sent(refused);
                }
                Err(err) => {
                    self.counters.dropped.inc_by(count);
                    self.failed(&err);
                    drop(timeout(PAUSE, stop.cancelled()).await);
                }
            }
        }
    }

    /// One request; answers how many of the spans the collector refused.
    async fn send(&self, spans: Vec<Message>) -> Result<u64, String> {
        let scope =
            InstrumentationScope { name: "startjobs".to_owned(), version: VERSION.to_owned(), ..Default::default() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let resource = Some(self.resource.clone());
        let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
        let mut headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf")),
            (USER_AGENT, HeaderValue::from_static(concat!("startjobs/", env!("CARGO_PKG_VERSION")))),
        ];
        headers.extend(self.config.headers.iter().cloned());
        let question =
            Question { method: Method::POST, url: &self.config.endpoint, headers, body, answer_max: ANSWER_MAX };
        let answer = timeout(self.config.timeout, ask_over(self.tls.as_ref(), question)).await;
        let answer = answer.map_err(|_| format!("no answer within {:?}", self.config.timeout))?;
        let answer = answer.map_err(|error| error.to_string())?;
        if !(200..300).contains(&answer.status) {
            return Err(format!("answered {}", answer.status));
        }
        // An answer that is cut off or of another form says nothing.
        let refused =
            ExportTraceServiceResponse::decode(&answer.body[..]).ok().and_then(|answer| answer.partial_success);
        Ok(refused.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0)))
    }

    fn sent(&mut self, refused: u64) {
        if refused > 0 {
            tracing::debug!(spans = refused, "the collector refused spans");
        }
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("traces are exported again");
        }
    }

    fn failed(&mut self, err: &str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let endpoint = self.config.endpoint.authority().map(ToString::to_string);
            tracing::warn!(endpoint, err, hint = HINT, "traces cannot be exported");
        }
    }
}

/// The next spans to be sent together; nothing once it is stopped and nothing waits.
async fn gather(spans: &mut Receiver<Message>, stop: &CancellationToken) -> Option<Vec<Message>> {
    let mut batch = Vec::new();
    tokio::select! {
        biased;
        _ = spans.recv_many(&mut batch, BATCH_MAX) => {}
        () = stop.cancelled() => {}
    }
    if !batch.is_empty() && batch.len() < BATCH_MAX {
        drop(timeout(BATCH_WAIT, stop.cancelled()).await);
        while batch.len() < BATCH_MAX
            && let Ok(span) = spans.try_recv()
        {
            batch.push(span);
        }
    }
    (!batch.is_empty()).then_some(batch)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What all spans of this process are about. What the environment says comes first.
fn resource(config: &Config) -> Resource {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let own = [
        ("service.version", VERSION.to_owned()),
        ("service.instance.id", uuid::Uuid::new_v4().to_string()),
        ("host.name", host),
        ("process.pid", std::process::id().to_string()),
    ];
    let given = config.resource.iter().map(|(key, value)| text(key, value));
    let own = own.iter().filter(|(key, _)| config.resource.iter().all(|(given, _)| given != key));
    let attributes = [text("service.name", &config.service)].into_iter().chain(given);
    Resource { attributes: attributes.chain(own.map(|(key, value)| text(key, value))).collect(), ..Resource::default() }
}
