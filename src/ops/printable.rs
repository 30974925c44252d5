//! Foreign text on a terminal: game ids, error texts and consumer names may be any bytes, and a terminal obeys some
//! of them.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde::Serialize;

/// The longest piece of foreign text that is shown.
const SHOWN_MAX: usize = 512;
/// Characters of a name in a sentence.
const NAME_MAX: usize = 64;
/// What the time format can express: the end of the year 9999.
const TIME_MS_MAX: u64 = 253_402_300_799_999;

/// The text with everything escaped that is not plainly visible: control characters, escape sequences, invisible marks,
/// and what turns the direction of writing.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars().take(SHOWN_MAX) {
        match letter {
            '"' | '\'' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

/// A name, or another foreign text, as far as it has room in a sentence. It is not escaped.
pub(crate) fn cut_name(text: &str) -> String {
    match text.char_indices().nth(NAME_MAX) {
        Some((at, _)) => format!("{}...", text.split_at(at).0),
        None => text.to_owned(),
    }
}

/// A number of a stream, where texts are all there is, as a number of JSON; other texts, and what would not come back as the
/// same text, stay texts.
pub(crate) fn number(text: String) -> serde_json::Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}

/// A value as one line of JSON that is safe on a terminal.
pub(crate) fn json(value: &impl Serialize) -> String {
    tame(serde_json::to_string(value).expect("texts, numbers and lists are always JSON")) + "\n"
}

/// The same on many lines.
pub(crate) fn json_pretty(value: &impl Serialize) -> String {
    tame(serde_json::to_string_pretty(value).expect("texts, numbers and lists are always JSON")) + "\n"
}

/// JSON that is safe on a terminal, too: JSON itself lets the upper control characters and the marks that turn the
/// direction of writing stand as they are.
pub(crate) fn tame(json: String) -> String {
    tamed(json.as_bytes()).unwrap_or(json)
}

/// The JSON with what is not plainly visible as its escapes; none where nothing changes, as for nearly every line. Beyond
/// ASCII there are only the insides of texts, where a character and its escape mean the same.
pub(crate) fn tamed(json: &[u8]) -> Option<String> {
    const DELETE: u8 = 0x7f;
    if json.is_ascii() && !json.contains(&DELETE) {
        return None;
    }
    let mut text = String::with_capacity(json.len());
    for letter in std::str::from_utf8(json).ok()?.chars() {
        // What Rust's own escaping leaves as it is, is visible; JSON itself escapes the lower control characters.
        let is_plain = letter.is_ascii() && letter != char::from(DELETE);
        if is_plain || letter.escape_debug().len() == 1 {
            text.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    Some(text)
}

/// A length of time for people: as exact as is of use.
pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        10_000..3_600_000 => humantime::format_duration(Duration::from_secs(ms / 1_000)).to_string(),
        _ => humantime::format_duration(Duration::from_secs(ms / 60_000 * 60)).to_string(),
    }
}

/// A moment, RFC 3339 in UTC.
pub(crate) fn time(unix_ms: u64) -> String {
    if unix_ms > TIME_MS_MAX {
        return format!("{unix_ms}ms");
    }
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms)).to_string()
}

/// A moment, and how long before `now_ms` it was or how long after it will be: `2026-11-29T17:00:00.000Z (12s ago)`.
pub(crate) fn moment(unix_ms: u64, now_ms: u64) -> String {
    format!("{} ({})", time(unix_ms), ago(unix_ms, now_ms))
}

/// The same, beginning with what `now_ms` is to be compared with: `12s ago (2026-11-29T17:00:00.000Z)`.
pub(crate) fn since(unix_ms: u64, now_ms: u64) -> String {
    format!("{} ({})", ago(unix_ms, now_ms), time(unix_ms))
}

/// How long before `now_ms` a moment was, or how long after it will be.
pub(crate) fn ago(unix_ms: u64, now_ms: u64) -> String {
    match now_ms.checked_sub(unix_ms) {
        Some(ms) => format!("{} ago", span(ms)),
        None => format!("in {}", span(unix_ms - now_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        assert_eq!(printable("galaxy/engine:1 \"x\" é 日本"), "galaxy/engine:1 \"x\" é 日本");
        assert_eq!(printable("a\x1b[31mb\r\n\x07"), "a\\u{1b}[31mb\\r\\n\\u{7}");
        for hidden in ["\u{202e}", "\u{200b}", "\u{feff}", "\u{9b}", "\u{2028}", "\u{e0041}", "\u{301}"] {
            assert!(printable(hidden).starts_with("\\u{"), "{hidden:?}");
        }
        assert_eq!(printable("\\"), "\\\\");
        assert!(printable(&"x".repeat(600)).ends_with("..."));
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut_name("poison"), "poison");
        assert_eq!(cut_name(&"é".repeat(64)), "é".repeat(64));
        assert_eq!(cut_name(&"é".repeat(65)), format!("{}...", "é".repeat(64)));
    }

    #[test]
    fn invisible_characters_of_json_are_escaped_and_mean_the_same() {
        assert_eq!(tamed(b"{\"a\":\"b\"}\n"), None);
        let value = serde_json::json!({"game": "\u{9b}31m \u{202e} \u{200b} \u{e0001} \u{7f} größe 🎲"});
        for line in [json(&value), json_pretty(&value)] {
            assert!(line.contains("\\u009b31m \\u202e") && line.contains("\\u007f größe 🎲"), "{line}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&line).expect("JSON"), value);
        }
    }

    #[test]
    fn numbers_only_where_nothing_is_lost() {
        let values =
            ["17", "-3", "017", "", "1e3", "99999999999999999999"].map(|text| number(text.to_owned()).is_number());
        assert_eq!(values, [true, true, false, false, false, false]);
    }

    #[test]
    fn spans_and_moments_are_short_and_never_fail() {
        let spans = [0, 999, 1_250, 59_999, 61_000, 3_600_000, 90_061_000].map(span);
        assert_eq!(spans, ["0ms", "999ms", "1.2s", "59s", "1m 1s", "1h", "1day 1h 1m"]);
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(u64::MAX), format!("{}ms", u64::MAX));
        assert_eq!(moment(1_000, 13_000), "1970-01-01T00:00:01.000Z (12s ago)");
        assert_eq!(since(13_000, 1_000), "in 12s (1970-01-01T00:00:13.000Z)");
    }
}
