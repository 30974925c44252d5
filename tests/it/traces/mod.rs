//! Traces: what a collector gets of a job, what it does not get, and collectors that fail.

// the spans of a job, and how they belong together
mod tree;
// a job that two replicas had in hand
mod taken_over;
// a collector over TLS
mod encrypted;
// collectors and variables that cannot be used
mod troubles;

use startjobs::lobby::accounting::Sent;
use startjobs::stream::entry_id::EntryId;

use crate::support::world::World;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// The context of a sender whose trace is recorded.
fn sampled() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// Appends a job that comes with a context.
async fn send(world: &mut World, game: &str, image: &str, traceparent: &str) -> EntryId {
    let fields = [("game_id", game), ("image_ref", image), ("requested_at_ms", "17"), ("traceparent", traceparent)];
    world.send_fields(&fields, Sent::Job).await
}
