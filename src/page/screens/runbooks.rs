//! What to do about an alert: docs/runbooks.md, built in, so that it can be read when the network cannot.

use std::sync::LazyLock;

use maud::{Markup, PreEscaped, html};

use crate::page::frame::shell::Tab;
use crate::page::markdown;
use crate::page::site::{Asked, Frame, framed};

static RUNBOOKS: LazyLock<String> = LazyLock::new(|| markdown::html(include_str!("../../../docs/runbooks.md")));

/// The page.
pub(crate) fn page(asked: &Asked) -> Markup {
    let frame = Frame {
        title: "Runbooks".to_owned(),
        tab: Tab::None,
        command: "startjobs alerts".to_owned(),
        live: "other",
        has_mini: true,
    };
    framed(asked, frame, &html! { article.panel.prose { (PreEscaped(RUNBOOKS.as_str())) } })
}
