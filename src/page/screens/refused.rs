//! What a screen says where it has nothing to show.

use maud::{Markup, html};

use crate::page::frame::empty::empty;
use crate::page::frame::icons::Icon;
use crate::page::frame::shell::Tab;
use crate::page::frame::strip::strip;
use crate::page::frame::tone::Tone;
use crate::page::site::{Asked, Frame, framed};
use crate::page::text;
use crate::redis::{Kind, RedisError};

/// Redis did not answer what this screen asks.
pub(crate) fn unanswered(error: &RedisError) -> Markup {
    strip(
        Tone::Crit,
        Icon::Crit,
        &html! {
            "Redis did not answer this: " (text::words(&error.text)) ". Load the page again, and look at "
            a href="/runbooks#redisdown" { "the runbook RedisDown" } " if it stays so."
        },
    )
}

/// The user lacks a right. Redis before 7.2 says so of a command in a script without its name; the scripts ask for what
/// may be refused before they write.
fn is_refused(error: &RedisError) -> bool {
    const IN_SCRIPTS: [&str; 2] = ["can't run this command", "ACL failure in script"];
    error.kind == Kind::Denied || IN_SCRIPTS.iter().any(|words| error.text.contains(words))
}

/// Redis did not do what a form wanted, or has not said whether it did.
pub(crate) fn undone(error: &RedisError) -> Markup {
    let said = html! {
        @if is_refused(error) {
            "Redis refused this, and nothing was changed: " (text::words(&error.text))
            ". The page acts with the Redis user of its worker. To remove entries that user needs " code { "+xdel" }
            ", the line " code { "#page" } " in " code { "deploy/redis/users.acl.in" }
            ". Or use the commands with the user of people."
        } @else {
            "Redis broke this off: " (text::words(&error.text))
            ". It may be done or not. Look again before you do it again."
        }
    };
    html! { h1 { "Not done" } (strip(Tone::Crit, Icon::Crit, &said)) }
}

/// Something was to be changed while Redis does not answer.
pub(crate) fn away(asked: &Asked) -> Markup {
    let frame = Frame {
        title: "Not done".to_owned(),
        tab: Tab::None,
        command: "startjobs doctor".to_owned(),
        live: "other",
        has_mini: true,
    };
    let said = html! {
        "Nothing was changed: Redis does not answer. Do it again when it is back; "
        a href="/runbooks#redisdown" { "the runbook RedisDown" } " says what helps."
    };
    framed(asked, frame, &html! { h1 { "Not done" } (strip(Tone::Crit, Icon::Crit, &said)) })
}

/// There is no such thing.
pub(crate) fn absent(asked: &Asked, tab: Tab, title: &str, said: &Markup) -> Markup {
    let frame =
        Frame { title: title.to_owned(), tab, command: "startjobs status".to_owned(), live: "other", has_mini: true };
    framed(asked, frame, &html! { h1 { (title) } section.panel { (empty(Icon::Unknown, "Nothing found", said)) } })
}
