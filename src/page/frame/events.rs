//! What happened, newest first.

use maud::{Markup, html};

use super::icons::{Icon, inked};
use super::tone::Tone;

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// When, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// Its shape.
    pub(crate) icon: Icon,
    /// How good or bad it is.
    pub(crate) tone: Tone,
    /// What happened.
    pub(crate) said: Markup,
}

/// The list; `at` writes a time.
pub(crate) fn events(events: &[Event], nothing: &str, at: impl Fn(u64) -> Markup) -> Markup {
    html! {
        section #events .panel aria-labelledby="h-events" {
            div.head { h2 #h-events { "What happened" } }
            @if events.is_empty() {
                p.pad.muted { (nothing) }
            } @else {
                ol.events {
                    @for event in events {
                        li { (at(event.at_ms)) (inked(event.icon, event.tone)) div { (event.said) } }
                    }
                }
            }
        }
    }
}
