//! One line of notice: what came of an action, or what is to be known of what is shown.

use maud::{Markup, html};

use super::icons::{Icon, icon};
use super::tone::Tone;

/// The line; `status` is announced.
pub(crate) fn strip(tone: Tone, shape: Icon, said: &Markup) -> Markup {
    html! { div class={ "strip " (tone.surface()) } role="status" { (icon(shape)) div { (said) } } }
}
