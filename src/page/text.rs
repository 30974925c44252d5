//! Foreign text on the page: game ids, images, errors and names of consumers may be any bytes. They are cut, what is
//! not plainly visible is shown as its escape, and `bdi` keeps their direction of writing to themselves.

use std::fmt::Write as _;

use maud::{Markup, html};

/// Characters of a name in a list.
pub(crate) const NAME_MAX: usize = 64;
/// Characters of an error or a reason.
pub(crate) const WORDS_MAX: usize = 400;
/// Characters of a value in full.
const WHOLE_MAX: usize = 2_000;
/// From here on a name may be broken anywhere, so that it needs no wide column.
const LONG: usize = 32;

/// The beginning of a text that is kept: one line, otherwise as it came. It is escaped where it is shown, and not before.
pub(crate) fn line(text: &str, most: usize) -> String {
    text.chars().take(most).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The text, cut, with everything escaped that is not plainly visible: control characters, invisible marks, and what
/// turns the direction of writing.
pub(crate) fn visible(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(most) + 1);
    for letter in text.chars().take(most) {
        match letter {
            '"' | '\'' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    if text.chars().nth(most).is_some() {
        shown.push('\u{2026}');
    }
    shown
}

/// A name in a list.
pub(crate) fn name(text: &str) -> Markup {
    let shown = visible(text, NAME_MAX);
    let is_long = shown.chars().count() > LONG;
    html! { bdi class=[is_long.then_some("long")] { (shown) } }
}

/// Words that may hold foreign text, cut as such words are.
pub(crate) fn words(text: &str) -> Markup {
    html! { bdi { (visible(text, WORDS_MAX)) } }
}

/// A value in full, as far as a page may grow.
pub(crate) fn whole(text: &str) -> Markup {
    html! { bdi.long { (visible(text, WHOLE_MAX)) } }
}

/// The first letter as a capital, and a full stop at the end: what a command says becomes a sentence. One that begins
/// with a code, which is known by its underscore, keeps its small letters.
pub(crate) fn sentence(text: &str) -> String {
    let text = visible(text, WHOLE_MAX);
    let is_code = text.split(' ').next().is_some_and(|word| word.contains('_'));
    let mut letters = text.chars();
    let capital = |first: char| if is_code { first.to_string() } else { first.to_uppercase().collect() };
    let mut said = letters.next().map_or_else(String::new, |first| capital(first) + letters.as_str());
    if !said.ends_with(['.', '!', '?', '\u{2026}']) {
        said.push('.');
    }
    said
}

/// A sentence in which commands are between backquotes.
pub(crate) fn with_code(text: &str) -> Markup {
    html! {
        bdi {
            @for (number, part) in text.split('`').enumerate() {
                @if number % 2 == 1 { code { (part) } } @else { (part) }
            }
        }
    }
}

/// The part of a replica's name by which people know it: what begins its UUID, or the whole name.
pub(crate) fn short_replica(name: &str) -> String {
    const UUID: usize = 36;
    let from = name.len().checked_sub(UUID).filter(|&from| name.is_char_boundary(from));
    let uuid = from.map(|from| &name[from..]).filter(|uuid| is_uuid(uuid));
    visible(uuid.map_or(name, |uuid| &uuid[..8]), NAME_MAX)
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// A replica by its short name; the whole one is its title.
pub(crate) fn replica(name: &str) -> Markup {
    html! { bdi.mono title=(visible(name, 2 * NAME_MAX)) { (short_replica(name)) } }
}

/// A number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1 job`, `3 jobs`.
pub(crate) fn of(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Percent-encoded for a part of a path or a value of a query.
pub(crate) fn encoded(text: &str) -> String {
    const PLAIN: &[u8] = b"-._~";
    let mut shown = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) {
            shown.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            shown.push('%');
            shown.push(char::from(DIGITS[usize::from(byte >> 4)]));
            shown.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    shown
}

/// Two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hidden_comes_through_and_long_text_is_cut() {
        assert_eq!(visible("a\x1b[31m\u{202e}b\n", 99), "a\\u{1b}[31m\\u{202e}b\\n");
        assert_eq!(visible("é \"x\" 日本 c:\\d", 99), "é \"x\" 日本 c:\\d");
        assert_eq!(visible("abcdef", 3), "abc\u{2026}");
        assert_eq!(line("a\n\u{7}\"b\u{202e}c", 6), "a  \"b\u{202e}", "it is escaped later, once");
        assert_eq!(name("<b>&\"").into_string(), "<bdi>&lt;b&gt;&amp;&quot;</bdi>");
        assert_eq!(name(&"x".repeat(33)).into_string(), format!("<bdi class=\"long\">{}</bdi>", "x".repeat(33)));
    }

    #[test]
    fn sentences_begin_with_a_capital_and_end() {
        assert_eq!(sentence("degraded: x"), "Degraded: x.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence("image_not_found: no manifest"), "image_not_found: no manifest.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn replicas_are_known_by_the_beginning_of_their_uuid() {
        let name = "host-a-393eaf69-7b1c-4f0a-9d52-2f8e61a07c11";
        assert_eq!(short_replica(name), "393eaf69");
        assert_eq!(short_replica("legacy"), "legacy");
        assert_eq!(short_replica(&"é".repeat(30)), "é".repeat(30));
    }

    #[test]
    fn numbers_are_grouped_and_names_encoded() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((of(1, "job", "jobs"), of(2, "job", "jobs")), ("1 job".to_owned(), "2 jobs".to_owned()));
        assert_eq!(encoded("a b/é&"), "a%20b%2F%C3%A9%26");
    }
}
