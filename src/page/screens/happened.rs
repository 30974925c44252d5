//! One thing that happened, in words and shapes.

use maud::{Markup, html};

use crate::ops::events::EventView;
use crate::page::frame::icons::Icon;
use crate::page::frame::tone::Tone;
use crate::page::text;

/// Its shape and colour.
pub(crate) fn drawn(kind: &str) -> (Icon, Tone) {
    match kind {
        "attempt_failed" => (Icon::Retry, Tone::Warn),
        "declared_dead" => (Icon::Lost, Tone::Crit),
        "claimed" => (Icon::Take, Tone::Info),
        "dead_letter" => (Icon::Dead, Tone::Crit),
        "paused" => (Icon::Hold, Tone::Hold),
        "resumed" | "replica_started" => (Icon::Run, Tone::Ok),
        "replica_drains" | "replica_left" | "stopped" | "evicted" => (Icon::Drain, Tone::None),
        "degraded" => (Icon::Warn, Tone::Warn),
        "recovered" => (Icon::Ok, Tone::Ok),
        "requeued" | "removed" | "cancelled" | "retried_now" => (Icon::User, Tone::Info),
        _ => (Icon::Unknown, Tone::None),
    }
}

/// The whole sentence. Replicas are named by the beginning of their names.
pub(crate) fn said(event: &EventView) -> Markup {
    let mut short = event.clone();
    short.replica = event.replica.as_deref().map(text::short_replica);
    short.subject = event.subject.as_deref().map(text::short_replica);
    // A sentence may begin with a name, which keeps its small letters.
    let sentence = text::visible(&short.sentence(), text::WORDS_MAX);
    html! { bdi { (sentence) "." } @if let Some(host) = &event.host { span.sub { " on " (text::name(host)) } } }
}
