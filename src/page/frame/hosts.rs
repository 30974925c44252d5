//! Hosts in one line: how many of their replicas are there.

use maud::{Markup, html};

use super::icons::{Icon, inked};
use super::tone::Tone;
use crate::page::text;

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chip {
    /// Its name, foreign.
    pub(crate) name: String,
    /// How it is.
    pub(crate) tone: Tone,
    /// Its shape.
    pub(crate) icon: Icon,
    /// What is to be said in a word or two.
    pub(crate) said: String,
}

/// The line. Of very many hosts only some are named.
pub(crate) fn hosts(chips: &[Chip], more: u64, beside: &str) -> Markup {
    html! {
        section #hosts .panel.hosts aria-labelledby="h-hosts" {
            h2 #h-hosts { "Replicas" }
            @if chips.is_empty() { span.muted { "none is remembered" } }
            @for chip in chips {
                a href={ "/replicas#" (anchor(&chip.name)) } {
                    (inked(chip.icon, chip.tone)) b { (text::name(&chip.name)) } span { (chip.said) }
                }
            }
            @if more > 0 { a href="/replicas" { "and " (text::count(more)) " more" } }
            span.sub { (beside) }
        }
    }
}

/// The id of a host's section on the screen of replicas: letters and digits of its name.
pub(crate) fn anchor(host: &str) -> String {
    let kept = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    format!("host-{}", host.chars().take(text::NAME_MAX).map(kept).collect::<String>())
}
