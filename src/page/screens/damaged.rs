//! What cannot be read: named, with what to do.

use maud::{Markup, html};

use crate::ops::damaged::Damaged;
use crate::page::frame::icons::Icon;
use crate::page::frame::strip::strip;
use crate::page::frame::tone::Tone;
use crate::page::text;

/// One line for each; nothing where all can be read.
pub(super) fn damaged(found: &[Damaged]) -> Markup {
    html! { @for one in found { (strip(Tone::Warn, Icon::Warn, &said(one))) } }
}

fn said(one: &Damaged) -> Markup {
    html! {
        "The key " (text::name(&one.key))
        @if let Some(field) = &one.field { ", field " (text::name(field)) "," }
        " cannot be read: " (text::words(&one.why)) ". " (one.remedy) "."
    }
}
