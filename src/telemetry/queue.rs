//! Where spans wait to be sent: bounded, and without a wait for those who make them.

use opentelemetry_proto::tonic::trace::v1::Span as Message;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Spans that wait; about 1 KiB each.
const QUEUE_MAX: usize = 4096;

/// Where spans wait to be sent.
pub(super) struct Queue {
    spans: Sender<Message>,
    dropped: Counter,
}

impl Queue {
    /// An empty one, and its other end. What it drops is counted here.
    pub(super) fn new(dropped: Counter) -> (Self, Receiver<Message>) {
        let (spans, waiting) = channel(QUEUE_MAX);
        (Self { spans, dropped }, waiting)
    }

    /// Drops it if there is no room.
    pub(super) fn push(&self, span: Message) {
        if self.spans.try_send(span).is_err() {
            self.dropped.inc();
        }
    }
}
