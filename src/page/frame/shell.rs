//! The page around a screen: header with the tabs, what is shown, footer with the command that shows the same.

use maud::{DOCTYPE, Markup, html};

use super::icons::{Icon, icon, sprite};
use crate::page::text;

/// The screens with a tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tab {
    /// How is the fleet?
    Overview,
    /// Which jobs, and what are they doing?
    Jobs,
    /// What could not be answered?
    Dead,
    /// Which host, which process?
    Replicas,
    /// Alerts, surroundings, settings.
    System,
    /// A screen without a tab.
    None,
}

impl Tab {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Overview, "/"),
        (Self::Jobs, "/jobs"),
        (Self::Dead, "/dead"),
        (Self::Replicas, "/replicas"),
        (Self::System, "/system"),
    ];
}

/// Everything around a screen.
#[derive(Debug)]
pub(crate) struct Shell<'a> {
    /// What the window is called.
    pub(crate) title: String,
    /// The current tab.
    pub(crate) tab: Tab,
    /// The group and the stream, foreign.
    pub(crate) fleet: &'a str,
    /// When the fleet was seen; none where it never was.
    pub(crate) seen: Option<Markup>,
    /// What is shown is older than it should be.
    pub(crate) is_stale: bool,
    /// The server's clock, Unix milliseconds.
    pub(crate) now_ms: u64,
    /// Where changes come from; none where nothing on the screen renews itself.
    pub(crate) events: Option<String>,
    /// Dead letters kept.
    pub(crate) dead: Option<u64>,
    /// Who may act.
    pub(crate) access: Markup,
    /// The command that shows the same.
    pub(crate) command: String,
    /// Links of the footer: the other form of times with its words, once more, and again and again.
    pub(crate) links: [(&'static str, String); 3],
    /// Which process answers.
    pub(crate) served_by: &'a str,
    /// Paths of stylesheet, script and logo.
    pub(crate) assets: [&'a str; 3],
}

/// The whole page. `above` is between header and content.
pub(crate) fn shell(shell: &Shell<'_>, above: &Markup, content: &Markup) -> Markup {
    let [css, js, logo] = shell.assets;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (shell.title) " \u{b7} startjobs" }
                link rel="icon" type="image/svg+xml" href=(logo);
                link rel="stylesheet" href=(css);
                script src=(js) defer {}
            }
            body.stale[shell.is_stale] data-now=(shell.now_ms) data-events=[shell.events.as_deref()] {
                (sprite())
                a.skip href="#main" { "Skip to content" }
                (header(shell))
                (above)
                main #main tabindex="-1" { (content) }
                (footer(shell))
            }
        }
    }
}

fn header(shell: &Shell<'_>) -> Markup {
    html! {
        header.top {
            div.row {
                a.brand href="/" { (icon(Icon::Logo)) span { "startjobs" } }
                span.fleet { span.vh { "fleet " } (text::name(shell.fleet)) }
                div.right {
                    span #live .live {
                        span.dot aria-hidden="true" {}
                        span {
                            @match &shell.seen {
                                Some(at) => { span #live-word { "As of" } " " (at) }
                                None => "Not seen yet"
                            }
                        }
                    }
                    span.who { (shell.access) }
                }
            }
            nav.tabs aria-label="Screens" {
                ul { @for (tab, href) in Tab::ALL { li { (tab_link(shell, tab, href)) } } }
            }
        }
        div #notlive .notlive hidden role="status" {}
    }
}

fn tab_link(shell: &Shell<'_>, tab: Tab, href: &str) -> Markup {
    html! {
        a href=(href) aria-current=[(tab == shell.tab).then_some("page")] {
            @match tab {
                Tab::Overview => "Overview",
                Tab::Jobs => "Jobs",
                Tab::Dead => {
                    "Dead" span.wide { " letters" }
                    span #dead-count .count hidden[shell.dead.is_none_or(|dead| dead == 0)] {
                        (text::count(shell.dead.unwrap_or_default()))
                    }
                }
                Tab::Replicas => "Replicas",
                Tab::System | Tab::None => "System",
            }
        }
    }
}

fn footer(shell: &Shell<'_>) -> Markup {
    html! {
        footer.foot {
            span { "The same in a terminal: " code { (text::visible(&shell.command, text::WORDS_MAX)) } }
            @for (words, href) in &shell.links { a href=(href) { (words) } }
            a href="/runbooks" { "Runbooks" }
            span { "startjobs " (crate::version::VERSION) ", served by " (text::name(shell.served_by)) }
        }
    }
}
