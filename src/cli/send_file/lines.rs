//! A file or stdin, line by line: never more than one line in memory, however large it is.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;

use tokio::sync::mpsc::{Receiver, channel};

use super::line::{Fault, Job, job_of};

/// Jobs that wait between the reader and the sender.
const AHEAD: usize = 256;
/// Bytes of a line at least that are read, whatever `max-field-bytes` is.
const LINE_MIN: usize = 1_048_576;

/// What a file is read by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The first line that is wanted, from 1.
    pub(super) from_line: u64,
    /// `max-field-bytes`
    pub(super) max_field_bytes: usize,
    /// When a job was requested that does not say.
    pub(super) now_ms: u64,
}

/// A line and what is wrong with it.
pub(super) type Faulty = (u64, Fault);

/// Is it stdin?
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Is there something to read?
pub(super) fn is_there(path: &Path) -> Result<(), std::io::Error> {
    if is_stdin(path) { Ok(()) } else { std::fs::metadata(path).map(drop) }
}

/// Can it be read twice?
pub(super) fn is_regular(path: &Path) -> bool {
    !is_stdin(path) && std::fs::metadata(path).is_ok_and(|about| about.is_file())
}

/// Reads every line and hands on each job or fault, until `take` answers false.
pub(super) fn read(
    path: &Path,
    reading: Reading,
    mut take: impl FnMut(Result<Job, Faulty>) -> bool,
) -> Result<(), std::io::Error> {
    let mut input: Box<dyn BufRead> =
        if is_stdin(path) { Box::new(BufReader::new(stdin())) } else { Box::new(BufReader::new(File::open(path)?)) };
    // Every byte of a value may be an escape of six.
    let line_max = LINE_MIN.max(reading.max_field_bytes.saturating_mul(6 * 5));
    let (mut line, mut bytes) = (0_u64, Vec::new());
    loop {
        bytes.clear();
        let limit = u64::try_from(line_max).unwrap_or(u64::MAX);
        line += 1;
        let read = input.by_ref().take(limit).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        if read >= line_max && !bytes.ends_with(b"\n") {
            take(Err((line, Fault::TooLong(line_max))));
            return Ok(());
        }
        if line < reading.from_line {
            continue;
        }
        let found = match job_of(line, &bytes, reading.now_ms, reading.max_field_bytes) {
            Ok(None) => continue,
            Ok(Some(job)) => Ok(job),
            Err(fault) => Err((line, fault)),
        };
        if !take(found) {
            return Ok(());
        }
    }
}

/// The same from a thread of its own: a pipe may have nothing for a long time, and the connection must live meanwhile.
pub(super) fn stream(path: &Path, reading: Reading) -> Receiver<Result<Job, Faulty>> {
    let (sender, receiver) = channel(AHEAD);
    let path = path.to_owned();
    std::thread::spawn(move || {
        let mut last = reading.from_line;
        let read = read(&path, reading, |found| {
            last = match &found {
                Ok(job) => job.line,
                Err((line, _)) => *line,
            };
            sender.blocking_send(found).is_ok()
        });
        if let Err(error) = read {
            // The sender has ended where no one receives any more.
            drop(sender.blocking_send(Err((last, Fault::Unreadable(error.to_string())))));
        }
    });
    receiver
}
