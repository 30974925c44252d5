//! Asking before something changes: what it would do, and the button that names it.

use maud::{Markup, html};

use super::icons::{Icon, inked};
use super::tone::Tone;

/// A question.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// What is asked, with its count.
    pub(crate) title: String,
    /// What to know before the answer.
    pub(crate) notes: Vec<(Tone, Icon, Markup)>,
    /// Where the answer goes.
    pub(crate) action: &'a str,
    /// The fields that say what is meant, hidden or to be filled in.
    pub(crate) fields: Markup,
    /// What the button says.
    pub(crate) button: String,
    /// It cannot be undone.
    pub(crate) is_final: bool,
    /// Where to go instead.
    pub(crate) back: &'a str,
}

/// The question.
pub(crate) fn confirm(question: &Question<'_>) -> Markup {
    html! {
        form.confirm.crit[question.is_final] method="post" action=(question.action) {
            h1 { (question.title) }
            ul.plain {
                @for (tone, shape, said) in &question.notes { li { (inked(*shape, *tone)) span { (said) } } }
            }
            (question.fields)
            div.acts {
                button.b.main.bad[question.is_final] type="submit" { (question.button) }
                a.b href=(question.back) { "Change nothing" }
            }
        }
    }
}
