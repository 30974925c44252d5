//! Searching and choosing: forms that ask with GET, and links that choose a state.

use maud::{Markup, html};

use super::icons::{Icon, icon};
use crate::page::text::visible;

/// Characters of what was searched for.
const VALUE_MAX: usize = 200;

/// One field of a search.
#[derive(Debug, Clone)]
pub(crate) enum Field<'a> {
    /// Free text: name, label, what it holds.
    Text(&'static str, &'static str, &'a str),
    /// One of these values, each with its words: name, label, what is chosen.
    Choice(&'static str, &'static str, &'a str, Vec<(String, String)>),
}

/// The form.
pub(crate) fn filters(action: &str, label: &str, fields: &[Field<'_>], button: &str) -> Markup {
    html! {
        form.filters method="get" action=(action) role="search" aria-label=(label) {
            @for field in fields { (one(field)) }
            button.b.main type="submit" { (icon(Icon::Find)) (button) }
        }
    }
}

fn one(field: &Field<'_>) -> Markup {
    match field {
        Field::Text(name, label, value) => html! {
            div.full {
                label for={ "f-" (name) } { (label) }
                input id={ "f-" (name) } name=(name) type="search" value=(visible(value, VALUE_MAX)) maxlength=(VALUE_MAX)
                    autocomplete="off" spellcheck="false";
            }
        },
        Field::Choice(name, label, chosen, values) => html! {
            div {
                label for={ "f-" (name) } { (label) }
                select id={ "f-" (name) } name=(name) {
                    @for (value, words) in values { option value=(value) selected[value == chosen] { (words) } }
                }
            }
        },
    }
}

/// A choice among states or ranges: label, where it leads, whether it is the current one, how many.
pub(crate) fn pills(label: &str, choices: &[(&str, String, bool, Option<String>)]) -> Markup {
    html! {
        nav.pills aria-label=(label) {
            @for (words, href, is_current, count) in choices {
                a href=(href) aria-current=[is_current.then_some("true")] {
                    (words) @if let Some(count) = count { span.n { (count) } }
                }
            }
        }
    }
}

/// The place where a list says how many newer rows there are; empty where there are none. Rows do not move by themselves.
pub(crate) fn newer_rows(count: &str, are_any: bool, href: &str) -> Markup {
    html! { div #newer .end { @if are_any { a href=(href) { (count) " newer: show" } } } }
}
