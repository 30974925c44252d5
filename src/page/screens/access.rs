//! Saying the token, and giving it back.

use maud::{Markup, html};

use crate::page::frame::icons::Icon;
use crate::page::frame::shell::Tab;
use crate::page::frame::strip::strip;
use crate::page::frame::tone::Tone;
use crate::page::site::{Asked, Frame, framed};
use crate::page::text;
use crate::page::token::{Denied, NAME_MAX};

/// The part of a screen that says who may act, and how.
pub(crate) fn panel(asked: &Asked) -> Markup {
    let names = &asked.site.settings.page.hosts;
    html! {
        section #access .panel aria-labelledby="h-access" {
            div.head { h2 #h-access { "Access" } }
            div.pad {
                (acting(asked))
                p.sub {
                    "This page answers to IP addresses, to localhost"
                    @for name in names { ", to " (text::name(name)) }
                    "; the setting " code { "page-host" } " allows other names."
                }
            }
        }
    }
}

fn acting(asked: &Asked) -> Markup {
    if !asked.site.tokens.is_on() {
        return html! {
            p {
                "This page only shows. To act on it name a file with a token in the setting "
                    code { "admin-token-file" }
                "; to act in a terminal use commands such as " code { "startjobs dead requeue" } "."
            }
        };
    }
    html! {
        @if let Some(person) = &asked.person {
            p { "You act as " b { (text::name(&person.name)) } ", until " (asked.at(person.until_ms)) "." }
            form method="post" action="/logout" {
                input type="hidden" name="code" value=(person.form_code);
                div.acts { button.b type="submit" { "Act no more" } }
            }
        } @else {
            p { "Reading needs nothing. Acting needs the token of " code { "admin-token-file" } ", for four hours." }
            (form())
        }
    }
}

fn form() -> Markup {
    html! {
        form method="post" action="/login" {
            label for="f-name" { "Your name (written into the log with what you change)" }
            input #f-name name="name" type="text" maxlength=(NAME_MAX) autocomplete="username" required;
            label for="f-token" { "Token" }
            input #f-token name="token" type="password" maxlength="512" autocomplete="current-password" required;
            div.acts { button.b.main type="submit" { "Act on this page" } }
        }
    }
}

/// The token was not accepted, or there is none.
pub(crate) fn denied(asked: &Asked, why: &Denied) -> Markup {
    page(
        asked,
        &html! {
            h1 { "Access" }
            (strip(Tone::Crit, Icon::Crit, &html! { (text::sentence(&why.to_string())) }))
            (panel(asked))
        },
    )
}

/// What was asked for needs a session, and a form of it.
pub(crate) fn needed(asked: &Asked) -> Markup {
    let said = html! {
        "Nothing was changed: this needs a session, and a form that was loaded in it. Sign in, load the screen again, \
         and do it again."
    };
    page(asked, &html! { h1 { "Access" } (strip(Tone::Warn, Icon::User, &said)) (panel(asked)) })
}

fn page(asked: &Asked, content: &Markup) -> Markup {
    let frame = Frame {
        title: "Access".to_owned(),
        tab: Tab::System,
        command: "startjobs config show".to_owned(),
        live: "other",
        has_mini: true,
    };
    framed(asked, frame, content)
}
