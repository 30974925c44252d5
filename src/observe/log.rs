//! Log lines: JSON for machines, text for people, both with the field names of the original worker.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::ops::printable::tamed;
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
