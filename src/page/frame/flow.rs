//! The numbers in the order jobs move. Each leads to the jobs it counts.

use maud::{Markup, html};

use super::icons::{Icon, icon};

/// One number.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Its shape.
    pub(crate) icon: Icon,
    /// What it counts.
    pub(crate) name: &'static str,
    /// Over what time, where it is no number of this moment.
    pub(crate) per: &'static str,
    /// The number, or `not known`.
    pub(crate) value: String,
    /// What is written small beside it, such as `of 320 slots`.
    pub(crate) beside: String,
    /// What is to be said of it.
    pub(crate) said: Markup,
    /// That is a problem.
    pub(crate) is_bad: bool,
    /// The jobs.
    pub(crate) href: &'static str,
    /// It is no step after the one before it, but another way to end.
    pub(crate) is_fork: bool,
}

/// The numbers.
pub(crate) fn flow(steps: &[Step]) -> Markup {
    html! {
        ul #flow .flow aria-label="Jobs by what they do" {
            @for step in steps {
                li.fork[step.is_fork] {
                    a href=(step.href) {
                        span.k { (icon(step.icon)) (step.name)
                            @if !step.per.is_empty() { " " span.per { (step.per) } } }
                        span.v { (step.value) @if !step.beside.is_empty() { " " small { (step.beside) } } }
                        span.s.bad[step.is_bad] { (step.said) }
                    }
                }
            }
        }
    }
}
