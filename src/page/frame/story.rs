//! One job's moments, oldest first, each with how long after the job was sent it was.

use std::cmp::Ordering;

use maud::{Markup, html};

use super::icons::{Icon, icon};
use super::tone::Tone;
use crate::page::when::{absolute, lasting};

/// One moment.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// When, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// Its shape.
    pub(crate) icon: Icon,
    /// How good or bad it is.
    pub(crate) tone: Tone,
    /// What happened, in a word or two.
    pub(crate) what: String,
    /// More about it.
    pub(crate) more: Markup,
}

/// The moments. What happened when the job was sent has its time, the others how much earlier or later they were.
pub(crate) fn story(steps: &[Step], sent_ms: u64) -> Markup {
    html! {
        ol.story {
            @for step in steps {
                li {
                    span.at { (at(sent_ms, step.at_ms)) }
                    span class={ "n " (step.tone.surface()) } { (icon(step.icon)) }
                    div.what { b { (step.what) } @if !step.more.0.is_empty() { div.why { (step.more) } } }
                }
            }
        }
    }
}

fn at(sent_ms: u64, at_ms: u64) -> Markup {
    let absolute = absolute(at_ms);
    let text = match at_ms.cmp(&sent_ms) {
        Ordering::Equal => absolute.get(11..19).unwrap_or(&absolute).to_owned(),
        Ordering::Greater => format!("+{}", lasting(at_ms - sent_ms)),
        Ordering::Less => format!("\u{2212}{}", lasting(sent_ms - at_ms)),
    };
    html! { time datetime=(crate::ops::printable::time(at_ms)) title=(absolute) { (text) } }
}
