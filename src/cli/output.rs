//! What commands print: data on stdout, in columns and colours, and errors in words.

use std::io::{IsTerminal, Write};

use crate::ops::damaged::Damaged;

/// Prints data on stdout.
pub(super) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => {}
        // The reader has seen enough: `startjobs ... | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(error) => eprintln!("startjobs: cannot print: {error}"),
    }
}

/// Says on stderr what went wrong and why, and in a line of its own what to do, where there is something to do.
pub(super) fn complain(what: &str, remedy: &str) {
    eprintln!("startjobs: {what}");
    if !remedy.is_empty() {
        eprintln!("  {remedy}");
    }
}

/// Says on stderr what is no error, and no data either.
pub(super) fn note(text: &str) {
    eprintln!("startjobs: {text}");
}

/// Names what cannot be read: each with its key, why, and what to do.
pub(super) fn say_damaged(damaged: &[Damaged], more: usize) {
    for damaged in damaged {
        complain(&damaged.what(), damaged.remedy);
    }
    if more > 0 {
        note(&format!("{more} more cannot be read"));
    }
}

/// How wide lines may be: as `COLUMNS` says, or as the terminal is. None where nothing is cut or folded: stdout is no
/// terminal.
pub(super) fn width() -> Option<usize> {
    let of_variable = std::env::var("COLUMNS").ok().and_then(|text| text.trim().parse().ok());
    let of_terminal = || {
        let stdout = std::io::stdout();
        let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(stdout))?.ok()?;
        Some(usize::from(size.ws_col))
    };
    of_variable.or_else(of_terminal).filter(|&columns| columns > 0).map(|columns| columns.max(WIDTH_MIN))
}

/// No line is folded to less.
const WIDTH_MIN: usize = 20;
/// Columns that a last column needs so that its text is broken into lines and the table kept.
const LAST_MIN: usize = 24;

fn width_of(text: &str) -> usize {
    text.chars().count()
}

/// The text in lines of so many columns, broken at spaces. What has no space, an id or an image, is never broken.
fn folded(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && width_of(&line) + 1 + width_of(word) > columns {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// A text, broken at spaces into lines that fit.
pub(super) fn paragraph(text: &str) -> String {
    folded(text, width().unwrap_or(usize::MAX)).join("\n") + "\n"
}

/// Lines of names and values, the values in one column.
pub(super) fn aligned<N: AsRef<str>, V: AsRef<str>>(lines: &[(N, V)]) -> String {
    aligned_in(lines, width())
}

fn aligned_in<N: AsRef<str>, V: AsRef<str>>(lines: &[(N, V)], width: Option<usize>) -> String {
    let names = lines.iter().map(|(name, _)| width_of(name.as_ref())).max().unwrap_or_default();
    let left = width.map_or(usize::MAX, |width| width.saturating_sub(names + 2));
    // Not much is left: rather long lines than columns of single words.
    let left = if left < LAST_MIN { usize::MAX } else { left };
    let mut text = String::new();
    for (name, value) in lines {
        let value = value.as_ref();
        let parts = if width_of(value) > left { folded(value, left) } else { vec![value.to_owned()] };
        for (at, part) in parts.iter().enumerate() {
            let name = if at == 0 { name.as_ref() } else { "" };
            text.push_str(format!("{name:names$}  {part}").trim_end());
            text.push('\n');
        }
    }
    text
}

/// Rows under headings, in columns; foreign text must have been escaped before. Where they are too wide, the last column is
/// folded, or else each row becomes a block of lines.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    table_in(headings, rows, width())
}

fn table_in<const N: usize>(headings: [&str; N], rows: &[[String; N]], width: Option<usize>) -> String {
    let headings = headings.map(str::to_uppercase);
    let width_at = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&headings[column]]);
        cells.map(|cell| width_of(cell)).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width_at);
    let (last, first) = widths.split_last().map_or((0, 0), |(last, others)| (*last, others.iter().sum::<usize>()));
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(first + 2 * N.saturating_sub(1)));
    if last > room && room < LAST_MIN {
        return blocks(&headings, rows, width);
    }
    let mut text = String::new();
    for row in [&headings].into_iter().chain(rows) {
        let Some((cell, others)) = row.split_last() else { continue };
        let others: Vec<String> = others.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
        let others = others.concat();
        for (at, part) in folded_cell(cell, room).iter().enumerate() {
            let begin = if at == 0 { others.clone() } else { " ".repeat(width_of(&others)) };
            text.push_str(format!("{begin}{part}").trim_end());
            text.push('\n');
        }
    }
    text
}

fn folded_cell(cell: &str, room: usize) -> Vec<String> {
    if width_of(cell) > room { folded(cell, room) } else { vec![cell.to_owned()] }
}

/// Each row as lines of headings and values, the first cell as their title.
fn blocks<const N: usize>(headings: &[String; N], rows: &[[String; N]], width: Option<usize>) -> String {
    let block = |row: &[String; N]| {
        let title = row.first().map_or("", String::as_str);
        let lines: Vec<(String, &String)> = headings
            .iter()
            .zip(row)
            .skip(1)
            .filter(|(_, value)| !value.is_empty())
            .map(|(heading, value)| (format!("  {}", heading.to_lowercase()), value))
            .collect();
        format!("{title}\n{}", aligned_in(&lines, width))
    };
    rows.iter().map(block).collect::<Vec<_>>().join("\n")
}

/// The colours that mean something.
#[derive(Debug, Clone, Copy)]
pub(super) enum Colour {
    Green,
    Yellow,
    Red,
}

/// Colours a text where a person looks at it and has not asked for none.
pub(super) fn paint(text: &str, colour: Colour) -> String {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if no_colour || !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Green => 32,
        Colour::Yellow => 33,
        Colour::Red => 31,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// How wide the terminal is that stdout goes to; none where it goes elsewhere.
pub(super) fn columns() -> Option<usize> {
    let stdout = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&stdout).ok().filter(|_| stdout.is_terminal())?;
    Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// The text, or a dash where there is none.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// The words of a `redis-cli` command that lead to this Redis: it takes no URL of a socket.
pub(super) fn cli_words(display_url: &str) -> String {
    let socket = display_url.split_once("+unix://").and_then(|(_, rest)| Some(&rest[rest.find('/')?..]));
    socket.map_or_else(|| format!("-u {display_url}"), |path| format!("-s {path}"))
}

/// An argument that must say something, without the white space around it.
pub(super) fn not_blank(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("must not be empty"),
        trimmed => Ok(trimmed.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<[String; 3]> {
        vec![
            ["1795502500004-0".to_owned(), "5s ago".to_owned(), "a long story that does not end".to_owned()],
            ["1-0".to_owned(), String::new(), "short".to_owned()],
        ]
    }

    #[test]
    fn a_table_folds_its_last_column_and_then_becomes_blocks() {
        let headings = ["id", "seen", "detail"];
        let wide = "ID               SEEN    DETAIL\n\
                    1795502500004-0  5s ago  a long story that does not end\n\
                    1-0                      short\n";
        assert_eq!(table_in(headings, &rows(), None), wide);
        assert_eq!(table_in(headings, &rows(), Some(56)), wide);
        let folded = table_in(headings, &rows(), Some(50));
        assert!(folded.contains("  a long story that does\n                         not end\n"), "{folded}");
        let blocks = "1795502500004-0\n  seen    5s ago\n  detail  a long story that does not end\n\n\
                      1-0\n  detail  short\n";
        assert_eq!(table_in(headings, &rows(), Some(40)), blocks);
    }

    #[test]
    fn values_are_folded_under_themselves_and_ids_are_never_broken() {
        let lines = [("name", "one two three four five six seven"), ("id", "0123456789012345678901234567890123456789")];
        let text = aligned_in(&lines, Some(30));
        assert_eq!(
            text,
            "name  one two three four five\n      six seven\nid    0123456789012345678901234567890123456789\n"
        );
        assert_eq!(aligned_in(&lines, Some(20)), aligned_in(&lines, None), "too narrow for columns");
    }

    #[test]
    fn what_is_blank_is_refused() {
        assert_eq!(not_blank(" \t"), Err("must not be empty"));
        assert_eq!(not_blank(" a ").as_deref(), Ok("a"));
    }
}
