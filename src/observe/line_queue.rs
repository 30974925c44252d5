//! Log lines on their way out, written by a thread of their own: a reader that stops must never stop the process.

use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;

/// Lines that may wait. As many again may be in the writer's hands.
const LINES_MAX: usize = 16 * 1024;
/// Bytes of them.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// A buffer that a burst has made larger than this is given back.
const BYTES_KEPT: usize = 64 * 1024;
/// After each write the writer lets lines gather for so long. Waking it for each line would cost the caller ten
/// microseconds; in a burst a line then costs it a tenth of one.
const GATHER: Duration = Duration::from_micros(200);
/// Between two attempts to write where the other side has made the file non-blocking.
const WRITE_AGAIN: Duration = Duration::from_millis(5);

/// The destination of lines. It may block for any time.
pub(super) trait Sink: FnMut(&[u8]) -> io::Result<usize> + Send + 'static {}

impl<F: FnMut(&[u8]) -> io::Result<usize> + Send + 'static> Sink for F {}

/// A bounded queue of lines, whose writer may block.
#[derive(Debug, Clone)]
pub(super) struct LineQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A line came.
    filled: Condvar,
    /// Every line has been written.
    emptied: Condvar,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    count: usize,
    /// Dropped lines that no log line has reported yet.
    untold: u64,
    /// The writer waits for lines: all are written.
    is_idle: bool,
}

impl LineQueue {
    /// A queue, and the thread that writes its lines to `sink`; `tell` logs how many lines are missing at this place.
    pub(super) fn start(dropped: Counter, sink: impl Sink, tell: fn(u64)) -> io::Result<Self> {
        let shared = Shared { state: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new(), dropped };
        let queue = Self(Arc::new(shared));
        let writer = queue.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_to(sink, tell))?;
        Ok(queue)
    }

    /// Takes a line, or drops and counts it if there is no room. Never waits for the writer.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.count >= LINES_MAX || state.lines.len() + line.len() > BYTES_MAX {
            state.untold += 1;
            self.0.dropped.inc();
            return;
        }
        state.lines.extend_from_slice(line);
        state.count += 1;
        // A writer that writes or lets lines gather looks by itself.
        if mem::take(&mut state.is_idle) {
            drop(state);
            self.0.filled.notify_one();
        }
    }

    /// Waits until every line has been written, but no longer than this.
    pub(super) fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = self.state();
        while !(state.is_idle && state.lines.is_empty()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.0.emptied.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut sink: impl Sink, tell: fn(u64)) {
        let mut lines = Vec::new();
        // While writing fails, a line about missing lines would only be missing too.
        let mut works = true;
        loop {
            let untold = self.next(&mut lines, works);
            if untold > 0 {
                // The queue has just been emptied: this line is at the place of the missing ones.
                tell(untold);
            }
            let written = write_all(&mut sink, &lines);
            works = written == lines.len();
            let missing = lines[written..].split_inclusive(|&byte| byte == b'\n').count();
            if missing > 0 {
                let missing = u64::try_from(missing).unwrap_or(u64::MAX);
                self.0.dropped.inc_by(missing);
                self.state().untold += missing;
            }
            lines.clear();
            if lines.capacity() > BYTES_KEPT {
                lines = Vec::new();
            }
            thread::sleep(GATHER);
        }
    }

    /// Waits for lines and takes all of them, and how many are missing after them if that may be reported now.
    fn next(&self, lines: &mut Vec<u8>, may_tell: bool) -> u64 {
        let mut state = self.state();
        while state.lines.is_empty() && !(may_tell && state.untold > 0) {
            state.is_idle = true;
            self.0.emptied.notify_all();
            state = self.0.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_idle = false;
        state.count = 0;
        mem::swap(&mut state.lines, lines);
        if may_tell { mem::take(&mut state.untold) } else { 0 }
    }
}

/// Writes; answers how many bytes went out.
fn write_all(sink: &mut impl Sink, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match sink(&bytes[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(WRITE_AGAIN),
            // The reader is gone, or the disk is full.
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    /// A sink that writes what it is allowed to: an answer for each call.
    fn sink() -> (Sender<io::Result<usize>>, Receiver<Vec<u8>>, impl Sink) {
        let (allow, allowed) = channel::<io::Result<usize>>();
        let (wrote, written) = channel();
        let write = move |bytes: &[u8]| {
            // The test has ended.
            let Ok(answer) = allowed.recv() else { return Ok(0) };
            let answer = answer.map(|most| most.min(bytes.len()));
            if let Ok(length) = &answer {
                wrote.send(bytes[..*length].to_vec()).ok();
            }
            answer
        };
        (allow, written, write)
    }

    fn text(written: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(written.recv_timeout(SOON).expect("it was written")).expect("text")
    }

    #[test]
    fn lines_come_out_as_they_went_in_though_the_other_side_takes_them_in_parts() {
        let (allow, written, write) = sink();
        let queue = LineQueue::start(Counter::default(), write, |_| panic!("nothing is missing")).expect("a thread");
        queue.push(b"one\n");
        allow.send(Ok(2)).expect("it waits");
        allow.send(Err(io::ErrorKind::WouldBlock.into())).expect("it waits");
        allow.send(Err(io::ErrorKind::Interrupted.into())).expect("it waits");
        allow.send(Ok(9)).expect("it waits");
        assert_eq!([text(&written), text(&written)], ["on", "e\n"]);
        queue.flush(SOON);
        queue.push(b"two\n");
        allow.send(Ok(9)).expect("it waits");
        queue.flush(SOON);
        assert_eq!(text(&written), "two\n");
    }

    #[test]
    fn a_writer_that_stands_still_holds_nothing_up_and_what_is_dropped_is_counted_and_told_once() {
        static TOLD: Mutex<Vec<u64>> = Mutex::new(Vec::new());
        let (allow, written, write) = sink();
        let dropped = Counter::default();
        let queue = LineQueue::start(dropped.clone(), write, |lines| TOLD.lock().expect("no panic").push(lines));
        let queue = queue.expect("a thread");
        queue.push(b"first\n");
        // The writer has taken it, and blocks.
        while queue.state().count > 0 {
            thread::yield_now();
        }
        for _ in 0..LINES_MAX + 3 {
            queue.push(b"x\n");
        }
        assert_eq!(dropped.get(), 3);
        let began = Instant::now();
        queue.flush(Duration::from_millis(50));
        assert!(began.elapsed() < SOON, "the flush is bounded");
        assert!(TOLD.lock().expect("no panic").is_empty(), "not before the gap");
        for _ in 0..2 {
            allow.send(Ok(usize::MAX)).expect("it waits");
        }
        assert_eq!((text(&written).as_str(), text(&written).len()), ("first\n", 2 * LINES_MAX));
        queue.flush(SOON);
        assert_eq!(*TOLD.lock().expect("no panic"), [3]);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let (allow, written, write) = sink();
        let dropped = Counter::default();
        let queue = LineQueue::start(dropped.clone(), write, |_| {}).expect("a thread");
        queue.push(&vec![b'x'; BYTES_MAX + 1]);
        assert_eq!(dropped.get(), 1);
        queue.push(b"small\n");
        allow.send(Ok(9)).expect("it waits");
        assert_eq!(text(&written), "small\n");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_told_of_once_writing_works_again() {
        static TOLD: Mutex<Vec<u64>> = Mutex::new(Vec::new());
        let (allow, written, write) = sink();
        let dropped = Counter::default();
        let queue = LineQueue::start(dropped.clone(), write, |lines| TOLD.lock().expect("no panic").push(lines));
        let queue = queue.expect("a thread");
        for _ in 0..3 {
            queue.push(b"lost\n");
            allow.send(Err(io::ErrorKind::BrokenPipe.into())).expect("it waits");
            queue.flush(SOON);
        }
        assert!(dropped.get() == 3 && TOLD.lock().expect("no panic").is_empty());
        queue.push(b"kept\n");
        allow.send(Ok(9)).expect("it waits");
        assert_eq!(text(&written), "kept\n");
        queue.flush(SOON);
        assert_eq!(*TOLD.lock().expect("no panic"), [3]);
    }
}
