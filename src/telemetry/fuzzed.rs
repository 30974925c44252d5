//! Contexts of traces that senders give, for the fuzzer.

use super::context::{Parent, traceparent};

/// A `traceparent`: what is understood is written as it was read.
pub(crate) fn contexts(text: &str) {
    if let Some(parent) = Parent::parse(text) {
        let written = traceparent(parent.trace_id, parent.span_id);
        assert_eq!(written.get(3..52), text.get(3..52));
    }
}
