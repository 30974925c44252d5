//! Foreign text on a terminal: game ids, error texts and consumer names are anybody's bytes, and a terminal obeys some
//! of them.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// The longest piece of foreign text that is shown.
const SHOWN_MAX: usize = 512;
/// What the time format can express: the end of the year 9999.
const TIME_MS_MAX: u64 = 253_402_300_799_999;

/// The text with everything escaped that is not plainly visible: control characters, escape sequences, invisible marks,
/// and what turns the direction of writing.
pub fn printable(text: &str) -> String {
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

/// Bytes as [`printable`] text; what is no UTF-8 becomes `\xff`.
pub fn printable_bytes(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes[..bytes.len().min(4 * SHOWN_MAX)].utf8_chunks() {
        shown.push_str(&printable(chunk.valid()));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// A length of time for people: as exact as is of use.
pub fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        10_000..3_600_000 => humantime::format_duration(Duration::from_secs(ms / 1_000)).to_string(),
        _ => humantime::format_duration(Duration::from_secs(ms / 60_000 * 60)).to_string(),
    }
}

/// A moment, RFC 3339 in UTC.
pub fn time(unix_ms: u64) -> String {
    if unix_ms > TIME_MS_MAX {
        return format!("{unix_ms}ms");
    }
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms)).to_string()
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
        assert_eq!(printable_bytes(b"a\xff\x1b"), "a\\xff\\u{1b}");
        assert!(printable(&"x".repeat(600)).ends_with("..."));
    }

    #[test]
    fn spans_and_moments_are_short_and_never_fail() {
        let spans = [0, 999, 1_250, 59_999, 61_000, 3_600_000, 90_061_000].map(span);
        assert_eq!(spans, ["0ms", "999ms", "1.2s", "59s", "1m 1s", "1h", "1day 1h 1m"]);
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(u64::MAX), format!("{}ms", u64::MAX));
    }
}
