//! Health: the one sentence, as a band on the overview and as a line on every other screen.

use maud::{Markup, html};

use super::icons::{Icon, icon, inked};
use super::tone::Tone;
use crate::page::text;

/// The one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// How bad it is.
    pub(crate) tone: Tone,
    /// Its shape.
    pub(crate) icon: Icon,
    /// The sentence, with its state word first.
    pub(crate) sentence: String,
    /// Who notices, and whether it can wait.
    pub(crate) impact: String,
}

/// The band: the sentence, and below it what is wrong.
pub(crate) fn verdict(said: &Said, problems: &Markup) -> Markup {
    html! {
        section #health class={ "verdict " (said.tone.surface()) } aria-label="Health of the fleet" {
            (band(said, true))
            @if !problems.0.is_empty() { div.probs { (problems) } }
        }
    }
}

/// The same band about something smaller, such as one job: it is no live region.
pub(crate) fn judged(said: &Said) -> Markup {
    html! { section class={ "verdict " (said.tone.surface()) } { (band(said, false)) } }
}

fn band(said: &Said, is_live: bool) -> Markup {
    html! {
        div.say aria-live=[is_live.then_some("polite")] {
            (icon(said.icon))
            h1 { (text::with_code(&text::sentence(&said.sentence))) }
            @if !said.impact.is_empty() { p { bdi { (text::sentence(&said.impact)) } } }
        }
    }
}

/// The line on other screens.
pub(crate) fn mini(said: &Said) -> Markup {
    let sentence = text::sentence(&said.sentence);
    let (word, rest) = sentence.split_once(": ").unwrap_or(("", &sentence));
    html! {
        section #health .mini aria-label="Health of the fleet" {
            p aria-live="polite" {
                (inked(said.icon, said.tone))
                span {
                    @if !word.is_empty() { b class=(said.tone.ink()) { (word) ":" } " " }
                    (text::with_code(rest))
                }
                a href="/" { @if said.tone == Tone::Ok { "Overview" } @else { "What to do" } }
            }
        }
    }
}
