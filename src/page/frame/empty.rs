//! Where there is nothing to show: what was looked at, and why there may be nothing.

use maud::{Markup, html};

use super::icons::{Icon, icon};

/// The place of a list.
pub(crate) fn empty(shape: Icon, title: &str, said: &Markup) -> Markup {
    html! { div.empty { (icon(shape)) h2 { (title) } p { (said) } } }
}
