//! Log lines: JSON for machines, text for people, both with the field names of the original worker.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
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
        Destination::Stdout => (BoxMakeWriter::new(std::io::stdout), std::io::stdout().is_terminal()),
        Destination::Stderr => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
    };
    let as_text = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let with_colour = is_terminal && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // A second installation in one process (tests) changes nothing.
    drop(if as_text {
        builder.with_ansi(with_colour).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    });
}
