//! Names and values.

use maud::{Markup, html};

/// The list; what has no value is left out.
pub(crate) fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts.iter().filter(|(_, value)| !value.0.is_empty()) {
                dt { (name) } dd { (value) }
            }
        }
    }
}
