//! The trace goes on in the container.

use startjobs::lobby::accounting::Sent;

use super::{GAME, docker, ends_well, inspect, the_only_container, world};
use crate::support::collector::{Collector, Manner};

#[tokio::test]
async fn the_game_gets_the_context_of_the_attempt_that_started_it() {
    let Some(dockerd) = docker() else { return };
    let collector = Collector::start(Manner::Takes).await;
    let mut world = world(&dockerd, &[]).await;
    world.replica(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{trace}-b7ad6b7169203331-01");
    let fields = [("game_id", "game"), ("image_ref", GAME), ("traceparent", &*traceparent), ("tracestate", "vendor=1")];
    world.send_fields(&fields, Sent::Job).await;
    ends_well(&mut world).await;
    let attempts = collector.got(1, "the attempt", |span| span.name == "attempt").await;
    let seen = inspect(&dockerd, &the_only_container(&dockerd, "game"));
    let environment = seen["Config"]["Env"].as_array().expect("a list");
    for expected in [format!("TRACEPARENT=00-{trace}-{}-01", attempts[0].id), "TRACESTATE=vendor=1".to_owned()] {
        assert!(environment.iter().any(|variable| *variable == *expected), "{expected} in {environment:?}");
    }
}
