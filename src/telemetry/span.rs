//! Spans. One that is not recorded is an `Option` without a value, and so is everything beneath it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span as Message, Status};

use super::context::{self, Parent, Sampler, traceparent};
use super::queue::Queue;

/// Bytes of an attribute's text; the rest is cut off.
const TEXT_MAX: usize = 1024;
/// Links of one span.
const LINKS_MAX: usize = 128;
/// The flags of a span: what its parent is is known, and it is of another process.
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;
const SAMPLED: u32 = 1;

/// Makes spans, or none where traces are off. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Recording>>);

/// What all spans of a process have in common.
pub(super) struct Recording {
    pub(super) sampler: Sampler,
    pub(super) queue: Queue,
}

/// What a span is for the one on the other side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Work within this process.
    Internal,
    /// A call that is waited for.
    Client,
    /// A message that is sent.
    Producer,
    /// A message that is worked on.
    Consumer,
}

/// What a failure is called in `error.type`: one of few words.
pub(crate) trait ErrorType {
    /// That word.
    fn error_type(&self) -> Cow<'static, str>;
}

/// Attributes that many spans have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels(Vec<KeyValue>);

impl Labels {
    /// With a further text.
    pub(crate) fn text(mut self, key: &'static str, value: &str) -> Self {
        self.0.push(text(key, value));
        self
    }

    /// With a further number.
    pub(crate) fn number(mut self, key: &'static str, value: u64) -> Self {
        self.0.push(number(key, value));
        self
    }
}

impl Tracer {
    pub(super) fn new(recording: Recording) -> Self {
        Self(Some(Arc::new(recording)))
    }

    /// Whether anything is recorded.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Where the spans of something go that came with this context, or that has this trace id if it came with none.
    pub(crate) fn continued(&self, parent: Option<Parent>, trace_id: impl FnOnce() -> u128) -> Scope {
        let Some(recording) = &self.0 else { return Scope::default() };
        let (trace_id, span_id) = parent.map_or_else(|| (trace_id(), 0), |parent| (parent.trace_id, parent.span_id));
        if !recording.sampler.samples(parent, trace_id) {
            return Scope::default();
        }
        let recording = Arc::clone(recording);
        Scope(Some(Arc::new(Within { recording, trace_id, span_id, is_remote: true })))
    }

    /// Whether [`Tracer::continued`] would record.
    pub(crate) fn samples(&self, parent: Option<Parent>, trace_id: impl FnOnce() -> u128) -> bool {
        let Some(Recording { sampler, .. }) = self.0.as_deref() else { return false };
        sampler.samples(parent, parent.map_or_else(trace_id, |parent| parent.trace_id))
    }

    /// A trace of its own, which is recorded.
    pub(crate) fn apart(&self) -> Scope {
        let within = |recording: &Arc<Recording>| {
            let recording = Arc::clone(recording);
            Arc::new(Within { recording, trace_id: context::trace_id(), span_id: 0, is_remote: false })
        };
        Scope(self.0.as_ref().map(within))
    }
}

/// Beneath which span the next one goes; nothing where none is recorded.
#[derive(Clone, Default)]
pub struct Scope(Option<Arc<Within>>);

struct Within {
    recording: Arc<Recording>,
    trace_id: u128,
    /// 0: there is no span above.
    span_id: u64,
    is_remote: bool,
}

impl Scope {
    /// Whether anything is recorded.
    pub(crate) fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// The trace that is recorded.
    pub(crate) fn trace_id(&self) -> Option<u128> {
        self.0.as_ref().map(|within| within.trace_id)
    }

    /// What continues the trace elsewhere: a `traceparent` of the span above.
    pub(crate) fn traceparent(&self) -> Option<String> {
        let within = self.0.as_ref().filter(|within| within.span_id != 0)?;
        Some(traceparent(within.trace_id, within.span_id))
    }

    /// A span that begins now.
    pub(crate) fn begin(&self, name: impl Into<Cow<'static, str>>, kind: Kind) -> Span {
        let Some(above) = &self.0 else { return Span::default() };
        let within = Arc::new(Within {
            recording: Arc::clone(&above.recording),
            trace_id: above.trace_id,
            span_id: context::span_id(),
            is_remote: false,
        });
        let is_remote = if above.is_remote && above.span_id != 0 { PARENT_IS_REMOTE } else { 0 };
        let message = Message {
            trace_id: above.trace_id.to_be_bytes().into(),
            span_id: within.span_id.to_be_bytes().into(),
            parent_span_id: if above.span_id == 0 { Vec::new() } else { above.span_id.to_be_bytes().into() },
            flags: SAMPLED | PARENT_IS_KNOWN | is_remote,
            name: name.into().into_owned(),
            kind: kind_of(kind).into(),
            start_time_unix_nano: nanos(SystemTime::now()),
            ..Message::default()
        };
        Span(Some(Box::new(Open { within, message })))
    }
}

/// Scopes tell nothing about what is done in them.
impl PartialEq for Scope {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Scope {}

impl fmt::Debug for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Scope").field(&self.traceparent()).finish()
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Tracer").field(&self.is_on()).finish()
    }
}

/// A span under way. It ends when it is dropped.
#[derive(Default)]
pub(crate) struct Span(Option<Box<Open>>);

struct Open {
    within: Arc<Within>,
    message: Message,
}

impl Span {
    /// Beneath this one.
    pub(crate) fn scope(&self) -> Scope {
        Scope(self.0.as_ref().map(|open| Arc::clone(&open.within)))
    }

    /// It began so long ago.
    pub(crate) fn began(self, ago: Duration) -> Self {
        self.began_at(SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH))
    }

    /// It began then.
    pub(crate) fn began_at(mut self, at: SystemTime) -> Self {
        if let Some(open) = &mut self.0 {
            open.message.start_time_unix_nano = nanos(at);
        }
        self
    }

    /// With these attributes.
    pub(crate) fn with(mut self, labels: &Labels) -> Self {
        if let Some(open) = &mut self.0 {
            open.message.attributes.extend_from_slice(&labels.0);
        }
        self
    }

    /// With a text.
    pub(crate) fn text(mut self, key: &'static str, value: &str) -> Self {
        if let Some(open) = &mut self.0 {
            open.message.attributes.push(text(key, value));
        }
        self
    }

    /// With a number.
    pub(crate) fn number(mut self, key: &'static str, value: u64) -> Self {
        if let Some(open) = &mut self.0 {
            open.message.attributes.push(number(key, value));
        }
        self
    }

    /// With links to these; of very many to the first ones.
    pub(crate) fn linked(mut self, parents: impl IntoIterator<Item = Parent>) -> Self {
        let link = |parent: Parent| Link {
            trace_id: parent.trace_id.to_be_bytes().into(),
            span_id: parent.span_id.to_be_bytes().into(),
            flags: SAMPLED | PARENT_IS_KNOWN | PARENT_IS_REMOTE,
            ..Link::default()
        };
        if let Some(open) = &mut self.0 {
            open.message.links.extend(parents.into_iter().take(LINKS_MAX).map(link));
        }
        self
    }

    /// It failed in this way.
    pub(crate) fn fail(&mut self, error_type: &str) {
        if let Some(open) = &mut self.0 {
            open.message.attributes.push(text("error.type", error_type));
            open.message.status = Some(Status { message: String::new(), code: StatusCode::Error.into() });
        }
    }

    /// It is not recorded after all.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }

    /// It was for this, and ends with it.
    pub(crate) fn over<T, E: ErrorType>(mut self, result: Result<T, E>) -> Result<T, E> {
        if let (true, Err(error)) = (self.0.is_some(), &result) {
            self.fail(&error.error_type());
        }
        result
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Span").field(&self.0.as_ref().map(|open| &open.message.name)).finish()
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        let Open { within, mut message } = *open;
        // A clock that was set back makes no span that ends before it begins.
        message.end_time_unix_nano = nanos(SystemTime::now()).max(message.start_time_unix_nano);
        within.recording.queue.push(message);
    }
}

fn kind_of(kind: Kind) -> SpanKind {
    match kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Client => SpanKind::Client,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
    }
}

fn nanos(at: SystemTime) -> u64 {
    u64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    let end = (0..=value.len().min(TEXT_MAX)).rev().find(|&end| value.is_char_boundary(end)).unwrap_or(0);
    key_value(key, Value::StringValue(value[..end].to_owned()))
}

fn number(key: &str, value: u64) -> KeyValue {
    key_value(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
