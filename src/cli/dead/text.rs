//! Foreign bytes as text that no terminal can be broken with.

use std::fmt::Write as _;

/// Bytes as text: what is no letter, digit or printable ASCII is shown byte by byte as `\xNN`, a backslash doubled.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            push(&mut shown, letter);
        }
        push_bytes(&mut shown, chunk.invalid());
    }
    shown
}

fn push(shown: &mut String, letter: char) {
    let is_plain = letter == ' ' || letter.is_ascii_graphic() || (!letter.is_ascii() && letter.is_alphanumeric());
    if letter == '\\' {
        shown.push_str("\\\\");
    } else if is_plain {
        shown.push(letter);
    } else {
        push_bytes(shown, letter.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn push_bytes(shown: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        _ = write!(shown, "\\x{byte:02x}");
    }
}

/// Cells on the screen, rather too many than too few: East Asian letters take two.
fn cells(letter: char) -> usize {
    if letter < '\u{1100}' { 1 } else { 2 }
}

fn width_of(text: &str) -> usize {
    text.chars().map(cells).sum()
}

/// The text, cut to so many cells.
pub(super) fn cut(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for letter in text.chars() {
        used += cells(letter);
        if used + 3 > width {
            break;
        }
        kept.push(letter);
    }
    kept.push_str(&"..."[..width.min(3)]);
    kept
}

/// Aligned columns, each line cut to `width`. The last column is not padded.
pub(super) fn columns(rows: &[Vec<String>], width: usize) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width_at =
        |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| width_of(cell)).max().unwrap_or_default();
    let widths: Vec<usize> = (0..count).map(width_at).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, column) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(column - width_of(cell) + 2));
        }
        cut(line.trim_end(), width) + "\n"
    };
    rows.iter().map(line).collect()
}

/// An age in its largest unit.
pub(super) fn age(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_act_on_a_terminal_is_shown_as_bytes() {
        for (bytes, shown) in [
            (&b"a\x1b[31m\n\x07"[..], "a\\x1b[31m\\x0a\\x07"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("gr\u{fc}n \u{9b}1m".as_bytes(), "gr\u{fc}n \\xc2\\x9b1m"),
            ("\u{202e}abc".as_bytes(), "\\xe2\\x80\\xaeabc"),
            (br"C:\x1b", r"C:\\x1b"),
        ] {
            assert_eq!(escaped(bytes), shown);
        }
    }

    #[test]
    fn columns_align_and_lines_are_cut() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["id", "age", "detail"]), row(["1-0", "5s", "a long story that does not end"])];
        assert_eq!(columns(&rows, 20), "id   age  detail\n1-0  5s   a long ...\n");
    }

    #[test]
    fn ages_are_short() {
        assert_eq!([900, 61_000, 7_200_000, 900_000_000].map(age), ["0s", "1m", "2h", "10d"]);
    }

    proptest! {
        #[test]
        fn escaped_text_has_no_control_characters_and_cut_text_fits(bytes: Vec<u8>, width in 0_usize..40) {
            let shown = escaped(&bytes);
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert!(width_of(&cut(&shown, width)) <= width);
        }
    }
}
