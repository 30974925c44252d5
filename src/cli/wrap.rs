//! Text in the width of the terminal: lines end between words, and no word is cut.

use std::io::{IsTerminal, stdout};

/// A narrower terminal is treated as one of this width.
const WIDTH_MIN: usize = 40;

/// Columns of the terminal: `COLUMNS`, or what the terminal says. Nothing where a program reads: its lines stay whole.
pub(super) fn width() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let asked = || {
        let stdout = stdout();
        let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten()?;
        Some(usize::from(size.ws_col))
    };
    said.or_else(asked).filter(|&columns| columns > 0).map(|columns| columns.max(WIDTH_MIN))
}

/// The text in lines of this width; lines after the first begin with so many spaces. A word that is longer has a line of
/// its own.
pub(super) fn wrapped(text: &str, width: Option<usize>, indent: usize) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut lines = String::with_capacity(text.len());
    let mut used = 0;
    for (number, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if number > 0 && used + 1 + length > width && used > indent {
            lines.push('\n');
            lines.extend(std::iter::repeat_n(' ', indent));
            used = indent;
        } else if number > 0 {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += length;
    }
    lines
}

/// Lines of names and values, the values in one column and in lines of their own where they are long.
pub(super) fn aligned(lines: &[(&str, String)], width: Option<usize>) -> String {
    let column = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let line = |(name, value): &(&str, String)| {
        wrapped(format!("{name:column$}  {value}").trim_end(), width, column + 2) + "\n"
    };
    lines.iter().map(line).collect()
}

/// A table as it is, or where it is too wide each row as lines of names and values.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]], width: Option<usize>) -> String {
    let table = super::output::table(headings, rows);
    let is_narrow = width.is_none_or(|width| table.lines().all(|line| line.chars().count() <= width));
    if is_narrow {
        return table;
    }
    let block = |row: &[String; N]| {
        let lines: Vec<(&str, String)> = headings.into_iter().zip(row.iter().cloned()).collect();
        aligned(&lines, width)
    };
    rows.iter().map(block).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words_and_no_word_is_cut() {
        let text = "Degraded: the stream runtime:start_jobs has used the largest possible id";
        let lines = wrapped(text, Some(40), 2);
        assert_eq!(lines, "Degraded: the stream runtime:start_jobs\n  has used the largest possible id");
        assert_eq!(wrapped(text, None, 2), text);
        let id = "x".repeat(60);
        assert_eq!(wrapped(&format!("a {id} b"), Some(40), 2), format!("a {id}\n  b"));
        assert_eq!(wrapped("", Some(40), 2), "");
    }

    #[test]
    fn a_table_that_is_too_wide_becomes_lines() {
        let rows = [["a".repeat(30), "b".repeat(30)]];
        assert!(table(["name", "host"], &rows, None).starts_with("NAME "));
        let lines = table(["name", "host"], &rows, Some(50));
        assert_eq!(lines, format!("name  {}\nhost  {}\n", "a".repeat(30), "b".repeat(30)));
    }
}
