//! What commands print: data on stdout, in columns and colours, and errors in words.

use std::io::{IsTerminal, Write};

use crate::redis::RedisError;

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

/// Lines of names and values, the values in one column.
pub(super) fn aligned<N: AsRef<str>, V: AsRef<str>>(lines: &[(N, V)]) -> String {
    let width = lines.iter().map(|(name, _)| name.as_ref().chars().count()).max().unwrap_or_default();
    let line =
        |(name, value): &(N, V)| format!("{:width$}  {}", name.as_ref(), value.as_ref()).trim_end().to_owned() + "\n";
    lines.iter().map(line).collect()
}

/// Rows under headings, in columns; foreign text must have been escaped before.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let headings = headings.map(str::to_uppercase);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&headings[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    [&headings].into_iter().chain(rows).map(line).collect()
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

/// The text, or a dash where there is none.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// An error of Redis for people: of an operating system's error only its words.
pub(super) fn in_words(error: &RedisError) -> String {
    let quoted = error.text.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
    quoted.map_or_else(|| error.text.clone(), |(words, _)| words.to_owned())
}

/// The words of a `redis-cli` command that lead to this Redis: it takes no URL of a socket.
pub(super) fn cli_words(display_url: &str) -> String {
    let socket = display_url.split_once("+unix://").and_then(|(_, rest)| Some(&rest[rest.find('/')?..]));
    socket.map_or_else(|| format!("-u {display_url}"), |path| format!("-s {path}"))
}
