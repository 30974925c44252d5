//! Log lines: JSON for machines, text for people, both with the field names of the original worker.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::settings::LogFormat;

/// Which stream a command's log lines go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The process is the log's subject (`worker`).
    Stdout,
    /// The command prints data on stdout.
    Stderr,
}

/// Installs the log for this process. `RUST_LOG` sets what is logged; `info` is the default. The client's own lines
/// are left out unless asked for: we say a trouble once, it says it at every attempt.
pub fn install(format: LogFormat, destination: Destination) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,fred=off"));
    let (writer, is_terminal) = match destination {
        Destination::Stdout => (BoxMakeWriter::new(io::stdout), io::stdout().is_terminal()),
        Destination::Stderr => (BoxMakeWriter::new(io::stderr), io::stderr().is_terminal()),
    };
    let as_text = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let with_colour = is_terminal && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    // A second installation in one process (tests) changes nothing.
    drop(if as_text {
        builder.with_writer(writer).with_ansi(with_colour).try_init()
    } else {
        let json = builder.json().flatten_event(true).with_current_span(false).with_span_list(false);
        json.with_writer(Tame(writer)).try_init()
    });
}

/// Writes JSON so that whoever shows it on a terminal is safe too: JSON itself lets the upper control characters and
/// the marks that turn the direction of writing stand as they are. Text lines have them escaped already.
struct Tame<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Tame<W> {
    type Writer = Tame<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Tame(self.0.make_writer())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        Tame(self.0.make_writer_for(meta))
    }
}

impl<W: Write> Write for Tame<W> {
    /// The subscriber hands over whole lines.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match tamed(line) {
            Some(text) => self.0.write_all(text.as_bytes())?,
            None => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The line with what is not plainly visible as JSON escapes; none where it is ASCII, as nearly every line. Beyond ASCII
/// there are only the insides of texts, where a character and its escape mean the same.
fn tamed(line: &[u8]) -> Option<String> {
    if line.is_ascii() {
        return None;
    }
    let mut text = String::with_capacity(line.len());
    for letter in std::str::from_utf8(line).ok()?.chars() {
        // What Rust's own escaping leaves as it is, is visible.
        if letter.is_ascii() || letter.escape_debug().len() == 1 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_of_json_are_escaped_and_mean_the_same() {
        assert_eq!(tamed(b"{\"a\":\"b\"}\n"), None);
        let value = serde_json::json!({"game": "\u{9b}31m \u{202e} \u{200b} \u{e0001} \u{7f} größe 🎲"});
        let line = tamed(value.to_string().as_bytes()).expect("it is not ASCII");
        assert!(line.contains("\\u009b31m \\u202e") && line.contains("größe 🎲"), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).expect("JSON"), value);
    }
}
