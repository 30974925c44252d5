//! What is wrong, beside its next step.

use maud::{Markup, html};

use super::icons::{Icon, inked};
use super::tone::Tone;
use crate::page::text;

/// One thing that is wrong. Its texts may be foreign; they are shown as such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// How bad it is.
    pub(crate) tone: Tone,
    /// Its shape.
    pub(crate) icon: Icon,
    /// What it is, in one line.
    pub(crate) title: String,
    /// What is known about it; may be empty.
    pub(crate) detail: String,
    /// Since when, Unix milliseconds.
    pub(crate) since_ms: Option<u64>,
    /// What to do next.
    pub(crate) next: Next,
    /// The heading of its runbook, in small letters; may be empty.
    pub(crate) runbook: String,
}

/// At most one screen or one command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Next {
    /// What the button says, and where it leads.
    pub(crate) screen: Option<(String, String)>,
    /// What to type.
    pub(crate) command: Option<String>,
}

impl Next {
    /// A screen of this page.
    pub(crate) fn screen(label: &str, href: &str) -> Self {
        Self { screen: Some((label.to_owned(), href.to_owned())), command: None }
    }

    /// A command.
    pub(crate) fn command(text: &str) -> Self {
        Self { screen: None, command: Some(text.to_owned()) }
    }
}

/// The problem as a block; `since` says since when.
pub(crate) fn problem(problem: &Problem, since: impl Fn(u64) -> Markup) -> Markup {
    html! {
        div.prob {
            (inked(problem.icon, problem.tone))
            h2 { (text::words(&problem.title)) }
            @if !problem.detail.is_empty() || problem.since_ms.is_some() {
                p {
                    @if !problem.detail.is_empty() { (text::words(&problem.detail)) " " }
                    @if let Some(at_ms) = problem.since_ms { span.nw { (since(at_ms)) } }
                }
            }
            (steps(&problem.next, &problem.runbook))
        }
    }
}

fn steps(next: &Next, runbook: &str) -> Markup {
    html! {
        div.acts {
            @if let Some((label, href)) = &next.screen { a.b href=(href) { (label) } }
            @if let Some(command) = &next.command { code.cmd { (command) } }
            @if !runbook.is_empty() { a href={ "/runbooks#" (runbook) } { "Runbook" span.vh { " " (runbook) } } }
        }
    }
}
