//! What the spans of an entry are called and what they tell, by the messaging conventions of OpenTelemetry.
//!
//! `process` lasts from when this replica takes an entry until the entry leaves it; its parent is the context that came with
//! the entry. Beneath it are the waits, the attempts, and what was settled.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::contract::Fields;
use crate::contract::trace::parent_among;
use crate::metrics::labels::TraceId;
use crate::redis::Address;
use crate::stream::entry_id::EntryId;
use crate::stream::{Config, Delivery};
use crate::telemetry::{Kind, Labels, Parent, Scope, Seed, Span, Tracer};

/// Records what one replica does with its entries, or nothing where traces are off. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Option<Arc<Names>>);

/// Names and attributes of this replica's spans.
#[derive(Debug)]
struct Names {
    tracer: Tracer,
    seed: Seed,
    receive: (String, Labels),
    process: (String, Labels),
    ack: (String, Labels),
    send: (String, Labels),
    send_dead: (String, Labels),
}

impl Recorder {
    /// Of the replica with this name.
    pub(crate) fn new(tracer: &Tracer, stream: &Config, redis: &crate::redis::Config, consumer: &str) -> Self {
        if !tracer.is_on() {
            return Self::default();
        }
        let server = |labels: Labels| match &redis.address {
            Address::Tcp { host, port } => labels.text("server.address", host).number("server.port", (*port).into()),
            Address::Unix(path) => labels.text("server.address", &path.to_string_lossy()),
            // Which server it is may change at any time.
            Address::Sentinel { service, .. } => labels.text("server.address", service),
        };
        let named = |operation: &'static str, kind: &'static str, destination: &str| {
            let labels = Labels::default()
                .text("messaging.system", "redis")
                .text("messaging.operation.name", operation)
                .text("messaging.operation.type", kind)
                .text("messaging.destination.name", destination)
                .text("messaging.client.id", consumer);
            (format!("{operation} {destination}"), server(labels))
        };
        let of_group = |operation, kind| {
            let (name, labels) = named(operation, kind, &stream.jobs);
            (name, labels.text("messaging.consumer.group.name", &stream.group))
        };
        Self(Some(Arc::new(Names {
            tracer: tracer.clone(),
            seed: Seed::of(&format!("{} {}", redis.display_url, stream.jobs)),
            receive: of_group("receive", "receive"),
            process: of_group("process", "process"),
            ack: of_group("ack", "settle"),
            send: named("send", "send", &stream.results),
            send_dead: named("send", "send", &stream.dead),
        })))
    }

    /// A call that may bring entries begins.
    pub(crate) fn receive(&self) -> Receive {
        Receive(self.0.as_ref().map(|names| (Arc::clone(names), SystemTime::now())))
    }

    /// An entry with these fields, which this replica took so long ago.
    pub(crate) fn entry(&self, id: EntryId, fields: &Fields, taken_ago: impl FnOnce() -> Duration) -> Traced {
        let Some(names) = &self.0 else { return Traced::default() };
        let scope = names.tracer.continued(parent_of(fields), || names.seed.trace_id(id.ms, id.seq));
        if !scope.is_recorded() {
            return Traced::default();
        }
        let span = begin(&scope, &names.process, Kind::Consumer).began(taken_ago());
        let span = span.text("messaging.message.id", &id.to_string());
        let (scope, waits_since) = (span.scope(), Mutex::default());
        Traced(Some(Arc::new(Process { names: Arc::clone(names), id, span: Mutex::new(span), scope, waits_since })))
    }
}

fn begin(scope: &Scope, (name, labels): &(String, Labels), kind: Kind) -> Span {
    scope.begin(name.clone(), kind).with(labels)
}

fn parent_of(fields: &Fields) -> Option<Parent> {
    parent_among(fields).and_then(Parent::parse)
}

/// A call that may bring entries.
#[must_use]
pub(crate) struct Receive(Option<(Arc<Names>, SystemTime)>);

impl Receive {
    /// It has brought these. Where one of them is recorded, so is the call, with links to where recorded ones came from.
    pub(crate) fn over(self, deliveries: &[Delivery]) {
        let Some((names, began)) = self.0 else { return };
        let is_sampled = |delivery: &&Delivery| {
            // Of what was read without its fields nothing is known yet.
            let Some(fields) = &delivery.fields else { return false };
            let parent = parent_of(fields);
            names.tracer.samples(parent, || names.seed.trace_id(delivery.id.ms, delivery.id.seq))
        };
        let mut sampled = deliveries.iter().filter(is_sampled).peekable();
        if sampled.peek().is_none() {
            return;
        }
        let links = sampled.filter_map(|delivery| delivery.fields.as_ref().and_then(parent_of));
        let count = deliveries.len().try_into().unwrap_or(u64::MAX);
        let span = begin(&names.tracer.apart(), &names.receive, Kind::Client).began_at(began).linked(links);
        drop(span.number("messaging.batch.message_count", count));
    }
}

/// The spans of one entry that this replica holds; of most entries there are none. The one of its whole stay ends with the
/// last clone.
#[derive(Clone, Default)]
pub(crate) struct Traced(Option<Arc<Process>>);

struct Process {
    names: Arc<Names>,
    id: EntryId,
    span: Mutex<Span>,
    scope: Scope,
    /// The end of the last attempt; none before the first.
    waits_since: Mutex<Option<SystemTime>>,
}

impl fmt::Debug for Traced {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Traced").field(&self.0.is_some()).finish()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Traced {
    fn change(&self, change: impl FnOnce(Span) -> Span) {
        if let Some(process) = &self.0 {
            let mut span = locked(&process.span);
            *span = change(std::mem::take(&mut span));
        }
    }

    /// Its trace, for the exemplars of metrics.
    pub(crate) fn trace_id(&self) -> Option<TraceId> {
        self.0.as_ref()?.scope.trace_id().map(TraceId)
    }

    /// How it came, and what it asks for.
    pub(crate) fn describe(&self, deliveries: u64, dead_owner: Option<&str>, lane: Option<&str>) {
        self.change(|span| {
            let span = span.number("startjobs.deliveries", deliveries);
            let span = if let Some(owner) = dead_owner { span.text("startjobs.claimed_from", owner) } else { span };
            if let Some(lane) = lane { span.text("startjobs.game_id", lane) } else { span }
        });
    }

    /// It ends with a failure of this code.
    pub(crate) fn failed(&self, code: &str) {
        self.change(|mut span| {
            span.fail(code);
            span
        });
    }

    /// An attempt at it begins; its id is so old.
    pub(crate) fn attempt(&self, age: Duration) -> AttemptSpan {
        let Some(process) = &self.0 else { return AttemptSpan::default() };
        let wait = process.scope.begin("wait", Kind::Internal);
        drop(match locked(&process.waits_since).take() {
            Some(since) => wait.began_at(since),
            None => wait.began(age),
        });
        AttemptSpan { span: process.scope.begin("attempt", Kind::Internal), traced: self.clone() }
    }

    /// It is being settled: acknowledged, and this is sent.
    pub(super) fn settle(&self, has_outcome: bool, has_dead_letter: bool) -> Option<SettleSpans> {
        let process = self.0.as_ref()?;
        let send =
            |is_sent: bool, name| if is_sent { begin(&process.scope, name, Kind::Producer) } else { Span::default() };
        let ack = begin(&process.scope, &process.names.ack, Kind::Client);
        Some(SettleSpans {
            ack: ack.text("messaging.message.id", &process.id.to_string()),
            outcome: send(has_outcome, &process.names.send),
            dead_letter: send(has_dead_letter, &process.names.send_dead),
        })
    }

    /// What became of it in a settle call.
    pub(super) fn settled(&self, result: &'static str) {
        self.change(|span| span.text("startjobs.settled", result));
    }
}

/// The spans of one entry in a settle call.
#[derive(Debug)]
pub(super) struct SettleSpans {
    ack: Span,
    outcome: Span,
    dead_letter: Span,
}

impl SettleSpans {
    /// What continues the trace at the reader of the outcome.
    pub(super) fn traceparent(&self) -> Option<String> {
        self.outcome.scope().traceparent()
    }

    /// The call has ended.
    pub(super) fn over(mut self, end: SettleEnd) {
        match end {
            SettleEnd::Done => {}
            SettleEnd::NotOurs => {
                self.outcome.forget();
                self.dead_letter.forget();
            }
            SettleEnd::Failed(error_type) => {
                for span in [&mut self.ack, &mut self.outcome, &mut self.dead_letter] {
                    span.fail(error_type);
                }
            }
        }
    }
}

/// How a settle call ended for one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SettleEnd {
    /// Published and acknowledged.
    Done,
    /// Nothing of it was published, and nothing will be.
    NotOurs,
    /// It will be tried again.
    Failed(&'static str),
}

/// One attempt.
#[derive(Debug, Default)]
pub(crate) struct AttemptSpan {
    span: Span,
    traced: Traced,
}

impl AttemptSpan {
    /// Beneath it.
    pub(crate) fn scope(&self) -> Scope {
        self.span.scope()
    }

    /// It has ended, with this failure if it has not brought a success.
    pub(crate) fn over(mut self, error_type: Option<&str>) {
        let Some(process) = &self.traced.0 else { return };
        if let Some(error_type) = error_type {
            self.span.fail(error_type);
        }
        *locked(&process.waits_since) = Some(SystemTime::now());
    }
}
