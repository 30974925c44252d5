//! Collectors and variables that cannot be used cost spans, and nothing else.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{ENDPOINT, sampled, send};
use crate::support::collector::{Collector, Manner};
use crate::support::scrape::{free_port, metric};
use crate::support::world::{PATIENCE, World};

const EXPORTED: &str = "startjobs_trace_spans_exported_total";
const DROPPED: &str = "startjobs_trace_spans_dropped_total";

/// A replica with this endpoint and a short patience, and the port of its metrics.
async fn replica(endpoint: &str) -> (World, u16) {
    let mut world = World::new().await;
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    world.replica(&[(ENDPOINT, endpoint), ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"), ("http-addr", &address)]);
    (world, port)
}

async fn ten_jobs(world: &mut World) {
    for number in 0..10 {
        send(world, &format!("game-{number}"), "galaxy/engine:1", &sampled()).await;
    }
    world.settled().await;
}

/// Ends the replica; answers how long that took.
async fn end(world: &mut World) -> Duration {
    let began = Instant::now();
    world.signal(0, Signal::TERM);
    let status = world.ended(0, PATIENCE).await;
    assert!(status.success(), "{status} {}", world.logs());
    began.elapsed()
}

async fn is_dropped(endpoint: &str) {
    let (mut world, port) = replica(endpoint).await;
    ten_jobs(&mut world).await;
    world.eventually("spans are dropped", async |_: &World| metric(port, DROPPED) > 0.0).await;
    assert!(metric(port, EXPORTED) < 0.5);
    ten_jobs_again(&mut world).await;
    assert_eq!(world.log(0).count("traces cannot be exported"), 1, "{}", world.logs());
    let warnings = world.log(0).warnings();
    assert_eq!(warnings, 1, "{}", world.logs());
    // Two seconds for the last spans.
    let took = end(&mut world).await;
    assert!(took < Duration::from_secs(4), "{took:?}");
}

async fn ten_jobs_again(world: &mut World) {
    for number in 0..10 {
        send(world, &format!("later-{number}"), "galaxy/engine:1", &sampled()).await;
    }
    world.settled().await;
}

#[tokio::test]
async fn a_collector_that_is_away() {
    is_dropped(&format!("http://127.0.0.1:{}", free_port())).await;
}

#[tokio::test]
async fn a_collector_that_hangs() {
    is_dropped(&Collector::start(Manner::Hangs).await.endpoint()).await;
}

#[tokio::test]
async fn a_collector_that_says_500() {
    is_dropped(&Collector::start(Manner::Says("500 Internal Server Error")).await.endpoint()).await;
}

#[tokio::test]
async fn a_collector_that_says_400() {
    is_dropped(&Collector::start(Manner::Says("400 Bad Request")).await.endpoint()).await;
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_its_end() {
    let collector = Collector::start(Manner::NeverEnds).await;
    let (mut world, port) = replica(&collector.endpoint()).await;
    ten_jobs(&mut world).await;
    world.eventually("spans are exported", async |_: &World| metric(port, EXPORTED) > 0.0).await;
    let before = collector.heads().len();
    ten_jobs_again(&mut world).await;
    collector.asked(before + 1).await;
    assert_eq!(world.log(0).warnings(), 0, "{}", world.logs());
}

#[tokio::test]
async fn spans_that_the_collector_refuses_are_counted() {
    let collector = Collector::start(Manner::Refuses(3)).await;
    let (mut world, port) = replica(&collector.endpoint()).await;
    ten_jobs(&mut world).await;
    world.eventually("they are counted", async |_: &World| metric(port, DROPPED) > 2.5).await;
    assert!(metric(port, EXPORTED) > 0.0);
}

#[tokio::test]
async fn a_replica_that_ends_sends_what_it_has() {
    let collector = Collector::start(Manner::Takes).await;
    let (mut world, _) = replica(&collector.endpoint()).await;
    ten_jobs(&mut world).await;
    let took = end(&mut world).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let processes = collector.spans(|span| span.name == "process runtime:start_jobs");
    assert_eq!(processes.len(), 10, "{processes:#?}");
}

#[tokio::test]
async fn a_variable_that_cannot_be_used_is_named_and_turns_traces_off() {
    let collector = Collector::start(Manner::Takes).await;
    let endpoint = collector.endpoint();
    for wrong in [
        [(ENDPOINT, "collector:4318"), ("OTEL_SERVICE_NAME", "s")],
        [(ENDPOINT, &endpoint), ("OTEL_TRACES_SAMPLER", "sometimes")],
        [(ENDPOINT, &endpoint), ("OTEL_EXPORTER_OTLP_HEADERS", "secret")],
    ] {
        let mut world = World::new().await;
        world.replica(&wrong);
        send(&mut world, "game", "galaxy/engine:1", &sampled()).await;
        world.settled().await;
        end(&mut world).await;
        let log = world.log(0);
        let lines: Vec<_> = log.with("traces are off: a variable cannot be used").collect();
        let [line] = lines.as_slice() else { panic!("{}", log.text()) };
        let named = if wrong[1].0 == "OTEL_SERVICE_NAME" { ENDPOINT } else { wrong[1].0 };
        assert!(line["err"].as_str().is_some_and(|err| err.starts_with(named)), "{line}");
        assert!(!log.text().contains("secret"), "{}", log.text());
    }
    assert!(collector.heads().is_empty(), "{:?}", collector.heads());
}
