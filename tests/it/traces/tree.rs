//! The spans of a job, and how they belong together.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::{ENDPOINT, PARENT, TRACE, sampled, send};
use crate::support::collector::{Collector, Manner, Recorded};
use crate::support::world::World;

/// The one span of this name.
fn one<'a>(spans: &'a [Recorded], name: &str) -> &'a Recorded {
    let mut found = spans.iter().filter(|span| span.name == name);
    let (Some(span), None) = (found.next(), found.next()) else { panic!("not one {name}: {spans:#?}") };
    span
}

#[tokio::test]
async fn a_job_is_followed_from_its_append_to_its_outcome() {
    let collector = Collector::start(Manner::Takes).await;
    let mut world = World::new().await;
    let variables = [
        (ENDPOINT, &*collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20key"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ];
    world.replica(&variables);
    let job = send(&mut world, "game", "galaxy/engine:1", &sampled()).await;
    world.settled().await;
    let spans = collector.got(9, "the whole trace", |span| span.trace == TRACE).await;
    assert_eq!(spans.len(), 9, "{spans:#?}");

    let process = one(&spans, "process runtime:start_jobs");
    assert_eq!((process.kind, process.parent.as_str()), (SpanKind::Consumer, PARENT));
    let attempt = one(&spans, "attempt");
    for (name, kind, parent) in [
        ("wait", SpanKind::Internal, process),
        ("attempt", SpanKind::Internal, process),
        ("pull", SpanKind::Internal, attempt),
        ("create", SpanKind::Internal, attempt),
        ("start", SpanKind::Internal, attempt),
        ("ready", SpanKind::Internal, attempt),
        ("ack runtime:start_jobs", SpanKind::Client, process),
        ("send runtime:job_results", SpanKind::Producer, process),
    ] {
        let span = one(&spans, name);
        assert_eq!((span.kind, span.parent.as_str()), (kind, parent.id.as_str()), "{name}");
        assert!(!span.has_failed && span.get("error.type").is_empty(), "{span:#?}");
        // The wait begins with the append, which is before this replica has the entry.
        assert!(name == "wait" || parent.began <= span.began && span.ended <= parent.ended, "{span:#?} {parent:#?}");
    }
    let in_order = ["wait", "pull", "create", "start", "ready", "ack runtime:start_jobs"].map(|name| one(&spans, name));
    assert!(in_order.is_sorted_by_key(|span| span.ended), "{in_order:#?}");
    let appended = job.to_string().split('-').next().and_then(|ms| ms.parse::<u64>().ok()).expect("an id");
    let waited = one(&spans, "wait");
    // The server's clock, in milliseconds, against the replica's.
    assert!(waited.began / 1_000_000 >= appended.saturating_sub(50), "{appended} {waited:#?}");
    assert!(waited.began / 1_000_000 <= appended + 50, "{appended} {waited:#?}");

    let outcome = world.outcome(job).await;
    let sent = one(&spans, "send runtime:job_results");
    assert_eq!(outcome.get("traceparent"), format!("00-{TRACE}-{}-01", sent.id));
    assert_eq!(outcome.names().len(), 11);
    the_attributes_are_those_of_the_conventions(&world, &spans, &job.to_string()).await;
    the_read_is_linked(&collector).await;
    assert!(collector.heads()[0].starts_with("POST /v1/traces HTTP/1.1\r\n"), "{:?}", collector.heads());
    assert!(collector.heads()[0].contains("x-key: a key\r\n"), "{:?}", collector.heads());
}

async fn the_attributes_are_those_of_the_conventions(world: &World, spans: &[Recorded], job: &str) {
    let consumer = world.presences().await.into_keys().next().expect("one replica");
    let (address, port) = ("127.0.0.1".to_owned(), world.redis.port().to_string());
    for (name, operation, kind, destination, message) in [
        ("process runtime:start_jobs", "process", "process", "runtime:start_jobs", job),
        ("ack runtime:start_jobs", "ack", "settle", "runtime:start_jobs", job),
        ("send runtime:job_results", "send", "send", "runtime:job_results", ""),
    ] {
        let span = one(spans, name);
        for (key, value) in [
            ("messaging.system", "redis"),
            ("messaging.operation.name", operation),
            ("messaging.operation.type", kind),
            ("messaging.destination.name", destination),
            ("messaging.message.id", message),
            ("messaging.client.id", &consumer),
            ("server.address", &address),
            ("server.port", &port),
        ] {
            assert_eq!(span.get(key), value, "{name} {key}");
        }
    }
    let process = one(spans, "process runtime:start_jobs");
    assert_eq!(process.get("messaging.consumer.group.name"), world.settings.stream.group);
    assert_eq!((process.get("startjobs.game_id"), process.get("startjobs.settled")), ("game", "done"));
    assert_eq!(process.get("startjobs.deliveries"), "1");
    let resource = |key: &str| process.resource.get(key).map_or("", String::as_str);
    assert_eq!((resource("service.name"), resource("deployment.environment.name")), ("startjobs", "test"));
    assert_eq!(resource("service.version"), env!("CARGO_PKG_VERSION"));
}

async fn the_read_is_linked(collector: &Collector) {
    let reads = collector.got(1, "the read", |span| span.name == "receive runtime:start_jobs").await;
    let [read] = reads.as_slice() else { panic!("{reads:#?}") };
    assert_eq!((read.kind, read.parent.as_str()), (SpanKind::Client, ""));
    assert_ne!(read.trace, TRACE);
    assert_eq!(read.links, [(TRACE.to_owned(), PARENT.to_owned())]);
    assert_eq!(read.get("messaging.batch.message_count"), "1");
}

#[tokio::test]
async fn a_failure_is_told_where_it_happened_and_an_entry_that_is_no_job_is_followed_too() {
    let collector = Collector::start(Manner::Takes).await;
    let mut world = World::new().await;
    world.replica(&[(ENDPOINT, &collector.endpoint())]);
    send(&mut world, "game", "sim/missing", &sampled()).await;
    world.send_malformed().await;
    world.settled().await;
    let is_process = |span: &Recorded| span.name == "process runtime:start_jobs";
    let processes = collector.got(2, "both entries", is_process).await;
    for (span, error_type) in
        processes.iter().map(|span| (span, if span.trace == TRACE { "image_not_found" } else { "malformed" }))
    {
        assert!(span.has_failed && span.get("error.type") == error_type, "{span:#?}");
    }
    let spans = collector.spans(|span| span.trace == TRACE);
    for name in ["attempt", "pull"] {
        assert_eq!(one(&spans, name).get("error.type"), "image_not_found", "{spans:#?}");
    }
    assert!(spans.iter().all(|span| !["create", "start", "ready"].contains(&span.name.as_str())), "{spans:#?}");
    let malformed = processes.iter().find(|span| span.trace != TRACE).expect("two");
    assert_eq!(malformed.parent, "");
    let dead = collector.got(1, "the dead letter", |span| span.name == "send runtime:start_jobs:dead").await;
    assert_eq!((dead[0].trace.as_str(), dead[0].parent.as_str()), (malformed.trace.as_str(), malformed.id.as_str()));
}

#[tokio::test]
async fn a_job_whose_sender_does_not_record_leaves_nothing_and_those_without_a_sender_obey_the_ratio() {
    let collector = Collector::start(Manner::Takes).await;
    let mut world = World::new().await;
    let never = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")];
    let a = world.replica(&[&[(ENDPOINT, &*collector.endpoint())], &never[..]].concat());
    let unsampled = format!("00-{}-{PARENT}-00", "1".repeat(32));
    let quiet = send(&mut world, "quiet", "galaxy/engine:1", &unsampled).await;
    let plain = world.send("plain", "galaxy/engine:1").await;
    world.settled().await;
    send(&mut world, "loud", "galaxy/engine:1", &sampled()).await;
    world.settled().await;
    // A replica that ends has sent everything.
    world.signal(a, rustix::process::Signal::TERM);
    world.ended(a, crate::support::world::PATIENCE).await;
    let others = collector.spans(|span| span.trace != TRACE);
    assert!(others.iter().all(|span| span.links.iter().all(|(trace, _)| trace == TRACE)), "{others:#?}");
    assert_eq!(others.len(), 1, "the read of the one that is recorded: {others:#?}");
    assert_eq!(collector.spans(|span| span.trace == TRACE).len(), 9);
    for job in [quiet, plain] {
        assert_eq!(world.outcome(job).await.names().len(), 10);
    }
}

#[tokio::test]
async fn an_outcome_of_the_original_fields_carries_no_trace() {
    let collector = Collector::start(Manner::Takes).await;
    let mut world = World::with(&[("outcome-fields", "original")]).await;
    world.replica(&[(ENDPOINT, &collector.endpoint())]);
    send(&mut world, "game", "galaxy/engine:1", &sampled()).await;
    collector.got(9, "the whole trace", |span| span.trace == TRACE).await;
    let outcomes = world.entries(&world.settings.stream.results).await;
    assert_eq!(outcomes.iter().map(|outcome| outcome.names().len()).collect::<Vec<_>>(), [6]);
}
