//! Log lines: JSON for machines, text for people, both with the field names of the original worker.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::config::LogFormat;
use super::line_queue::LineQueue;
use crate::metrics::Metrics;
use crate::ops::printable::tamed;
use crate::redis::CLIENT_LOG;

/// How long the end of a process waits for lines to be written.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);

/// The log of this process. Dropping it waits, not for long, until every line has been written.
#[derive(Debug)]
pub struct Log(Option<LineQueue>);

/// Installs the log of this process, on stdout: the process is its subject. `RUST_LOG` sets what is logged; `info` is
/// the default. The client's own lines are left out unless asked for: we say a trouble once, it says it at every
/// attempt.
///
/// Logging never waits for the reader of the log: lines that do not fit into the queue are dropped and counted in
/// `metrics`.
pub fn install(format: LogFormat, metrics: &Metrics) -> io::Result<Log> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("info,{CLIENT_LOG}=off")));
    let is_terminal = io::stdout().is_terminal();
    let as_text = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let with_colour = is_terminal && std::env::var_os("NO_COLOR").is_none();
    let stdout = |bytes: &[u8]| rustix::io::write(io::stdout(), bytes).map_err(io::Error::from);
    let queue = LineQueue::start(metrics.log_lines_dropped.clone(), stdout, |lines| {
        tracing::warn!(lines, "log lines are missing here: they arrived faster than they were read");
    })?;
    let (builder, writer) = (tracing_subscriber::fmt().with_env_filter(filter), Lines(queue.clone()));
    let installed = if as_text {
        builder.with_writer(writer).with_ansi(with_colour).try_init()
    } else {
        let json = builder.json().flatten_event(true).with_current_span(false).with_span_list(false);
        json.with_writer(Tame(writer)).try_init()
    };
    // A second installation in one process (tests) changes nothing.
    if installed.is_err() {
        return Ok(Log(None));
    }
    // The default one writes to stderr, and waits for its reader.
    std::panic::set_hook(Box::new(log_panic));
    Ok(Log(Some(queue)))
}

impl Log {
    /// Says why the process ends, on stderr, after every line of the log. A reader that does not read holds this up for
    /// a moment only.
    pub(crate) fn say_last(&self, text: String) {
        self.flush();
        let (said, is_said) = mpsc::channel();
        let saying = thread::Builder::new().spawn(move || {
            eprintln!("{text}");
            said.send(()).ok();
        });
        if saying.is_ok() {
            is_said.recv_timeout(LAST_LINES_WITHIN).ok();
        }
    }

    fn flush(&self) {
        if let Some(queue) = &self.0 {
            queue.flush(LAST_LINES_WITHIN);
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(err = text.unwrap_or("no text"), place, backtrace, "panic");
}

/// Hands lines to the queue; the subscriber writes each line by one call.
struct Lines(LineQueue);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a LineQueue;

    fn make_writer(&'a self) -> Self::Writer {
        &self.0
    }
}

impl Write for &LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes JSON that is also safe to show on a terminal: JSON itself does not escape the upper control characters and
/// the marks that turn the direction of writing. Text lines have them escaped already.
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
