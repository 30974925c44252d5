//! A state in a word, with its shape and its colour.

use maud::{Markup, html};

use super::icons::{Icon, icon};
use super::tone::Tone;

/// The state.
pub(crate) fn tag(tone: Tone, shape: Icon, word: &str) -> Markup {
    html! { span class={ "tag " (tone.surface()) } { (icon(shape)) (word) } }
}
